//! One direction of a connection: segments in, observations out.

use bytes::Bytes;

use super::{
    message::{ObservationKind, Plaintext},
    output::{Output, Stop},
    plaintext::{Opening, opening, opening_at_end},
    reassembly::Reassembly,
    record::Records,
};
use crate::event::{Segment, TcpFlags};

/// Bytes of a [`Plaintext::sample`].
const SAMPLE: usize = 128;

/// Reads one direction.
#[derive(Debug, Default)]
pub(super) struct Stream {
    reassembly: Reassembly,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// The first bytes, as long as they do not tell what they are.
    Opening(Vec<u8>),
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

    /// Takes a segment of this direction; `bound` is the most bytes to hold.
    pub(super) fn segment(&mut self, segment: &Segment, bound: usize, output: &mut Output) {
        // Payload of an RST is a remark of whoever sent it, not data (RFC 9293 §3.5.3).
        if matches!(self.content, Content::Closed) || segment.flags.has(TcpFlags::RST) {
            return;
        }
        if let Err(stop) = self.take(segment, bound, output) {
            self.stop(stop, output);
        }
    }

    /// No more segments come.
    pub(super) fn finish(&mut self, output: &mut Output) {
        self.conclude_opening(output);
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
            Content::Tls(records) => records.held(),
            Content::Closed => 0,
        };
        content + self.reassembly.held()
    }

    fn take(&mut self, segment: &Segment, bound: usize, output: &mut Output) -> Result<(), Stop> {
        let syn = u32::from(segment.flags.has(TcpFlags::SYN)); // It takes a sequence number.
        let seq = segment.seq.wrapping_add(syn);
        if syn > 0 || segment.length > 0 {
            self.reassembly.set_base(seq);
        }
        let captured = segment.payload.len().min(segment.length as usize);
        let captured = &segment.payload[..captured];
        if let Some(bytes) = self.reassembly.segment(seq, segment.length, captured) {
            self.read(bytes, bound, output)?;
            while let Some(bytes) = self.reassembly.waiting() {
                self.read(&bytes, bound, output)?;
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
    fn read(&mut self, bytes: &[u8], bound: usize, output: &mut Output) -> Result<(), Stop> {
        let offset = self.reassembly.next();
        self.reassembly.advance(bytes.len() as u64);
        let unneeded = match &mut self.content {
            Content::Opening(held) if held.is_empty() => self.open(bytes, bound, output)?,
            Content::Opening(held) => {
                let mut held = std::mem::take(held);
                held.extend_from_slice(bytes);
                self.open(&held, bound, output)?
            }
            Content::Tls(records) => records.read(offset, bytes, bound, output)?,
            Content::Closed => 0,
        };
        self.reassembly.advance(unneeded);
        Ok(())
    }

    /// Judges the first bytes of the stream and reads them if they are TLS. Returns how many after
    /// them need not be shown.
    fn open(&mut self, bytes: &[u8], bound: usize, output: &mut Output) -> Result<u64, Stop> {
        match opening(bytes) {
            Opening::Incomplete => self.content = Content::Opening(bytes.to_vec()),
            Opening::NotTls(protocol) => {
                let sample = Bytes::copy_from_slice(&bytes[..bytes.len().min(SAMPLE)]);
                output.push(0, ObservationKind::NotTls(Plaintext { protocol, sample }));
                self.close();
            }
            Opening::Tls => {
                let mut records = Records::default();
                let unneeded = records.read(0, bytes, bound, output)?;
                self.content = Content::Tls(records);
                return Ok(unneeded);
            }
        }
        Ok(0)
    }

    /// Says what the first bytes are when no more come.
    fn conclude_opening(&mut self, output: &mut Output) {
        if let Content::Opening(bytes) = &mut self.content
            && let Some(protocol) = opening_at_end(bytes)
        {
            let sample = Bytes::from(std::mem::take(bytes));
            output.push(0, ObservationKind::NotTls(Plaintext { protocol, sample }));
            self.close();
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
