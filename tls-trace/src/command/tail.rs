//! `tls-trace tail`: failures as they happen.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, anyhow};

use super::{
    capability,
    print::{Print, Printer},
    run::closing,
    stop_signal,
    tracer::{Source, Tracer, warn_of_missing},
};
use crate::sink::{
    filter::Filter,
    output::Output,
    prometheus::Outputs,
    socket::{Client, ClientError, Line, Reason, Record},
};

/// Show failures as they happen, from the daemon, or by tracing when none runs
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Tail {
    #[command(flatten)]
    print: Print,

    /// Socket of the daemon
    #[arg(long, value_name = "PATH", default_value = super::SOCKET)]
    socket: PathBuf,

    #[command(flatten)]
    source: Source,

    #[command(flatten)]
    filter: Filter,
}

const EXAMPLES: &str = "\
Examples:
  tls-trace tail                                failures as they happen
  tls-trace tail --port 443 --port 8443         on these ports
  tls-trace tail --sni '*.example.com' -v       for these servers, with all evidence
  tls-trace tail --cause certificate_expired --cause certificate_unknown_ca
  tls-trace tail --comm nginx --initiator client_app --json | jq .verdict.cause

A filter given several times is met by any of its values; different filters must all be met.";

impl Tail {
    /// Prints until told to stop.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let stop = stop_signal()?;
        let outputs = Outputs::new()?;
        let output = Output::stdout(outputs.lines_dropped.clone())?;
        let reader_gone = output.reader_gone();
        let stop = async move {
            tokio::select! {
                () = stop => {}
                () = reader_gone => {}
            }
        };
        let mut printer = Printer::new(output, self.filter.clone(), self.print);
        match Client::connect(&self.socket, &self.filter).await {
            Ok(mut daemon) => {
                let ended = tokio::select! {
                    () = stop => None,
                    error = follow(&mut daemon, &self.filter, &mut printer) => Some(error),
                };
                printer.finish().await;
                match ended {
                    None => {}
                    Some(ClientError::Ended(Reason::Stopped)) => {
                        eprintln!("tls-trace: the daemon stopped");
                    }
                    Some(error) => return Err(self.of_daemon(error)),
                }
            }
            Err(ClientError::NoDaemon) => {
                let here = self.socket.display();
                capability::require_bpf().with_context(|| {
                    format!("no daemon answers on {here}, and tracing without one needs privileges")
                })?;
                eprintln!("tls-trace: no daemon answers on {here}: tracing without one");
                let tracer = Tracer::start(&self.source.into(), self.print.engine())?;
                warn_of_missing(tracer.hooks());
                let summary = tracer.run(&mut [&mut printer], stop).await?;
                printer.finish().await;
                eprintln!("{}", closing(summary, outputs.lines_dropped.get()));
            }
            Err(error) => return Err(self.of_daemon(error)),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn of_daemon(&self, error: ClientError) -> anyhow::Error {
        anyhow!(error).context(format!("the daemon on {}", self.socket.display()))
    }
}

async fn follow(daemon: &mut Client, filter: &Filter, printer: &mut Printer) -> ClientError {
    loop {
        match daemon.next(filter).await {
            Ok(Line { record, text }) => match record {
                Record::Report(report) => printer.print(&report, Some(text)),
                Record::Flap(flap) => printer.print_flap(&flap, Some(text)),
            },
            Err(error) => return error,
        }
    }
}
