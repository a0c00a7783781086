//! Who holds a socket whose process has done nothing yet that would tell: a server that accepted and then
//! neither answered nor closed. Asked for connections that are about to be reported only, by a thread of
//! its own: /proc knows, but has to be read from one end to the other.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt as _,
    sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    thread,
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use procfs::process::Process;

use super::{
    existing::{namespaces, pids, socket_inode},
    sock_diag::{self, Named},
};
use crate::{engine::HolderWanted, event::ConnectionId};

/// Sockets that wait to be looked for; those beyond it are reported without a process.
const QUEUE: usize = 256;
/// CPU time that one look may take.
const LONGEST: Duration = Duration::from_millis(100);
/// Looks take at most one part in so many of a CPU's time,
const SHARE: u32 = 10;
/// once they have taken this much of it.
const BURST: Duration = Duration::from_millis(100);

/// Looks for the processes that hold sockets.
#[derive(Debug)]
pub struct Holders {
    wanted: SyncSender<HolderWanted>,
    found: Receiver<(ConnectionId, u32)>,
    /// Not looked for.
    refused: Vec<ConnectionId>,
}

impl Holders {
    /// Starts the thread; it ends when this is dropped.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn start() -> io::Result<Self> {
        let (wanted, queue) = sync_channel(QUEUE);
        let (results, found) = channel();
        thread::Builder::new()
            .name("holders".to_owned())
            .spawn(move || run(&queue, &results))?;
        Ok(Self {
            wanted,
            found,
            refused: Vec::new(),
        })
    }

    /// Has it looked for, unless too many are already.
    pub fn look_for(&mut self, wanted: HolderWanted) {
        if self.wanted.try_send(wanted).is_err() {
            self.refused.push(wanted.connection);
        }
    }

    /// Answers that came since: a process id for each that was asked for, 0 where none was found.
    pub fn answers(&mut self) -> impl Iterator<Item = (ConnectionId, u32)> {
        let refused = self.refused.drain(..).map(|connection| (connection, 0));
        refused.chain(self.found.try_iter())
    }
}

/// Until nobody asks any more.
fn run(queue: &Receiver<HolderWanted>, results: &Sender<(ConnectionId, u32)>) {
    let (mut debt, mut looked) = (Duration::ZERO, Instant::now());
    while let Ok(first) = queue.recv() {
        debt = debt.saturating_sub(looked.elapsed() / SHARE);
        looked = Instant::now();
        let before = cpu_time();
        let mut batch = vec![first];
        batch.extend(queue.try_iter());
        let found = find(&batch);
        for wanted in batch {
            let pid = found.get(&wanted.connection).copied().unwrap_or(0);
            if results.send((wanted.connection, pid)).is_err() {
                return;
            }
        }
        debt += cpu_time().saturating_sub(before);
        thread::sleep(debt.saturating_sub(BURST) * SHARE);
    }
}

/// What this thread took so far.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// The process of each socket. Of several the one that started first: it accepted, the others are its
/// children.
fn find(wanted: &[HolderWanted]) -> HashMap<ConnectionId, u32> {
    let sockets = inodes(wanted);
    let mut holders: HashMap<u64, u32> = HashMap::new();
    let before = cpu_time();
    // One whose socket is gone, or was never accepted, costs no look at processes.
    let pids = pids().take_while(|_| cpu_time().saturating_sub(before) < LONGEST);
    for pid in pids.take_while(|_| !sockets.is_empty()) {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd"));
        let descriptors = descriptors.into_iter().flatten().flatten();
        let inodes = descriptors.filter_map(|descriptor| socket_inode(&descriptor.path()));
        for inode in inodes.filter(|inode| sockets.contains_key(inode)) {
            let holder = holders.entry(inode).or_insert(pid);
            if *holder != pid && started(pid) < started(*holder) {
                *holder = pid;
            }
        }
    }
    let known = |(inode, id): (&u64, &ConnectionId)| Some((*id, *holders.get(inode)?));
    sockets.iter().filter_map(known).collect()
}

/// When a process started, in the kernel's ticks since boot; the last of all where it is gone.
fn started(pid: u32) -> u64 {
    let process = i32::try_from(pid)
        .ok()
        .and_then(|pid| Process::new(pid).ok());
    let stat = process.and_then(|process| process.stat().ok());
    stat.map_or(u64::MAX, |stat| stat.starttime)
}

/// Connections by the inode of their socket.
fn inodes(wanted: &[HolderWanted]) -> HashMap<u64, ConnectionId> {
    let answers = ask(wanted, sock_diag::inodes).into_iter();
    answers
        .filter_map(|(id, inode)| Some((inode?, id)))
        .collect()
}

/// Asks the kernel for sockets, each in its network namespace. Without an answer: those whose namespace has no process
/// or cannot be entered.
pub(super) fn ask<T>(
    wanted: &[HolderWanted],
    question: impl Fn(u32, Vec<Named>) -> io::Result<Vec<T>>,
) -> Vec<(ConnectionId, T)> {
    let own = fs::metadata("/proc/self/ns/net").map_or(0, |metadata| metadata.ino());
    let mut by_namespace: HashMap<u32, Vec<&HolderWanted>> = HashMap::new();
    for wanted in wanted {
        by_namespace.entry(wanted.netns).or_default().push(wanted);
    }
    let only_own = by_namespace.keys().all(|netns| u64::from(*netns) == own);
    let others = (!only_own).then(namespaces).unwrap_or_default();
    let mut all = Vec::new();
    for (netns, wanted) in by_namespace {
        let pid = if u64::from(netns) == own {
            Some(std::process::id())
        } else {
            others.get(&netns).copied()
        };
        let Some(pid) = pid else {
            continue;
        };
        let names = wanted.iter().map(|wanted| named(wanted));
        match question(pid, names.collect()) {
            Ok(answers) => {
                let ids = wanted.iter().map(|wanted| wanted.connection);
                all.extend(ids.zip(answers));
            }
            Err(error) => tracing::debug!(netns, %error, "sockets cannot be asked for"),
        }
    }
    all
}

fn named(wanted: &HolderWanted) -> Named {
    Named {
        local: wanted.local,
        remote: wanted.remote,
        cookie: wanted.connection.0,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// The connection from `client` as its server's end is called.
    fn wanted(client: &TcpStream) -> HolderWanted {
        let (local, remote) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
        let all = sock_diag::of_namespace(std::process::id()).unwrap();
        let same = |(named, _): &&(Named, u64)| (named.local, named.remote) == (local, remote);
        let netns = fs::metadata("/proc/self/ns/net").unwrap().ino();
        HolderWanted {
            connection: ConnectionId(all.iter().find(same).unwrap().0.cookie),
            local,
            remote,
            netns: u32::try_from(netns).unwrap(),
        }
    }

    #[test]
    fn whoever_accepted_holds_it() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                continue;
            };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let wanted = wanted(&client);
            assert!(find(&[wanted]).is_empty(), "not accepted yet");
            let server = listener.accept().unwrap();
            let found = HashMap::from([(wanted.connection, std::process::id())]);
            assert_eq!(find(&[wanted]), found);
            let another = HolderWanted {
                connection: ConnectionId(wanted.connection.0 + (1 << 40)),
                ..wanted
            };
            assert!(find(&[another]).is_empty(), "the addresses are another's");
            drop(server);
            assert!(find(&[wanted]).is_empty(), "closed");
        }
    }

    #[test]
    fn answers_come_by_themselves() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let _server = listener.accept().unwrap();
        let wanted = wanted(&client);
        let mut holders = Holders::start().unwrap();
        holders.look_for(wanted);
        let found = holders.found.recv_timeout(Duration::from_secs(20));
        assert_eq!(found, Ok((wanted.connection, std::process::id())));
    }
}
