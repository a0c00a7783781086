//! The record layer of one direction (RFC 8446 §5, RFC 5246 §6.2): records split and coalesced in
//! any way, in the clear and behind encryption.

use super::{
    handshake::{self, Messages},
    message::{AlertMessage, EncryptedRecord, ObservationKind},
    output::{Output, Stop},
};

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;
/// RFC 6520.
pub(super) const HEARTBEAT: u8 = 24;

/// Type, version, length.
pub(super) const HEADER: usize = 5;
/// Most bytes a record may have behind its header (RFC 5246 §6.2.3; RFC 8446 allows less).
pub(super) const MAX_LENGTH: u16 = (1 << 14) + 2048;
/// Bytes of a handshake record's body that tell a hello from a ciphertext.
const PEEK: usize = 6;

/// What is known of the protection of this direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Protection {
    /// Nothing: this is the first record. It may be one from the middle of a connection.
    #[default]
    Unknown,
    /// A hello was seen, no ChangeCipherSpec and no application data since.
    Clear,
    /// ChangeCipherSpec or application data were seen. In TLS 1.3 only the outer types tell, and the
    /// one handshake record in the clear that may still come is a hello after a HelloRetryRequest.
    Encrypted,
}

/// Reads records.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// The header under way, and as much of the body as is needed to judge it.
    head: [u8; HEADER + PEEK],
    /// Bytes in `head`.
    filled: u8,
    /// Bytes still to come of the body of a handshake record in the clear.
    remaining: u16,
    protection: Protection,
    messages: Messages,
}

impl Records {
    /// Takes the next bytes of the stream, `offset` being theirs. All are consumed; the result is how
    /// many after them belong to an encrypted body and need not be shown.
    pub(super) fn read(
        &mut self,
        mut offset: u64,
        mut bytes: &[u8],
        bound: usize,
        output: &mut Output,
    ) -> Result<u64, Stop> {
        while !bytes.is_empty() {
            let consumed = if self.remaining > 0 {
                let body = &bytes[..bytes.len().min(self.remaining.into())];
                self.messages.read(offset, body, bound, output)?;
                self.remaining -= u16::try_from(body.len()).unwrap_or(self.remaining);
                body.len()
            } else {
                let start = offset - u64::from(self.filled);
                let taken = self.fill(start, bytes)?;
                if usize::from(self.filled) < self.wanted() {
                    return Ok(0);
                }
                taken + self.begin(start, bound, output)?
            };
            let Some(rest) = bytes.get(consumed..) else {
                return Ok((consumed - bytes.len()) as u64);
            };
            bytes = rest;
            offset += consumed as u64;
        }
        Ok(0)
    }

    /// Bytes held.
    pub(super) fn held(&self) -> usize {
        self.messages.held()
    }

    /// Moves bytes into `head` until it is full or they end; returns how many.
    fn fill(&mut self, start: u64, bytes: &[u8]) -> Result<usize, Stop> {
        let mut taken = 0;
        loop {
            let filled = usize::from(self.filled);
            let count = (self.wanted() - filled).min(bytes.len() - taken);
            if count == 0 {
                return Ok(taken);
            }
            self.head[filled..filled + count].copy_from_slice(&bytes[taken..taken + count]);
            taken += count;
            self.filled += u8::try_from(count).unwrap_or(0);
            if filled < HEADER && filled + count == HEADER {
                self.check_header(start)?;
            }
        }
    }

    fn content_type(&self) -> u8 {
        self.head[0]
    }

    fn length(&self) -> u16 {
        u16::from_be_bytes([self.head[3], self.head[4]])
    }

    /// Bytes of `head` needed to judge the record, as far as can be said now.
    fn wanted(&self) -> usize {
        if usize::from(self.filled) < HEADER {
            return HEADER;
        }
        let peek = match (self.content_type(), self.protection) {
            (CHANGE_CIPHER_SPEC, _) | (HANDSHAKE, Protection::Unknown) => 1,
            (ALERT, _) if self.length() == 2 => 2,
            (HANDSHAKE, Protection::Encrypted)
                if usize::from(self.length()) >= PEEK && !self.messages.is_partial() =>
            {
                PEEK
            }
            _ => 0,
        };
        HEADER + peek
    }

    fn check_header(&self, start: u64) -> Result<(), Stop> {
        let malformed = |rule| Err(Stop::malformed(start, rule));
        let length = self.length();
        match self.content_type() {
            _ if self.head[1] != 3 => malformed("the record's version is not 3.x"),
            _ if length > MAX_LENGTH => malformed("the record is longer than 2^14 + 2048"),
            CHANGE_CIPHER_SPEC if length != 1 => malformed("ChangeCipherSpec is not one byte"),
            HANDSHAKE if length == 0 => malformed("a handshake record is empty"),
            ALERT if length != 2 && self.protection == Protection::Clear => {
                malformed("an alert in the clear is not two bytes")
            }
            CHANGE_CIPHER_SPEC | APPLICATION_DATA | HEARTBEAT if self.messages.is_partial() => {
                malformed("another record stands inside a handshake message")
            }
            CHANGE_CIPHER_SPEC..=HEARTBEAT => Ok(()),
            _ => malformed("the record's content type is unknown"),
        }
    }

    /// Acts on the record whose `head` is complete. Returns how many bytes behind `head` are of no
    /// interest.
    fn begin(&mut self, start: u64, bound: usize, output: &mut Output) -> Result<usize, Stop> {
        let filled = usize::from(std::mem::take(&mut self.filled));
        let head = self.head;
        let body = &head[HEADER..filled];
        let length = self.length();
        match self.content_type() {
            CHANGE_CIPHER_SPEC => {
                if body != [1] {
                    let rule = "ChangeCipherSpec is not 1";
                    return Err(Stop::malformed(start, rule));
                }
                self.protection = Protection::Encrypted;
                output.push(start, ObservationKind::ChangeCipherSpec);
            }
            // No cipher makes two bytes of an alert: one of this length is always in the clear.
            ALERT if length == 2 => {
                let (level, description) = (body[0], body[1]);
                let alert = AlertMessage { level, description };
                output.push(start, ObservationKind::Alert(alert));
            }
            HANDSHAKE if self.is_clear(body) => {
                if self.protection == Protection::Unknown {
                    self.protection = Protection::Clear;
                }
                self.messages
                    .read(start + HEADER as u64, body, bound, output)?;
                self.remaining = length - u16::try_from(body.len()).unwrap_or(length);
            }
            content_type => {
                if content_type == APPLICATION_DATA {
                    self.protection = Protection::Encrypted;
                }
                let record = EncryptedRecord {
                    content_type,
                    length,
                };
                output.push(start, ObservationKind::Encrypted(record));
                return Ok(usize::from(length) - body.len());
            }
        }
        Ok(0)
    }

    /// Whether the handshake record whose body begins so is in the clear.
    fn is_clear(&self, body: &[u8]) -> bool {
        let is_hello = |kind| matches!(kind, handshake::CLIENT_HELLO | handshake::SERVER_HELLO);
        match (self.protection, body) {
            (Protection::Unknown, &[kind, ..]) => is_hello(kind),
            // After a HelloRetryRequest both hellos may follow a ChangeCipherSpec (RFC 8446 §D.4). A
            // ciphertext that begins like one, its length included, would be a rare accident.
            (Protection::Encrypted, &[kind, a, b, c, major, minor]) => {
                let message = 4 + u32::from_be_bytes([0, a, b, c]);
                is_hello(kind)
                    && (major, minor) == (3, 3)
                    && (u32::from(self.length())..1 << 18).contains(&message)
            }
            // Nothing was encrypted yet; or this is the rest of a hello begun in the clear, or a
            // record too short for any cipher.
            _ => true,
        }
    }
}
