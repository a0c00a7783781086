//! What a process uses, from /proc.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use nix::{
    sys::resource::{UsageWho, getrusage},
    time::{ClockId, clock_gettime},
};

/// CPU time of all threads that a process has, user and system. Those that ended are not in it.
pub fn cpu(pid: u32) -> Result<Duration> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // Nanoseconds on a CPU come first (Documentation/scheduler/sched-stats.rst). A thread may
        // end while it is looked at.
        let schedstat = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        sum += schedstat
            .split(' ')
            .next()
            .and_then(|time| time.parse::<u64>().ok())
            .unwrap_or_default();
    }
    Ok(Duration::from_nanos(sum))
}

/// CPU time of all child processes that ended and were waited for.
pub fn children_cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let time = [usage.user_time(), usage.system_time()];
    let micros = time.map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    Ok(Duration::from_micros(
        micros.iter().sum::<i64>().cast_unsigned(),
    ))
}

/// CPU time of this process.
pub fn own_cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

/// Resident memory of a process in MB (10^6 bytes).
pub fn resident_mb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next())
        .context("no VmRSS")?
        .parse()?;
    Ok(kib * 1024.0 / 1e6)
}

/// CPU time of this thread.
pub fn thread_cpu() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}
