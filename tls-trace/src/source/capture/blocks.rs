//! A stream read in large blocks that packets are cut out of without copying them.

use std::io::{self, ErrorKind, Read};

use bytes::{Buf as _, Bytes};

/// Bytes read at once; they fit in the processor's second-level cache.
const BLOCK: usize = 256 * 1024;

/// The block at hand, and where more comes from.
pub(super) struct Blocks {
    reader: Box<dyn Read + Send>,
    block: Bytes,
    /// Where `block` begins in the stream.
    offset: u64,
}

impl Blocks {
    pub(super) fn new(reader: Box<dyn Read + Send>) -> Self {
        Self {
            reader,
            block: Bytes::new(),
            offset: 0,
        }
    }

    /// The bytes at hand that were not taken yet.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.block
    }

    /// Where they begin in the stream.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes bytes off the front.
    pub(super) fn advance(&mut self, bytes: usize) {
        let taken = bytes.min(self.block.len());
        self.block.advance(taken);
        self.offset += taken as u64;
    }

    /// Makes at least `wanted` bytes available. Returns false when the stream ends before.
    pub(super) fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.block.len() >= wanted {
            return Ok(true);
        }
        // Reuses the memory when no packet of this block is held any more.
        let mut buffer = Vec::from(std::mem::take(&mut self.block));
        let mut filled = buffer.len();
        buffer.resize(BLOCK.max(wanted), 0);
        let result = loop {
            if filled >= wanted {
                break Ok(true);
            }
            match self.reader.read(&mut buffer[filled..]) {
                Ok(0) => break Ok(false),
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        buffer.truncate(filled);
        self.block = Bytes::from(buffer);
        result
    }
}
