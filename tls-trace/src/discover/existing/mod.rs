//! Connections that were open before the tracer started: from /proc, with their socket cookies from
//! `sock_diag`. Where that cannot be asked, the first event of such a connection, which has both
//! addresses and cookie, joins the two.

#[cfg(test)]
mod tests;

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

use super::{cgroup, sock_diag};
use crate::event::{
    ConnectionId, End, Event, EventKind, Socket, Task, TcpFlags, TcpState, Timestamp,
};

/// The connections, without those that were announced.
#[derive(Debug, Default)]
pub struct Existing {
    /// With their cookies.
    named: Vec<(u64, Connection)>,
    /// Those without, sorted.
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
            named = existing.named.len(),
            others = existing.connections.len(),
            took = ?started.elapsed(),
            "connections open before the start"
        );
        existing
    }

    /// Announces the connections whose cookies are known, but for those that `events`, which came in
    /// the meantime, show to be new. To be called once.
    pub fn announce(&mut self, events: &[Event], time: Timestamp) -> Vec<Event> {
        let opened: HashSet<_> = events
            .iter()
            .filter(|event| matches!(&event.kind, EventKind::State(change) if opens(change.old)))
            .map(|event| event.connection)
            .collect();
        let named = std::mem::take(&mut self.named).into_iter();
        named
            .map(|(cookie, connection)| (ConnectionId(cookie), connection))
            .filter(|(id, _)| !opened.contains(id))
            .map(|(id, connection)| Event {
                time,
                connection: id,
                kind: self.existing(&connection),
            })
            .collect()
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
        Some(Event {
            time: event.time,
            connection: event.connection,
            kind: self.existing(&connection),
        })
    }

    fn existing(&self, connection: &Connection) -> EventKind {
        let task = connection
            .task
            .and_then(|task| self.tasks.get(task as usize))
            .cloned();
        let socket = Socket {
            local: connection.local.into(),
            remote: connection.remote.into(),
            netns: connection.netns,
            task: task.unwrap_or_default(),
            counters: None,
        };
        let opened_by = connection
            .opened_by
            .map(|here| if here { End::Local } else { End::Remote });
        EventKind::Existing { socket, opened_by }
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

impl From<Address> for SocketAddr {
    fn from(Address(ip, port): Address) -> Self {
        Self::new(IpAddr::V6(ip.into()).to_canonical(), port)
    }
}

/// Each network namespace some process lives in, with one such process.
pub(super) fn namespaces() -> HashMap<u32, u32> {
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

pub(super) fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// What is known while /proc is read.
#[derive(Debug, Default)]
struct Found {
    connections: Vec<Connection>,
    /// Cookies by network namespace and addresses.
    cookies: HashMap<(u32, Address, Address), u64>,
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
        let named = sock_diag::of_namespace(pid).unwrap_or_else(|error| {
            tracing::debug!(netns, %error, "no cookies of open connections");
            Vec::new()
        });
        // Each walks a table that changes meanwhile, and may pass over an entry or meet it twice.
        let from_table = entries
            .iter()
            .filter(|entry| is_open(entry))
            .map(|entry| (entry.local_address, entry.remote_address, entry.inode));
        let from_kernel = named
            .iter()
            .map(|(named, inode)| (named.local, named.remote, *inode));
        let mut met = HashSet::new();
        for (local, remote, inode) in from_table.chain(from_kernel) {
            let ends = (Address::from(&local), Address::from(&remote));
            if !met.insert(ends) {
                continue;
            }
            let opened_by = if accepted(&local) {
                Some(false)
            } else {
                ephemeral.contains(&local.port()).then_some(true)
            };
            if inode != 0 {
                self.sockets.insert(inode, self.connections.len());
            }
            self.connections.push(Connection {
                local: ends.0,
                remote: ends.1,
                netns,
                opened_by,
                task: None,
                taken: false,
            });
        }
        self.cookies.extend(named.iter().map(|(named, _)| {
            let (local, remote) = (Address::from(&named.local), (&named.remote).into());
            ((netns, local, remote), named.cookie)
        }));
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
            connections: found,
            cookies,
            tasks,
            sockets: _,
        } = found;
        let mut named = Vec::new();
        let mut connections = Vec::new();
        for connection in found {
            let Connection {
                netns,
                local,
                remote,
                ..
            } = connection;
            match cookies.get(&(netns, local, remote)) {
                Some(cookie) => named.push((*cookie, connection)),
                None => connections.push(connection),
            }
        }
        connections.sort_unstable();
        connections.shrink_to_fit();
        Self {
            named,
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

pub(super) fn socket_inode(descriptor: &Path) -> Option<u64> {
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
