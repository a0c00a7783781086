//! Finds the TLS libraries of processes: those mapped by every process at the start, in every mount
//! namespace, later whatever is mapped, told by the kernel when it happens. Nothing is polled. Files
//! are told apart by device and inode and judged by what is in them, never by name.
//!
//! All of it runs on a thread of its own: events of connections never wait for a file.

mod events;
mod files;
mod mapping;
mod processes;
mod worker;

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use hashlink::LruCache;
use nix::sys::eventfd::{EfdFlags, EventFd};

pub use self::files::FileId;
use self::{events::Events, files::Files, processes::Processes, worker::Worker};
use crate::inspect::{Coverage, Inspection};

/// Processes waiting to be looked at.
const WAITING: usize = 1024;
/// Processes remembered, so that they are not looked at for every connection.
const PROCESSES: usize = 8192;
/// A process may map a library at any time, or become another program.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long the end waits for the thread, which may be looking at a large file, or reading from a dead network file
/// system.
const END: Duration = Duration::from_millis(100);

/// Whoever wants to know of files with TLS libraries. Called on the thread that finds them, and before
/// that for the libraries of the system.
pub trait Observer: Send {
    /// A file, before anything is known of the process that mapped it but that it runs. Says what of
    /// it is covered, which may be less than what could be: [`Inspection::coverage`].
    fn found(&mut self, id: FileId, file: &File, inspection: Inspection) -> Coverage;

    /// No process has used the file for a while, or it was changed: what was attached to it keeps
    /// its disk space, or its container's file system, from being released.
    fn gone(&mut self, id: FileId);
}

/// Nobody.
impl Observer for () {
    fn found(&mut self, _: FileId, _: &File, inspection: Inspection) -> Coverage {
        inspection.coverage
    }

    fn gone(&mut self, _: FileId) {}
}

/// The thread that finds. Dropping it drops the observer.
#[derive(Debug)]
pub struct Finder {
    coverages: Coverages,
    follows: Result<(), String>,
    wake: Arc<EventFd>,
    look_at: SyncSender<u32>,
    looked: LruCache<u32, Instant>,
    ended: Receiver<()>,
}

impl Finder {
    /// Finds the libraries of the system, then starts finding all others.
    ///
    /// # Errors
    /// No thread can be made.
    pub fn start(observer: Box<dyn Observer>) -> io::Result<Self> {
        let coverages = Coverages::default();
        let wake = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        let wake = Arc::new(EventFd::from_flags(wake)?);
        let (look_at, asked) = sync_channel(WAITING);
        let (running, ended) = sync_channel(0);
        // Before anything is looked at, so that nothing is missed.
        let events = Events::start();
        let follows = events.as_ref().map(|_| ()).map_err(ToString::to_string);
        let shared = Arc::clone(&coverages.0);
        let mut files = Files::new(observer, Arc::clone(&shared));
        for path in worker::ahead() {
            files.keep(path);
        }
        let worker = Worker {
            files,
            shared,
            events: events.ok(),
            wake: Arc::clone(&wake),
            asked,
        };
        thread::Builder::new()
            .name("libraries".to_owned())
            .spawn(move || {
                worker.run();
                drop(running);
            })?;
        Ok(Self {
            coverages,
            follows,
            wake,
            look_at,
            looked: LruCache::new(PROCESSES),
            ended,
        })
    }

    /// Whether the kernel tells of new mappings; why not. If not, processes are known as of the
    /// start, and when [`Self::look_at`] is called.
    ///
    /// # Errors
    /// What `perf_event_open(2)` said.
    pub fn follows(&self) -> Result<(), &str> {
        self.follows.as_ref().copied().map_err(String::as_str)
    }

    /// A process uses TCP. Where the kernel does not tell of mappings, this is the moment to look at
    /// it; else it does nothing. Never waits.
    pub fn look_at(&mut self, pid: u32) {
        let recently = |at: &Instant| at.elapsed() < LOOK_AGAIN;
        if self.follows.is_ok() || self.looked.get(&pid).is_some_and(recently) {
            return;
        }
        // A full queue is tried again at the next event of that process.
        if self.look_at.try_send(pid).is_ok() {
            self.looked.insert(pid, Instant::now());
            self.wake();
        }
    }

    /// What is found, to be read anywhere.
    #[must_use]
    pub fn coverages(&self) -> Coverages {
        self.coverages.clone()
    }

    fn wake(&self) {
        // It fails when it was woken 2^64 times before.
        let _ = self.wake.write(1);
    }
}

impl Drop for Finder {
    fn drop(&mut self) {
        self.coverages.0.stop.store(true, Ordering::Relaxed);
        self.wake();
        if self.ended.recv_timeout(END) == Err(RecvTimeoutError::Timeout) {
            tracing::warn!("a library cannot be read to the end; left behind");
        }
    }
}

/// Looks at all processes once. Nobody is told.
#[must_use]
pub fn look_around() -> Coverages {
    let coverages = Coverages::default();
    let shared = &coverages.0;
    let mut files = Files::new(Box::new(()), Arc::clone(shared));
    for pid in worker::running() {
        worker::look_at(pid, &mut files, shared);
    }
    coverages
}

/// What is known of processes and their libraries.
#[derive(Clone, Debug, Default)]
pub struct Coverages(Arc<Shared>);

/// Shared between the thread and everybody else.
#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    processes: Mutex<Processes>,
    errors: Mutex<BTreeMap<&'static str, u64>>,
}

impl Coverages {
    /// Whether probes explain the connections of a process; None: nothing is known of it.
    #[must_use]
    pub fn of(&self, pid: u32) -> Option<Coverage> {
        self.0.processes().coverage(pid)
    }

    /// Of every process that runs.
    #[must_use]
    pub fn all(&self) -> Vec<(u32, Coverage)> {
        self.0.processes().running().collect()
    }

    /// Processes that run, by [`Coverage::label`] and [`Coverage::library`].
    #[must_use]
    pub fn counts(&self) -> BTreeMap<[&'static str; 2], u64> {
        let mut counts = BTreeMap::new();
        for (_, coverage) in self.0.processes().running() {
            *counts
                .entry([coverage.label(), coverage.library()])
                .or_default() += 1;
        }
        counts
    }

    /// Files that could not be inspected, by error.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.0.errors).clone()
    }
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            stop: AtomicBool::default(),
            processes: Mutex::new(Processes::new()),
            errors: Mutex::default(),
        }
    }
}

impl Shared {
    fn processes(&self) -> MutexGuard<'_, Processes> {
        lock(&self.processes)
    }

    fn count_error(&self, error: &'static str) {
        *lock(&self.errors).entry(error).or_default() += 1;
    }
}

/// What a thread left when it panicked is as good as any other moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
