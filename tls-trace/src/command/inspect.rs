//! `tls-trace inspect`: what a file says about the TLS library in it.

use std::{fs::File, path::PathBuf, process::ExitCode};

use serde::Serialize;

use crate::{
    inspect::{self, Inspection},
    report::SCHEMA,
};

/// Say which TLS library is in a file, what could be probed in it, and how that was found
///
/// Reads the file, runs nothing of it. Needs no privileges.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Inspect {
    /// Programs or shared libraries
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// Print one JSON object a line for each file
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  tls-trace inspect /usr/lib/x86_64-linux-gnu/libssl.so.3
  tls-trace inspect --json \"$(which node)\" | jq .libraries[].family

Ends with 1 when a file cannot be inspected.";

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    file: String,
    #[serde(flatten)]
    inspection: Option<&'a Inspection>,
    error: Option<String>,
}

impl Inspect {
    /// Inspects and prints, file by file.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        let mut well = true;
        for path in &self.files {
            let inspected = File::open(path).map_err(inspect::Error::Io);
            let inspected = inspected.and_then(|file| inspect::inspect(&file));
            well &= inspected.is_ok();
            let line = Line {
                schema: SCHEMA,
                file: path.display().to_string(),
                inspection: inspected.as_ref().ok(),
                error: inspected.as_ref().err().map(ToString::to_string),
            };
            anstream::println!("{}", serde_json::to_string(&line)?);
        }
        Ok(if well {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
