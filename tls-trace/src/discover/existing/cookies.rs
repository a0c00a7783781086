//! Socket cookies of open connections, from the kernel's socket diagnostics (sock_diag(7)): the name
//! by which every event of a connection calls it.

use std::{
    fs::{self, File},
    io,
    net::{IpAddr, SocketAddr},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    thread,
};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use nix::{
    sched::{CloneFlags, setns},
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
};

use super::Address;

/// Addresses of a connection's local and remote end, and its cookie.
pub(super) type Named = ((Address, Address), u64);

/// More than the kernel puts into one message of a dump (`netlink_dump`, net/netlink/af_netlink.c).
const BUFFER: usize = 64 * 1024;

/// Cookies of the TCP connections in the network namespace of a process.
///
/// # Errors
/// It is another one and cannot be entered (`CAP_SYS_ADMIN`), or the kernel has no `inet_diag`.
pub(super) fn of_namespace(pid: u32) -> io::Result<Vec<Named>> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    let own = fs::metadata("/proc/thread-self/ns/net")?;
    if namespace.metadata()?.ino() == own.ino() {
        return dump();
    }
    // A thread of its own: nothing else may end up in that namespace.
    let dump = move || {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        dump()
    };
    let thread = thread::Builder::new()
        .name("sock-diag".to_owned())
        .spawn(dump)?;
    thread
        .join()
        .unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
}

fn dump() -> io::Result<Vec<Named>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        ask(&socket, family)?;
        answers(&socket, &mut found)?;
    }
    Ok(found)
}

fn ask(socket: &OwnedFd, family: u8) -> io::Result<()> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::ESTABLISHED | StateFlags::CLOSE_WAIT,
        socket_id: SocketId::new_v4(),
    };
    let message = SockDiagMessage::InetRequest(request);
    let mut message = NetlinkMessage::new(header, message.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    send(socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
    Ok(())
}

/// Reads messages up to the end of the dump.
fn answers(socket: &OwnedFd, found: &mut Vec<Named>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<SockDiagMessage>::deserialize(rest).map_err(io::Error::other)?;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    found.push(named(&response.header.socket_id));
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

fn named(id: &SocketId) -> Named {
    let address = |ip: IpAddr, port| Address::from(&SocketAddr::new(ip, port));
    let local = address(id.source_address, id.source_port);
    let remote = address(id.destination_address, id.destination_port);
    // Two words of the host's order, the lower one first (`sock_diag_save_cookie`).
    let [low, high] = [0, 4].map(|at| {
        let mut word = [0; 4];
        word.copy_from_slice(&id.cookie[at..at + 4]);
        u64::from(u32::from_ne_bytes(word))
    });
    ((local, remote), high << 32 | low)
}
