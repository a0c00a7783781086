//! The daemon's flight recorder: how large it is, and what makes it write.

use std::{
    io::BufWriter,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
};

use super::{clock, record::create};
use crate::{
    engine,
    source::recording::{FlightRecorder, Header, Snapshot},
};

/// The flight recorder.
#[derive(Clone, Debug, clap::Args)]
pub struct Flight {
    /// Memory for the latest events, which SIGUSR1 and `tls-trace record --last` write to a file; 0
    /// for none
    #[arg(long, value_name = "MIB", default_value_t = 8, value_parser = clap::value_parser!(u32).range(..=4096))]
    flight_recorder: u32,

    /// Folder in which SIGUSR1 writes recordings
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/tls-trace")]
    recordings: PathBuf,
}

impl Flight {
    /// Starts recording, and listening for the signal.
    ///
    /// # Errors
    /// The signal cannot be listened for.
    pub fn start(self, config: engine::Config) -> anyhow::Result<Option<FlightRecorder>> {
        let mut asked = signal(SignalKind::user_defined1())?;
        let recorder = (self.flight_recorder > 0).then(|| {
            let header = Header::new(clock::wall_clock_offset(), config);
            FlightRecorder::new(&header, (self.flight_recorder as usize) << 20)
        });
        let sink = recorder.clone();
        tokio::spawn(async move {
            while asked.recv().await.is_some() {
                if let Some(recorder) = &recorder {
                    let (snapshot, folder) = (recorder.snapshot(), self.recordings.clone());
                    // Reports are not held up by a slow disk.
                    spawn_blocking(move || tell(write(&snapshot, &folder)));
                } else {
                    tracing::warn!("SIGUSR1: the flight recorder is off");
                }
            }
        });
        Ok(sink)
    }
}

fn tell(written: anyhow::Result<PathBuf>) {
    match written {
        Ok(path) => eprintln!("tls-trace: recorded to {}", path.display()),
        Err(error) => eprintln!("tls-trace: SIGUSR1: {error:#}"),
    }
}

/// Writes to a new file, named after the time.
fn write(snapshot: &Snapshot, folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("{}.tlsrec", clock::file_name()));
    let write = || {
        std::fs::create_dir_all(folder)?;
        snapshot.write(BufWriter::new(create(&path)?))
    };
    write().with_context(|| format!("cannot write '{}'", path.display()))?;
    Ok(path)
}
