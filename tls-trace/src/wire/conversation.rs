//! Both directions of one connection: reassembly, records, messages.

use crate::{
    event::{Direction, Segment, Timestamp},
    wire::Observation,
};

/// Bounds on what one conversation may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes buffered per direction while waiting for a hole to be filled or a message to complete.
    pub buffered_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            buffered_bytes: 72 * 1024,
        }
    }
}

/// TLS of one connection, from its segments.
#[derive(Debug, Default)]
pub struct Conversation {
    limits: Limits,
}

impl Conversation {
    /// An empty conversation.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits }
    }

    /// States the sequence number of the first payload byte of a direction, known from the kernel or
    /// from a SYN. Without it the stream begins where its first segment begins.
    pub fn set_base(&mut self, direction: Direction, seq: u32) {
        let _ = (direction, seq, self.limits);
    }

    /// Takes a segment and appends what it completes to `observations`.
    pub fn segment(
        &mut self,
        time: Timestamp,
        segment: &Segment,
        observations: &mut Vec<Observation>,
    ) {
        let _ = (time, segment, observations);
    }
}
