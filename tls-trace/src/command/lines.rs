//! Reports on standard output, one after another, none left out: for commands that read files.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use super::print::Print;
use crate::{
    report::Report,
    sink::{filter::Filter, json, text::Text},
};

/// Bytes gathered where nobody watches line by line.
const BUFFER: usize = 1 << 16;

/// Prints what a filter passes.
pub struct Lines {
    output: Box<dyn Write>,
    /// Lines are to be seen as they are found.
    terminal: bool,
    /// None: JSON.
    text: Option<Text>,
    /// Passes established connections, too.
    filter: Filter,
    all: bool,
}

impl Lines {
    /// Prints to standard output.
    pub fn new(print: Print, filter: Filter) -> Self {
        Self {
            output: Box::new(BufWriter::with_capacity(BUFFER, anstream::stdout())),
            terminal: io::stdout().is_terminal(),
            text: print.text(),
            all: filter.all,
            filter: Filter {
                all: true,
                ..filter
            },
        }
    }

    /// Whether the report is one of those asked for, printed or not.
    pub fn concerns(&self, report: &Report) -> bool {
        self.filter.matches(report)
    }

    /// The line of a report that is to be printed.
    pub fn line(&self, report: &Report) -> io::Result<Option<String>> {
        if !self.all && !report.verdict.outcome.is_failure() {
            return Ok(None);
        }
        Ok(Some(match &self.text {
            Some(text) => text.line(report),
            None => json::line(report)?,
        }))
    }

    /// Prints text with its line breaks.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        self.output.write_all(text.as_bytes())?;
        if self.terminal {
            self.output.flush()?;
        }
        Ok(())
    }

    /// Whether lines are JSON.
    pub fn is_json(&self) -> bool {
        self.text.is_none()
    }

    /// Prints what was gathered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
