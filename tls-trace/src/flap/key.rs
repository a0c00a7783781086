//! Whose connections to which server.

use std::net::{IpAddr, SocketAddr};

use crate::{
    engine::Handshake,
    event::End,
    report::{Report, Role},
};

/// A program and a server, seen from one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The local program.
    holder: Holder,
    role: Role,
    peer: Peer,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Process(u32),
    /// A capture knows no processes.
    Address(IpAddr),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Peer {
    /// The server by the name its client asked for: behind one name may be many addresses.
    Name(Box<str>, u16),
    /// The server by the address that the client's socket holds.
    Address(SocketAddr),
    /// A client, by its address and the local port it came to.
    Client(IpAddr, u16),
}

impl Key {
    pub(super) fn of_report(report: &Report) -> Option<Self> {
        // In a capture the client's end may be either; who opened TCP is the client.
        if report.role == Role::Observer && report.tcp.opened_by != Some(End::Local) {
            return None;
        }
        Some(Self::new(
            report.role,
            report.pid,
            [report.local, report.remote],
            report.sni.as_deref(),
        ))
    }

    pub(super) fn of_handshake(handshake: &Handshake) -> Option<Self> {
        Some(Self::new(
            handshake.role,
            handshake.pid,
            [handshake.local?, handshake.remote?],
            handshake.server_name.as_deref(),
        ))
    }

    fn new(
        role: Role,
        pid: Option<u32>,
        [local, remote]: [SocketAddr; 2],
        sni: Option<&str>,
    ) -> Self {
        let peer = match (role, sni) {
            (Role::Server, _) => Peer::Client(remote.ip(), local.port()),
            (Role::Client | Role::Observer, Some(name)) => {
                Peer::Name(name.to_ascii_lowercase().into(), remote.port())
            }
            (Role::Client | Role::Observer, None) => Peer::Address(remote),
        };
        Self {
            holder: pid.map_or(Holder::Address(local.ip()), Holder::Process),
            role,
            peer,
        }
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn pid(&self) -> Option<u32> {
        match self.holder {
            Holder::Process(pid) => Some(pid),
            Holder::Address(_) => None,
        }
    }

    /// The other end, by name or address.
    pub(super) fn peer(&self) -> String {
        match &self.peer {
            Peer::Name(name, _) => name.to_string(),
            Peer::Address(address) => address.ip().to_string(),
            Peer::Client(address, _) => address.to_string(),
        }
    }

    /// Port of the server.
    pub(super) fn port(&self) -> u16 {
        match &self.peer {
            Peer::Name(_, port) | Peer::Client(_, port) => *port,
            Peer::Address(address) => address.port(),
        }
    }
}
