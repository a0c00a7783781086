//! Events from the running kernel.

use std::{collections::VecDeque, future::poll_fn, path::PathBuf, task::Poll, time::Duration};

use aya::maps::{HashMap, MapData, PerCpuArray, RingBuf};
use nix::time::{ClockId, clock_gettime};
use tls_trace_common as abi;
use tokio::io::{Interest, unix::AsyncFd};

use crate::{
    discover::library::Coverages,
    event::{ConnectionId, Event, Timestamp},
    probe::{AttachOptions, Attached, HookReport, HookState, Kernel, Object, ResetReasons},
    source::{decode::Decoder, libraries::Libraries},
};

/// Default size of the largest ring buffer in bytes.
const RING_BUFFER: u32 = 4 << 20;

/// Records taken from one ring buffer in one turn, so that nothing else on the runtime starves.
const BATCH: usize = 4096;

/// The rings are looked at this often; the kernel side wakes only when one fills faster.
const POLL: Duration = Duration::from_millis(20);
/// The same when nothing happens.
const POLL_IDLE: Duration = Duration::from_millis(50);

/// A record's time is taken before it is reserved in its ring, so a ring may hold records a little
/// out of order, and a record of the past may still be on its way. Events wait this long to be put
/// in order.
const REORDER: Duration = Duration::from_millis(2);

/// Entries of the map of sockets whose payload is no longer wanted.
const DONE_CAPACITY: u64 = abi::DONE_ENTRIES as u64;

/// Settings of a [`Live`] source.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Root of cgroup v2; found in /proc/mounts when absent.
    pub cgroup: Option<PathBuf>,
    /// Show what the eBPF programs log (aya-log) through `tracing`.
    pub bpf_log: bool,
    /// Bytes of the largest ring buffer, rounded up to a power of two; 4 MiB when absent.
    pub ring_buffer: Option<u32>,
    /// Ask no TLS library: only the kernel and the wire.
    pub no_libraries: bool,
}

/// Why nothing can be traced at all.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Not one hook could be attached.
    #[error("no hook could be attached: {first_reason}")]
    NothingAttached {
        /// Reason of the first required hook.
        first_reason: String,
    },
    /// A map of a loaded object cannot be used.
    #[error("map '{name}' of object '{}' cannot be used: {error}", object.label())]
    Map {
        /// The object.
        object: Object,
        /// The map.
        name: &'static str,
        /// Why.
        error: aya::maps::MapError,
    },
    /// The ring buffer cannot be waited for, or no thread can be made.
    #[error("cannot wait for events: {0}")]
    Wait(#[from] std::io::Error),
}

/// Records lost before they became events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Where: `program` (not run), `ring_buffer` (full), `storage` (socket storage), `memory` (of a process, not
    /// readable when its library was asked), `decode` (not a record).
    pub stage: &'static str,
    /// Which family: `socket`, `signal`, `segment`, `library`, `tail`; of `memory` the library; or `recursion`, the
    /// program would have interrupted itself.
    pub reason: &'static str,
    /// How many since the start.
    pub count: u64,
}

/// The running tracer. Dropping it detaches every program.
#[derive(Debug)]
pub struct Live {
    attached: Attached,
    rings: Vec<Ring>,
    /// Cookies whose payload is no longer wanted.
    done: Option<HashMap<MapData, u64, u8>>,
    /// Entries made in `done`.
    finished: u64,
    decoder: Decoder,
    /// Finds TLS libraries and hooks them.
    libraries: Libraries,
    /// Decoded, not yet old enough to be in order for certain.
    pending: VecDeque<Event>,
    /// A ring had more than a batch.
    left_behind: bool,
    poll: Duration,
}

struct Ring {
    object: Object,
    records: AsyncFd<RingBuf<MapData>>,
    lost: PerCpuArray<MapData, u64>,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

impl Live {
    /// Loads and attaches what this kernel allows; the rest is reported, not fatal.
    ///
    /// # Errors
    /// Nothing at all could be attached.
    pub fn start(options: &Options) -> Result<Self, LiveError> {
        let kernel = Kernel::probe(options.cgroup.as_deref());
        let mut attached = Attached::attach(
            &kernel,
            AttachOptions {
                bpf_log: options.bpf_log,
                libraries: !options.no_libraries,
                ring_buffer: options
                    .ring_buffer
                    .unwrap_or(RING_BUFFER)
                    .clamp(1 << 15, 1 << 30)
                    .next_power_of_two(),
            },
        );
        if let Some(first_reason) = nothing_attached(&attached.hooks) {
            return Err(LiveError::NothingAttached { first_reason });
        }
        let mut rings = Vec::new();
        let mut done = None;
        for object in &mut attached.objects {
            let mut take = |name| {
                object.ebpf.take_map(name).ok_or(LiveError::Map {
                    object: object.object,
                    name,
                    error: aya::maps::MapError::InvalidName { name: name.into() },
                })
            };
            let failed = |name| {
                let object = object.object;
                move |error| LiveError::Map {
                    object,
                    name,
                    error,
                }
            };
            let ring = RingBuf::try_from(take("EVENTS")?).map_err(failed("EVENTS"))?;
            let lost = PerCpuArray::try_from(take("LOST")?).map_err(failed("LOST"))?;
            if object.object == Object::Wire {
                done = Some(HashMap::try_from(take("DONE")?).map_err(failed("DONE"))?);
            }
            // SAFETY: the ring buffer owns the descriptor of its map and keeps it open and the same
            // for as long as it lives.
            let records = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
                .map_err(std::io::Error::from)?;
            rings.push(Ring {
                object: object.object,
                records,
                lost,
            });
        }
        let reasons = kernel
            .btf
            .as_ref()
            .map(ResetReasons::of)
            .unwrap_or_default();
        drop(kernel);
        give_back_memory();
        let objects = attached.take_library_objects();
        Ok(Self {
            libraries: Libraries::start(objects)?,
            attached,
            rings,
            done,
            finished: 0,
            decoder: Decoder::new(reasons),
            pending: VecDeque::new(),
            left_behind: false,
            poll: POLL,
        })
    }

    /// How each hook ended.
    #[must_use]
    pub fn hooks(&self) -> &[HookReport] {
        &self.attached.hooks
    }

    /// Waits for events and appends a bounded batch in order of time. Returns after at most
    /// 50 ms even without events, so that the caller can tick. Cancel-safe.
    ///
    /// # Errors
    /// The ring buffer cannot be waited for.
    pub async fn next(&mut self, events: &mut Vec<Event>) -> std::io::Result<()> {
        self.wait().await?;
        let before = events.len();
        self.drain(events);
        self.poll = if events.len() == before && self.pending.is_empty() {
            POLL_IDLE
        } else {
            POLL
        };
        for logger in self.attached.objects.iter_mut().flat_map(|o| &mut o.logger) {
            logger.flush();
        }
        Ok(())
    }

    /// Takes what is in the rings without waiting; for the last look before the end.
    pub fn drain(&mut self, events: &mut Vec<Event>) {
        // Everything reserved before this moment will be seen in this turn, unless a ring has more
        // than a batch.
        let mut horizon = Timestamp(self.now().0.saturating_sub(nanoseconds(REORDER)));
        let Self {
            rings,
            pending,
            left_behind,
            decoder,
            ..
        } = self;
        *left_behind = false;
        for ring in rings {
            let records = ring.records.get_mut();
            let mut last = None;
            for _ in 0..BATCH {
                let Some(record) = records.next() else {
                    last = None;
                    break;
                };
                if let Some(event) = decoder.decode(&record) {
                    last = Some(event.time);
                    pending.push_back(event);
                }
            }
            // More is waiting in this ring: nothing younger than its last record is complete.
            if let Some(last) = last {
                *left_behind = true;
                horizon = horizon.min(Timestamp(last.0.saturating_sub(nanoseconds(REORDER))));
            }
        }
        pending.make_contiguous().sort_by_key(|event| event.time);
        let ready = pending.partition_point(|event| event.time <= horizon);
        events.extend(pending.drain(..ready));
    }

    /// Now, on the clock of the events.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        now()
    }

    /// What is known of processes and their TLS libraries.
    #[must_use]
    pub fn coverages(&self) -> Coverages {
        self.libraries.coverages()
    }

    /// A process takes part in a connection: the moment to look for its TLS library, where the kernel
    /// does not tell of it.
    pub fn look_at(&mut self, pid: u32) {
        self.libraries.look_at(pid);
    }

    /// Stops capturing payload of a connection; `tail`: tells its last packets when it ends.
    pub fn payload_done(&mut self, connection: ConnectionId, tail: bool) {
        let wanted = if tail {
            abi::DONE_BUT_TAIL
        } else {
            abi::DONE_ALL
        };
        if let Some(done) = &mut self.done {
            match done.insert(connection.0, wanted, 0) {
                Ok(()) => self.finished += 1,
                // The kernel side stops by its own bound.
                Err(error) => tracing::debug!(%error, "payload of a connection goes on"),
            }
        }
    }

    /// What was lost so far.
    #[must_use]
    pub fn lost(&self) -> Vec<Lost> {
        let count = |ring: &Ring, slot: abi::Lost| {
            let per_cpu = ring.lost.get(&slot.0, 0);
            per_cpu.map_or(0, |per_cpu| per_cpu.iter().sum::<u64>())
        };
        let sum = |slot| self.rings.iter().map(|ring| count(ring, slot)).sum();
        let ring_buffer = |reason, slot| Lost {
            stage: "ring_buffer",
            reason,
            count: sum(slot),
        };
        let mut lost = vec![
            Lost {
                stage: "program",
                reason: "recursion",
                count: self.attached.left_out.count(),
            },
            ring_buffer("socket", abi::Lost::SOCKET),
            ring_buffer("signal", abi::Lost::SIGNAL),
            ring_buffer("segment", abi::Lost::SEGMENT),
            ring_buffer("library", abi::Lost::LIBRARY),
            ring_buffer("tail", abi::Lost::TAIL),
            Lost {
                stage: "storage",
                reason: "segment",
                count: sum(abi::Lost::STORAGE),
            },
            Lost {
                stage: "decode",
                reason: "record",
                count: self.decoder.refused(),
            },
        ];
        let libraries = self.rings.iter().filter(|ring| ring.object.is_library());
        lost.extend(libraries.map(|ring| Lost {
            stage: "memory",
            reason: ring.object.label(),
            count: count(ring, abi::Lost::MEMORY),
        }));
        lost
    }

    /// Map occupancy by map name: entries in use, capacity.
    #[must_use]
    pub fn map_usage(&self) -> Vec<(&'static str, u64, u64)> {
        // An LRU map only grows until it is full; counting its keys would take a system call for each.
        vec![
            ("done", self.finished.min(DONE_CAPACITY), DONE_CAPACITY),
            ("files", self.libraries.hooked(), abi::LIBRARY_FILES.into()),
        ]
    }

    async fn wait(&mut self) -> std::io::Result<()> {
        if self.left_behind {
            // Take the next batch, after everybody else had a turn.
            tokio::task::yield_now().await;
            return Ok(());
        }
        let rings = &self.rings;
        let filling = poll_fn(|context| {
            for ring in rings {
                if let Poll::Ready(ready) = ring.records.poll_read_ready(context) {
                    // The drain that follows empties the ring or comes back at once.
                    ready?.clear_ready();
                    return Poll::Ready(Ok(()));
                }
            }
            Poll::Pending
        });
        // Time running out is the usual case: the rings are looked at anyway.
        tokio::time::timeout(self.poll, filling)
            .await
            .unwrap_or(Ok(()))
    }
}

/// Reading BTF takes some 20 MB for a moment, which the allocator would keep for good.
fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no arguments that could be wrong; frees only what is not in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// `CLOCK_MONOTONIC`, which is `bpf_ktime_get_ns()`.
fn now() -> Timestamp {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    Timestamp(time.map(nanoseconds).unwrap_or_default())
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The reason to give when every hook was skipped.
fn nothing_attached(hooks: &[HookReport]) -> Option<String> {
    let mut first = None;
    for hook in hooks {
        match &hook.state {
            HookState::Skipped { reason } => {
                if hook.required && first.is_none() {
                    first = Some(reason.clone());
                }
            }
            HookState::Attached | HookState::Fallback { .. } => return None,
        }
    }
    Some(first.unwrap_or_else(|| "the table of hooks is empty".to_owned()))
}
