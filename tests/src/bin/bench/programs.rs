//! The kernel's own statistics of eBPF programs.

use std::{collections::BTreeMap, fs::File, os::fd::OwnedFd, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use aya::{
    Btf, Ebpf,
    programs::{BtfTracePoint, CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, loaded_programs},
    sys::{Stats, enable_stats},
};
use tls_trace::discover::cgroup;
use tls_trace_tests::KernelObjects;

/// Statistics are on for as long as this lives, and programs that do nothing run beside the others:
/// each run is measured with two readings of the clock, which cost more than a short program does.
pub struct Statistics {
    _enabled: OwnedFd,
    empty: Ebpf,
}

/// What programs did between two moments.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Its name, cut by the kernel to 15 bytes.
    pub name: String,
    pub runs: u64,
    /// Of all runs, with what measuring costs.
    time: Duration,
}

/// Programs by id.
pub type Snapshot = BTreeMap<u32, Program>;

impl Statistics {
    /// Switches them on; `empty` is the object with programs that do nothing.
    pub fn enable(empty: &Path) -> Result<Self> {
        let mut empty = Ebpf::load_file(empty)?;
        let tracepoint: &mut BtfTracePoint = program(&mut empty, "empty_tracepoint")?;
        tracepoint.load("inet_sock_set_state", &Btf::from_sys_fs()?)?;
        tracepoint.attach()?;
        let egress: &mut CgroupSkb = program(&mut empty, "empty_egress")?;
        egress.load()?;
        let root = cgroup::mount().context("no cgroup v2")?;
        let (direction, mode) = (CgroupSkbAttachType::Egress, CgroupAttachMode::Single);
        egress.attach(File::open(root)?, direction, mode)?;
        Ok(Self {
            _enabled: enable_stats(Stats::RunTime)?,
            empty,
        })
    }

    /// The programs of a process, and the empty ones, so far.
    pub fn now(&self, pid: u32) -> Result<Snapshot> {
        let mut ids = KernelObjects::of(pid)?.programs;
        for (_, program) in self.empty.programs() {
            ids.insert(program.info()?.id());
        }
        let mut programs = BTreeMap::new();
        for info in loaded_programs() {
            let info = info?;
            if ids.contains(&info.id()) {
                let program = Program {
                    name: info.name_as_str().unwrap_or_default().to_owned(),
                    runs: info.run_count(),
                    time: info.run_time(),
                };
                programs.insert(info.id(), program);
            }
        }
        Ok(programs)
    }
}

fn program<'a, T>(object: &'a mut Ebpf, name: &str) -> Result<&'a mut T>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program>,
{
    object
        .program_mut(name)
        .and_then(|program| program.try_into().ok())
        .with_context(|| format!("no program '{name}'"))
}

/// What programs did from one moment to another.
#[derive(Debug)]
pub struct Work {
    /// Without the empty ones.
    pub programs: Vec<Program>,
    /// Nanoseconds of a run of an empty `tp_btf` and of an empty `cgroup_skb` program.
    pub empty: [f64; 2],
}

impl Work {
    pub fn between(before: &Snapshot, after: &Snapshot) -> Self {
        let mut work = Self {
            programs: Vec::new(),
            empty: [0.0; 2],
        };
        for (id, after) in after {
            let before = before.get(id).cloned().unwrap_or_default();
            let program = Program {
                name: after.name.clone(),
                runs: after.runs - before.runs,
                time: after.time.saturating_sub(before.time),
            };
            match program.name.as_str() {
                "empty_tracepoin" | "empty_tracepoint" => work.empty[0] = program.gross(),
                "empty_egress" => work.empty[1] = program.gross(),
                _ if program.runs > 0 => work.programs.push(program),
                _ => {}
            }
        }
        work.programs.sort_by(|a, b| a.name.cmp(&b.name));
        work
    }

    /// Nanoseconds of a run, without what an empty program of its kind takes.
    pub fn net(&self, program: &Program) -> f64 {
        let [tracing, cgroup] = self.empty;
        let empty = if program.name.starts_with("wire") {
            cgroup
        } else {
            tracing
        };
        (program.gross() - empty).max(0.0)
    }

    /// Nanoseconds of all runs of all programs, net.
    pub fn sum(&self) -> f64 {
        let times = self.programs.iter();
        times
            .map(|program| self.net(program) * count(program.runs))
            .sum()
    }
}

impl Program {
    /// Nanoseconds of a run, measuring included.
    fn gross(&self) -> f64 {
        self.time.as_secs_f64() * 1e9 / count(self.runs).max(1.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "far from 2^53")]
pub fn count(number: u64) -> f64 {
    number as f64
}
