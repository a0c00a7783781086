//! What a capture shows as a whole.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anstyle::Style;
use foldhash::quality::RandomState;
use serde::Serialize;

use crate::{
    report::{Cause, Outcome, Report},
    sink::escaped,
    source::capture::Counts,
};

/// Pairs of client and server that are told apart; further ones are counted together.
const PAIRS: usize = 65_536;
/// Pairs shown.
const WORST: usize = 10;

/// Counts what reports say.
#[derive(Debug, Default)]
pub(super) struct Tally {
    outcomes: BTreeMap<Outcome, u64>,
    causes: BTreeMap<Cause, u64>,
    pairs: HashMap<Pair, PairTally, RandomState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Pair {
    client: IpAddr,
    server: SocketAddr,
    sni: Option<String>,
}

#[derive(Debug, Default)]
struct PairTally {
    connections: u64,
    failures: u64,
    causes: BTreeMap<Cause, u64>,
}

/// A capture, or several, summed up.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Connections with TLS, or that failed before.
    connections: u64,
    outcomes: BTreeMap<Outcome, u64>,
    /// Why connections failed or broke, the most frequent first.
    causes: Vec<CauseCount>,
    /// Clients and servers with the most failures.
    worst: Vec<WorstPair>,
    /// TCP connections without TLS that did not fail.
    not_tls: u64,
    packets: u64,
    /// On the wire.
    bytes: u64,
    /// Packets of a connection that was seen already, captured again on another interface.
    copies: u64,
    /// Packets cut too short to be of use.
    unreadable: u64,
    /// Packets of a link layer that nothing is known of.
    unknown_link: u64,
    /// From the first packet to the last, seconds.
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct CauseCount {
    cause: Cause,
    connections: u64,
}

#[derive(Debug, Serialize)]
struct WorstPair {
    client: IpAddr,
    server: SocketAddr,
    sni: Option<String>,
    connections: u64,
    failures: u64,
    /// The most frequent one.
    cause: Cause,
}

impl Tally {
    /// Counts a report.
    pub(super) fn add(&mut self, report: &Report) {
        *self.outcomes.entry(report.verdict.outcome).or_default() += 1;
        let failed = report.verdict.outcome.is_failure();
        if failed {
            *self.causes.entry(report.verdict.cause).or_default() += 1;
        }
        let pair = Pair {
            client: report.local.ip(),
            server: report.remote,
            sni: report.sni.clone(),
        };
        if self.pairs.len() >= PAIRS && !self.pairs.contains_key(&pair) {
            return;
        }
        let tally = self.pairs.entry(pair).or_default();
        tally.connections += 1;
        if failed {
            tally.failures += 1;
            *tally.causes.entry(report.verdict.cause).or_default() += 1;
        }
    }

    /// Connections counted.
    pub(super) fn connections(&self) -> u64 {
        self.outcomes.values().sum()
    }

    /// Connections that failed or broke.
    pub(super) fn failures(&self) -> u64 {
        self.causes.values().sum()
    }

    /// Sums up.
    pub(super) fn summary(&self, counts: Counts, not_tls: u64, span: Duration) -> Summary {
        let worst = worst(&self.pairs).map(|(pair, tally)| WorstPair {
            client: pair.client,
            server: pair.server,
            sni: pair.sni.clone(),
            connections: tally.connections,
            failures: tally.failures,
            cause: most_frequent(&tally.causes).map_or(Cause::Unknown, |(cause, _)| cause),
        });
        Summary {
            connections: self.connections(),
            outcomes: self.outcomes.clone(),
            causes: by_frequency(&self.causes),
            worst: worst.collect(),
            not_tls,
            packets: counts.packets,
            bytes: counts.bytes,
            copies: counts.copies,
            unreadable: counts.unreadable,
            unknown_link: counts.unknown_link,
            seconds: span.as_secs_f64(),
        }
    }
}

fn worst(
    pairs: &HashMap<Pair, PairTally, RandomState>,
) -> impl Iterator<Item = (&Pair, &PairTally)> {
    let mut failed: Vec<_> = pairs
        .iter()
        .filter(|(_, tally)| tally.failures > 0)
        .collect();
    failed.sort_by(|(pair, tally), (other_pair, other)| {
        other
            .failures
            .cmp(&tally.failures)
            .then_with(|| pair.cmp(other_pair))
    });
    failed.into_iter().take(WORST)
}

fn by_frequency(causes: &BTreeMap<Cause, u64>) -> Vec<CauseCount> {
    let mut causes: Vec<_> = causes.iter().collect();
    causes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let count = |(cause, connections): (&Cause, &u64)| CauseCount {
        cause: *cause,
        connections: *connections,
    };
    causes.into_iter().map(count).collect()
}

fn most_frequent(causes: &BTreeMap<Cause, u64>) -> Option<(Cause, u64)> {
    let most = by_frequency(causes).into_iter().next()?;
    Some((most.cause, most.connections))
}

impl Summary {
    /// For people: a few lines.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let bold = Style::new().bold();
        let outcomes: Vec<_> = Outcome::ALL
            .iter()
            .filter_map(|outcome| Some(format!("{} {outcome}", self.outcomes.get(outcome)?)))
            .collect();
        let outcomes = if outcomes.is_empty() {
            String::new()
        } else {
            format!(": {}", outcomes.join(", "))
        };
        writeln!(
            out,
            "{bold}{}{bold:#}{outcomes}",
            counted(self.connections, "TLS connection")
        )?;
        let packets = format!(
            "{}, {} in {:.1} s",
            counted(self.packets, "packet"),
            size(self.bytes),
            self.seconds
        );
        writeln!(
            out,
            "{packets}; {} without TLS",
            counted(self.not_tls, "TCP connection")
        )?;
        for (count, what) in [
            (self.copies, "captured more than once, counted once"),
            (self.unreadable, "cut too short to be read"),
            (
                self.unknown_link,
                "of a link layer this program does not know",
            ),
        ] {
            if count > 0 {
                writeln!(out, "{} {what}", counted(count, "packet"))?;
            }
        }
        if !self.causes.is_empty() {
            writeln!(out, "\n{bold}Causes{bold:#}")?;
        }
        for count in &self.causes {
            writeln!(out, "{:>9}  {}", count.connections, count.cause)?;
        }
        if !self.worst.is_empty() {
            writeln!(out, "\n{bold}Failed of all, client → server{bold:#}")?;
        }
        for pair in &self.worst {
            let share = format!("{}/{}", pair.failures, pair.connections);
            write!(out, "{share:>9}  {} → {}", pair.client, pair.server)?;
            if let Some(sni) = &pair.sni {
                write!(out, " {}", escaped(sni))?;
            }
            writeln!(out, "  {}", pair.cause)?;
        }
        Ok(())
    }
}

/// `1 packet`, `2 packets`.
fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// Bytes with a decimal unit.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    let unit = UNITS.iter().find(|(unit, _)| bytes >= *unit);
    match unit {
        #[expect(clippy::cast_precision_loss, reason = "one digit is shown")]
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_000), "1.0 kB");
        assert_eq!(size(2_345_678_901), "2.3 GB");
    }
}
