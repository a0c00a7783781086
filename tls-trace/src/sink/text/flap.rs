//! Flaps for people: the columns of a report's line.

use std::fmt::{self, Write as _};

use anstyle::{AnsiColor, Style};

use super::{CAUSE, SERVER_NAME, Text, WHO};
use crate::{
    flap::{Change, Flap},
    report::Role,
    sink::{escaped, shortened},
};

impl Text {
    /// The line of a flap that begins or ends, with its line break.
    #[must_use]
    pub fn flap(&self, flap: &Flap) -> String {
        let mut line = String::with_capacity(256);
        // Writing to a String cannot fail.
        let _ = self.write_flap(flap, &mut line);
        line
    }

    fn write_flap(&self, flap: &Flap, out: &mut String) -> fmt::Result {
        let dim = Style::new().dimmed();
        let bold = Style::new().bold();
        let (change, color) = match flap.flap {
            Change::On => ("flap-on", AnsiColor::Magenta),
            Change::Off => ("flap-off", AnsiColor::Green),
        };
        let style = color.on_default().bold();
        write!(out, "{dim}{}{dim:#} ", self.clock(flap.time.as_deref()))?;
        write!(out, "{style}{change:<11}{style:#} ")?;
        write!(
            out,
            "{bold}{:<CAUSE$}{bold:#} {:<WHO$} ",
            flap.cause,
            who(flap)
        )?;
        write!(out, "{}× in {}", flap.events, span(flap.span_s))?;
        match flap.period_s {
            Some(period) => write!(out, ", each lives {period:.1}s (periodic)")?,
            None => write!(out, ", half live less than {}", span(flap.life_s))?,
        }
        if flap.cause_share < 1.0 {
            write!(out, ", {:.0} % for this cause", flap.cause_share * 100.0)?;
        }
        if let Some(hint) = flap.hint.as_ref().filter(|_| flap.flap == Change::On) {
            write!(out, "  {dim}→ {hint}{dim:#}")?;
        }
        out.push('\n');
        Ok(())
    }
}

fn who(flap: &Flap) -> String {
    let process = match (&flap.comm, flap.pid) {
        (Some(comm), Some(pid)) => format!("{}[{pid}]", escaped(comm)),
        (Some(comm), None) => escaped(comm).to_string(),
        (None, Some(pid)) => format!("[{pid}]"),
        (None, None) => "?".to_owned(),
    };
    let peer = shortened(&flap.peer, SERVER_NAME);
    match flap.role {
        Role::Server => format!("{process}:{} ← {peer}", flap.port),
        Role::Client | Role::Observer => format!("{process} → {peer}:{}", flap.port),
    }
}

/// Seconds in the unit that people would choose.
fn span(seconds: f64) -> String {
    match seconds {
        ..1.0 => format!("{:.0} ms", seconds * 1e3),
        1.0..120.0 => format!("{seconds:.1} s"),
        _ => format!("{:.0} min", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::sink::sample;

    fn plain(flap: &Flap) -> String {
        let text = Text {
            time_zone: TimeZone::UTC,
            evidence: false,
        };
        anstream::adapter::strip_str(&text.flap(flap)).to_string()
    }

    #[test]
    fn a_line_for_each_change() {
        let mut flap = sample::flap();
        assert_eq!(
            plain(&flap),
            "14:03:22.118 flap-on     process_killed            \
             web[4121] → billing.svc:443                    \
             9× in 6 min, each lives 40.2s (periodic)  → look for the OOM killer\n"
        );
        flap.flap = Change::Off;
        (flap.period_s, flap.cause_share) = (None, 0.5);
        assert!(
            plain(&flap)
                .ends_with(" 9× in 6 min, half live less than 40.2 s, 50 % for this cause\n"),
            "{}",
            plain(&flap)
        );
    }

    #[test]
    fn a_server_tells_of_its_client() {
        let mut flap = sample::flap();
        flap.role = Role::Server;
        flap.peer = "2001:db8::9".to_owned();
        assert!(
            plain(&flap).contains(" web[4121]:443 ← 2001:db8::9 "),
            "{}",
            plain(&flap)
        );
    }

    #[test]
    fn strangers_do_not_reach_the_terminal() {
        let mut flap = sample::flap();
        flap.comm = Some("\u{1b}[2J".to_owned());
        flap.peer = "a\u{202e}\n".to_owned();
        let line = plain(&flap);
        assert!(
            line.contains("\\u{1b}[2J") && line.contains("a\\u{202e}\\n"),
            "{line:?}"
        );
        assert_eq!(line.lines().count(), 1);
    }
}
