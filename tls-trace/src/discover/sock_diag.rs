//! The kernel's socket diagnostics (sock_diag(7)): of open connections, their cookies, the name by which
//! every event of a connection calls it; and of one such name, the inode of its socket.

use std::{
    fs::{self, File},
    io,
    net::SocketAddr,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    thread,
};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_MULTIPART, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags},
};
use nix::{
    sched::{CloneFlags, setns},
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
};

/// A connection as the kernel names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) cookie: u64,
}

/// More than the kernel puts into one message of a dump (`netlink_dump`, net/netlink/af_netlink.c).
const BUFFER: usize = 64 * 1024;
/// `TCP_TIME_WAIT` of include/net/tcp_states.h.
const TIME_WAIT: u8 = 6;

/// The TCP connections in the network namespace of a process, and the inode of each socket: 0 where nobody has
/// accepted it.
///
/// # Errors
/// It is another one and cannot be entered (`CAP_SYS_ADMIN`), or the kernel has no `inet_diag`.
pub(super) fn of_namespace(pid: u32) -> io::Result<Vec<(Named, u64)>> {
    within(pid, || {
        let socket = open()?;
        let mut found = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let states = StateFlags::ESTABLISHED | StateFlags::CLOSE_WAIT;
            ask(&socket, NLM_F_DUMP, family, states, SocketId::new_v4())?;
            answers(&socket, |response| {
                found.push((named(&response), response.header.inode.into()));
            })?;
        }
        Ok(found)
    })
}

/// Inode of the socket of each connection, in the network namespace of a process; absent where it is gone,
/// or was never accepted.
///
/// # Errors
/// As those of [`of_namespace`].
pub(super) fn inodes(pid: u32, connections: Vec<Named>) -> io::Result<Vec<Option<u64>>> {
    within(pid, move || {
        let socket = open()?;
        let inode = |connection: &Named| inode(&socket, connection);
        connections.iter().map(inode).collect()
    })
}

/// Which of these connections have no socket any more, in the network namespace of a process. What stands for one in
/// TIME-WAIT is not counted as one.
///
/// # Errors
/// As those of [`of_namespace`].
pub(super) fn gone(pid: u32, connections: Vec<Named>) -> io::Result<Vec<bool>> {
    within(pid, move || {
        let socket = open()?;
        let gone = |connection: &Named| {
            let found = look_up(&socket, connection)?;
            Ok(found.is_none_or(|found| found.state == TIME_WAIT))
        };
        connections.iter().map(gone).collect()
    })
}

fn inode(socket: &OwnedFd, connection: &Named) -> io::Result<Option<u64>> {
    let found = look_up(socket, connection)?;
    Ok(found.and_then(|found| (found.inode != 0).then_some(found.inode)))
}

/// What the kernel says of one socket.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// As in include/net/tcp_states.h.
    state: u8,
    /// 0 where no process holds it.
    inode: u64,
}

/// Absent where there is no such socket.
fn look_up(socket: &OwnedFd, connection: &Named) -> io::Result<Option<Found>> {
    let id = socket_id(connection);
    let family = if connection.local.is_ipv4() {
        AF_INET
    } else {
        AF_INET6
    };
    ask(socket, 0, family, StateFlags::all(), id)?;
    let mut found = None;
    let answered = answers(socket, |response| {
        found = Some(Found {
            state: response.header.state,
            inode: response.header.inode.into(),
        });
    });
    match answered {
        Ok(()) => Ok(found),
        // No such addresses, or they are another socket's by now.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Runs in the network namespace of a process.
fn within<T: Send + 'static>(
    pid: u32,
    body: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    let own = fs::metadata("/proc/thread-self/ns/net")?;
    if namespace.metadata()?.ino() == own.ino() {
        return body();
    }
    // A thread of its own: nothing else may end up in that namespace.
    let inside = move || {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        body()
    };
    let thread = thread::Builder::new()
        .name("sock-diag".to_owned())
        .spawn(inside)?;
    thread
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

fn open() -> io::Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    Ok(socket)
}

fn ask(
    socket: &OwnedFd,
    flags: u16,
    family: u8,
    states: StateFlags,
    socket_id: SocketId,
) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | flags;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states,
        socket_id,
    };
    let message = SockDiagMessage::InetRequest(request);
    let mut message = NetlinkMessage::new(header, message.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    send(socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
    Ok(())
}

/// Reads messages up to the end of the dump, or the one that is not of a dump.
fn answers(socket: &OwnedFd, mut take: impl FnMut(InetResponse)) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    take(*response);
                    if message.header.flags & NLM_F_MULTIPART == 0 {
                        return Ok(());
                    }
                }
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            // Messages are aligned to 4 bytes (NLMSG_ALIGN).
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

fn named(response: &InetResponse) -> Named {
    let id = &response.header.socket_id;
    // Two words of the host's order, the lower one first (`sock_diag_save_cookie`).
    let [low, high] = [0, 4].map(|at| {
        let mut word = [0; 4];
        word.copy_from_slice(&id.cookie[at..at + 4]);
        u64::from(u32::from_ne_bytes(word))
    });
    Named {
        local: SocketAddr::new(id.source_address, id.source_port),
        remote: SocketAddr::new(id.destination_address, id.destination_port),
        cookie: high << 32 | low,
    }
}

/// The opposite of [`named`].
fn socket_id(connection: &Named) -> SocketId {
    let mut id = SocketId::new_v4();
    id.source_address = connection.local.ip();
    id.source_port = connection.local.port();
    id.destination_address = connection.remote.ip();
    id.destination_port = connection.remote.port();
    let words = [connection.cookie & 0xffff_ffff, connection.cookie >> 32];
    for (at, word) in [0, 4].into_iter().zip(words) {
        let word = u32::try_from(word).unwrap_or_default();
        id.cookie[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    id
}
