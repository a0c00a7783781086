//! Names and cgroups of processes.

use std::path::PathBuf;

use hashlink::LruCache;

use super::cgroup;
use crate::event::{Task, Timestamp};

/// Processes remembered at most.
const CACHE: usize = 8192;
/// Seconds after which a process is looked at again: it may have run another program, or its id
/// may be another's.
const FRESH: u64 = 5;

/// Completes what hooks say about tasks. In softirq context, and where a helper is missing, a hook
/// knows the process id only; in process context it knows the thread's name, people know the
/// process by its own.
#[derive(Debug)]
pub struct Processes {
    cgroup_root: Option<PathBuf>,
    known: LruCache<u32, Process>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    comm: String,
    cgroup: u64,
    seen: Timestamp,
}

impl Processes {
    /// Looks up cgroups below `cgroup_root`, the root of cgroup v2.
    #[must_use]
    pub fn new(cgroup_root: Option<PathBuf>) -> Self {
        Self {
            cgroup_root,
            known: LruCache::new(CACHE),
        }
    }

    /// Fills in name and cgroup of the task of an event, as of the time of the event.
    pub fn complete(&mut self, task: &mut Task, at: Timestamp) {
        if task.pid == 0 {
            return;
        }
        let told = task.tid == task.pid && !task.comm.is_empty();
        if told && task.cgroup != 0 {
            self.learn(task, at);
            return;
        }
        if let Some(process) = self.look_up(task.pid, at) {
            task.comm.clone_from(&process.comm);
            if task.cgroup == 0 {
                task.cgroup = process.cgroup;
            }
        }
    }

    /// The main thread has the name of its process.
    fn learn(&mut self, task: &Task, at: Timestamp) {
        match self.known.get_mut(&task.pid) {
            Some(known) if known.comm == task.comm && known.cgroup == task.cgroup => {
                known.seen = at;
            }
            _ => {
                let process = Process {
                    comm: task.comm.clone(),
                    cgroup: task.cgroup,
                    seen: at,
                };
                self.known.insert(task.pid, process);
            }
        }
    }

    fn look_up(&mut self, pid: u32, at: Timestamp) -> Option<&Process> {
        let fresh = |process: &Process| at.since(process.seen).as_secs() < FRESH;
        if !self.known.get(&pid).is_some_and(fresh)
            // One that is gone stays what it was.
            && let Some(comm) = comm(pid)
        {
            let cgroup = self.cgroup_root.as_deref();
            let cgroup = cgroup.and_then(|root| cgroup::of_process(root, pid));
            let process = Process {
                comm,
                cgroup: cgroup.map_or(0, |(id, _)| id),
                seen: at,
            };
            self.known.insert(pid, process);
        }
        self.known.get(&pid)
    }
}

/// Name of a process as the kernel has it, while it runs.
#[must_use]
pub fn comm(pid: u32) -> Option<String> {
    let comm = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    let comm = String::from_utf8_lossy(&comm);
    // Exactly one line break ends it; one before that belongs to the name.
    Some(comm.strip_suffix('\n').unwrap_or(&comm).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beyond `kernel.pid_max`.
    const GONE: u32 = 0x7fff_fff0;

    fn task(pid: u32, tid: u32, comm: &str) -> Task {
        Task {
            pid,
            tid,
            cgroup: 1,
            comm: comm.to_owned(),
            ..Task::default()
        }
    }

    fn completed(processes: &mut Processes, mut task: Task, second: u64) -> String {
        processes.complete(&mut task, Timestamp(second * 1_000_000_000));
        task.comm
    }

    #[test]
    fn threads_are_named_after_their_process() {
        let mut processes = Processes::new(None);
        let own = comm(std::process::id()).unwrap();
        let thread = task(std::process::id(), 1, "a thread");
        assert_eq!(completed(&mut processes, thread, 0), own);
        let nameless = task(std::process::id(), 0, "");
        assert_eq!(completed(&mut processes, nameless, 0), own);
    }

    #[test]
    fn processes_that_are_gone_keep_the_name_they_had() {
        let mut processes = Processes::new(None);
        let unknown = task(GONE, 1, "worker");
        assert_eq!(completed(&mut processes, unknown.clone(), 0), "worker");
        assert_eq!(
            completed(&mut processes, task(GONE, GONE, "java"), 1),
            "java"
        );
        assert_eq!(completed(&mut processes, unknown, 100), "java");
        let renamed = task(GONE, GONE, "node");
        assert_eq!(completed(&mut processes, renamed, 101), "node");
        assert_eq!(completed(&mut processes, task(GONE, 0, ""), 102), "node");
    }

    #[test]
    fn stale_names_are_read_again() {
        let mut processes = Processes::new(None);
        let pid = std::process::id();
        processes.complete(&mut task(pid, pid, "before"), Timestamp(0));
        assert_eq!(completed(&mut processes, task(pid, 0, ""), 4), "before");
        assert_eq!(
            completed(&mut processes, task(pid, 0, ""), 5),
            comm(pid).unwrap()
        );
    }

    #[test]
    fn no_process_stays_no_process() {
        let mut processes = Processes::new(None);
        assert_eq!(
            completed(&mut processes, task(0, 0, "swapper"), 0),
            "swapper"
        );
    }
}
