//! Handshake messages in the clear: fragmented over records, or several in one (RFC 8446 §5.1).

use bytes::Bytes;

use super::{
    message::{ClientHello, HandshakeMessage, ObservationKind, ServerHello},
    output::{Output, Stop},
};

pub(super) const CLIENT_HELLO: u8 = 1;
pub(super) const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;

/// Type and 24-bit length.
const HEADER: usize = 4;

/// Joins the bodies of handshake records into messages.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// Bytes of the message under way. Of one that is not kept only the header is held.
    partial: Vec<u8>,
    /// Offset in the stream of the message under way.
    start: u64,
    /// Body bytes passed over of a message that is not kept.
    passed: usize,
    client_hello_started: bool,
}

impl Messages {
    /// Takes the next bytes of handshake records; `offset` is theirs in the stream, `bound` the most
    /// bytes to hold.
    pub(super) fn read(
        &mut self,
        mut offset: u64,
        mut bytes: &[u8],
        bound: usize,
        output: &mut Output,
    ) -> Result<(), Stop> {
        while !bytes.is_empty() {
            if self.partial.is_empty() {
                self.start = offset;
                self.note_start(bytes[0], output);
            }
            let before = bytes.len();
            self.step(&mut bytes, bound, output)?;
            offset += (before - bytes.len()) as u64;
        }
        Ok(())
    }

    /// Whether a message is under way.
    pub(super) fn is_partial(&self) -> bool {
        !self.partial.is_empty()
    }

    /// Bytes held.
    pub(super) fn held(&self) -> usize {
        self.partial.len()
    }

    /// Consumes bytes up to the end of the header or of the message, at least one.
    fn step(&mut self, bytes: &mut &[u8], bound: usize, output: &mut Output) -> Result<(), Stop> {
        if self.partial.is_empty()
            && let Some(header) = Header::read(bytes)
            && header.total() <= bound
            && let Some((message, rest)) = bytes.split_at_checked(header.total())
        {
            // The common case: whole within one segment, nothing to hold.
            *bytes = rest;
            return self.complete(header, &message[HEADER..], bound, output);
        }
        if self.partial.len() < HEADER {
            self.hold(HEADER, bytes);
        }
        let Some(header) = Header::read(&self.partial) else {
            return Ok(());
        };
        if !header.is_kept(bound) {
            if header.is_hello() {
                return Err(Stop::lost(self.start, header.total() as u64));
            }
            let passed = bytes.len().min(header.length - self.passed);
            *bytes = &bytes[passed..];
            self.passed += passed;
            if self.passed == header.length {
                self.passed = 0;
                self.partial.clear();
                return self.complete(header, &[], bound, output);
            }
            return Ok(());
        }
        self.hold(header.total(), bytes);
        if self.partial.len() == header.total() {
            let message = std::mem::take(&mut self.partial);
            return self.complete(header, &message[HEADER..], bound, output);
        }
        Ok(())
    }

    /// Moves bytes into `partial` until it has `length` of them.
    fn hold(&mut self, length: usize, bytes: &mut &[u8]) {
        let (taken, rest) = bytes.split_at(bytes.len().min(length - self.partial.len()));
        self.partial.extend_from_slice(taken);
        *bytes = rest;
    }

    fn note_start(&mut self, message_type: u8, output: &mut Output) {
        if message_type == CLIENT_HELLO && !self.client_hello_started {
            self.client_hello_started = true;
            output.push(self.start, ObservationKind::ClientHelloStarted);
        }
    }

    fn complete(
        &self,
        header: Header,
        body: &[u8],
        bound: usize,
        output: &mut Output,
    ) -> Result<(), Stop> {
        let malformed = |rule| Stop::malformed(self.start, rule);
        let kind = match header.message_type {
            CLIENT_HELLO => {
                let hello = ClientHello::parse(body)
                    .ok_or(malformed("a field of ClientHello does not fit"))?;
                ObservationKind::ClientHello(Box::new(hello))
            }
            SERVER_HELLO => {
                let hello = ServerHello::parse(body)
                    .ok_or(malformed("a field of ServerHello does not fit"))?;
                ObservationKind::ServerHello(Box::new(hello))
            }
            message_type => ObservationKind::Handshake(HandshakeMessage {
                message_type,
                length: u32::try_from(header.length).unwrap_or(u32::MAX),
                // A copy: a slice would pin the whole segment for as long as somebody keeps it.
                body: if header.is_kept(bound) {
                    Bytes::copy_from_slice(body)
                } else {
                    Bytes::new()
                },
            }),
        };
        output.push(self.start, kind);
        Ok(())
    }
}

/// The header of a handshake message.
#[derive(Clone, Copy, Debug)]
struct Header {
    message_type: u8,
    length: usize,
}

impl Header {
    fn read(bytes: &[u8]) -> Option<Self> {
        let [message_type, a, b, c] = *bytes.first_chunk::<HEADER>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Some(Self {
            message_type,
            length,
        })
    }

    fn total(self) -> usize {
        HEADER + self.length
    }

    fn is_hello(self) -> bool {
        matches!(self.message_type, CLIENT_HELLO | SERVER_HELLO)
    }

    /// Whether somebody wants the body, and it may be held.
    fn is_kept(self, bound: usize) -> bool {
        let wanted = self.is_hello()
            || matches!(
                self.message_type,
                CERTIFICATE | SERVER_KEY_EXCHANGE | CERTIFICATE_REQUEST
            );
        wanted && self.total() <= bound
    }
}
