//! The server's part of what comes before TLS.

use super::{MAX, agree};
use crate::wire::{
    plaintext::SAMPLE,
    record::{ALERT, HANDSHAKE},
};

/// Whether the first bytes of a direction may be those of a server that speaks first and starts TLS
/// later; absent when more bytes are needed to tell.
pub(in crate::wire) fn may_be_reply(bytes: &[u8]) -> Option<bool> {
    /// SMTP and FTP, IMAP, POP3, IRC.
    const BEGINNINGS: [&[u8]; 8] = [
        b"220 ", b"220-", b"120 ", b"* ", b"+OK", b":", b"NOTICE ", b"<?xml",
    ];
    let longest = BEGINNINGS.iter().filter(|known| agree(bytes, known));
    match longest.map(|known| bytes.len() >= known.len()).max() {
        Some(complete) => complete.then_some(true),
        None => my_sql_greeting(bytes),
    }
}

/// A packet with sequence number 0 that begins with protocol version 10.
fn my_sql_greeting(bytes: &[u8]) -> Option<bool> {
    match *bytes {
        [_, _, 0, 0, version, ..] => Some(version == 10),
        [] | [_] | [_, _] | [_, _, 0] | [_, _, 0, 0] => None,
        _ => Some(false),
    }
}

/// Bytes of a server before its TLS.
#[derive(Debug, Default)]
pub(in crate::wire) struct Reply {
    held: Vec<u8>,
    /// Bytes that were held when the client began TLS.
    before: Option<usize>,
}

impl Reply {
    /// Takes the next bytes; false when they are too many to hold, more than `bound` in any case.
    pub(in crate::wire) fn read(&mut self, bytes: &[u8], bound: usize) -> bool {
        self.held.extend_from_slice(bytes);
        self.held.len() <= MAX.min(bound)
    }

    /// The client has begun TLS: so does the server with what it says next.
    pub(in crate::wire) fn follow(&mut self) {
        self.before.get_or_insert(self.held.len());
    }

    /// The client had begun TLS before the first byte of this.
    pub(in crate::wire) fn follow_from_start(&mut self) {
        self.before = Some(0);
    }

    /// Where TLS begins, once the client has begun it, and the bytes from there on. No reply in the
    /// clear holds the beginning of a ServerHello or of an alert.
    pub(in crate::wire) fn tls(&mut self) -> Option<(u64, Vec<u8>)> {
        self.before?;
        let starts = |at: &[u8]| match *at {
            [HANDSHAKE, 3, 0..=4, _, _, 2] => true,
            [ALERT, 3, 0..=4, 0, 2, level] => matches!(level, 1 | 2),
            _ => false,
        };
        let at = self.held.windows(6).position(starts)?;
        Some((at as u64, self.held.split_off(at)))
    }

    /// What it said instead of TLS: where the client began TLS, only what came after that, if anything.
    pub(in crate::wire) fn sample(&self) -> Option<(u64, &[u8])> {
        let from = self.before.unwrap_or(0);
        let said = &self.held[from..];
        (!said.is_empty()).then(|| (from as u64, &said[..said.len().min(SAMPLE)]))
    }

    pub(in crate::wire) fn held(&self) -> usize {
        self.held.len()
    }
}
