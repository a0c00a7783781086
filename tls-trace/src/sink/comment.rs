//! A verdict as comment of a packet.

use std::fmt::Write as _;

use super::escaped;
use crate::{
    event::Timestamp,
    report::{Evidence, Report},
};

/// Times in reports are rounded to microseconds.
const ROUNDING: u64 = 1_500;

/// The verdict of one connection, and where it belongs.
#[derive(Debug)]
pub struct Comment {
    text: String,
    /// When the decisive fact was seen.
    decided: Timestamp,
    given: bool,
}

impl Comment {
    /// The verdict; the last packet of the connection was seen at `last` at the latest.
    #[must_use]
    pub fn of(report: &Report, last: Timestamp) -> Self {
        Self {
            text: verdict(report),
            decided: decided(report).min(last),
            given: false,
        }
    }

    /// The verdict in a line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The comment for the next packet, which was seen at `time`: once, where the failure was decided.
    pub fn at(&mut self, time: Timestamp) -> Option<&str> {
        if self.given || time.0.saturating_add(ROUNDING) < self.decided.0 {
            return None;
        }
        self.given = true;
        Some(&self.text)
    }
}

/// The name by which the client called the server, where readers may show it in place of an address.
#[must_use]
pub fn host_name(report: &Report) -> Option<&str> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = |name: &&str| (1..=253).contains(&name.len()) && name.bytes().all(allowed);
    report.sni.as_deref().filter(is_name)
}

/// The verdict in a line, without colours.
fn verdict(report: &Report) -> String {
    let Report {
        verdict,
        local,
        remote,
        ..
    } = report;
    let mut line = format!("{} {}: {local} → {remote}", verdict.outcome, verdict.cause);
    // Writing to a String cannot fail.
    if let Some(name) = &report.sni {
        let _ = write!(line, " {}", escaped(name));
    }
    let _ = write!(
        line,
        ", by {} in {}, {}",
        verdict.initiator, verdict.phase, verdict.confidence
    );
    if let Some(decisive) = decisive(report) {
        let _ = write!(line, ": {}", decisive.fact);
    }
    line
}

fn decisive(report: &Report) -> Option<&Evidence> {
    let evidence = &report.verdict.evidence;
    let decisive = evidence.iter().find(|evidence| evidence.decisive);
    decisive.or(evidence.last())
}

fn decided(report: &Report) -> Timestamp {
    let before_end = decisive(report).map_or(0.0, |fact| report.duration_ms - fact.at_ms);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a span of time, cut to whole nanoseconds"
    )]
    let before_end = (before_end.max(0.0) * 1e6) as u64;
    Timestamp(report.ended.0.saturating_sub(before_end))
}
