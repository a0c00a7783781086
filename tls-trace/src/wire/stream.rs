//! One direction of a connection: segments in, observations out.

use bytes::Bytes;

use super::{
    message::{ObservationKind, Plaintext, PlaintextProtocol},
    output::{Output, Stop},
    plaintext::{Opening, SAMPLE, opening, opening_at_end},
    preface::{Reply, Requests, Step, begins, begins_header, may_be_reply},
    reassembly::Reassembly,
    record::Records,
};
use crate::event::{Segment, TcpFlags};

/// Reads one direction.
#[derive(Debug, Default)]
pub(super) struct Stream {
    reassembly: Reassembly,
    content: Content,
    speaks: Speaks,
}

/// What a direction is known to speak, for the judgement of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Speaks {
    #[default]
    Unknown,
    /// A PROXY protocol header, then something that is not known yet.
    Header,
    /// Requests that TLS may follow.
    Requests,
    /// Something that may be the answer to such requests.
    Reply,
    /// TLS, though nothing came before that the other one answers.
    Tls,
    /// TLS after requests.
    TlsAfterRequests,
    /// Not TLS, and nothing that comes before it.
    Plain,
}

#[derive(Debug)]
enum Content {
    /// The first bytes, as long as they do not tell what they are.
    Opening(Vec<u8>),
    /// What may come before TLS, from the client and from the server.
    Requests(Box<Requests>),
    Reply(Box<Reply>),
    Tls(Records),
    /// Not read any further.
    Closed,
}

impl Default for Content {
    fn default() -> Self {
        Self::Opening(Vec::new())
    }
}

impl Stream {
    pub(super) fn set_base(&mut self, seq: u32) {
        self.reassembly.set_base(seq);
    }

    /// What it is known to speak.
    pub(super) fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// Takes a segment of this direction; `other` is what the other one speaks, `bound` the most bytes
    /// to hold.
    pub(super) fn segment(
        &mut self,
        segment: &Segment,
        other: Speaks,
        bound: usize,
        output: &mut Output,
    ) {
        // Payload of an RST is a remark of whoever sent it, not data (RFC 9293 §3.5.3).
        if matches!(self.content, Content::Closed) || segment.flags.has(TcpFlags::RST) {
            return;
        }
        if let Err(stop) = self.take(segment, other, bound, output) {
            self.stop(stop, output);
        }
    }

    /// The other direction turned out to speak `other`.
    pub(super) fn other_speaks(&mut self, other: Speaks, bound: usize, output: &mut Output) {
        match (&mut self.content, other) {
            (Content::Opening(bytes), Speaks::TlsAfterRequests) if !bytes.is_empty() => {
                let mut reply = Box::<Reply>::default();
                // A few bytes: an opening.
                reply.read(bytes, bound);
                reply.follow();
                self.content = Content::Reply(reply);
            }
            (Content::Reply(reply), Speaks::TlsAfterRequests) => {
                reply.follow();
                if let Err(stop) = self.look_for_tls(bound, output) {
                    self.stop(stop, output);
                }
            }
            (Content::Reply(_), Speaks::Tls | Speaks::Plain) => self.conclude_preface(output),
            (Content::Requests(_), Speaks::Tls | Speaks::Plain)
                if self.speaks != Speaks::Header =>
            {
                self.conclude_preface(output);
            }
            _ => {}
        }
    }

    /// No more segments come.
    pub(super) fn finish(&mut self, output: &mut Output) {
        self.conclude_opening(output);
        self.conclude_preface(output);
        if !matches!(self.content, Content::Closed)
            && let Err(stop) = self.check_hole()
        {
            self.stop(stop, output);
        }
    }

    /// Bytes held.
    pub(super) fn held(&self) -> usize {
        let content = match &self.content {
            Content::Opening(bytes) => bytes.len(),
            Content::Requests(requests) => requests.held(),
            Content::Reply(reply) => reply.held(),
            Content::Tls(records) => records.held(),
            Content::Closed => 0,
        };
        content + self.reassembly.held()
    }

    fn take(
        &mut self,
        segment: &Segment,
        other: Speaks,
        bound: usize,
        output: &mut Output,
    ) -> Result<(), Stop> {
        let syn = u32::from(segment.flags.has(TcpFlags::SYN)); // It takes a sequence number.
        let seq = segment.seq.wrapping_add(syn);
        if syn > 0 || segment.length > 0 {
            self.reassembly.set_base(seq);
        }
        let captured = segment.payload.len().min(segment.length as usize);
        let captured = &segment.payload[..captured];
        // The number before an acknowledgment may be that of the FIN, which is no byte.
        let bare = segment.length == 0 && syn == 0 && !segment.flags.has(TcpFlags::FIN);
        let from = seq.wrapping_sub(u32::from(bare));
        if let Some(bytes) = self.reassembly.segment(from, segment.length, captured) {
            self.read(bytes, other, bound, output)?;
            while let Some(bytes) = self.reassembly.waiting() {
                self.read(&bytes, other, bound, output)?;
            }
        }
        if self.held() > bound || segment.last {
            self.check_hole()?;
        }
        if segment.flags.has(TcpFlags::FIN)
            && self
                .reassembly
                .has_all_before(seq.wrapping_add(segment.length))
        {
            self.conclude_opening(output);
        }
        Ok(())
    }

    /// Reads the bytes that follow those read before.
    fn read(
        &mut self,
        bytes: &[u8],
        other: Speaks,
        bound: usize,
        output: &mut Output,
    ) -> Result<(), Stop> {
        let offset = self.reassembly.next();
        self.reassembly.advance(bytes.len() as u64);
        let unneeded = match &mut self.content {
            Content::Opening(held) if held.is_empty() => self.open(bytes, other, bound, output)?,
            Content::Opening(held) => {
                let mut held = std::mem::take(held);
                held.extend_from_slice(bytes);
                self.open(&held, other, bound, output)?
            }
            Content::Requests(_) => self.request(bytes, bound, output)?,
            Content::Reply(reply) => {
                if reply.read(bytes, bound) {
                    self.look_for_tls(bound, output)?
                } else {
                    self.conclude_preface(output);
                    0
                }
            }
            Content::Tls(records) => records.read(offset, bytes, bound, output)?,
            Content::Closed => 0,
        };
        self.reassembly.advance(unneeded);
        Ok(())
    }

    /// Judges the first bytes of the stream and reads them if they are TLS. Returns how many after
    /// them need not be shown.
    fn open(
        &mut self,
        bytes: &[u8],
        other: Speaks,
        bound: usize,
        output: &mut Output,
    ) -> Result<u64, Stop> {
        let answers = matches!(other, Speaks::Requests | Speaks::TlsAfterRequests);
        let protocol = match opening(bytes) {
            Opening::Incomplete if answers => PlaintextProtocol::Other,
            Opening::Incomplete => return Ok(self.wait(bytes)),
            Opening::NotTls(protocol) => protocol,
            Opening::Tls => {
                self.speaks = Speaks::Tls;
                return self.tls(0, bytes, bound, output);
            }
        };
        let (requests, reply) = match other {
            Speaks::Unknown | Speaks::Header => (begins(bytes), may_be_reply(bytes)),
            Speaks::Reply => (begins(bytes), Some(false)),
            Speaks::Requests | Speaks::TlsAfterRequests => (Some(false), Some(true)),
            Speaks::Tls => (begins_header(bytes), Some(false)),
            Speaks::Plain => (Some(false), Some(false)),
        };
        match (requests, reply) {
            (Some(true), _) => {
                self.content = Content::Requests(Box::default());
                self.request(bytes, bound, output)
            }
            (Some(false), Some(true)) => {
                let mut reply = Box::<Reply>::default();
                let fits = reply.read(bytes, bound);
                if other == Speaks::TlsAfterRequests {
                    reply.follow_from_start();
                }
                self.content = Content::Reply(reply);
                self.speaks = Speaks::Reply;
                if !fits {
                    self.conclude_preface(output);
                    return Ok(0);
                }
                self.look_for_tls(bound, output)
            }
            (Some(false), Some(false)) => {
                self.plain(0, protocol, bytes, output);
                Ok(0)
            }
            _ => Ok(self.wait(bytes)),
        }
    }

    /// Keeps the first bytes until there are more.
    fn wait(&mut self, bytes: &[u8]) -> u64 {
        self.content = Content::Opening(bytes.to_vec());
        0
    }

    fn tls(
        &mut self,
        offset: u64,
        bytes: &[u8],
        bound: usize,
        output: &mut Output,
    ) -> Result<u64, Stop> {
        let mut records = Records::default();
        let unneeded = records.read(offset, bytes, bound, output)?;
        self.content = Content::Tls(records);
        Ok(unneeded)
    }

    fn plain(
        &mut self,
        offset: u64,
        protocol: PlaintextProtocol,
        bytes: &[u8],
        output: &mut Output,
    ) {
        let sample = Bytes::copy_from_slice(&bytes[..bytes.len().min(SAMPLE)]);
        output.push(
            offset,
            ObservationKind::NotTls(Plaintext { protocol, sample }),
        );
        self.close();
        self.speaks = Speaks::Plain;
    }

    /// Reads requests that TLS may follow.
    fn request(&mut self, bytes: &[u8], bound: usize, output: &mut Output) -> Result<u64, Stop> {
        let Content::Requests(requests) = &mut self.content else {
            return Ok(0);
        };
        match requests.read(bytes, bound) {
            Step::Incomplete => {
                self.speaks = if requests.is_header_only() {
                    Speaks::Header
                } else {
                    Speaks::Requests
                };
            }
            Step::Plain => self.conclude_preface(output),
            Step::Tls { offset, bytes } => {
                self.speaks = if requests.is_header_only() {
                    Speaks::Tls
                } else {
                    Speaks::TlsAfterRequests
                };
                for preface in requests.prefaces() {
                    output.push(offset, ObservationKind::Preface(preface));
                }
                return self.tls(offset, &bytes, bound, output);
            }
        }
        Ok(0)
    }

    /// Looks for the server's TLS in what it said.
    fn look_for_tls(&mut self, bound: usize, output: &mut Output) -> Result<u64, Stop> {
        let Content::Reply(reply) = &mut self.content else {
            return Ok(0);
        };
        let Some((offset, bytes)) = reply.tls() else {
            return Ok(0);
        };
        self.speaks = Speaks::Tls;
        self.tls(offset, &bytes, bound, output)
    }

    /// What was taken for something that comes before TLS is something else.
    fn conclude_preface(&mut self, output: &mut Output) {
        match std::mem::take(&mut self.content) {
            Content::Requests(requests) => {
                let (offset, sample) = requests.sample();
                for preface in requests.headers() {
                    output.push(offset, ObservationKind::Preface(preface));
                }
                self.content = Content::Closed;
                if let Some(protocol) = opening_at_end(sample) {
                    self.plain(offset, protocol, sample, output);
                }
            }
            Content::Reply(reply) => {
                self.content = Content::Closed;
                if let Some((offset, sample)) = reply.sample()
                    && let Some(protocol) = opening_at_end(sample)
                {
                    self.plain(offset, protocol, sample, output);
                }
            }
            other => self.content = other,
        }
    }

    /// Says what the first bytes are when no more come.
    fn conclude_opening(&mut self, output: &mut Output) {
        if let Content::Opening(bytes) = &mut self.content
            && let Some(protocol) = opening_at_end(bytes)
        {
            let bytes = std::mem::take(bytes);
            self.plain(0, protocol, &bytes, output);
        }
    }

    fn check_hole(&self) -> Result<(), Stop> {
        match self.reassembly.hole() {
            Some(missing) => Err(Stop::lost(self.reassembly.next(), missing)),
            None => Ok(()),
        }
    }

    fn stop(&mut self, stop: Stop, output: &mut Output) {
        output.push(stop.offset, stop.into_kind());
        self.close();
    }

    fn close(&mut self) {
        self.content = Content::Closed;
        self.reassembly = Reassembly::default();
    }
}
