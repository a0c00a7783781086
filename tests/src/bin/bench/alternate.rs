//! The same run with and without the tracer, in turns: what the machine does by itself hits both.

use anyhow::Result;

use crate::{Subject, daemon::Daemon};

/// A value of every pair of runs.
#[derive(Debug)]
pub struct Pair<T> {
    pub with: T,
    pub without: T,
}

/// Runs `run` that many times with a daemon and as often without, beginning each way in turn.
pub fn alternate<T>(
    subject: &Subject,
    pairs: u32,
    run: impl Fn(Option<&Daemon>) -> Result<T>,
) -> Result<Vec<Pair<T>>> {
    let with = || {
        let daemon = Daemon::start(subject)?;
        let result = run(Some(&daemon))?;
        daemon.stop()?;
        anyhow::Ok(result)
    };
    (0..pairs)
        .map(|pair| {
            Ok(if pair % 2 == 0 {
                let without = run(None)?;
                Pair {
                    with: with()?,
                    without,
                }
            } else {
                Pair {
                    with: with()?,
                    without: run(None)?,
                }
            })
        })
        .collect()
}
