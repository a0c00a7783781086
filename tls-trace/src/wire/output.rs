//! Where the readers of one direction put what they find.

use std::borrow::Cow;

use super::message::{Observation, ObservationKind, StreamLoss};
use crate::event::{Direction, Timestamp};

/// Collects observations of one direction at one time.
pub(super) struct Output<'a> {
    pub(super) time: Timestamp,
    pub(super) direction: Direction,
    pub(super) observations: &'a mut Vec<Observation>,
}

impl Output<'_> {
    pub(super) fn push(&mut self, offset: u64, kind: ObservationKind) {
        self.observations.push(Observation {
            time: self.time,
            direction: self.direction,
            offset,
            kind,
        });
    }
}

/// Why a direction is not read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    /// Offset in the stream of what cannot be read.
    pub(super) offset: u64,
    pub(super) reason: StopReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopReason {
    /// A rule of TLS is broken.
    Malformed(&'static str),
    /// So many bytes at least will not be seen, or are too many to hold.
    Lost(u64),
}

impl Stop {
    pub(super) fn malformed(offset: u64, rule: &'static str) -> Self {
        let reason = StopReason::Malformed(rule);
        Self { offset, reason }
    }

    pub(super) fn lost(offset: u64, bytes: u64) -> Self {
        let reason = StopReason::Lost(bytes);
        Self { offset, reason }
    }

    pub(super) fn into_kind(self) -> ObservationKind {
        match self.reason {
            StopReason::Malformed(rule) => ObservationKind::Malformed {
                rule: Cow::Borrowed(rule),
            },
            StopReason::Lost(bytes) => ObservationKind::Lost(StreamLoss { bytes }),
        }
    }
}
