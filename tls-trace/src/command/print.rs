//! Reports on standard output, as `run` and `tail` print them.

use jiff::tz::TimeZone;

use crate::{
    report::Report,
    sink::{Sink, filter::Filter, json, output::Output, text::Text},
};

/// How reports are printed.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Print {
    /// Print one JSON object a line (schema: docs/json.md)
    #[arg(long)]
    pub json: bool,

    /// Print all evidence below each line
    #[arg(short, long, conflicts_with = "json")]
    pub verbose: bool,
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
        let text = (!print.json).then(|| Text {
            time_zone: TimeZone::system(),
            evidence: print.verbose,
        });
        Self {
            output,
            filter,
            text,
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
}
