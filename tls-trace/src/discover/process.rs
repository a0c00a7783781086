//! Names of processes.

/// Name of a process as the kernel has it, when it still runs.
#[must_use]
pub fn comm(pid: u32) -> Option<String> {
    let comm = std::fs::read(format!("/proc/{pid}/comm")).ok()?;
    let comm = String::from_utf8_lossy(&comm);
    // Exactly one line break ends it; one before that belongs to the name.
    Some(comm.strip_suffix('\n').unwrap_or(&comm).to_owned())
}
