//! The commands of the binary.

mod analyze;
mod capability;
mod check;
mod clock;
mod coverage;
mod explain;
mod flight;
mod inspect;
mod lines;
mod print;
mod record;
mod replay;
mod run;
mod tail;
mod tracer;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Where the daemon and `tail` meet unless told otherwise.
const SOCKET: &str = "/run/tls-trace.sock";

/// Says for every failed TLS connection who ended it, in which phase, and why.
///
/// Works for any TLS library of any process, in any container, without a restart or a change: the
/// kernel and the first bytes on the wire are the witnesses.
#[derive(Debug, Parser)]
#[command(name = "tls-trace", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,

    /// Never colour the output; the environment variable `NO_COLOR` does the same
    #[arg(long, global = true)]
    no_color: bool,
}

const EXAMPLES: &str = "\
Examples:
  sudo tls-trace check                     what this machine allows, what is missing, what to do
  sudo tls-trace run                       trace until Ctrl-C; metrics on 127.0.0.1:9469/metrics
  tls-trace tail                           failures of the running daemon, as they happen
  tls-trace tail --port 443 --cause certificate_expired
  tls-trace tail --all --json | jq .sni    every connection, for machines
  tls-trace analyze trace.pcap             what failed in a capture; needs no privileges
  tls-trace explain server_silent          what a cause means and what to do about it
  sudo tls-trace record incident.tlsrec    what the tracer sees, for `tls-trace replay`

Log messages go to standard error; RUST_LOG=tls_trace=debug shows more of them.";

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Tail(tail::Tail),
    Check(check::Check),
    Analyze(analyze::Analyze),
    Record(record::Record),
    Replay(replay::Replay),
    Inspect(inspect::Inspect),
    Explain(explain::Explain),
    /// Print a completion script for a shell
    ///
    /// For example: tls-trace completions bash > /usr/share/bash-completion/completions/tls-trace
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Runs the command that the arguments ask for.
///
/// # Errors
/// A sentence for the user; the exit code is then 1.
pub fn execute(cli: Cli) -> anyhow::Result<ExitCode> {
    if cli.no_color {
        anstream::ColorChoice::Never.write_global();
    }
    match cli.command {
        Command::Run(run) => block_on(run.execute()),
        Command::Tail(tail) => block_on(tail.execute()),
        Command::Check(check) => block_on(check.execute()),
        Command::Inspect(inspect) => inspect.execute(),
        Command::Analyze(analyze) => Ok(analyze.execute()),
        Command::Explain(explain) => explain.execute(),
        Command::Record(record) => block_on(record.execute()),
        Command::Replay(replay) => replay.execute(),
        Command::Completions { shell } => {
            clap_complete::generate(
                shell,
                &mut Cli::command(),
                "tls-trace",
                &mut std::io::stdout().lock(),
            );
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The tracing loop runs on the calling thread, everything that talks to others on one worker: a
/// burst of events delays no scrape, a scrape no event.
fn block_on(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("io")
        .enable_all()
        .build()?;
    let result = runtime.block_on(command);
    // Readers and scrapers that are still connected do not hold up the end.
    runtime.shutdown_background();
    result
}

/// Resolves on SIGINT and SIGTERM.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[rstest]
    #[case("run", true)]
    #[case("run --json --all --metrics 127.0.0.1:0 --socket /tmp/s", true)]
    #[case("run --metrics off --socket off --quiet", true)]
    #[case(
        "run --metrics [::1]:9469 --metrics-cert c --metrics-key k --metrics-client-ca a",
        true
    )]
    #[case("run --metrics localhost", false)]
    #[case("run --metrics-cert c", false)]
    #[case("run --metrics-client-ca a", false)]
    #[case("run --quiet --json", false)]
    #[case("run --json --verbose", false)]
    #[case("run --ring-buffer 0", false)]
    #[case(
        "tail --port 443 --pid 1 --comm a --sni b --phase connect --all --json",
        true
    )]
    #[case("tail --port 65536", false)]
    #[case("tail --cause expired", false)]
    #[case("check --strict --json --no-color", true)]
    #[case("explain", true)]
    #[case("explain unused server_silent", true)]
    #[case("explain --markdown unused", false)]
    #[case("completions fish", true)]
    #[case("", false)]
    fn command_lines(#[case] arguments: &str, #[case] valid: bool) {
        let words = std::iter::once("tls-trace").chain(arguments.split_whitespace());
        let parsed = Cli::try_parse_from(words);
        assert_eq!(parsed.is_ok(), valid, "{parsed:?}");
    }

    #[test]
    fn every_command_teaches_with_examples() {
        let mut command = Cli::command();
        for name in ["run", "tail", "check", "explain"] {
            let help = command
                .find_subcommand_mut(name)
                .unwrap()
                .render_long_help();
            assert!(help.to_string().contains("\nExamples:\n"), "{name}");
        }
    }
}
