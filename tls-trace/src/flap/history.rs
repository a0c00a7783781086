//! The last flap events of one program and one server, in little room.

use std::time::Duration;

use super::{Class, Config, Disconnect};
use crate::{event::Timestamp, report::Cause};

/// Events remembered.
const SLOTS: usize = 16;
/// Lifetimes that vary less than this are the work of a timer.
const PERIODIC: f64 = 0.1;
/// Shorter lives than this are no timer's: the time it takes to fail.
const SHORTEST_PERIOD: Duration = Duration::from_millis(500);
/// A connection may be opened this long before the one it replaces ends: HTTP/2 lets streams end
/// after GOAWAY. At most a tenth of a life, so that a growing pool does not count.
const OVERLAP: Duration = Duration::from_secs(5);

/// Milliseconds that wrap after 49 days; a history lives for an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tick(u32);

impl Tick {
    #[expect(clippy::cast_possible_truncation, reason = "ticks wrap")]
    pub(super) fn at(time: Timestamp) -> Self {
        Self((time.0 / 1_000_000) as u32)
    }

    pub(super) fn before(self, duration: Duration) -> Self {
        Self(self.0.wrapping_sub(millis(duration)))
    }

    fn after(self, duration: Duration) -> Self {
        Self(self.0.wrapping_add(millis(duration)))
    }

    /// Whether it is not earlier than `other`.
    fn reaches(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() >= 0
    }

    fn since(self, earlier: Self) -> Duration {
        let millis = self.0.wrapping_sub(earlier.0).cast_signed().max(0);
        Duration::from_millis(millis.unsigned_abs().into())
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX / 2)
}

/// A connection that was cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) time: Timestamp,
    pub(super) began: Tick,
    pub(super) at: Tick,
    pub(super) life: Duration,
    pub(super) cause: Cause,
    pub(super) class: Class,
    pub(super) disconnect: Disconnect,
}

impl Ended {
    /// How long before the end its replacement may be opened.
    fn overlap(&self) -> Duration {
        (self.life / 10).min(OVERLAP)
    }

    /// Whether a connection opened then replaces this one.
    fn is_replaced(&self, opened: Tick, within: Duration) -> bool {
        opened != self.began
            && opened.reaches(self.at.before(self.overlap()))
            && self.at.after(within).reaches(opened)
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    at: Tick,
    life_ms: u32,
    cause: Cause,
    class: Class,
    disconnect: Disconnect,
}

/// What the last events have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    /// Median lifetime.
    pub(super) life: Duration,
    /// Coefficient of variation of lifetimes.
    pub(super) variation: Option<f64>,
    /// Mean lifetime, where they hardly vary.
    pub(super) period: Option<Duration>,
    /// Share of the cause that was asked for.
    pub(super) share: f64,
    pub(super) disconnect: Disconnect,
}

/// Whose history it is, for people.
#[derive(Clone, Debug, Default)]
pub(super) struct Who {
    pub(super) comm: Option<String>,
    pub(super) cgroup: Option<String>,
}

/// The last events.
#[derive(Debug)]
pub(super) struct History {
    /// The oldest first.
    slots: [Option<Slot>; SLOTS],
    /// Cut, and not yet opened anew.
    pending: Option<Ended>,
    /// Events since the first.
    pub(super) events: u32,
    /// Of these, planned.
    pub(super) planned: u32,
    first: Tick,
    /// The last end of a connection that began after the one before had ended.
    last: Option<Tick>,
    /// Time between the last two events.
    interval: Duration,
    /// The last connection that was opened.
    opened: Option<Tick>,
    /// Flapping, for this cause.
    flapping: Option<Cause>,
    pub(super) who: Box<Who>,
}

impl History {
    pub(super) fn new(now: Tick) -> Self {
        Self {
            slots: [None; SLOTS],
            pending: None,
            events: 0,
            planned: 0,
            first: now,
            last: None,
            interval: Duration::ZERO,
            opened: None,
            flapping: None,
            who: Box::default(),
        }
    }

    /// A connection was opened: returns the event this proves.
    pub(super) fn opened(&mut self, at: Tick, config: &Config) -> Option<Ended> {
        if self.opened.is_none_or(|opened| at.reaches(opened)) {
            self.opened = Some(at);
        }
        self.prove(at, config)
    }

    /// A connection was cut: returns the event, when it has already been opened anew.
    pub(super) fn ended(&mut self, ended: Ended, config: &Config) -> Option<Ended> {
        let began = ended.began.after(ended.overlap());
        if self.last.is_some_and(|last| !began.reaches(last)) {
            return None;
        }
        self.last = Some(ended.at);
        self.pending = Some(ended);
        self.prove(self.opened?, config)
    }

    fn prove(&mut self, opened: Tick, config: &Config) -> Option<Ended> {
        let event = self
            .pending
            .take_if(|pending| pending.is_replaced(opened, config.reopened))?;
        match self.newest() {
            Some(newest) => self.interval = event.at.since(newest.at),
            None => self.first = event.at,
        }
        self.events += 1;
        self.planned += u32::from(event.class == Class::Planned);
        self.slots.rotate_left(1);
        self.slots[SLOTS - 1] = Some(Slot {
            at: event.at,
            life_ms: millis(event.life),
            cause: event.cause,
            class: event.class,
            disconnect: event.disconnect,
        });
        Some(event)
    }

    fn newest(&self) -> Option<Slot> {
        self.slots[SLOTS - 1]
    }

    /// Whether there are, since this event, enough unplanned ones for flapping; true once.
    pub(super) fn begins_to_flap(&mut self, config: &Config) -> bool {
        let Some(newest) = self.newest().filter(|_| self.flapping.is_none()) else {
            return false;
        };
        let since = newest.at.before(config.window);
        let unplanned = || {
            let slots = self.slots.iter().rev().flatten();
            slots.filter(|slot| slot.class == Class::Unplanned && slot.at.reaches(since))
        };
        if unplanned().count() < config.events.min(SLOTS) {
            return false;
        }
        self.flapping = dominant(unplanned().map(|slot| slot.cause));
        self.flapping.is_some()
    }

    /// The cause it began to flap for.
    pub(super) fn flapping(&self) -> Option<Cause> {
        self.flapping
    }

    /// Whether it has been quiet for so long that it can be forgotten.
    pub(super) fn is_over(&self, now: Tick, config: &Config) -> bool {
        let quiet = now.since(self.last.unwrap_or(self.first));
        match self.newest() {
            Some(_) => quiet > 2 * config.window.max(self.interval),
            None => quiet > config.reopened,
        }
    }

    /// First event to last.
    pub(super) fn span(&self) -> Duration {
        self.newest()
            .map_or(Duration::ZERO, |newest| newest.at.since(self.first))
    }

    /// What the last events say; nothing without events.
    #[expect(clippy::cast_precision_loss, reason = "sixteen at most")]
    pub(super) fn summary(&self, cause: Cause) -> Option<Summary> {
        let newest = self.newest()?;
        let slots: Vec<_> = self.slots.iter().flatten().collect();
        let mut lives: Vec<_> = slots.iter().map(|slot| slot.life_ms).collect();
        lives.sort_unstable();
        let count = slots.len() as f64;
        let mean = lives.iter().copied().map(f64::from).sum::<f64>() / count;
        let variance = lives
            .iter()
            .map(|life| (f64::from(*life) - mean).powi(2))
            .sum::<f64>()
            / count;
        let variation = (slots.len() > 2 && mean > 0.0).then(|| variance.sqrt() / mean);
        let period = Duration::from_secs_f64(mean / 1e3);
        let alike = slots.iter().filter(|slot| slot.cause == cause).count();
        Some(Summary {
            life: Duration::from_millis(lives[lives.len() / 2].into()),
            variation,
            period: variation
                .filter(|variation| *variation < PERIODIC && period >= SHORTEST_PERIOD)
                .map(|_| period),
            share: alike as f64 / count,
            disconnect: newest.disconnect,
        })
    }
}

/// The most frequent one; of several, the one that comes first.
fn dominant(causes: impl Iterator<Item = Cause>) -> Option<Cause> {
    let mut counts: Vec<(Cause, u32)> = Vec::new();
    for cause in causes {
        match counts.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, count)) => *count += 1,
            None => counts.push((cause, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    counts
        .iter()
        .find(|(_, count)| *count == most)
        .map(|(cause, _)| *cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_room_for_each() {
        assert!(size_of::<History>() <= 300, "{}", size_of::<History>());
    }

    #[test]
    fn ticks_wrap() {
        let late = Tick(u32::MAX - 500);
        let later = late.after(Duration::from_secs(1));
        assert_eq!(later, Tick(499));
        assert!(later.reaches(late) && !late.reaches(later));
        assert_eq!(later.since(late), Duration::from_secs(1));
        assert_eq!(late.since(later), Duration::ZERO);
        assert_eq!(later.before(Duration::from_secs(1)), late);
    }
}
