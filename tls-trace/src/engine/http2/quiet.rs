//! When nobody said anything: a device between the ends may lose its patience, and answers with a reset what
//! comes then.

use crate::{
    engine::moment::ms_between,
    event::{Direction, Timestamp},
};

/// A silence that may be too long for such a device, in milliseconds.
pub(in crate::engine) const IDLE_MS: f64 = 5000.0;
/// What ends a silence is answered within this: round trips and a retransmission, in milliseconds.
const ANSWERED_MS: f64 = 3000.0;

/// Who spoke when.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quiet {
    /// Last payload that was new.
    last: Option<Timestamp>,
    /// The last payload after a long silence, as long as the other end says nothing to it.
    woke: Option<Wake>,
}

#[derive(Clone, Copy, Debug)]
struct Wake {
    /// The last payload before the silence.
    before: Timestamp,
    at: Timestamp,
    direction: Direction,
}

impl Quiet {
    /// Notes new payload.
    pub(super) fn spoke(&mut self, at: Timestamp, direction: Direction) {
        if let Some(before) = self.last
            && ms_between(before, at) >= IDLE_MS
        {
            self.woke = Some(Wake {
                before,
                at,
                direction,
            });
        }
        self.woke.take_if(|woke| woke.direction != direction);
        self.last = self.last.max(Some(at));
    }

    /// Since when nobody had said anything at the end, but for what may have brought it about.
    pub(super) fn since(&self, end: Timestamp) -> Option<Timestamp> {
        let woke = self.woke.as_ref();
        let woke = woke.filter(|woke| ms_between(woke.at, end) <= ANSWERED_MS);
        woke.map(|woke| woke.before).or(self.last)
    }
}
