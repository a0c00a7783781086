//! What tls-trace said of a rollout: by server, before and after.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use tls_trace::report::{Outcome, Report, Role};

use crate::act::Played;

/// How connections ended: cause and who ended them, or not before the load did.
type Ends = BTreeMap<String, usize>;

/// A version of a server.
#[derive(Debug, Default)]
struct Served {
    connections: usize,
    failed: usize,
    ends: Ends,
}

/// The whole.
pub struct Account<'a> {
    played: &'a Played,
    /// By port, old before new.
    served: BTreeMap<(u16, bool), Served>,
    failures: BTreeSet<(u16, &'static str)>,
}

impl<'a> Account<'a> {
    pub fn of(played: &'a Played) -> Self {
        let mut account = Self {
            played,
            served: BTreeMap::new(),
            failures: BTreeSet::new(),
        };
        let ends = played.reports.iter();
        for report in ends.filter(|report| is_connection(report)) {
            let verdict = &report.verdict;
            let (cause, by) = (verdict.cause.label(), verdict.initiator.label());
            let failed = verdict.outcome.is_failure();
            account.count(report, format!("{cause} by {by}"), failed);
            if failed {
                account.failures.insert((report.local.port(), cause));
            }
        }
        // How they end is the load's doing, which may stop in the middle of a call.
        for report in played.open.iter().filter(|report| is_connection(report)) {
            account.count(report, "open".to_owned(), false);
        }
        account
    }

    fn count(&mut self, report: &Report, end: String, failed: bool) {
        let new = report.pid.is_none_or(|pid| !self.played.old.contains(&pid));
        let served = self.served.entry((report.local.port(), new)).or_default();
        served.connections += 1;
        served.failed += usize::from(failed);
        *served.ends.entry(end).or_default() += 1;
    }

    /// Where connections fail now, and did not before.
    pub fn bad(&self) -> Vec<u16> {
        let failed = |port, new| {
            self.served
                .get(&(port, new))
                .map_or(0, |served| served.failed)
        };
        let mut ports = self.played.ports.to_vec();
        ports.retain(|&port| failed(port, true) > 0 && failed(port, false) == 0);
        ports
    }

    fn sum(&self, new: bool) -> (usize, usize) {
        let served = self.served.iter().filter(|((_, of), _)| *of == new);
        served.fold((0, 0), |(failed, all), (_, served)| {
            (failed + served.failed, all + served.connections)
        })
    }
}

/// The server's end; not that of a proxy that could not connect.
fn is_connection(report: &Report) -> bool {
    let tls = report.verdict.outcome != Outcome::Aborted;
    report.role == Role::Server && tls
}

impl fmt::Display for Account<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls = self.played.calls.iter();
        let calls: Vec<_> = calls
            .map(|(status, count)| format!("{count} {status}"))
            .collect();
        writeln!(f, "  ghz: calls {}", calls.join(", "))?;
        writeln!(
            f,
            "  tls-trace: server           version  connections  failed  ended"
        )?;
        for ((port, new), served) in &self.served {
            let version = if *new { "new" } else { "old" };
            let Served {
                connections,
                failed,
                ends,
            } = served;
            let ends = ends.iter().map(|(end, count)| format!("{count} {end}"));
            let ends: Vec<_> = ends.collect();
            let server = format!("127.0.0.1:{port}");
            let ends = ends.join(", ");
            writeln!(
                f,
                "             {server:<16} {version:<7} {connections:>12} {failed:>7}  {ends}"
            )?;
        }
        let ((before, of), (after, in_all)) = (self.sum(false), self.sum(true));
        writeln!(
            f,
            "  before: {before} of {of} connections failed, after: {after} of {in_all}"
        )?;
        for flap in &self.played.flaps {
            let comm = flap.comm.as_deref().unwrap_or_default();
            let hint = flap.hint.as_deref().unwrap_or_default();
            writeln!(
                f,
                "  flap: {comm} to {}:{}, {} times for {}: {hint}",
                flap.peer, flap.port, flap.events, flap.cause
            )?;
        }
        for port in self.bad() {
            let causes = self.failures.iter().filter(|(of, _)| *of == port);
            let causes: Vec<_> = causes.map(|(_, cause)| *cause).collect();
            writeln!(f, "  bad: 127.0.0.1:{port}, {}", causes.join(", "))?;
        }
        if self.bad().is_empty() {
            writeln!(f, "  bad: no server's connections")?;
        }
        Ok(())
    }
}
