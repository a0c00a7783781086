//! The thread that finds: follows processes, and looks at those it knows nothing of.

use std::{
    collections::{HashMap, VecDeque},
    fs,
    os::fd::AsFd as _,
    path::PathBuf,
    sync::{Arc, atomic::Ordering, mpsc::Receiver},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::EventFd,
    time::{ClockId, clock_gettime},
};

use super::{
    FileId, Shared,
    events::{Did, Event, Events},
    files::Files,
    mapping,
};

/// Where distributions keep shared libraries. What begins like a TLS library is looked at beforehand,
/// so that the first handshake of the first program that uses it is not missed. Only a hint: what is
/// not found here is found when it is mapped.
const AHEAD: ([&str; 5], [&str; 3]) = (
    [
        "/usr/lib",
        "/usr/lib64",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/local/lib",
    ],
    ["libssl", "libcrypto", "libgnutls"],
);

/// How often the dead are forgotten and files without a user let go, while there are any.
const CLEANING: Duration = Duration::from_secs(20);
/// How long a file may be without a user.
const UNUSED: Duration = Duration::from_secs(60);
/// After events were lost, everything is looked at again; at most this often.
const BETWEEN_LOOKS: Duration = Duration::from_secs(10);

/// The thread.
pub struct Worker {
    pub files: Files,
    pub shared: Arc<Shared>,
    pub events: Option<Events>,
    pub wake: Arc<EventFd>,
    pub asked: Receiver<u32>,
}

impl Worker {
    /// Until the end.
    pub fn run(mut self) {
        let mut tasks = VecDeque::new();
        tasks.extend(running());
        let mut looked = Instant::now();
        let mut lost = false;
        let mut cleaning = Cleaning::new();
        while !self.shared.stop.load(Ordering::Relaxed) {
            lost |= self.follow(&mut tasks);
            tasks.extend(self.asked.try_iter());
            if lost && looked.elapsed() >= BETWEEN_LOOKS {
                (lost, looked) = (false, Instant::now());
                tasks.extend(running());
            }
            if let Some(pid) = tasks.pop_front() {
                look_at(pid, &mut self.files, &self.shared);
                continue;
            }
            if cleaning.due().is_zero() {
                cleaning.clean(&mut self.files, &self.shared);
            }
            let again = lost.then(|| BETWEEN_LOOKS.saturating_sub(looked.elapsed()));
            self.wait(again.into_iter().fold(cleaning.due(), Duration::min));
        }
    }

    /// Applies what the kernel told. Whether something is missing.
    fn follow(&mut self, tasks: &mut VecDeque<u32>) -> bool {
        let Some(events) = &mut self.events else {
            return false;
        };
        let batch = events.take();
        for event in batch.events {
            if let Some(unknown) = self.apply(event) {
                tasks.push_back(unknown);
            }
        }
        batch.lost
    }

    /// The process, if nothing was known of it.
    fn apply(&mut self, event: Event) -> Option<u32> {
        let Event { time, pid, did } = event;
        let known = self.shared.processes().concerns(pid, time);
        match did {
            Did::Fork { parent } => {
                let forked = self.shared.processes().forks(pid, parent, time);
                return (!forked).then_some(pid);
            }
            Did::Exec if known != Some(false) => self.shared.processes().execs(pid, time),
            Did::Exit => self.shared.processes().exits(pid, time),
            Did::Map(mapping) if known == Some(true) => {
                if let Some(file) = self.files.mapped(pid, &mapping) {
                    self.shared.processes().maps(pid, file);
                }
            }
            Did::Map(_) if known.is_none() => return Some(pid),
            Did::Exec | Did::Map(_) => {}
        }
        None
    }

    fn wait(&self, time: Duration) {
        let wake = self.wake.as_fd();
        let events = self.events.iter().flat_map(Events::descriptors);
        let mut descriptors: Vec<_> = events
            .chain([wake])
            .map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN))
            .collect();
        // One more: a part of a millisecond is no reason to come back at once.
        let time = PollTimeout::try_from(time.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        // Interrupted or not, everything is looked at.
        let _ = poll(&mut descriptors, time);
        let _ = self.wake.read();
    }
}

/// Looks at all that a process has mapped.
pub fn look_at(pid: u32, files: &mut Files, shared: &Shared) {
    let time = now();
    // A process that is gone, or that may not be looked at: nothing is known of it.
    let Ok(mappings) = mapping::of_process(pid) else {
        return;
    };
    let mut found = Vec::new();
    for mapping in &mappings {
        if shared.stop.load(Ordering::Relaxed) {
            return;
        }
        found.extend(files.mapped(pid, mapping));
    }
    // Of a kernel thread, or a process that ends.
    if !mappings.is_empty() {
        shared.processes().has(pid, time, found.into_iter());
    }
}

/// All processes, as of now.
pub fn running() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Files that may be TLS libraries of the system.
pub fn ahead() -> impl Iterator<Item = PathBuf> {
    let (folders, names) = AHEAD;
    let entries = folders
        .into_iter()
        .flat_map(fs::read_dir)
        .flatten()
        .flatten();
    let candidates = entries.filter(move |entry| {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        names.iter().any(|start| name.starts_with(start.as_bytes()))
    });
    candidates.map(|entry| entry.path())
}

/// Lets go of files that nobody uses.
struct Cleaning {
    unused: HashMap<FileId, Instant>,
    last: Instant,
}

impl Cleaning {
    fn new() -> Self {
        Self {
            unused: HashMap::new(),
            last: Instant::now(),
        }
    }

    /// How long until the next time.
    fn due(&self) -> Duration {
        CLEANING.saturating_sub(self.last.elapsed())
    }

    fn clean(&mut self, files: &mut Files, shared: &Shared) {
        self.last = Instant::now();
        let mut processes = shared.processes();
        processes.bury();
        let unused = files.released().filter(|file| !processes.uses(*file));
        let unused: Vec<_> = unused.collect();
        drop(processes);
        self.unused.retain(|file, _| unused.contains(file));
        for file in unused {
            let since = *self.unused.entry(file).or_insert_with(Instant::now);
            if since.elapsed() >= UNUSED {
                self.unused.remove(&file);
                files.forget(file);
            }
        }
    }
}

/// The clock of the events.
fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    time.ok()
        .and_then(|time| u64::try_from(time.as_nanos()).ok())
        .unwrap_or_default()
}
