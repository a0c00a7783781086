//! What the kernel says about processes as it happens: a file mapped as code, an exec, a fork, an exit.
//! These are perf's side-band records (`perf_event_open(2)`, `PERF_RECORD_MMAP2` and others), which
//! every kernel since 3.16 has, without an eBPF program, at no cost between them.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use aya::util::online_cpus;
use perf_event::{
    Builder, Clock, SampleFlag, Sampler,
    data::{Mmap2, Record},
    events::Software,
};

use super::mapping::{Key, Mapping};

/// Bytes of the ring of each processor: some 500 records.
const RING: usize = 64 * 1024;
/// `PERF_RECORD_MISC_COMM_EXEC`: the name changed by execve(2).
const EXEC: u16 = 1 << 13;

/// Something a process did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub time: u64,
    /// The process.
    pub pid: u32,
    /// What.
    pub did: Did,
}

/// What a process did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// Mapped a file as code.
    Map(Mapping),
    /// Became another program.
    Exec,
    /// Was born.
    Fork {
        /// From this one.
        parent: u32,
    },
    /// Ended.
    Exit,
}

/// The rings of all processors.
pub struct Events {
    rings: Vec<Sampler>,
}

/// What was in the rings.
#[derive(Debug, Default)]
pub struct Batch {
    /// In order of time.
    pub events: Vec<Event>,
    /// Some were lost: what is known of processes may be wrong.
    pub lost: bool,
}

impl Events {
    /// Begins to listen.
    ///
    /// # Errors
    /// Those of `perf_event_open(2)`; without `CAP_PERFMON` it is refused.
    pub fn start() -> io::Result<Self> {
        let cpus = online_cpus().map_err(|(_, error)| error)?;
        let rings = cpus.into_iter().map(ring).collect::<io::Result<_>>()?;
        Ok(Self { rings })
    }

    /// To be waited for.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.iter().map(|ring| {
            // SAFETY: the sampler owns the descriptor and lives as long as this borrow of it.
            unsafe { BorrowedFd::borrow_raw(ring.as_raw_fd()) }
        })
    }

    /// Takes all there is.
    pub fn take(&mut self) -> Batch {
        let mut batch = Batch::default();
        for ring in &mut self.rings {
            while let Some(record) = ring.next_record() {
                let bytes = record.to_contiguous();
                let time = time(&bytes).unwrap_or_default();
                match record.parse_record() {
                    Ok(Record::Lost(_)) | Err(_) => batch.lost = true,
                    Ok(parsed) => batch.events.extend(event(&parsed, record.misc(), time)),
                }
            }
        }
        batch.events.sort_by_key(|event| event.time);
        batch
    }
}

fn ring(cpu: u32) -> io::Result<Sampler> {
    let cpu = usize::try_from(cpu).map_err(io::Error::other)?;
    let mut builder = Builder::new(Software::DUMMY);
    builder.any_pid().one_cpu(cpu).enabled(true);
    // `mmap` alone is about code; `mmap_data` would be about the rest.
    builder.mmap(true).mmap2(true);
    builder.comm(true).comm_exec(true).task(true);
    builder.sample_id_all(true).sample(SampleFlag::TIME);
    builder.clockid(Clock::MONOTONIC).wakeup_watermark(1);
    builder.build()?.sampled(RING)
}

/// With `sample_id_all` every record ends in what was asked for of samples: the time.
fn time(record: &[u8]) -> Option<u64> {
    record.last_chunk().copied().map(u64::from_ne_bytes)
}

fn event(record: &Record, misc: u16, time: u64) -> Option<Event> {
    let (pid, did) = match record {
        Record::Mmap2(mapped) => (mapped.pid, Did::Map(mapping(mapped)?)),
        Record::Comm(comm) if misc & EXEC != 0 => (comm.pid, Did::Exec),
        // Threads come and go without a change of what is mapped.
        Record::Fork(fork) if fork.pid != fork.ppid => {
            let parent = fork.ppid;
            (fork.pid, Did::Fork { parent })
        }
        Record::Exit(exit) if exit.pid == exit.tid => (exit.pid, Did::Exit),
        _ => return None,
    };
    Some(Event { time, pid, did })
}

/// None: no file.
fn mapping(mapped: &Mmap2) -> Option<Mapping> {
    let inode = mapped.ino().filter(|inode| *inode != 0)?;
    Some(Mapping {
        start: mapped.addr,
        end: mapped.addr.checked_add(mapped.len)?,
        key: Key {
            major: mapped.maj()?,
            minor: mapped.min()?,
            inode,
        },
        path: mapped.filename.to_vec(),
    })
}
