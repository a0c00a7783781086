//! From the clock of events to the clock on the wall.

use jiff::{SignedDuration, Timestamp};
use nix::time::{ClockId, clock_gettime};

use crate::event;

/// Wall-clock time of a moment of `CLOCK_MONOTONIC`, RFC 3339 in UTC with microseconds. The offset
/// of the two clocks is read anew each time, so that a step of the wall clock is followed.
#[must_use]
pub fn wall_clock(moment: event::Timestamp) -> Option<String> {
    let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).ok()?;
    let now = u64::try_from(monotonic.tv_sec()).ok()? * 1_000_000_000
        + u64::try_from(monotonic.tv_nsec()).ok()?;
    at(Timestamp::now(), now, moment)
}

/// RFC 3339 in UTC with microseconds, of nanoseconds since 1970.
#[must_use]
pub fn since_1970(moment: event::Timestamp) -> Option<String> {
    let time = Timestamp::from_nanosecond(moment.0.into()).ok()?;
    Some(format!("{time:.6}"))
}

/// Nanoseconds from `CLOCK_MONOTONIC` to the time since 1970, now.
#[must_use]
pub fn wall_clock_offset() -> i64 {
    let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map(|time| i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec()));
    let offset = Timestamp::now().as_nanosecond() - monotonic.unwrap_or_default();
    i64::try_from(offset).unwrap_or_default()
}

/// Now, as a part of a file's name: `20261122T140322.118Z`.
#[must_use]
pub fn file_name() -> String {
    Timestamp::now().strftime("%Y%m%dT%H%M%S%.3fZ").to_string()
}

fn at(wall_now: Timestamp, now: u64, moment: event::Timestamp) -> Option<String> {
    let ago = i64::try_from(i128::from(now) - i128::from(moment.0)).ok()?;
    let time = wall_now.checked_sub(SignedDuration::from_nanos(ago)).ok()?;
    Some(format!("{time:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_before_now() {
        let wall: Timestamp = "2026-11-22T14:03:22.5Z".parse().unwrap();
        let at = |moment| at(wall, 10_000_000_000, event::Timestamp(moment));
        assert_eq!(at(10_000_000_000).unwrap(), "2026-11-22T14:03:22.500000Z");
        assert_eq!(at(9_618_000_001).unwrap(), "2026-11-22T14:03:22.118000Z");
        assert_eq!(at(10_000_001_000).unwrap(), "2026-11-22T14:03:22.500001Z");
    }

    #[test]
    fn moments_out_of_range_have_no_time() {
        let wall: Timestamp = "2026-11-22T14:03:22Z".parse().unwrap();
        assert_eq!(at(wall, 0, event::Timestamp(u64::MAX)), None);
    }
}
