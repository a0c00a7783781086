//! Fragments of IP datagrams, put together (RFC 791 §3.2, RFC 8200 §4.5) within bounds.

use std::{net::IpAddr, time::Duration};

use etherparse::{IpFragOffset, IpNumber, defrag::IpDefragBuf};
use hashlink::LruCache;

use crate::event::Timestamp;

/// Datagrams under way; each may take 64 KiB.
const DATAGRAMS: usize = 64;
/// How long a datagram waits for its rest (`IP_FRAG_TIME`, include/net/ip.h).
const WAIT: Duration = Duration::from_secs(30);

/// What the fragments of one datagram have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Datagram {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) identification: u32,
}

/// Datagrams of which fragments are missing.
pub(super) struct Fragments {
    datagrams: LruCache<Datagram, (Timestamp, IpDefragBuf)>,
}

impl Fragments {
    pub(super) fn new() -> Self {
        Self {
            datagrams: LruCache::new(DATAGRAMS),
        }
    }

    /// Takes a fragment; returns the payload of the datagram when that was the last one.
    pub(super) fn add(
        &mut self,
        time: Timestamp,
        datagram: Datagram,
        offset: IpFragOffset,
        more: bool,
        payload: &[u8],
    ) -> Option<Vec<u8>> {
        let new = || {
            let buffer = IpDefragBuf::new(IpNumber(datagram.protocol), Vec::new(), Vec::new());
            (time, buffer)
        };
        let (began, buffer) = self.datagrams.entry(datagram).or_insert_with(new);
        if time.since(*began) > WAIT {
            (*began, *buffer) = new();
        }
        // A fragment that contradicts those before is not used; the datagram stays incomplete.
        buffer.add(offset, more, payload).ok()?;
        if !buffer.is_complete() {
            return None;
        }
        let (_, buffer) = self.datagrams.remove(&datagram)?;
        Some(buffer.take_bufs().0)
    }
}
