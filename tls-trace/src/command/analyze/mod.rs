//! `tls-trace analyze`: what failed in a capture.

mod analysis;
mod failures;
mod files;
mod progress;
mod summary;

use std::{
    collections::HashMap,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use serde::Serialize;

use self::{
    analysis::{Analysis, Observer, Stop},
    failures::{Failures, Written},
    files::Files,
    progress::ProgressLine,
    summary::{Summary, Tally},
};
use super::{lines::Lines, print::Print};
use crate::{
    event::{ConnectionId, Timestamp},
    report::Report,
    sink::{escaped, filter::Filter, json},
    source::capture::{CaptureError, CaptureFile, Connections},
};

/// Exit code when something could not be read.
const UNREADABLE: u8 = 2;

/// Say what failed in captures: one line for each connection, then a summary
///
/// Reads pcap and pcapng, also compressed with gzip or Zstandard, larger than memory, without
/// privileges. Files that continue each other are read as one capture.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Analyze {
    /// Capture files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Write the packets of failed connections to this file (pcapng), with the verdict as comment
    /// of the decisive packet
    #[arg(long, value_name = "FILE")]
    write_failures: Option<PathBuf>,

    #[command(flatten)]
    print: Print,

    #[command(flatten)]
    filter: Filter,
}

const EXAMPLES: &str = "\
Examples:
  tls-trace analyze trace.pcap                     what failed, and a summary
  tls-trace analyze -v trace.pcap.gz               with all evidence
  tls-trace analyze --explain trace.pcap           with everything that passed
  tls-trace analyze --sni '*.example.com' ring.*   a rotating capture, for these servers
  tls-trace analyze --all --json trace.pcap | jq -r .sni | sort | uniq -c
  tls-trace analyze --write-failures failed.pcapng trace.pcap
  sudo tcpdump -i any -U -w - tcp port 443 | tls-trace analyze -

Ends with 0 when nothing failed, 1 when something failed, 2 when a file could not be read.";

impl Analyze {
    /// Reads the files and prints. What goes wrong is said on standard error.
    #[must_use]
    pub fn execute(self) -> ExitCode {
        match self.run() {
            Ok((false, _)) => ExitCode::from(UNREADABLE),
            Ok((true, 0)) => ExitCode::SUCCESS,
            Ok((true, _)) => ExitCode::FAILURE,
            Err(error) => match error.downcast_ref::<io::Error>() {
                // `analyze | head` is no failure of either.
                Some(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
                _ => {
                    anstream::eprintln!("tls-trace: {error:#}");
                    ExitCode::from(UNREADABLE)
                }
            },
        }
    }

    /// Returns whether all files were read to their ends, and how many connections failed.
    fn run(self) -> anyhow::Result<(bool, u64)> {
        let failures = self
            .write_failures
            .map(|path| Failures::new(&path, &self.files))
            .transpose()?;
        let mut files = Files::new(self.files, failures.is_some());
        let mut analysis = Analysis::new(self.print.engine(), self.filter.all);
        let mut view = View::new(Lines::new(self.print, self.filter), failures);
        let whole = analyze(&mut files, &mut analysis, &mut view)?;
        if let Some(failures) = view.failures.take() {
            tell(failures.write(&mut files)?);
        }
        Ok((whole, view.tally.failures()))
    }
}

/// Returns whether all files were read to their ends.
fn analyze(files: &mut Files, analysis: &mut Analysis, view: &mut View) -> io::Result<bool> {
    let mut whole = true;
    for index in 0..files.len() {
        let before = analysis.counts().packets;
        let read = files
            .open(index)
            .map_err(Stop::from)
            .and_then(|mut file| analysis.read(&mut file, view));
        match read {
            Ok(()) => {}
            Err(Stop::Output(error)) => return Err(error),
            Err(Stop::Capture(error)) => {
                // A capture whose writer was killed is as good as one that ends a packet earlier.
                whole &= matches!(error, CaptureError::CutShort { .. });
                view.complain(
                    files.path(index),
                    &error,
                    analysis.counts().packets > before,
                )?;
            }
        }
    }
    analysis.finish(view)?;
    // Of nothing there is no summary.
    if whole || analysis.counts().packets > 0 {
        view.finish(analysis)?;
    }
    Ok(whole)
}

fn tell(written: Written) {
    let Written {
        connections,
        packets,
        left_out,
    } = written;
    let plural = if connections == 1 { "" } else { "s" };
    eprintln!("tls-trace: {packets} packets of {connections} failed connection{plural} written");
    if left_out > 0 {
        eprintln!("tls-trace: those of {left_out} more failed connections were left out");
    }
}

/// What the user sees.
struct View {
    lines: Lines,
    tally: Tally,
    progress: ProgressLine,
    failures: Option<Failures>,
    /// At the end of a capture: the last packet of each connection that is still open.
    open: HashMap<ConnectionId, Timestamp>,
}

impl View {
    fn new(lines: Lines, failures: Option<Failures>) -> Self {
        Self {
            lines,
            tally: Tally::default(),
            progress: ProgressLine::new(),
            failures,
            open: HashMap::new(),
        }
    }

    fn complain(&mut self, path: &Path, error: &CaptureError, begun: bool) -> io::Result<()> {
        self.progress.clear();
        self.lines.flush()?;
        let path = path.display().to_string();
        let path = escaped(&path);
        if begun {
            anstream::eprintln!("tls-trace: '{path}' was read, but not to its end: {error}");
        } else {
            anstream::eprintln!("tls-trace: cannot read '{path}': {error}");
        }
        Ok(())
    }

    fn finish(&mut self, analysis: &Analysis) -> io::Result<()> {
        self.progress.clear();
        let span = analysis.span().map(|(first, last)| last.since(first));
        let summary = self.tally.summary(
            analysis.counts(),
            analysis.not_tls(),
            span.unwrap_or_default(),
        );
        let summary = if self.lines.is_json() {
            json::line(&SummaryLine { summary })?
        } else {
            summary.text()
        };
        self.lines.print(&summary)?;
        self.lines.flush()
    }
}

impl Observer for View {
    fn report(&mut self, report: &Report) -> io::Result<()> {
        if !self.lines.concerns(report) {
            return Ok(());
        }
        self.tally.add(report);
        if let Some(failures) = &mut self.failures
            && report.verdict.outcome.is_failure()
        {
            let last = self.open.get(&report.id).copied();
            failures.add(report, last.unwrap_or(report.ended));
        }
        if let Some(line) = self.lines.line(report)? {
            self.progress.clear();
            self.lines.print(&line)?;
        }
        Ok(())
    }

    fn packet(&mut self, file: &CaptureFile) {
        self.progress
            .update(file.progress(), self.tally.connections());
    }

    fn end(&mut self, connections: &Connections) {
        if self.failures.is_some() {
            self.open = connections.open().collect();
        }
    }
}

/// The last line of `--json`.
#[derive(Serialize)]
struct SummaryLine {
    summary: Summary,
}
