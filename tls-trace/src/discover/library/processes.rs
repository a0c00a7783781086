//! Which process has which TLS libraries.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use hashlink::LruCache;

use super::{FileId, files::Known};
use crate::inspect::Coverage;

/// Processes remembered.
const MOST: usize = 65_536;
/// Connections may be reported when their process is gone.
const REMEMBERED: Duration = Duration::from_secs(30);

/// All processes.
#[derive(Debug)]
pub struct Processes(LruCache<u32, Process>);

#[derive(Clone, Debug)]
struct Process {
    /// Nothing that happened before is news (`CLOCK_MONOTONIC`, nanoseconds).
    since: u64,
    /// Those with TLS.
    files: Vec<Arc<Known>>,
    ended: Option<Instant>,
}

impl Processes {
    /// None so far.
    pub fn new() -> Self {
        Self(LruCache::new(MOST))
    }

    /// All that a process has mapped at a time.
    pub fn has(&mut self, pid: u32, time: u64, files: impl Iterator<Item = Arc<Known>>) {
        let mut process = Process::new(time);
        files.for_each(|file| process.add(file));
        self.0.insert(pid, process);
    }

    /// Whether anything is known of a process, and this is news.
    pub fn concerns(&mut self, pid: u32, time: u64) -> Option<bool> {
        self.0.get(&pid).map(|process| time > process.since)
    }

    /// A process mapped a file.
    pub fn maps(&mut self, pid: u32, file: Arc<Known>) {
        if let Some(process) = self.0.get_mut(&pid) {
            process.add(file);
        }
    }

    /// A process became another program.
    pub fn execs(&mut self, pid: u32, time: u64) {
        self.0.insert(pid, Process::new(time));
    }

    /// A process was born. False: its parent is not known.
    pub fn forks(&mut self, pid: u32, parent: u32, time: u64) -> bool {
        let Some(parent) = self.0.get(&parent) else {
            return false;
        };
        let child = Process {
            since: time,
            files: parent.files.clone(),
            ended: None,
        };
        self.0.insert(pid, child);
        true
    }

    /// A process ended.
    pub fn exits(&mut self, pid: u32, time: u64) {
        if let Some(process) = self.0.get_mut(&pid)
            && time > process.since
        {
            process.ended = Some(Instant::now());
        }
    }

    /// Forgets the dead.
    pub fn bury(&mut self) {
        let long_ago = |ended: Instant| ended.elapsed() > REMEMBERED;
        self.0
            .retain(|_, process| !process.ended.is_some_and(long_ago));
    }

    /// Whether probes explain the connections of a process; None: nothing is known of it.
    pub fn coverage(&self, pid: u32) -> Option<Coverage> {
        self.0.peek(&pid).map(Process::coverage)
    }

    /// Of each process that runs.
    pub fn running(&self) -> impl Iterator<Item = (u32, Coverage)> {
        let running = self.0.iter().filter(|(_, process)| process.ended.is_none());
        running.map(|(pid, process)| (*pid, process.coverage()))
    }

    /// Whether a running process has mapped a file.
    pub fn uses(&self, id: FileId) -> bool {
        self.0.iter().any(|(_, process)| {
            process.ended.is_none() && process.files.iter().any(|file| file.id == Some(id))
        })
    }
}

impl Process {
    fn new(since: u64) -> Self {
        Self {
            since,
            files: Vec::new(),
            ended: None,
        }
    }

    fn add(&mut self, file: Arc<Known>) {
        let matters = file.told || file.coverage != Coverage::NoTls;
        if matters && !self.files.contains(&file) {
            self.files.push(file);
        }
    }

    fn coverage(&self) -> Coverage {
        Coverage::of_all(self.files.iter().map(|file| &file.coverage))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{Family, Reason};

    fn file(coverage: Coverage) -> Arc<Known> {
        Arc::new(Known {
            id: None,
            coverage,
            told: false,
        })
    }

    fn openssl() -> Coverage {
        Coverage::Covered {
            by: vec![Family::OpensslSsl],
            except: Vec::new(),
        }
    }

    fn rustls() -> Coverage {
        Coverage::WireOnly {
            why: vec![Reason::Rustls],
        }
    }

    #[test]
    fn a_child_has_what_its_parent_has_until_it_becomes_another_program() {
        let mut processes = Processes::new();
        assert_eq!(processes.coverage(1), None);
        assert!(!processes.forks(2, 1, 10));
        processes.has(1, 20, [file(openssl())].into_iter());
        assert!(processes.forks(2, 1, 30));
        assert_eq!(processes.coverage(2), Some(openssl()));
        processes.execs(2, 40);
        assert_eq!(processes.coverage(2), Some(Coverage::NoTls));
        processes.maps(2, file(rustls()));
        processes.maps(2, file(Coverage::NoTls));
        assert_eq!(processes.coverage(2), Some(rustls()));
        assert_eq!(processes.coverage(1), Some(openssl()));
    }

    #[test]
    fn what_covers_and_what_does_not_are_told_together() {
        let mut processes = Processes::new();
        processes.has(1, 0, [file(rustls()), file(openssl())].into_iter());
        let both = Coverage::Covered {
            by: vec![Family::OpensslSsl],
            except: vec![Reason::Rustls],
        };
        assert_eq!(processes.coverage(1), Some(both));
    }

    #[test]
    fn old_news_is_none() {
        let mut processes = Processes::new();
        assert_eq!(processes.concerns(1, 5), None);
        processes.has(1, 10, [file(openssl())].into_iter());
        assert_eq!(processes.concerns(1, 10), Some(false));
        assert_eq!(processes.concerns(1, 11), Some(true));
        // The end of the process that had this number before.
        processes.exits(1, 9);
        assert_eq!(processes.running().count(), 1);
    }

    #[test]
    fn the_dead_are_remembered_for_their_last_reports() {
        let mut processes = Processes::new();
        processes.has(1, 0, [file(openssl())].into_iter());
        processes.exits(1, 1);
        processes.bury();
        assert_eq!(processes.coverage(1), Some(openssl()));
        assert_eq!(processes.running().count(), 0);
    }
}
