//! Names of processes.

use procfs::process::Process;

/// Name of a process as the kernel has it, when it still runs.
#[must_use]
pub fn comm(pid: u32) -> Option<String> {
    let pid = i32::try_from(pid).ok()?;
    Some(Process::new(pid).ok()?.stat().ok()?.comm)
}
