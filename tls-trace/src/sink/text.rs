//! Reports for people: one line each, the same facts always in the same place.

mod flap;

use std::fmt::{self, Display, Write as _};

use anstyle::{AnsiColor, Style};
use jiff::{Timestamp, tz::TimeZone};

use super::{escaped, shortened};
use crate::{
    event::Direction,
    report::{Cause, Evidence, Outcome, Report, Role},
};

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
    /// Print all evidence, one fact a line, below each report, and the history where there is one.
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
        write!(out, "{dim}{}{dim:#} ", self.clock(report.time.as_deref()))?;
        let outcome = outcome_style(verdict.outcome);
        write!(out, "{outcome}{:<11}{outcome:#} ", verdict.outcome)?;
        let bold = Style::new().bold();
        let cause = match verdict.cause {
            Cause::None => "-",
            cause => cause.label(),
        };
        write!(out, "{bold}{cause:<CAUSE$}{bold:#} {:<WHO$} ", who(report))?;
        if verdict.outcome == Outcome::Established {
            out.push_str(&negotiated(report));
        } else {
            let (initiator, phase) = (verdict.initiator, verdict.phase);
            write!(out, "by {initiator} in {phase}, {}", verdict.confidence)?;
        }
        match verdict.evidence.iter().find(|evidence| evidence.decisive) {
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
    fn clock(&self, time: Option<&str>) -> String {
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
    if report.history.is_empty() {
        for evidence in &report.verdict.evidence {
            writeln!(out, "    {:>+10.1} ms  {}", evidence.at_ms, evidence.fact)?;
        }
    } else {
        write_history(report, out)?;
    }
    for detail in details(report) {
        writeln!(out, "    {detail}")?;
    }
    Ok(())
}

/// Everything that passed (`→`: sent by this end), and between it, marked `*`, what the verdict rests
/// on; the decisive fact in bold.
fn write_history(report: &Report, out: &mut String) -> fmt::Result {
    let mut evidence = report.verdict.evidence.iter().peekable();
    for passed in &report.history {
        while let Some(fact) = evidence.next_if(|fact| fact.at_ms < passed.at_ms) {
            write_fact(fact, out)?;
        }
        if passed.left_out_before > 0 {
            writeln!(out, "{:>19}{} more", "", passed.left_out_before)?;
        }
        let arrow = match passed.direction {
            Direction::Egress => '→',
            Direction::Ingress => '←',
        };
        write!(
            out,
            "    {:>+10.1} ms  {arrow} {}",
            passed.at_ms, passed.what
        )?;
        match passed.bytes {
            0 => writeln!(out)?,
            1 => writeln!(out, ", 1 byte")?,
            bytes => writeln!(out, ", {bytes} bytes")?,
        }
    }
    for fact in evidence {
        write_fact(fact, out)?;
    }
    Ok(())
}

fn write_fact(evidence: &Evidence, out: &mut String) -> fmt::Result {
    let style = if evidence.decisive {
        Style::new().bold()
    } else {
        Style::new()
    };
    let (at, fact) = (evidence.at_ms, &evidence.fact);
    writeln!(out, "  * {at:>+10.1} ms    {style}{fact}{style:#}")
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

/// What an established connection agreed on, and what is odd about it.
fn negotiated(report: &Report) -> String {
    let version = report.version.iter().cloned();
    let protocol = report.alpn.selected.iter();
    let protocol = protocol.map(|protocol| shortened(protocol, SERVER_NAME).to_string());
    let notices = report.notices.iter().map(ToString::to_string);
    let facts: Vec<_> = version.chain(protocol).chain(notices).collect();
    facts.join(", ")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{report::Passed, sink::sample};

    fn plain(report: &Report, evidence: bool) -> String {
        let text = Text {
            time_zone: TimeZone::UTC,
            evidence,
        };
        anstream::adapter::strip_str(&text.line(report)).to_string()
    }

    #[test]
    fn a_failed_client() {
        assert_eq!(
            plain(&sample::failed(), false),
            "14:03:22.118 failed      certificate_expired       \
             curl[4121] → 10.0.0.7:8443 api.local           \
             by client_app in server_hello, certain  \
             \"fatal alert 45 (certificate_expired) from the client\"\n"
        );
    }

    #[test]
    fn an_established_server() {
        assert_eq!(
            plain(&sample::established(), false),
            "14:03:22.118 established -                         \
             nginx[812]:443 ← [2001:db8::2]:40000 api.local \
             TLS 1.2, h2, unused\n"
        );
    }

    #[test]
    fn columns_stay_in_place() {
        let column = |report| {
            let line = plain(&report, false);
            let at = line.find(" by ").or(line.find(" TLS 1.2,")).unwrap();
            line[..at].chars().count()
        };
        let mut bare = sample::failed();
        (bare.pid, bare.comm, bare.sni, bare.time) = (None, None, None, None);
        assert_eq!(column(sample::failed()), column(bare));
        assert_eq!(column(sample::failed()), column(sample::established()));
    }

    #[test]
    fn verbose_lines_show_all_evidence_below() {
        let text = plain(&sample::failed(), true);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].ends_with("certain"), "{text}");
        assert_eq!(
            lines[1..],
            [
                "          +3.2 ms  ServerHello, TLS 1.2",
                "         +12.0 ms  fatal alert 45 (certificate_expired) from the client",
                "         +12.5 ms  FIN sent by curl (pid 4121)",
                "    negotiated: TLS 1.2",
                "    ALPN: offered h2 http/1.1, selected -",
                "    notices: alpn_not_negotiated",
                "    cgroup: /system.slice/app.service",
            ]
        );
    }

    #[test]
    fn the_history_with_the_evidence_in_it() {
        let mut report = sample::failed();
        let passed = |at_ms, direction, what: &str, bytes, left_out_before| Passed {
            at_ms,
            direction,
            what: what.to_owned(),
            bytes,
            left_out_before,
        };
        report.history = vec![
            passed(0.0, Direction::Egress, "SYN", 0, 0),
            passed(3.2, Direction::Ingress, "server_hello, TLS 1.2", 90, 7),
            passed(
                12.0,
                Direction::Egress,
                "alert: fatal certificate_expired",
                2,
                0,
            ),
        ];
        let text = plain(&report, true);
        let lines: Vec<_> = text.lines().skip(1).take(7).collect();
        let expected = [
            "          +0.0 ms  → SYN",
            "                   7 more",
            "          +3.2 ms  ← server_hello, TLS 1.2, 90 bytes",
            "  *       +3.2 ms    ServerHello, TLS 1.2",
            "         +12.0 ms  → alert: fatal certificate_expired, 2 bytes",
            "  *      +12.0 ms    fatal alert 45 (certificate_expired) from the client",
            "  *      +12.5 ms    FIN sent by curl (pid 4121)",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn strangers_do_not_reach_the_terminal() {
        let mut report = sample::failed();
        let hostile = "\u{1b}[2J\r\n\u{202e}".to_owned();
        report.comm = Some(hostile.clone());
        report.sni = Some(hostile.clone());
        report.cgroup = Some(hostile.clone());
        report.alpn.offered = Some(vec![hostile.clone()]);
        report.alpn.selected = Some(hostile);
        let text = Text {
            time_zone: TimeZone::UTC,
            evidence: true,
        };
        let line = text.line(&report);
        assert!(!line.contains("[2J\r") && !line.contains('\u{202e}') && !line.contains('\r'));
        assert_eq!(line.lines().count(), 8, "{line:?}");
        assert_eq!(line.matches("\\u{1b}[2J").count(), 5, "{line:?}");
    }

    #[test]
    fn long_server_names_are_cut() {
        let mut report = sample::failed();
        report.sni = Some("a".repeat(253));
        let line = plain(&report, false);
        assert!(
            line.contains(&format!(" {}… by ", "a".repeat(48))),
            "{line}"
        );
    }
}
