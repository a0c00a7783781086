//! Both directions of one connection.

use crate::{
    event::{Direction, Segment, Timestamp},
    wire::{Observation, output::Output, stream::Stream},
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
    egress: Stream,
    ingress: Stream,
}

impl Conversation {
    /// An empty conversation.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// States the sequence number of the first payload byte of a direction, known from the kernel or
    /// from a SYN. Without it the stream begins where its first segment with payload begins; once it
    /// has begun this has no effect. A stream that begins inside a record shows as
    /// [`NotTls`](super::ObservationKind::NotTls), something else.
    pub fn set_base(&mut self, direction: Direction, seq: u32) {
        self.stream(direction).set_base(seq);
    }

    /// Takes a segment and appends what it completes to `observations`.
    pub fn segment(
        &mut self,
        time: Timestamp,
        segment: &Segment,
        observations: &mut Vec<Observation>,
    ) {
        let direction = segment.direction;
        let bound = self.limits.buffered_bytes;
        let mut output = Output {
            time,
            direction,
            observations,
        };
        let other = self.stream(direction.reverse()).speaks();
        let stream = self.stream(direction);
        let before = stream.speaks();
        stream.segment(segment, other, bound, &mut output);
        let after = stream.speaks();
        if after != before {
            output.direction = direction.reverse();
            let stream = self.stream(direction.reverse());
            let before = stream.speaks();
            stream.other_speaks(after, bound, &mut output);
            let after = stream.speaks();
            if after != before {
                output.direction = direction;
                self.stream(direction)
                    .other_speaks(after, bound, &mut output);
            }
        }
    }

    /// No more segments come: appends what can be said of bytes that were waiting for others. A
    /// direction with a hole is [`Lost`](super::ObservationKind::Lost), a few bytes that begin
    /// neither TLS nor another protocol are [`NotTls`](super::ObservationKind::NotTls).
    pub fn finish(&mut self, time: Timestamp, observations: &mut Vec<Observation>) {
        for direction in [Direction::Egress, Direction::Ingress] {
            let mut output = Output {
                time,
                direction,
                observations,
            };
            self.stream(direction).finish(&mut output);
        }
    }

    /// Bytes held, of both directions.
    #[must_use]
    pub fn held(&self) -> usize {
        self.egress.held() + self.ingress.held()
    }

    fn stream(&mut self, direction: Direction) -> &mut Stream {
        match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        }
    }
}
