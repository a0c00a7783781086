//! Connections that were open before the tracer started, from /proc. Their socket cookies are not
//! in /proc; the first event of such a connection, which has both, joins the two.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::Instant,
};

use procfs::{
    net::{TcpNetEntry, TcpState as State},
    process::Process,
};

use super::cgroup;
use crate::event::{End, Event, EventKind, Socket, Task, TcpFlags, TcpState};

/// The connections, without those that have had their first event.
#[derive(Debug, Default)]
pub struct Existing {
    /// Sorted.
    connections: Vec<Connection>,
    tasks: Vec<Task>,
    left: usize,
}

/// Compact, because there may be a hundred thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Connection {
    local: Address,
    remote: Address,
    netns: u32,
    opened_by: Option<bool>,
    /// Index into [`Existing::tasks`].
    task: Option<u32>,
    taken: bool,
}

/// IPv4 is mapped into IPv6: a socket of either family can hold a connection of IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Address([u8; 16], u16);

impl Existing {
    /// Reads /proc: the TCP tables of every network namespace, and who holds each socket.
    #[must_use]
    pub fn scan(cgroup_root: Option<&Path>) -> Self {
        let started = Instant::now();
        let mut found = Found::default();
        for (netns, pid) in namespaces() {
            found.read_tables(netns, pid);
        }
        found.find_owners(cgroup_root);
        let existing = Self::from(found);
        tracing::debug!(
            connections = existing.connections.len(),
            took = ?started.elapsed(),
            "connections open before the start"
        );
        existing
    }

    /// What the engine must know before `event`: that its connection is an old one. At most once
    /// for each connection.
    pub fn before(&mut self, event: &Event) -> Option<Event> {
        if self.left == 0 {
            return None;
        }
        let (local, remote, netns, new) = match &event.kind {
            EventKind::State(change) => {
                let Socket {
                    local,
                    remote,
                    netns,
                    ..
                } = &change.socket;
                (local, remote, *netns, opens(change.old))
            }
            EventKind::Destroyed(socket) => (&socket.local, &socket.remote, socket.netns, false),
            EventKind::Segment(segment) if !segment.listener => {
                let new = segment.flags.has(TcpFlags::SYN);
                (&segment.local, &segment.remote, 0, new)
            }
            _ => return None,
        };
        let connection = self.take(local.into(), remote.into(), netns)?;
        if self.left == 0 {
            self.connections = Vec::new();
        }
        // Opened while /proc was read; or the addresses were used again.
        if new {
            return None;
        }
        let task = connection
            .task
            .and_then(|task| self.tasks.get(task as usize))
            .cloned();
        let socket = Socket {
            local: *local,
            remote: *remote,
            netns: connection.netns,
            task: task.unwrap_or_default(),
            counters: None,
        };
        let opened_by = connection
            .opened_by
            .map(|here| if here { End::Local } else { End::Remote });
        Some(Event {
            time: event.time,
            connection: event.connection,
            kind: EventKind::Existing { socket, opened_by },
        })
    }

    fn take(&mut self, local: Address, remote: Address, netns: u32) -> Option<Connection> {
        let key = (local, remote);
        let start = self
            .connections
            .partition_point(|connection| (connection.local, connection.remote) < key);
        let same = self.connections.get_mut(start..)?.iter_mut();
        let mut same = same
            .take_while(|connection| (connection.local, connection.remote) == key)
            .filter(|connection| !connection.taken && [0, connection.netns].contains(&netns));
        let connection = same.next()?;
        // The same addresses in two namespaces, and no way to tell which.
        if same.next().is_some() {
            return None;
        }
        connection.taken = true;
        self.left -= 1;
        Some(*connection)
    }
}

/// The state of a socket that opens after the start.
fn opens(old: TcpState) -> bool {
    [
        TcpState::CLOSE,
        TcpState::LISTEN,
        TcpState::SYN_SENT,
        TcpState::SYN_RECV,
        TcpState::NEW_SYN_RECV,
    ]
    .contains(&old)
}

impl From<&SocketAddr> for Address {
    fn from(address: &SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self(ip.octets(), address.port())
    }
}

/// Each network namespace some process lives in, with one such process.
fn namespaces() -> HashMap<u32, u32> {
    let mut namespaces = HashMap::new();
    for pid in pids() {
        // The inode number of a namespace has 32 bits (struct ns_common).
        if let Ok(metadata) = fs::metadata(format!("/proc/{pid}/ns/net"))
            && let Ok(netns) = u32::try_from(metadata.ino())
        {
            namespaces.entry(netns).or_insert(pid);
        }
    }
    namespaces
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What is known while /proc is read.
#[derive(Debug, Default)]
struct Found {
    connections: Vec<Connection>,
    /// Socket inode to index into `connections`.
    sockets: HashMap<u64, usize>,
    tasks: Vec<Task>,
}

impl Found {
    fn read_tables(&mut self, netns: u32, pid: u32) {
        let Some(process) = i32::try_from(pid)
            .ok()
            .and_then(|pid| Process::new(pid).ok())
        else {
            return;
        };
        // A namespace without IPv6 has no second table.
        let mut entries = process.tcp().unwrap_or_default();
        entries.extend(process.tcp6().unwrap_or_default());
        let ephemeral = ephemeral_ports();
        let listening: HashSet<_> = entries
            .iter()
            .filter(|entry| entry.state == State::Listen)
            .map(|entry| Address::from(&entry.local_address))
            .collect();
        let accepted = |local: &SocketAddr| {
            let Address(_, port) = local.into();
            let any = [
                Ipv6Addr::UNSPECIFIED,
                std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(),
            ];
            listening.contains(&local.into())
                || any
                    .iter()
                    .any(|any| listening.contains(&Address(any.octets(), port)))
        };
        for entry in entries.iter().filter(|entry| is_open(entry)) {
            let local = &entry.local_address;
            let opened_by = if accepted(local) {
                Some(false)
            } else {
                ephemeral.contains(&local.port()).then_some(true)
            };
            if entry.inode != 0 {
                self.sockets.insert(entry.inode, self.connections.len());
            }
            self.connections.push(Connection {
                local: local.into(),
                remote: (&entry.remote_address).into(),
                netns,
                opened_by,
                task: None,
                taken: false,
            });
        }
    }

    /// Finds out which process holds each socket.
    fn find_owners(&mut self, cgroup_root: Option<&Path>) {
        for pid in pids() {
            if self.sockets.is_empty() {
                return;
            }
            let mut task = None;
            let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
            for descriptor in descriptors.into_iter().flatten().flatten() {
                let Some(inode) = socket_inode(&descriptor.path()) else {
                    continue;
                };
                let Entry::Occupied(socket) = self.sockets.entry(inode) else {
                    continue;
                };
                let index = *task.get_or_insert_with(|| {
                    self.tasks.push(describe(pid, cgroup_root));
                    u32::try_from(self.tasks.len() - 1).unwrap_or(u32::MAX)
                });
                if let Some(connection) = self.connections.get_mut(socket.remove()) {
                    connection.task = Some(index);
                }
            }
        }
    }
}

impl From<Found> for Existing {
    fn from(found: Found) -> Self {
        let Found {
            mut connections,
            tasks,
            sockets: _,
        } = found;
        connections.sort_unstable();
        connections.shrink_to_fit();
        Self {
            left: connections.len(),
            connections,
            tasks,
        }
    }
}

fn is_open(entry: &TcpNetEntry) -> bool {
    matches!(
        entry.state,
        State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::LastAck
            | State::Closing
    )
}

/// Ports the kernel gives to sockets that connect; a default where it does not say.
fn ephemeral_ports() -> std::ops::RangeInclusive<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range");
    let range = range.ok().and_then(|range| {
        let (first, last) = range.trim().split_once(char::is_whitespace)?;
        Some(first.parse().ok()?..=last.trim().parse().ok()?)
    });
    range.unwrap_or(32_768..=60_999)
}

fn socket_inode(descriptor: &Path) -> Option<u64> {
    let target = fs::read_link(descriptor).ok()?;
    let inode = target
        .to_str()?
        .strip_prefix("socket:[")?
        .strip_suffix(']')?;
    inode.parse().ok()
}

fn describe(pid: u32, cgroup_root: Option<&Path>) -> Task {
    let cgroup = cgroup_root.and_then(|root| cgroup::of_process(root, pid));
    Task {
        pid,
        cgroup: cgroup.map_or(0, |(id, _)| id),
        comm: super::process::comm(pid).unwrap_or_default(),
        ..Task::default()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::event::{ConnectionId, Segment, StateChange, Timestamp};

    const HERE: &str = "10.0.0.1:443";
    const THERE: &str = "10.0.0.2:50000";

    fn table(netns: &[u32]) -> Existing {
        let connections = netns.iter().map(|netns| Connection {
            local: (&socket(HERE, 0).local).into(),
            remote: (&socket(HERE, 0).remote).into(),
            netns: *netns,
            opened_by: Some(false),
            task: Some(0),
            taken: false,
        });
        let found = Found {
            connections: connections.collect(),
            sockets: HashMap::new(),
            tasks: vec![Task {
                pid: 7,
                ..Task::default()
            }],
        };
        found.into()
    }

    fn event(kind: EventKind) -> Event {
        Event {
            time: Timestamp(1),
            connection: ConnectionId(9),
            kind,
        }
    }

    fn socket(local: &str, netns: u32) -> Socket {
        Socket {
            local: local.parse().unwrap(),
            remote: THERE.parse().unwrap(),
            netns,
            task: Task::default(),
            counters: None,
        }
    }

    fn state(old: TcpState, netns: u32) -> Event {
        event(EventKind::State(StateChange {
            old,
            new: TcpState::CLOSE_WAIT,
            socket: socket(HERE, netns),
        }))
    }

    fn segment(flags: u8, listener: bool) -> Event {
        event(EventKind::Segment(Segment {
            direction: crate::event::Direction::Ingress,
            local: HERE.parse().unwrap(),
            remote: THERE.parse().unwrap(),
            seq: 0,
            ack: 0,
            flags: TcpFlags(flags),
            ttl: 64,
            length: 0,
            payload: bytes::Bytes::new(),
            task: Task::default(),
            last: false,
            listener,
        }))
    }

    #[test]
    fn the_first_event_of_an_old_connection_is_announced_once() {
        let mut table = table(&[5]);
        let announced = table.before(&state(TcpState::ESTABLISHED, 5)).unwrap();
        assert_eq!(announced.connection, ConnectionId(9));
        let EventKind::Existing { socket, opened_by } = announced.kind else {
            panic!("{announced:?}");
        };
        assert_eq!((socket.task.pid, socket.netns), (7, 5));
        assert_eq!(opened_by, Some(End::Remote));
        assert_eq!(table.before(&state(TcpState::ESTABLISHED, 5)), None);
    }

    #[test]
    fn any_event_with_addresses_finds_it() {
        let mapped = event(EventKind::Destroyed(socket("[::ffff:10.0.0.1]:443", 0)));
        for first in [mapped, segment(TcpFlags::ACK, false)] {
            assert!(table(&[5]).before(&first).is_some(), "{first:?}");
        }
        let other = event(EventKind::Destroyed(socket("10.0.0.9:443", 5)));
        assert_eq!(table(&[5]).before(&other), None);
    }

    #[test]
    fn a_connection_that_opens_after_the_start_is_not_an_old_one() {
        for opening in [
            state(TcpState::SYN_RECV, 5),
            state(TcpState::SYN_SENT, 5),
            segment(TcpFlags::SYN, false),
        ] {
            let mut table = table(&[5]);
            assert_eq!(table.before(&opening), None);
            assert_eq!(table.before(&state(TcpState::ESTABLISHED, 5)), None);
        }
    }

    #[test]
    fn data_at_a_listener_belongs_to_a_connection_that_opens() {
        let mut table = table(&[5]);
        assert_eq!(table.before(&segment(TcpFlags::ACK, true)), None);
        assert!(table.before(&state(TcpState::ESTABLISHED, 5)).is_some());
    }

    #[test]
    fn the_same_addresses_in_two_namespaces_are_told_apart_or_not_at_all() {
        let mut table = table(&[5, 6]);
        assert_eq!(table.before(&segment(TcpFlags::ACK, false)), None);
        for netns in [6, 5] {
            let announced = table.before(&state(TcpState::ESTABLISHED, netns)).unwrap();
            let EventKind::Existing { socket, .. } = announced.kind else {
                panic!("{announced:?}");
            };
            assert_eq!(socket.netns, netns);
        }
    }

    #[test]
    fn open_connections_of_this_process_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        let mut existing = Existing::scan(None);
        for (end, opened_by) in [(&client, End::Local), (&server, End::Remote)] {
            let mut socket = socket(HERE, 0);
            socket.local = end.local_addr().unwrap();
            socket.remote = end.peer_addr().unwrap();
            let announced = existing
                .before(&event(EventKind::Destroyed(socket)))
                .unwrap();
            let EventKind::Existing {
                socket,
                opened_by: found,
            } = announced.kind
            else {
                panic!("{announced:?}");
            };
            assert_eq!(socket.task.pid, std::process::id());
            assert_eq!(found, Some(opened_by));
        }
    }
}
