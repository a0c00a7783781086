//! Reports on standard output, as `run` and `tail` print them.

use jiff::tz::TimeZone;

use crate::{
    engine,
    flap::Flap,
    report::Report,
    sink::{Sink, filter::Filter, json, output::Output, text::Text},
};

/// Entries of each connection's history that are kept, from its beginning and from its end.
const HISTORY: usize = 24;

/// How reports are printed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Print {
    /// Print one JSON object a line (schema: docs/json.md)
    #[arg(long)]
    pub json: bool,

    /// Print all evidence below each line
    #[arg(short, long, conflicts_with = "json")]
    pub verbose: bool,

    /// Print everything that passed below each line, with the evidence between it
    #[arg(long)]
    pub explain: bool,
}

impl Print {
    /// None: JSON.
    pub fn text(self) -> Option<Text> {
        (!self.json).then(|| Text {
            time_zone: TimeZone::system(),
            evidence: self.verbose || self.explain,
        })
    }

    /// Settings of an engine that notes what is to be printed.
    pub fn engine(self) -> engine::Config {
        engine::Config {
            history: if self.explain { HISTORY } else { 0 },
            ..engine::Config::default()
        }
    }
}

/// Prints what a filter passes.
#[derive(Debug)]
pub struct Printer {
    output: Output,
    filter: Filter,
    /// None: JSON.
    text: Option<Text>,
}

impl Printer {
    /// Prints to `output`.
    pub fn new(output: Output, filter: Filter, print: Print) -> Self {
        Self {
            output,
            filter,
            text: print.text(),
        }
    }

    /// Prints a report that is wanted; `json` is its line where there is one already.
    pub fn print(&mut self, report: &Report, json: Option<&str>) {
        let line = match (&self.text, json) {
            (Some(text), _) => text.line(report),
            (None, Some(json)) => json.to_owned(),
            (None, None) => match json::line(report) {
                Ok(line) => line,
                Err(error) => {
                    tracing::error!(%error, "a report has no JSON form");
                    return;
                }
            },
        };
        self.output.line(line);
    }

    /// Prints a flap's beginning or end that is wanted; `json` as in [`Printer::print`].
    pub fn print_flap(&mut self, flap: &Flap, json: Option<&str>) {
        let line = match (&self.text, json) {
            (Some(text), _) => text.flap(flap),
            (None, Some(json)) => json.to_owned(),
            (None, None) => match json::line(flap) {
                Ok(line) => line,
                Err(error) => {
                    tracing::error!(%error, "a flap has no JSON form");
                    return;
                }
            },
        };
        self.output.line(line);
    }

    /// Waits for the reader to take the rest, for a moment.
    pub async fn finish(self) {
        self.output.finish().await;
    }
}

impl Sink for Printer {
    fn report(&mut self, report: &Report) {
        if self.filter.matches(report) {
            self.print(report, None);
        }
    }

    fn flap(&mut self, flap: &Flap) {
        if self.filter.matches_flap(flap) {
            self.print_flap(flap, None);
        }
    }
}
