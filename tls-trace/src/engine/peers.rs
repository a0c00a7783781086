//! Finds the other end of a connection when its socket is on this host, too.

use hashlink::LruCache;

use super::{connection::Connection, moment::Endpoint};
use crate::event::ConnectionId;

/// Both ends open within microseconds of each other; remembering the latest few is enough.
const CAPACITY: usize = 8192;
/// Handshakes that are remembered by their random: a library may speak of them a while later.
const RANDOMS: usize = 32_768;
/// Connections of this host that one ClientHello may pass through, and be told apart.
const PASSED_ON: usize = 8;

#[derive(Debug)]
pub(super) struct Peers {
    by_addresses: LruCache<Addresses, ConnectionId>,
    by_random: LruCache<Sender, Holders>,
}

/// The first half of a ClientHello.random, and whether the connection's local end sent it.
type Sender = ([u8; 16], bool);

/// Connections that carry the same ClientHello in the same role: several where a proxy passes it on.
#[derive(Debug)]
struct Holders {
    latest: ConnectionId,
    /// Older ones, few; mostly none, which takes no memory.
    earlier: Vec<ConnectionId>,
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
            by_random: LruCache::new(RANDOMS),
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

    /// Remembers that a connection carries a ClientHello with this random, sent by its local end or not.
    pub(super) fn remember(&mut self, id: ConnectionId, random: &[u8; 32], sent: bool) {
        match self.by_random.get_mut(&key(random, sent)) {
            Some(holders) if holders.latest == id || holders.earlier.contains(&id) => {}
            Some(holders) => {
                if holders.earlier.len() + 1 < PASSED_ON {
                    holders.earlier.push(holders.latest);
                }
                holders.latest = id;
            }
            None => {
                let holders = Holders {
                    latest: id,
                    earlier: Vec::new(),
                };
                self.by_random.insert(key(random, sent), holders);
            }
        }
    }

    /// The connections that carry a ClientHello with this random, sent by their local end or not, the
    /// latest first: also found behind address translation.
    pub(super) fn by_random(
        &self,
        random: &[u8; 32],
        sent: bool,
    ) -> impl Iterator<Item = ConnectionId> {
        let holders = self.by_random.peek(&key(random, sent)).into_iter();
        holders.flat_map(|holders| {
            let earlier = holders.earlier.iter().rev().copied();
            std::iter::once(holders.latest).chain(earlier)
        })
    }
}

fn key(random: &[u8; 32], sent: bool) -> Sender {
    let mut half = [0; 16];
    half.copy_from_slice(&random[..16]);
    (half, sent)
}
