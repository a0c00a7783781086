//! How long a file is looked at.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::Error;

/// How much of the processor this thread may take: the same answer on a busy machine.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Duration);

impl Deadline {
    /// From now on.
    pub fn after(time: Duration) -> Self {
        Self(taken().unwrap_or_default() + time)
    }

    /// # Errors
    /// It is over.
    pub fn check(self) -> Result<(), Error> {
        match taken() {
            Some(taken) if taken <= self.0 => Ok(()),
            _ => Err(Error::Budget),
        }
    }
}

fn taken() -> Option<Duration> {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).ok()?;
    Some(Duration::from(time))
}
