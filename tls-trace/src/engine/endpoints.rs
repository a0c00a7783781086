//! Server endpoints that spoke TLS before: what makes silence or plain HTTP there a failure.

use hashlink::LruCache;

use super::moment::Endpoint;

/// Endpoints remembered.
const CAPACITY: usize = 4096;

/// Ports assigned by IANA to protocols that begin with TLS.
const ASSIGNED: [u16; 11] = [443, 465, 563, 636, 853, 989, 990, 992, 993, 994, 995];

#[derive(Debug)]
pub(super) struct Endpoints {
    seen: LruCache<(u32, Endpoint), ()>,
}

impl Endpoints {
    pub(super) fn new() -> Self {
        Self {
            seen: LruCache::new(CAPACITY),
        }
    }

    /// The server at this endpoint, if any, spoke TLS, as seen from a network namespace.
    pub(super) fn learn(&mut self, netns: u32, server: Option<Endpoint>) {
        if let Some(server) = server {
            self.seen.insert((netns, server), ());
        }
    }

    /// Whether TLS was spoken there before.
    pub(super) fn speaks_tls(&self, netns: u32, server: Endpoint) -> bool {
        self.seen.peek(&(netns, server)).is_some()
    }

    /// Whether TLS is spoken there by assignment; suggests, proves nothing.
    pub(super) fn is_assigned(server: Endpoint) -> bool {
        ASSIGNED.contains(&server.port)
    }
}
