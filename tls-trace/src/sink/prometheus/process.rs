//! What the tracer itself uses, under the names Prometheus client libraries agree on.

use procfs::{WithCurrentSystemInfo as _, process::LimitValue, process::Process};
use prometheus::{Counter, Gauge, Registry};

/// CPU, memory and file descriptors of this process.
#[derive(Clone, Debug)]
pub struct ProcessMetrics {
    cpu: Counter,
    resident: Gauge,
    virtual_memory: Gauge,
    open_fds: Gauge,
    max_fds: Gauge,
    threads: Gauge,
}

impl ProcessMetrics {
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            let gauge = Gauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let cpu = Counter::new(
            "process_cpu_seconds_total",
            "User and system CPU time spent in seconds.",
        )?;
        registry.register(Box::new(cpu.clone()))?;
        let start = gauge(
            "process_start_time_seconds",
            "Start time of the process since the Unix epoch in seconds.",
        )?;
        start.set(start_time().unwrap_or(f64::NAN));
        Ok(Self {
            cpu,
            resident: gauge(
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
            )?,
            virtual_memory: gauge(
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
            )?,
            open_fds: gauge("process_open_fds", "Number of open file descriptors.")?,
            max_fds: gauge(
                "process_max_fds",
                "Maximum number of open file descriptors.",
            )?,
            threads: gauge("process_threads", "Number of OS threads of the process.")?,
        })
    }

    /// Reads /proc/self. What cannot be read keeps its last value.
    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
    pub fn update(&self) {
        let Ok(process) = Process::myself() else {
            return;
        };
        if let Ok(stat) = process.stat() {
            let cpu = (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
            self.cpu.inc_by((cpu - self.cpu.get()).max(0.0));
            self.resident.set(stat.rss_bytes().get() as f64);
            self.virtual_memory.set(stat.vsize as f64);
            self.threads.set(stat.num_threads as f64);
        }
        if let Ok(open) = process.fd_count() {
            self.open_fds.set(open as f64);
        }
        if let Ok(limits) = process.limits() {
            self.max_fds.set(match limits.max_open_files.soft_limit {
                LimitValue::Value(limit) => limit as f64,
                LimitValue::Unlimited => f64::INFINITY,
            });
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds since the epoch fit")]
fn start_time() -> Option<f64> {
    let ticks = Process::myself().ok()?.stat().ok()?.starttime;
    let boot = procfs::boot_time_secs().ok()?;
    Some(boot as f64 + ticks as f64 / procfs::ticks_per_second() as f64)
}
