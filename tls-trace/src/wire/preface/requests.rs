//! The client's part of what comes before TLS.

use super::{
    MAX, Preface,
    request::{Request, protocol, request},
};
use crate::wire::plaintext::{Opening, SAMPLE, opening};

/// Whether the first bytes of a direction may begin requests that TLS follows; absent when more bytes
/// are needed to tell.
pub(in crate::wire) fn begins(bytes: &[u8]) -> Option<bool> {
    match protocol(bytes) {
        Ok(Some(_)) => Some(true),
        Ok(None) => None,
        Err(()) => Some(false),
    }
}

/// The same for a PROXY protocol header, which no answer follows.
pub(in crate::wire) fn begins_header(bytes: &[u8]) -> Option<bool> {
    match protocol(bytes) {
        Ok(Some(protocol)) => Some(is_header(protocol)),
        Ok(None) => None,
        Err(()) => Some(false),
    }
}

fn is_header(protocol: Preface) -> bool {
    matches!(protocol, Preface::ProxyV1 | Preface::ProxyV2)
}

/// Reads requests up to the first byte of TLS.
#[derive(Debug, Default)]
pub(in crate::wire) struct Requests {
    /// Offset in the stream of the first byte held.
    offset: u64,
    held: Vec<u8>,
    /// Those that are over.
    passed: Vec<Preface>,
    /// The one under way.
    protocol: Option<Under>,
    /// The first bytes, not counting a header.
    sample: Vec<u8>,
    sample_offset: u64,
}

#[derive(Clone, Copy, Debug)]
struct Under {
    protocol: Preface,
    /// It has had a request already.
    begun: bool,
    /// TLS was asked for.
    asked: bool,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::wire) enum Step {
    /// More bytes are needed.
    Incomplete,
    /// TLS begins here.
    Tls {
        /// In the stream.
        offset: u64,
        /// Its first bytes.
        bytes: Vec<u8>,
    },
    /// What comes here does not come before TLS.
    Plain,
}

impl Requests {
    /// Takes the next bytes of the stream; no request is longer than `bound`.
    pub(in crate::wire) fn read(&mut self, bytes: &[u8], bound: usize) -> Step {
        if self.held.len() + bytes.len() + SAMPLE > MAX.min(bound) {
            return Step::Plain;
        }
        self.held.extend_from_slice(bytes);
        let missing = SAMPLE.saturating_sub(self.sample.len());
        self.sample.extend(bytes.iter().take(missing));
        loop {
            match self.next() {
                Ok(length) => self.consume(length),
                Err(step) => return step,
            }
        }
    }

    /// The protocols in the order they came.
    pub(in crate::wire) fn prefaces(&self) -> impl Iterator<Item = Preface> + '_ {
        let last = self.protocol.map(|under| under.protocol);
        self.passed.iter().copied().chain(last)
    }

    /// Those of them that came before [`Self::sample`].
    pub(in crate::wire) fn headers(&self) -> impl Iterator<Item = Preface> + '_ {
        let passed = self.passed.iter().copied();
        passed.filter(|preface| is_header(*preface))
    }

    /// Only a PROXY protocol header so far, which no answer follows.
    pub(in crate::wire) fn is_header_only(&self) -> bool {
        self.prefaces().all(is_header)
    }

    /// The first bytes of what turned out not to come before TLS, and their offset.
    pub(in crate::wire) fn sample(&self) -> (u64, &[u8]) {
        (self.sample_offset, &self.sample)
    }

    pub(in crate::wire) fn held(&self) -> usize {
        self.held.len() + self.sample.len()
    }

    /// Bytes of the next request.
    fn next(&mut self) -> Result<usize, Step> {
        let tls_possible = self.protocol.is_none_or(|under| under.asked);
        if tls_possible {
            match (opening(&self.held), self.held.first()) {
                (Opening::Tls, _) => {
                    let bytes = std::mem::take(&mut self.held);
                    let offset = self.offset;
                    return Err(Step::Tls { offset, bytes });
                }
                (Opening::Incomplete, None | Some(20..=24)) => return Err(Step::Incomplete),
                _ => {}
            }
        }
        if self.held.is_empty() {
            return Err(Step::Incomplete);
        }
        let mut under = match self.protocol {
            Some(under) => under,
            None => self.begin()?,
        };
        let length = match request(under.protocol, &self.held, !under.begun) {
            Request::Other(length) => length,
            Request::AsksForTls(length) => {
                under.asked = true;
                length
            }
            Request::Through(length) => {
                self.passed.push(under.protocol);
                self.protocol = None;
                return Ok(length);
            }
            Request::Incomplete => return Err(Step::Incomplete),
            Request::Foreign => return Err(Step::Plain),
        };
        under.begun = true;
        self.protocol = Some(under);
        Ok(length)
    }

    fn begin(&mut self) -> Result<Under, Step> {
        let protocol = match protocol(&self.held) {
            Ok(Some(protocol)) => protocol,
            Ok(None) => return Err(Step::Incomplete),
            Err(()) => return Err(Step::Plain),
        };
        let under = Under {
            protocol,
            begun: false,
            asked: false,
        };
        self.protocol = Some(under);
        Ok(under)
    }

    fn consume(&mut self, length: usize) {
        let length = length.min(self.held.len());
        self.held.drain(..length);
        self.offset += length as u64;
        if self.protocol.is_none() && self.is_header_only() {
            self.sample_offset = self.offset;
            self.sample = self.held[..self.held.len().min(SAMPLE)].to_vec();
        }
    }
}
