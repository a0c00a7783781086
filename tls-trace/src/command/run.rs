//! `tls-trace run`: the daemon.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::bail;
use jiff::tz::TimeZone;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::tracer::{Tracer, skipped};
use crate::{
    probe::HookReport,
    report::{Report, SCHEMA},
    sink::{Sink, filter::Filter, json, output::Output, text::Text},
    source::live,
};

/// Trace this machine until Ctrl-C: print failures as they happen, serve metrics and `tail`
///
/// One line for each TLS connection that fails, with who ended it, in which phase, and why.
#[derive(Debug, clap::Args)]
pub struct Run {
    #[command(flatten)]
    print: Print,

    /// Print nothing on standard output
    #[arg(long, conflicts_with_all = ["json", "all", "verbose"])]
    quiet: bool,

    /// Print every connection, not only those that failed or broke
    #[arg(long)]
    all: bool,

    /// Address of the HTTP server with /metrics, /healthz and /readyz, or `off`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9469")]
    metrics: Listen,

    /// Unix socket that `tls-trace tail` reads from, or `off`
    #[arg(long, value_name = "PATH", default_value = "/run/tls-trace.sock")]
    socket: PathBuf,

    #[command(flatten)]
    source: Source,

    /// End with exit code 1 unless every hook could be attached
    #[arg(long)]
    strict: bool,
}

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

/// How the kernel is traced.
#[derive(Clone, Debug, clap::Args)]
pub struct Source {
    /// Root of cgroup v2; found in /proc/mounts unless given
    #[arg(long, value_name = "PATH")]
    cgroup: Option<PathBuf>,

    /// Show what the eBPF programs log
    #[arg(long)]
    bpf_log: bool,
}

impl From<Source> for live::Options {
    fn from(Source { cgroup, bpf_log }: Source) -> Self {
        Self {
            cgroup,
            bpf_log,
            ring_buffer: None,
        }
    }
}

/// An address to listen on, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listen {
    Off,
    At(SocketAddr),
}

impl std::str::FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        text.parse()
            .map(Self::At)
            .map_err(|_| "expected ADDRESS:PORT, such as 127.0.0.1:9469, or off".to_owned())
    }
}

impl Run {
    /// Traces until told to stop.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let stop = stop_signal()?;
        let tracer = Tracer::start(&self.source.into())?;
        if self.strict {
            refuse_skipped(tracer.hooks())?;
        }
        let mut output = Output::stdout()?;
        if self.print.json {
            output.line(json::line(&Ready::new(tracer.hooks()))?);
        }
        let mut printer = Printer::new(
            output,
            Filter {
                all: self.all,
                ..Filter::default()
            },
            self.print,
        );
        let mut sinks: Vec<Box<dyn Sink + '_>> = vec![Box::new(&mut printer)];
        let summary = tracer.run(&mut sinks, stop).await?;
        drop(sinks);
        printer.finish().await;
        eprintln!("{summary:?}");
        Ok(ExitCode::SUCCESS)
    }
}

/// First line of `--json`: from now on every connection is traced.
#[derive(Debug, Serialize)]
struct Ready<'a> {
    ready: bool,
    schema: u32,
    version: &'static str,
    hooks: &'a [HookReport],
}

impl<'a> Ready<'a> {
    fn new(hooks: &'a [HookReport]) -> Self {
        Self {
            ready: true,
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            hooks,
        }
    }
}

/// Resolves on SIGINT and SIGTERM.
pub fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn refuse_skipped(hooks: &[HookReport]) -> anyhow::Result<()> {
    let skipped: Vec<_> = skipped(hooks).collect();
    let Some((first, reason)) = skipped.first() else {
        return Ok(());
    };
    bail!(
        "--strict: {} of {} hooks could not be attached, first {}: {reason}",
        skipped.len(),
        hooks.len(),
        first.name,
    )
}

/// Reports on standard output.
#[derive(Debug)]
pub struct Printer {
    output: Output,
    filter: Filter,
    text: Option<Text>,
}

impl Printer {
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

    pub async fn finish(self) {
        self.output.finish().await;
    }
}

impl Sink for &mut Printer {
    fn report(&mut self, report: &Report) {
        if !self.filter.matches(report) {
            return;
        }
        match &self.text {
            Some(text) => self.output.line(text.line(report)),
            None => match json::line(report) {
                Ok(line) => self.output.line(line),
                Err(error) => tracing::error!(%error, "a report has no JSON form"),
            },
        }
    }
}
