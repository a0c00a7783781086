//! `tls-trace record`: what the tracer sees, kept for `tls-trace replay`.

use std::{
    fs::{File, OpenOptions},
    io::BufWriter,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, anyhow};

use super::{
    capability, clock,
    run::closing,
    stop_signal,
    tracer::{Source, Tracer, warn_of_missing},
};
use crate::{
    engine,
    sink::{escaped, socket},
    source::recording::{Header, Recorder},
};

/// Record what the tracer sees until Ctrl-C, or what the daemon saw last
///
/// A recording has the first bytes of each connection, as they were on the wire: server names,
/// certificates, requests that were not encrypted. `tls-trace replay` makes its reports again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Record {
    /// File to write
    file: PathBuf,

    /// Take what the flight recorder of the running daemon holds, instead of tracing
    #[arg(long)]
    last: bool,

    /// Socket of the daemon
    #[arg(long, value_name = "PATH", default_value = super::SOCKET, requires = "last")]
    socket: PathBuf,

    #[command(flatten)]
    source: Source,
}

const EXAMPLES: &str = "\
Examples:
  sudo tls-trace record incident.tlsrec           until Ctrl-C
  sudo tls-trace record --last incident.tlsrec    the daemon's latest minutes
  tls-trace replay --explain incident.tlsrec";

impl Record {
    /// Records.
    ///
    /// # Errors
    /// The file cannot be written, nothing can be traced, or no daemon answers.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        let shown = self.file.display().to_string();
        let failed = || format!("cannot write '{}'", escaped(&shown));
        if self.last {
            let recording = socket::flight_recording(&self.socket).await;
            let recording = recording.map_err(|error| {
                anyhow!(error).context(format!("the daemon on {}", self.socket.display()))
            })?;
            let file = create(&self.file).with_context(failed)?;
            std::io::copy(&mut &recording[..], &mut &file).with_context(failed)?;
            return Ok(ExitCode::SUCCESS);
        }
        let stop = stop_signal()?;
        capability::require_bpf()?;
        let config = engine::Config::default();
        let header = Header::new(clock::wall_clock_offset(), config);
        let file = create(&self.file).with_context(failed)?;
        let mut recorder = Recorder::new(BufWriter::new(file), &header).with_context(failed)?;
        let tracer = Tracer::start(&self.source.into(), config)?;
        warn_of_missing(tracer.hooks());
        eprintln!("tls-trace: recording to {}", escaped(&shown));
        let summary = tracer.run(&mut [&mut recorder], stop).await?;
        recorder.close().with_context(failed)?;
        eprintln!("{}", closing(summary, 0));
        Ok(ExitCode::SUCCESS)
    }
}

/// Creates a file that only its owner may read: it has what others sent.
pub fn create(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}
