//! `tls-trace tail`: failures as they happen.

use std::{path::PathBuf, process::ExitCode};

use super::run::{Print, Printer, Source, stop_signal};
use super::tracer::Tracer;
use crate::sink::{Sink, filter::Filter, output::Output};

/// Show failures as they happen, from the daemon, or by tracing when none runs
#[derive(Debug, clap::Args)]
pub struct Tail {
    #[command(flatten)]
    filter: Filter,

    #[command(flatten)]
    print: Print,

    /// Socket of the daemon
    #[arg(long, value_name = "PATH", default_value = "/run/tls-trace.sock")]
    socket: PathBuf,

    #[command(flatten)]
    source: Source,
}

impl Tail {
    /// Prints until told to stop.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let stop = stop_signal()?;
        let _ = self.socket;
        let tracer = Tracer::start(&self.source.into())?;
        let mut printer = Printer::new(Output::stdout()?, self.filter, self.print);
        let mut sinks: Vec<Box<dyn Sink + '_>> = vec![Box::new(&mut printer)];
        tracer.run(&mut sinks, stop).await?;
        drop(sinks);
        printer.finish().await;
        Ok(ExitCode::SUCCESS)
    }
}
