//! The unix socket that `tls-trace tail` reads from. Each reader has a bounded queue; one that does
//! not keep up is disconnected and counted, never waited for.

mod bind;
mod client;
mod protocol;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::Serialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::spawn_blocking,
    time::timeout,
};

use self::bind::Bound;
use self::protocol::{Ask, Recorded};
pub use self::{
    bind::BindError,
    client::{Client, ClientError, Line, Record, flight_recording},
    protocol::{Ended, Ready, Reason},
};
use super::{Sink, filter::Filter, json, prometheus::Outputs};
use crate::{
    flap::Flap,
    report::Report,
    source::recording::{FlightRecorder, Snapshot},
};

/// Readers served at once.
const READERS: usize = 64;
/// Reports waiting for one reader at most; queues share them.
const QUEUE: usize = 4096;
/// How long a reader may take nothing.
const STALLED: Duration = Duration::from_secs(5);
/// Time for readers to take the rest when the daemon stops.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Bytes of a filter.
const FILTER: u64 = 64 * 1024;

/// A socket that is bound, not yet served.
#[derive(Debug)]
pub struct Server {
    bound: Bound,
    listener: UnixListener,
    stalled: Duration,
}

impl Server {
    /// Takes the path.
    ///
    /// # Errors
    /// A live daemon or something else has it, or it cannot be created.
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let (bound, listener) = Bound::new(path)?;
        let listener = UnixListener::from_std(listener).map_err(|error| BindError::Io {
            path: path.to_owned(),
            error,
        })?;
        Ok(Self {
            bound,
            listener,
            stalled: STALLED,
        })
    }

    /// Serves readers in the background; each gets the line `ready` first.
    #[must_use]
    pub fn start(
        self,
        ready: String,
        outputs: Outputs,
        flight: Option<FlightRecorder>,
    ) -> Broadcast {
        let Self {
            bound,
            listener,
            stalled,
        } = self;
        let shared = Arc::new(Shared {
            ready,
            outputs,
            flight,
            readers: Mutex::new(Vec::new()),
            stopping: AtomicBool::new(false),
            stalled,
        });
        // Every task holds a sender; the receiver ends when all tasks have.
        let (tasks, ended) = mpsc::channel(1);
        let accepting = tokio::spawn(accept(listener, shared.clone(), tasks));
        Broadcast {
            shared,
            accepting,
            ended,
            _bound: bound,
        }
    }
}

/// The sending side: a sink that gives reports to every reader whose filter they pass.
#[derive(Debug)]
pub struct Broadcast {
    shared: Arc<Shared>,
    accepting: tokio::task::JoinHandle<()>,
    ended: mpsc::Receiver<()>,
    _bound: Bound,
}

impl Broadcast {
    /// Tells the readers that the daemon stops, and gives them a moment to take what is queued.
    pub async fn stop(mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.accepting.abort();
        self.shared.readers().clear();
        // Readers that do not take it in time are cut off by the end of the process.
        let _ = timeout(LAST_LINES, self.ended.recv()).await;
    }
}

impl Broadcast {
    /// Gives a record to the readers who want it.
    fn send(&self, wanted: impl Fn(&Filter) -> bool, record: &impl Serialize) {
        let mut line: Option<Arc<str>> = None;
        self.shared.readers().retain(|reader| {
            if !wanted(&reader.filter()) {
                return true;
            }
            let line = match &line {
                Some(line) => line.clone(),
                None => match json::line(record) {
                    Ok(text) => line.insert(text.into()).clone(),
                    Err(error) => {
                        tracing::error!(%error, "a record has no JSON form");
                        return true;
                    }
                },
            };
            // Dropping the queue's only sender ends the reader's task, once it wrote the rest.
            match reader.queue.try_send(line) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    self.shared.outputs.readers_dropped.inc();
                    false
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            }
        });
    }
}

impl Sink for Broadcast {
    fn report(&mut self, report: &Report) {
        self.send(|filter| filter.matches(report), report);
    }

    fn flap(&mut self, flap: &Flap) {
        self.send(|filter| filter.matches_flap(flap), flap);
    }
}

#[derive(Debug)]
struct Shared {
    ready: String,
    outputs: Outputs,
    /// Absent where it is switched off.
    flight: Option<FlightRecorder>,
    readers: Mutex<Vec<Reader>>,
    stopping: AtomicBool,
    /// A reader that takes nothing for this long is gone.
    stalled: Duration,
}

impl Shared {
    fn readers(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Reader {
    queue: mpsc::Sender<Arc<str>>,
    filter: Arc<Mutex<Filter>>,
}

impl Reader {
    fn filter(&self) -> MutexGuard<'_, Filter> {
        self.filter.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>, tasks: mpsc::Sender<()>) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // The reader is gone already, or file descriptors ran out, which passes.
                tracing::debug!(%error, "cannot accept a reader");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let filter = Arc::new(Mutex::new(Filter {
            all: true,
            ..Filter::default()
        }));
        let (queue, lines) = mpsc::channel(QUEUE);
        let full = {
            let mut readers = shared.readers();
            readers.retain(|reader| !reader.queue.is_closed());
            let full = readers.len() >= READERS;
            if !full {
                let filter = filter.clone();
                readers.push(Reader { queue, filter });
            }
            full
        };
        let (shared, task) = (shared.clone(), tasks.clone());
        tokio::spawn(async move {
            shared.outputs.readers.inc();
            if let Err(error) = serve(stream, &shared, lines, &filter, full).await {
                tracing::debug!(%error, "reader");
            }
            shared.outputs.readers.dec();
            drop(task);
        });
    }
}

async fn serve(
    stream: UnixStream,
    shared: &Shared,
    mut lines: mpsc::Receiver<Arc<str>>,
    filter: &Mutex<Filter>,
    full: bool,
) -> io::Result<()> {
    let (from, mut to) = stream.into_split();
    let reason = if full {
        Reason::TooManyReaders
    } else {
        let (ask, asked) = mpsc::channel(1);
        tokio::select! {
            request = follow_requests(from, filter, ask) => match request? {
                Request::Gone => return Ok(()),
                Request::Bad => Reason::BadFilter,
            },
            written = write_reports(&mut to, shared, &mut lines, asked) => {
                // One whose queue is closed was counted when that was full, or the daemon stops.
                if written.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
                    && !lines.is_closed()
                {
                    shared.outputs.readers_dropped.inc();
                }
                written?;
                if shared.stopping.load(Ordering::Relaxed) {
                    Reason::Stopped
                } else {
                    Reason::TooSlow
                }
            }
        }
    };
    let ended = json::line(&Ended { end: reason })?;
    write(&mut to, shared, ended.as_bytes()).await
}

async fn write_reports(
    to: &mut OwnedWriteHalf,
    shared: &Shared,
    lines: &mut mpsc::Receiver<Arc<str>>,
    mut asked: mpsc::Receiver<()>,
) -> io::Result<()> {
    write(to, shared, shared.ready.as_bytes()).await?;
    let mut waiting = Vec::new();
    loop {
        tokio::select! {
            read = lines.recv_many(&mut waiting, 64) => {
                if read == 0 {
                    return Ok(());
                }
                write(to, shared, waiting.concat().as_bytes()).await?;
                waiting.clear();
            }
            Some(()) = asked.recv() => write_recording(to, shared).await?,
        }
    }
}

/// A line that says how many bytes follow it, and those.
async fn write_recording(to: &mut OwnedWriteHalf, shared: &Shared) -> io::Result<()> {
    let file = match shared.flight.as_ref().map(FlightRecorder::snapshot) {
        Some(snapshot) => Some(spawn_blocking(move || compress(&snapshot)).await??),
        None => None,
    };
    let recording = file.as_ref().map(Vec::len);
    write(to, shared, json::line(&Recorded { recording })?.as_bytes()).await?;
    write(to, shared, &file.unwrap_or_default()).await
}

fn compress(snapshot: &Snapshot) -> io::Result<Vec<u8>> {
    let mut file = Vec::new();
    snapshot.write(&mut file)?;
    Ok(file)
}

async fn write(to: &mut OwnedWriteHalf, shared: &Shared, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        let written = timeout(shared.stalled, to.write(rest)).await??;
        rest = rest.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// How a reader's side of the conversation ends.
enum Request {
    Gone,
    Bad,
}

async fn follow_requests(
    from: OwnedReadHalf,
    filter: &Mutex<Filter>,
    ask: mpsc::Sender<()>,
) -> io::Result<Request> {
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut from)
            .take(FILTER)
            .read_until(b'\n', &mut line)
            .await?;
        if read == 0 {
            return Ok(Request::Gone);
        }
        if serde_json::from_slice::<Ask>(&line).is_ok_and(|ask| ask.flight_recorder) {
            // The writer is there for as long as this is.
            let _ = ask.send(()).await;
            continue;
        }
        let Ok(wanted) = serde_json::from_slice(&line) else {
            return Ok(Request::Bad);
        };
        *filter.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
    }
}
