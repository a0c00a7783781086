//! Reports for people: one line each, the same facts always in the same place.

use std::fmt::{self, Display, Write as _};

use anstyle::{AnsiColor, Style};
use jiff::{Timestamp, tz::TimeZone};

use super::{escaped, shortened};
use crate::report::{Outcome, Report, Role};

/// Columns for the cause; the few longer labels push the rest of their line.
const CAUSE: usize = 25;
/// Columns for process, direction, address and server name.
const WHO: usize = 46;
/// Server names are up to 253 characters; these are enough to recognise one.
const SERVER_NAME: usize = 48;
/// Characters of the decisive fact.
const FACT: usize = 120;

/// How lines are written.
#[derive(Clone, Debug)]
pub struct Text {
    /// Time zone of the clock at the start of each line.
    pub time_zone: TimeZone,
    /// Print all evidence, one fact a line, below each report.
    pub evidence: bool,
}

impl Text {
    /// The line of a report with its line break; with [`Text::evidence`] the lines below it too.
    /// It has colours: whoever writes it to something that is not a terminal strips them.
    #[must_use]
    pub fn line(&self, report: &Report) -> String {
        let mut line = String::with_capacity(256);
        // Writing to a String cannot fail.
        let _ = self.write(report, &mut line);
        line
    }

    fn write(&self, report: &Report, out: &mut String) -> fmt::Result {
        let verdict = &report.verdict;
        let dim = Style::new().dimmed();
        write!(out, "{dim}{}{dim:#} ", self.clock(report))?;
        let outcome = outcome_style(verdict.outcome);
        write!(out, "{outcome}{:<11}{outcome:#} ", verdict.outcome)?;
        let bold = Style::new().bold();
        write!(out, "{bold}{:<CAUSE$}{bold:#} ", verdict.cause)?;
        write!(out, "{:<WHO$} ", who(report))?;
        write!(
            out,
            "by {} in {}, {}",
            verdict.initiator, verdict.phase, verdict.confidence
        )?;
        match verdict.evidence.last() {
            Some(decisive) if !self.evidence => {
                // A fact is escaped where it is made; escaping it again would double backslashes.
                let fact: String = decisive.fact.chars().take(FACT).collect();
                write!(out, "  {dim}\"{fact}\"{dim:#}")?;
            }
            _ => {}
        }
        out.push('\n');
        if self.evidence {
            write_evidence(report, out)?;
        }
        Ok(())
    }

    /// Time of day; a day's date is in the JSON.
    fn clock(&self, report: &Report) -> String {
        let time = report.time.as_deref();
        match time.and_then(|time| time.parse::<Timestamp>().ok()) {
            Some(time) => time
                .to_zoned(self.time_zone.clone())
                .strftime("%H:%M:%S.%3f")
                .to_string(),
            None => "--:--:--.---".to_owned(),
        }
    }
}

fn write_evidence(report: &Report, out: &mut String) -> fmt::Result {
    for evidence in &report.verdict.evidence {
        writeln!(out, "    {:>+10.1} ms  {}", evidence.at_ms, evidence.fact)?;
    }
    for detail in details(report) {
        writeln!(out, "    {detail}")?;
    }
    Ok(())
}

/// `curl[4121] → 10.0.0.7:8443 api.local` for a client, `nginx[812]:8443 ← 10.0.0.9:51514 api.local`
/// for a server: the arrow points at the server.
fn who(report: &Report) -> String {
    let process = Process(report);
    let Report { local, remote, .. } = report;
    let mut who = match report.role {
        Role::Client => format!("{process} → {remote}"),
        Role::Server => format!("{process}:{} ← {remote}", local.port()),
        Role::Observer => format!("{local} → {remote}"),
    };
    if let Some(name) = &report.sni {
        let _ = write!(who, " {}", shortened(name, SERVER_NAME));
    }
    who
}

struct Process<'a>(&'a Report);

impl Display for Process<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.0.comm, self.0.pid) {
            (Some(comm), Some(pid)) => write!(f, "{}[{pid}]", escaped(comm)),
            (Some(comm), None) => write!(f, "{}", escaped(comm)),
            (None, Some(pid)) => write!(f, "[{pid}]"),
            (None, None) => f.write_str("?"),
        }
    }
}

/// What is known beyond the line, for the lines below it.
fn details(report: &Report) -> Vec<String> {
    let list = |names: &[String]| {
        let names: Vec<_> = names.iter().map(|name| escaped(name).to_string()).collect();
        names.join(" ")
    };
    let mut details = Vec::new();
    let tls: Vec<_> = [&report.version, &report.cipher, &report.group]
        .into_iter()
        .filter_map(|value| value.as_deref())
        .collect();
    if !tls.is_empty() {
        details.push(format!("negotiated: {}", tls.join(", ")));
    }
    if let Some(offered) = report
        .alpn
        .offered
        .as_deref()
        .filter(|offered| !offered.is_empty())
    {
        let selected = report.alpn.selected.as_deref().unwrap_or("-");
        details.push(format!(
            "ALPN: offered {}, selected {}",
            list(offered),
            escaped(selected)
        ));
    }
    if !report.notices.is_empty() {
        let notices: Vec<_> = report.notices.iter().map(|notice| notice.label()).collect();
        details.push(format!("notices: {}", notices.join(", ")));
    }
    if let Some(cgroup) = &report.cgroup {
        details.push(format!("cgroup: {}", escaped(cgroup)));
    }
    details
}

fn outcome_style(outcome: Outcome) -> Style {
    let color = match outcome {
        Outcome::Established => AnsiColor::Green,
        Outcome::Failed => AnsiColor::Red,
        Outcome::Broken => AnsiColor::Yellow,
        Outcome::Aborted | Outcome::Incomplete => return Style::new().dimmed(),
    };
    color.on_default().bold()
}
