//! The `tls-trace` command.

use std::process::ExitCode;

use clap::Parser as _;
use tls_trace::command::{self, Cli};
use tracing_subscriber::{EnvFilter, filter::LevelFilter};

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            EnvFilter::builder()
                .with_default_directive(LevelFilter::WARN.into())
                .from_env_lossy(),
        )
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    match command::execute(cli) {
        Ok(code) => code,
        Err(error) => {
            // `{:#}`: the error and what caused it, in one line.
            anstream::eprintln!("tls-trace: {error:#}");
            ExitCode::FAILURE
        }
    }
}
