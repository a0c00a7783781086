//! `tls-trace replay`: a recording's reports, made again.

use std::{
    fs::File,
    io::{self, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{lines::Lines, print::Print};
use crate::{
    report::Report,
    sink::{escaped, filter::Filter},
    source::recording::{Recording, RecordingError, Replay as Player},
};

/// Exit code when something could not be read.
const UNREADABLE: u8 = 2;

/// Make the reports of recordings again, as the tracer made them
///
/// The same recording gives the same reports, byte for byte. Needs no privileges.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Replay {
    /// Recordings, made with `tls-trace record`
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    #[command(flatten)]
    print: Print,

    #[command(flatten)]
    filter: Filter,
}

const EXAMPLES: &str = "\
Examples:
  tls-trace replay incident.tlsrec                    what failed
  tls-trace replay --all --json incident.tlsrec       every connection, for machines
  tls-trace replay --explain incident.tlsrec          with everything that passed

Ends with 0 when nothing failed, 1 when something failed, 2 when a file could not be read.";

/// Where it stopped.
enum Stop {
    Recording(RecordingError),
    Output(io::Error),
}

impl From<RecordingError> for Stop {
    fn from(error: RecordingError) -> Self {
        Self::Recording(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl Replay {
    /// Reads the files and prints.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        let mut view = View {
            lines: Lines::new(self.print, self.filter),
            failures: 0,
        };
        let mut whole = true;
        for path in &self.files {
            match play(path, self.print, &mut view) {
                Ok(()) => {}
                Err(Stop::Recording(error)) => {
                    view.lines.flush()?;
                    // Cut short is what happens to a machine that crashed.
                    whole &= matches!(error, RecordingError::CutShort { .. });
                    let path = path.display().to_string();
                    anstream::eprintln!("tls-trace: '{}': {error}", escaped(&path));
                }
                Err(Stop::Output(error)) => return broken(error),
            }
        }
        if let Err(error) = view.lines.flush() {
            return broken(error);
        }
        Ok(match (whole, view.failures) {
            (false, _) => ExitCode::from(UNREADABLE),
            (true, 0) => ExitCode::SUCCESS,
            (true, _) => ExitCode::FAILURE,
        })
    }
}

/// `replay | head` is no failure of either.
fn broken(error: io::Error) -> anyhow::Result<ExitCode> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(ExitCode::FAILURE),
        _ => Err(error.into()),
    }
}

struct View {
    lines: Lines,
    failures: u64,
}

impl View {
    fn reports(&mut self, reports: &mut Vec<Report>) -> io::Result<()> {
        for report in reports.drain(..) {
            if !self.lines.concerns(&report) {
                continue;
            }
            self.failures += u64::from(report.verdict.outcome.is_failure());
            if let Some(line) = self.lines.line(&report)? {
                self.lines.print(&line)?;
            }
        }
        Ok(())
    }
}

fn play(path: &Path, print: Print, view: &mut View) -> Result<(), Stop> {
    let file = File::open(path).map_err(RecordingError::from)?;
    let mut recording = Recording::open(BufReader::new(file))?;
    let mut config = recording.header().config;
    config.history = config.history.max(print.engine().history);
    let mut player = Player::new(recording.header(), Some(config));
    let mut reports = Vec::new();
    let result = loop {
        match recording.next_item() {
            Ok(Some(item)) => player.item(item, &mut reports),
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        view.reports(&mut reports)?;
    };
    player.end(&mut reports);
    view.reports(&mut reports)?;
    Ok(result?)
}
