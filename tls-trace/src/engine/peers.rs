//! Finds the other end of a connection when its socket is on this host, too.

use hashlink::LruCache;

use super::{connection::Connection, moment::Endpoint};
use crate::event::ConnectionId;

/// Both ends open within microseconds of each other; remembering the latest few is enough.
const CAPACITY: usize = 8192;

#[derive(Debug)]
pub(super) struct Peers {
    by_addresses: LruCache<Addresses, ConnectionId>,
    /// By the first half of the random and the role.
    by_random: LruCache<([u8; 16], bool), ConnectionId>,
}

/// Of a socket, wherever it is on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Addresses {
    /// Only for loopback, which every network namespace has for itself.
    netns: u32,
    local: Endpoint,
    remote: Endpoint,
}

impl Addresses {
    pub(super) fn new(netns: u32, local: Endpoint, remote: Endpoint) -> Self {
        Self {
            netns: if local.ip.is_loopback() { netns } else { 0 },
            local,
            remote,
        }
    }
}

impl Peers {
    pub(super) fn new() -> Self {
        Self {
            by_addresses: LruCache::new(CAPACITY),
            by_random: LruCache::new(CAPACITY),
        }
    }

    /// Remembers a connection by its addresses and returns the one with the mirrored addresses.
    pub(super) fn by_addresses(
        &mut self,
        id: ConnectionId,
        connection: &Connection,
    ) -> Option<ConnectionId> {
        let (local, remote) = (connection.local, connection.remote);
        if !local.is_known() || !remote.is_known() {
            return None;
        }
        let own = Addresses::new(connection.netns, local, remote);
        let mirrored = Addresses::new(connection.netns, remote, local);
        self.by_addresses.insert(own, id);
        self.by_addresses
            .peek(&mirrored)
            .copied()
            .filter(|peer| *peer != id)
    }

    /// Remembers a ClientHello.random with the role that this end has, and returns the connection
    /// that has it in the other role: also found behind address translation.
    pub(super) fn by_random(
        &mut self,
        id: ConnectionId,
        random: &[u8; 32],
        client: bool,
    ) -> Option<ConnectionId> {
        let mut half = [0; 16];
        half.copy_from_slice(&random[..16]);
        self.by_random.insert((half, client), id);
        self.by_random
            .peek(&(half, !client))
            .copied()
            .filter(|peer| *peer != id)
    }
}
