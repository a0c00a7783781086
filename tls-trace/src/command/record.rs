//! `tls-trace record`: what the tracer sees, kept for `tls-trace replay`.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Cursor, Read, Seek},
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
    source::recording::{Header, Recorder, RecordingError, RedactError, redact},
};

/// Record what the tracer sees until Ctrl-C, or what the daemon saw last
///
/// A recording has the first bytes of each connection, as they were on the wire: server names,
/// certificates, requests that were not encrypted. With `--redact` names and addresses are others.
/// `tls-trace replay` makes its reports again.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Record {
    /// File to write
    file: PathBuf,

    /// Take what the flight recorder of the running daemon holds, instead of tracing
    #[arg(long)]
    last: bool,

    /// Take this recording, instead of tracing
    #[arg(
        long,
        value_name = "FILE",
        requires = "redact",
        conflicts_with = "last"
    )]
    from: Option<PathBuf>,

    /// Replace names and addresses by others, the same by the same: of servers, in certificates, of
    /// programs and cgroups, and in what was said in the clear
    #[arg(long)]
    redact: bool,

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
  tls-trace record --from incident.tlsrec --redact for-others.tlsrec
  tls-trace replay --explain incident.tlsrec";

impl Record {
    /// Records.
    ///
    /// # Errors
    /// The file cannot be written, nothing can be traced, or no daemon answers.
    pub async fn execute(self) -> anyhow::Result<ExitCode> {
        if let Some(from) = &self.from {
            let shown = from.display().to_string();
            let recording = File::open(from);
            let recording =
                recording.with_context(|| format!("cannot read '{}'", escaped(&shown)))?;
            self.redacted(recording)?;
        } else if self.last {
            let recording = socket::flight_recording(&self.socket).await;
            let recording = recording.map_err(|error| {
                anyhow!(error).context(format!("the daemon on {}", self.socket.display()))
            })?;
            if self.redact {
                self.redacted(Cursor::new(recording))?;
            } else {
                io::copy(&mut &recording[..], &mut &self.create()?)
                    .with_context(|| self.failed())?;
            }
        } else if self.redact {
            // Without a name: nobody finds it, however this ends.
            let whole = tempfile::tempfile_in(self.folder());
            let mut whole = whole.with_context(|| self.failed())?;
            self.trace(|| Ok(whole.try_clone()?)).await?;
            whole.rewind()?;
            self.redacted(whole)?;
        } else {
            self.trace(|| self.create()).await?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Records until it is told to stop.
    async fn trace(&self, file: impl FnOnce() -> anyhow::Result<File>) -> anyhow::Result<()> {
        let stop = stop_signal()?;
        capability::require_bpf()?;
        let config = engine::Config::default();
        let header = Header::new(clock::wall_clock_offset(), config);
        let recorder = Recorder::new(BufWriter::new(file()?), &header);
        let mut recorder = recorder.with_context(|| self.failed())?;
        let tracer = Tracer::start(&self.source.clone().into(), config)?;
        warn_of_missing(tracer.hooks());
        let shown = self.file.display().to_string();
        eprintln!("tls-trace: recording to {}", escaped(&shown));
        let summary = tracer.run(&mut [&mut recorder], stop).await?;
        recorder.close().with_context(|| self.failed())?;
        eprintln!("{}", closing(summary, 0));
        Ok(())
    }

    /// Writes what a recording holds, up to where it is cut, with other names and addresses. The file is
    /// whole or not there, and may be the recording itself.
    fn redacted(&self, recording: impl Read + Seek) -> anyhow::Result<()> {
        let file = tempfile::NamedTempFile::new_in(self.folder());
        let file = file.with_context(|| self.failed())?;
        match redact(recording, BufWriter::new(file.reopen()?)) {
            Ok(_) => {}
            Err(RedactError::Recording(cut @ RecordingError::CutShort { .. })) => {
                eprintln!("tls-trace: the recording goes only so far: {cut}");
            }
            Err(error @ RedactError::Recording(_)) => {
                let shown = self
                    .from
                    .as_deref()
                    .unwrap_or(&self.file)
                    .display()
                    .to_string();
                return Err(error).context(format!("cannot read '{}'", escaped(&shown)));
            }
            Err(error) => return Err(error).with_context(|| self.failed()),
        }
        file.persist(&self.file).with_context(|| self.failed())?;
        Ok(())
    }

    fn folder(&self) -> &Path {
        let folder = self.file.parent();
        folder
            .filter(|path| *path != Path::new(""))
            .unwrap_or(Path::new("."))
    }

    fn create(&self) -> anyhow::Result<File> {
        create(&self.file).with_context(|| self.failed())
    }

    fn failed(&self) -> String {
        let shown = self.file.display().to_string();
        format!("cannot write '{}'", escaped(&shown))
    }
}

/// Creates a file that only its owner may read: it has what others sent.
pub fn create(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}
