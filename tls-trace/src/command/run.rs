//! `tls-trace run`: the daemon.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};

use super::{
    capability, clock,
    flight::Flight,
    print::{Print, Printer},
    stop_signal,
    tracer::{Source, Summary, Tracer, skipped, warn_of_missing},
};
use crate::{
    probe::HookReport,
    sink::{
        Sink,
        failures::Failures,
        filter::Filter,
        http::{self, Health, TlsFiles},
        json,
        output::Output,
        prometheus::Metrics,
        socket::{self, Ready},
    },
};

/// Trace this machine until Ctrl-C: print failures as they happen, serve metrics and `tail`
///
/// One line for each TLS connection that fails, with who ended it, in which phase, and why.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    #[command(flatten)]
    print: Print,

    /// Print every connection, not only those that failed or broke
    #[arg(long)]
    all: bool,

    /// Print nothing on standard output
    #[arg(long, conflicts_with_all = ["json", "all", "verbose", "explain"])]
    quiet: bool,

    /// Unix socket that `tls-trace tail` reads from, or `off`
    #[arg(long, value_name = "PATH", default_value = super::SOCKET)]
    socket: OrOff<PathBuf>,

    #[command(flatten)]
    http: Http,

    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    flight: Flight,

    /// Write the first packets of failed connections to pcapng files in this folder, with the verdict
    /// as comment of the decisive packet; at most 8 files of some 16 MiB
    #[arg(long, value_name = "FOLDER")]
    failures_pcapng: Option<PathBuf>,

    /// End with exit code 1 unless every hook could be attached
    #[arg(long)]
    strict: bool,
}

const EXAMPLES: &str = "\
Examples:
  sudo tls-trace run                          failures on the terminal, metrics for Prometheus
  sudo tls-trace run --all --json > log.json  every connection, for machines
  sudo tls-trace run --quiet                  as a service: metrics and `tls-trace tail` only
  sudo tls-trace run --metrics 0.0.0.0:9469 --metrics-cert crt.pem --metrics-key key.pem \\
       --metrics-client-ca prometheus-ca.pem  metrics for one Prometheus elsewhere, mutual TLS

Ends with 0 after Ctrl-C or SIGTERM, with 1 and one sentence when it cannot do its work.";

/// The HTTP server.
#[derive(Clone, Debug, clap::Args)]
struct Http {
    /// Address of the HTTP server with /metrics, /healthz and /readyz, or `off`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9469")]
    metrics: OrOff<SocketAddr>,

    /// Serve HTTP over TLS with this certificate chain (PEM)
    #[arg(long, value_name = "FILE", requires = "metrics_key")]
    metrics_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "metrics_cert")]
    metrics_key: Option<PathBuf>,

    /// Ask clients for a certificate of one of these authorities (PEM)
    #[arg(long, value_name = "FILE", requires = "metrics_cert")]
    metrics_client_ca: Option<PathBuf>,
}

/// A value that can be switched off.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OrOff<T>(Option<T>);

impl<T: std::str::FromStr> std::str::FromStr for OrOff<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        Ok(Self(match text {
            "off" => None,
            _ => Some(text.parse()?),
        }))
    }
}

impl Http {
    async fn bind(self) -> anyhow::Result<Option<http::Server>> {
        let tls = match (self.metrics_cert, self.metrics_key) {
            (Some(certificate), Some(key)) => Some(http::server_config(&TlsFiles {
                certificate,
                key,
                client_ca: self.metrics_client_ca,
            })?),
            _ => None,
        };
        Ok(match self.metrics {
            OrOff(Some(address)) => Some(http::Server::bind(address, tls).await?),
            OrOff(None) => None,
        })
    }
}

impl Run {
    /// Traces until told to stop.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let stop = stop_signal()?;
        capability::require_bpf()?;
        let OrOff(path) = self.socket;
        let socket = path.as_deref().map(socket::Server::bind).transpose()?;
        let http = self.http.bind().await?;
        let address = http.as_ref().map(http::Server::address).transpose()?;
        let tracer = Tracer::start(&self.source.into(), self.print.engine())?;
        if self.strict {
            refuse_skipped(tracer.hooks())?;
        }
        warn_of_missing(tracer.hooks());

        let mut metrics = Metrics::new()?;
        metrics.set_hooks(tracer.hooks());
        let mut health = Health::new(tracer.hooks());
        let mut ready = Ready::new(tracer.hooks());
        ready.metrics = address;
        ready.socket = path;
        let mut flight = self.flight.start(self.print.engine())?;
        let mut failures = self
            .failures_pcapng
            .map(|folder| {
                Failures::new(&folder, clock::wall_clock_offset(), clock::file_name)
                    .with_context(|| format!("cannot write to '{}'", folder.display()))
            })
            .transpose()?;
        let mut broadcast = match socket {
            Some(socket) => {
                let ready = json::line(&ready)?;
                Some(socket.start(ready, metrics.outputs(), flight.clone()))
            }
            None => None,
        };
        if let Some(http) = http {
            tokio::spawn(http.serve(metrics.exposition(), health.clone(), metrics.outputs()));
        }
        let mut output = Output::stdout(metrics.outputs().lines_dropped)?;
        let reader_gone = output.reader_gone();
        if self.print.json {
            output.line(json::line(&ready)?);
        } else {
            eprintln!("{}", introduction(&ready));
        }
        let filter = Filter {
            all: self.all,
            ..Filter::default()
        };
        let mut printer = Printer::new(output, filter, self.print);

        let stopping = health.clone();
        let stop = async move {
            tokio::select! {
                () = stop => {}
                () = reader_gone => {}
            }
            stopping.stop();
        };
        let mut sinks: Vec<&mut dyn Sink> = vec![&mut health, &mut metrics];
        sinks.extend(failures.as_mut().map(|failures| failures as &mut dyn Sink));
        sinks.extend(flight.as_mut().map(|flight| flight as &mut dyn Sink));
        sinks.extend(
            broadcast
                .as_mut()
                .map(|broadcast| broadcast as &mut dyn Sink),
        );
        if !self.quiet {
            sinks.push(&mut printer);
        }
        let summary = tracer.run(&mut sinks, stop).await?;
        drop(sinks);
        printer.finish().await;
        if let Some(failures) = failures {
            failures.close();
        }
        if let Some(broadcast) = broadcast {
            broadcast.stop().await;
        }
        eprintln!(
            "{}",
            closing(summary, metrics.outputs().lines_dropped.get())
        );
        Ok(ExitCode::SUCCESS)
    }
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

/// What runs, and where to look, in a line.
fn introduction(ready: &Ready) -> String {
    let hooks = ready.hooks.len();
    let attached = hooks - skipped(ready.hooks).count();
    let why = if attached < hooks {
        " (`tls-trace check` says why)"
    } else {
        ""
    };
    let metrics = match ready.metrics {
        Some(address) => format!("; metrics on {address}"),
        None => String::new(),
    };
    let socket = match &ready.socket {
        Some(path) => format!("; socket {}", path.display()),
        None => String::new(),
    };
    format!("tls-trace: tracing with {attached} of {hooks} hooks{why}{metrics}{socket}")
}

/// What was seen, in a line.
pub fn closing(summary: Summary, dropped: u64) -> String {
    let Summary {
        connections,
        failures,
        lost,
    } = summary;
    let unread = match dropped {
        0 => String::new(),
        _ => format!(", {dropped} lines dropped because standard output was not read"),
    };
    format!("tls-trace: {connections} connections, {failures} failed, {lost} events lost{unread}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{HookState, Object};

    fn hooks(states: [HookState; 2]) -> Vec<HookReport> {
        let names = ["tcp_destroy_sock", "tcp_fin"];
        let hook = |(name, state)| HookReport {
            name,
            object: Object::Tcp,
            purpose: "",
            required: true,
            state,
        };
        names.into_iter().zip(states).map(hook).collect()
    }

    fn fallback() -> HookState {
        HookState::Fallback {
            back_end: "kprobe",
            reason: "no BTF".to_owned(),
        }
    }

    fn skipped() -> HookState {
        HookState::Skipped {
            reason: "no kprobes".to_owned(),
        }
    }

    #[test]
    fn strict_wants_every_hook_by_whatever_back_end() {
        assert!(refuse_skipped(&hooks([HookState::Attached, fallback()])).is_ok());
        let error = refuse_skipped(&hooks([fallback(), skipped()])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--strict: 1 of 2 hooks could not be attached, first tcp_fin: no kprobes"
        );
    }

    #[test]
    fn the_introduction_says_where_to_look() {
        let hooks = hooks([HookState::Attached, skipped()]);
        let mut ready = Ready::new(&hooks);
        assert_eq!(
            introduction(&ready),
            "tls-trace: tracing with 1 of 2 hooks (`tls-trace check` says why)"
        );
        ready.metrics = Some("127.0.0.1:9469".parse().unwrap());
        ready.socket = Some("/run/s".into());
        assert!(introduction(&ready).ends_with("; metrics on 127.0.0.1:9469; socket /run/s"));
    }

    #[test]
    fn the_closing_line_hides_no_loss() {
        let summary = Summary {
            connections: 5,
            failures: 2,
            lost: 1,
        };
        let line = "tls-trace: 5 connections, 2 failed, 1 events lost";
        assert_eq!(closing(summary, 0), line);
        assert!(closing(summary, 7).starts_with(&format!("{line}, 7 lines dropped")));
    }
}
