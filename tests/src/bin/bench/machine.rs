//! Which machine the figures are of.

use std::{fs, thread};

use anyhow::{Context as _, Result};

/// Kernel, processor and what else it does, as the head of the output.
pub fn describe() -> Result<String> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let processor = fs::read_to_string("/proc/cpuinfo")?;
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown processor", |(_, model)| model);
    let cores = thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next())
        .context("/proc/meminfo has no MemTotal")?
        .parse()?;
    let load = fs::read_to_string("/proc/loadavg")?;
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!(
        "Linux {}, {model}, {cores} cores, {} GiB; load average at the start {load}\n",
        kernel.trim(),
        memory >> 20,
    ))
}
