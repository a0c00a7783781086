//! The tracing loop: source, engine, sinks.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tokio::{task::JoinHandle, time::timeout};

use super::{capability, clock};
use crate::{
    discover::{
        cgroup::{self, Cgroups},
        existing::Existing,
        gone::Gone,
        holder::Holders,
        process::Processes,
    },
    engine::{self, Engine, LINGERING, Output},
    event::{Event, EventKind, Task},
    flap::{self, Flaps},
    probe::{HookReport, HookState},
    report::Report,
    sink::{Sink, Status},
    source::live::{self, Live},
};

/// How often sinks hear of the tracer's own condition.
const STATUS: Duration = Duration::from_secs(1);
/// How often the engine is told the time, when events keep coming.
const TICK: Duration = Duration::from_millis(50);
/// How long the end waits for events that are still in the ring buffer.
const DRAIN: Duration = Duration::from_millis(500);
/// How long reading /proc may take, and how many events may wait for it.
const SCAN: (Duration, usize) = (Duration::from_secs(5), 200_000);

/// How the kernel is traced.
#[derive(Clone, Debug, clap::Args)]
pub struct Source {
    /// Root of cgroup v2; found in /proc/mounts unless given
    #[arg(long, value_name = "PATH", value_parser = cgroup::parse_root)]
    cgroup: Option<PathBuf>,

    /// Show what the eBPF programs log
    #[arg(long)]
    bpf_log: bool,

    /// Size of the largest ring buffer, for machines that lose events
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..=1024))]
    ring_buffer: Option<u32>,

    /// Hook no TLS library: only the kernel and the wire are asked
    #[arg(long)]
    no_library_probes: bool,
}

impl From<Source> for live::Options {
    fn from(source: Source) -> Self {
        Self {
            cgroup: source.cgroup,
            bpf_log: source.bpf_log,
            ring_buffer: source.ring_buffer.map(|mebibytes| mebibytes << 20),
            no_libraries: source.no_library_probes,
        }
    }
}

/// A tracer that is attached.
#[derive(Debug)]
pub struct Tracer {
    live: Live,
    engine: Engine,
    flaps: Flaps,
    processes: Processes,
    cgroups: Cgroups,
    /// Reads /proc while events already come in.
    scan: JoinHandle<Existing>,
    existing: Existing,
    holders: Holders,
    gone: Gone,
    summary: Summary,
}

/// What a tracer saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Connections reported.
    pub connections: u64,
    /// Of these, failed or broken.
    pub failures: u64,
    /// Events lost, in the kernel or here.
    pub lost: u64,
}

/// Sinks that hear of everything, in this order.
pub type Sinks<'a, 'b> = &'a mut [&'b mut dyn Sink];

impl Tracer {
    /// Attaches to the kernel. Needs a tokio runtime.
    ///
    /// # Errors
    /// Nothing could be attached.
    pub fn start(options: &live::Options, config: engine::Config) -> anyhow::Result<Self> {
        let live = match Live::start(options) {
            Ok(live) => live,
            Err(error) => match capability::missing() {
                Ok(missing) if !missing.is_empty() => bail!("{}", capability::remedy(&missing)),
                _ => return Err(error).context("nothing can be traced (see `tls-trace check`)"),
            },
        };
        let cgroup_root = options.cgroup.clone().or_else(cgroup::mount);
        let cgroups = Cgroups::new(cgroup_root.clone());
        let processes = Processes::new(cgroup_root.clone());
        let scan = move || Existing::scan(cgroup_root.as_deref());
        Ok(Self {
            live,
            engine: Engine::new(config),
            flaps: Flaps::new(flap::Config::default()),
            processes,
            cgroups,
            scan: tokio::task::spawn_blocking(scan),
            existing: Existing::default(),
            holders: Holders::start().context("no thread can be made")?,
            gone: Gone::start().context("no thread can be made")?,
            summary: Summary::default(),
        })
    }

    /// How each hook ended.
    #[must_use]
    pub fn hooks(&self) -> &[HookReport] {
        self.live.hooks()
    }

    /// Traces until `stop` resolves, then takes what is left, detaches, and sums up.
    ///
    /// # Errors
    /// The ring buffer cannot be read.
    pub async fn run(
        mut self,
        sinks: Sinks<'_, '_>,
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<Summary> {
        let mut stop = std::pin::pin!(stop);
        let mut batch = Batch::default();
        let mut stopped = tokio::select! {
            biased;
            () = &mut stop => true,
            scanned = self.gather_while_scanning(&mut batch.events) => {
                scanned?;
                false
            }
        };
        let mut ticked = Instant::now();
        let mut told: Option<Instant> = None;
        let mut asked = Instant::now();
        while !stopped {
            self.take(&mut batch, sinks);
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                let now = self.live.now();
                for sink in &mut *sinks {
                    sink.tick(now);
                }
                self.engine.tick(now, &mut batch.outputs);
                self.deliver(&mut batch, sinks);
                self.flaps.tick(now, &mut batch.flaps);
                Self::deliver_flaps(&mut batch, sinks);
            }
            if told.is_none_or(|told| told.elapsed() >= STATUS) {
                told = Some(Instant::now());
                self.tell_status(sinks);
            }
            if asked.elapsed() >= LINGERING {
                asked = Instant::now();
                self.gone.ask(self.engine.lingering(self.live.now()));
            }
            tokio::select! {
                biased;
                () = &mut stop => stopped = true,
                read = self.live.next(&mut batch.events) => read.context(UNREADABLE)?,
            }
        }
        self.drain(&mut batch, sinks).await?;
        Ok(self.summary)
    }

    /// Events wait until it is known which connections are old. When that takes too long, old
    /// connections stay unknown: joining them later could declare a new one old.
    async fn gather_while_scanning(&mut self, events: &mut Vec<Event>) -> anyhow::Result<()> {
        let (time, most) = SCAN;
        let mut scan = std::pin::pin!(timeout(time, &mut self.scan));
        while events.len() < most {
            tokio::select! {
                scanned = &mut scan => {
                    match scanned {
                        Ok(Ok(mut existing)) => {
                            let time = events.first().map_or(self.live.now(), |first| first.time);
                            let announced = existing.announce(events, time);
                            events.splice(0..0, announced);
                            self.existing = existing;
                        }
                        Ok(Err(error)) => tracing::error!(%error, "reading /proc failed"),
                        Err(_) => tracing::warn!("reading /proc takes too long"),
                    }
                    return Ok(());
                }
                read = self.live.next(events) => read.context(UNREADABLE)?,
            }
        }
        tracing::warn!("too many events while /proc is read");
        Ok(())
    }

    /// The last events: of connections that ended just before the end.
    async fn drain(&mut self, batch: &mut Batch, sinks: Sinks<'_, '_>) -> anyhow::Result<()> {
        let started = Instant::now();
        while started.elapsed() < DRAIN {
            self.live
                .next(&mut batch.events)
                .await
                .context(UNREADABLE)?;
            if batch.events.is_empty() {
                break;
            }
            self.take(batch, sinks);
        }
        let now = self.live.now();
        for sink in &mut *sinks {
            sink.finish(now);
        }
        self.engine.finish(now, &mut batch.outputs);
        self.deliver(batch, sinks);
        self.tell_status(sinks);
        Ok(())
    }

    fn take(&mut self, batch: &mut Batch, sinks: Sinks<'_, '_>) {
        let time = self.live.now();
        let held = |(connection, pid)| Event {
            time,
            connection,
            kind: EventKind::Held(Task {
                pid,
                ..Task::default()
            }),
        };
        batch.events.extend(self.holders.answers().map(held));
        let ended = |connection| Event {
            time,
            connection,
            kind: EventKind::Ended,
        };
        batch.events.extend(self.gone.answers().map(ended));
        for mut event in batch.events.drain(..) {
            if let Some(task) = event.kind.task_mut() {
                // Now, while the process and its container are there.
                self.processes.complete(task, event.time);
                self.live.look_at(task.pid);
                if task.cgroup != 0 {
                    self.cgroups.path(task.cgroup, task.pid);
                }
            }
            batch.complete.extend(self.existing.before(&event));
            batch.complete.push(event);
        }
        for sink in &mut *sinks {
            sink.events(&batch.complete);
        }
        for event in batch.complete.drain(..) {
            self.engine.event(&event, &mut batch.outputs);
        }
        self.deliver(batch, sinks);
    }

    fn deliver(&mut self, batch: &mut Batch, sinks: Sinks<'_, '_>) {
        for output in batch.outputs.drain(..) {
            match output {
                Output::Report(mut report) => {
                    self.summary.connections += 1;
                    self.summary.failures += u64::from(report.verdict.outcome.is_failure());
                    self.complete(&mut report);
                    for sink in &mut *sinks {
                        sink.report(&report);
                    }
                    self.flaps.report(&report, &mut batch.flaps);
                }
                Output::Handshake(handshake) => {
                    for sink in &mut *sinks {
                        sink.handshake(&handshake);
                    }
                    self.flaps.handshake(&handshake, &mut batch.flaps);
                }
                Output::PayloadDone(connection) => self.live.payload_done(connection, false),
                Output::TailWanted(connection) => self.live.payload_done(connection, true),
                Output::HolderWanted(wanted) => self.holders.look_for(*wanted),
            }
        }
        Self::deliver_flaps(batch, sinks);
    }

    fn deliver_flaps(batch: &mut Batch, sinks: Sinks<'_, '_>) {
        for output in batch.flaps.drain(..) {
            match output {
                flap::Output::Event(event) => {
                    for sink in &mut *sinks {
                        sink.flap_event(&event);
                    }
                }
                flap::Output::Flap(mut flap) => {
                    flap.time = clock::wall_clock(flap.at);
                    for sink in &mut *sinks {
                        sink.flap(&flap);
                    }
                }
            }
        }
    }

    /// Adds what only the running system knows.
    fn complete(&mut self, report: &mut Report) {
        report.set_time(clock::wall_clock(report.ended));
        // A process that was gone before it could be looked at has no name.
        report.comm.take_if(|comm| comm.is_empty());
        // The engine knows the cgroup's id only.
        if let Some(id) = report.cgroup.as_ref().and_then(|id| id.parse().ok())
            && let Some(path) = self.cgroups.path(id, report.pid.unwrap_or(0))
        {
            report.cgroup = Some(path.to_string());
        }
    }

    fn tell_status(&mut self, sinks: Sinks<'_, '_>) {
        let coverages = self.live.coverages();
        let status = Status {
            engine: self.engine.stats(),
            flaps: self.flaps.stats(),
            lost: self.live.lost(),
            maps: self.live.map_usage(),
            processes: coverages.counts(),
            unreadable: coverages.errors(),
        };
        self.summary.lost = status.lost.iter().map(|lost| lost.count).sum();
        for sink in sinks {
            sink.status(&status);
        }
    }
}

const UNREADABLE: &str = "cannot read events from the kernel";

/// Buffers that are used again for each batch.
#[derive(Debug, Default)]
struct Batch {
    events: Vec<Event>,
    /// The same, with what is known of processes, and of connections that are older.
    complete: Vec<Event>,
    outputs: Vec<Output>,
    flaps: Vec<flap::Output>,
}

/// Says on standard error which needed hooks are missing, once for each reason.
pub fn warn_of_missing(hooks: &[HookReport]) {
    let needed: Vec<_> = skipped(hooks).filter(|(hook, _)| hook.required).collect();
    for missing in needed.chunk_by(|(_, one), (_, other)| one == other) {
        let names: Vec<_> = missing.iter().map(|(hook, _)| hook.name).collect();
        if let Some((_, reason)) = missing.first() {
            eprintln!("tls-trace: tracing without {}: {reason}", names.join(", "));
        }
    }
}

/// Hooks that could not be attached.
pub fn skipped(hooks: &[HookReport]) -> impl Iterator<Item = (&HookReport, &str)> {
    hooks.iter().filter_map(|hook| match &hook.state {
        HookState::Skipped { reason } => Some((hook, reason.as_str())),
        HookState::Attached | HookState::Fallback { .. } => None,
    })
}
