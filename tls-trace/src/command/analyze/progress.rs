//! A line on the terminal that says how far reading has come.

use std::{
    io::{IsTerminal as _, Write as _, stderr},
    time::{Duration, Instant},
};

use super::summary::size;
use crate::source::capture::Progress;

/// How often the line changes.
const INTERVAL: Duration = Duration::from_millis(200);
/// How many reports or packets pass between two looks at the clock.
const STRIDE: u32 = 4096;
/// Back to the start of the line, and clear it (ECMA-48 EL).
const CLEAR: &str = "\r\x1b[K";

/// The line; it is there only where standard error is a terminal.
#[derive(Debug)]
pub(super) struct ProgressLine {
    terminal: bool,
    started: Instant,
    told: Instant,
    calls: u32,
    shown: bool,
}

impl ProgressLine {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            terminal: stderr().is_terminal(),
            started: now,
            told: now,
            calls: 0,
            shown: false,
        }
    }

    /// Called often; shows the line from time to time.
    pub(super) fn update(&mut self, progress: &Progress, connections: u64) {
        self.calls = self.calls.wrapping_add(1);
        if !self.terminal || !self.calls.is_multiple_of(STRIDE) || self.told.elapsed() < INTERVAL {
            return;
        }
        self.told = Instant::now();
        self.shown = true;
        let read = progress.read();
        let share = match progress.total() {
            Some(total) if total > 0 => format!("{} %, ", read.saturating_mul(100) / total),
            _ => String::new(),
        };
        let speed = u128::from(read) * 1000 / self.started.elapsed().as_millis().max(1);
        let speed = size(u64::try_from(speed).unwrap_or(u64::MAX));
        let read = size(read);
        // A terminal that is gone has no use for progress.
        let _ = write!(
            stderr(),
            "{CLEAR}{share}{read}, {speed}/s, {connections} TLS connections"
        );
    }

    /// Makes room for a line of output.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(stderr(), "{CLEAR}");
        }
    }
}
