//! The tracing loop: source, engine, sinks.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::{capability, clock};
use crate::{
    discover::process,
    engine::{self, Engine, Output},
    event::{Event, Timestamp},
    probe::{HookReport, HookState},
    report::Report,
    sink::{Sink, Status, filter::is_failure},
    source::live::{self, Live},
};

/// How often sinks hear of the tracer's own condition.
const STATUS: Duration = Duration::from_secs(1);
/// How often the engine is told the time, when events keep coming.
const TICK: Duration = Duration::from_millis(50);
/// How long the end waits for events that are still in the ring buffer.
const DRAIN: Duration = Duration::from_millis(500);

/// A tracer that is attached.
#[derive(Debug)]
pub struct Tracer {
    live: Live,
    engine: Engine,
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

impl Tracer {
    /// Attaches to the kernel.
    ///
    /// # Errors
    /// Nothing could be attached.
    pub fn start(options: &live::Options) -> anyhow::Result<Self> {
        let live = match Live::start(options) {
            Ok(live) => live,
            Err(error) => match capability::missing() {
                Ok(missing) if !missing.is_empty() => bail!("{}", capability::remedy(&missing)),
                _ => return Err(error).context("`tls-trace check` says more"),
            },
        };
        Ok(Self {
            live,
            engine: Engine::new(engine::Config::default()),
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
        sinks: &mut [Box<dyn Sink + '_>],
        stop: impl Future<Output = ()>,
    ) -> anyhow::Result<Summary> {
        let mut stop = std::pin::pin!(stop);
        let mut batch = Batch::default();
        let mut ticked = Instant::now();
        let mut told: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                read = self.live.next(&mut batch.events) => {
                    read.context("cannot read events from the kernel")?;
                }
            }
            self.take(&mut batch, sinks);
            if ticked.elapsed() >= TICK {
                ticked = Instant::now();
                self.engine.tick(self.live.now(), &mut batch.outputs);
                self.deliver(&mut batch, sinks);
            }
            if told.is_none_or(|told| told.elapsed() >= STATUS) {
                told = Some(Instant::now());
                self.tell_status(sinks);
            }
        }
        self.drain(&mut batch, sinks).await?;
        Ok(self.summary)
    }

    /// The last events: of connections that ended just before the end.
    async fn drain(
        &mut self,
        batch: &mut Batch,
        sinks: &mut [Box<dyn Sink + '_>],
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        while started.elapsed() < DRAIN {
            let next = self.live.next(&mut batch.events).await;
            next.context("cannot read events from the kernel")?;
            if batch.events.is_empty() {
                break;
            }
            self.take(batch, sinks);
        }
        self.engine.finish(self.live.now(), &mut batch.outputs);
        self.deliver(batch, sinks);
        self.tell_status(sinks);
        Ok(())
    }

    fn take(&mut self, batch: &mut Batch, sinks: &mut [Box<dyn Sink + '_>]) {
        for sink in &mut *sinks {
            sink.events(&batch.events);
        }
        for event in batch.events.drain(..) {
            self.engine.event(&event, &mut batch.outputs);
        }
        self.deliver(batch, sinks);
    }

    fn deliver(&mut self, batch: &mut Batch, sinks: &mut [Box<dyn Sink + '_>]) {
        for output in batch.outputs.drain(..) {
            match output {
                Output::Report(mut report) => {
                    self.summary.connections += 1;
                    self.summary.failures += u64::from(is_failure(&report));
                    complete(&mut report);
                    for sink in &mut *sinks {
                        sink.report(&report);
                    }
                }
                Output::Handshake(handshake) => {
                    for sink in &mut *sinks {
                        sink.handshake(&handshake);
                    }
                }
                Output::PayloadDone(connection) => self.live.payload_done(connection),
            }
        }
    }

    fn tell_status(&mut self, sinks: &mut [Box<dyn Sink + '_>]) {
        let status = Status {
            engine: self.engine.stats(),
            lost: self.live.lost(),
            maps: self.live.map_usage(),
        };
        self.summary.lost = status.lost.iter().map(|lost| lost.count).sum();
        for sink in sinks {
            sink.status(&status);
        }
    }
}

/// Buffers that are used again for each batch.
#[derive(Debug, Default)]
struct Batch {
    events: Vec<Event>,
    outputs: Vec<Output>,
}

/// Adds what only the running system knows.
fn complete(report: &mut Report) {
    if report.ended > Timestamp(0) {
        report.time = clock::wall_clock(report.ended);
    }
    if report.comm.is_none() {
        report.comm = report.pid.and_then(process::comm);
    }
}

/// Hooks that could not be attached.
pub fn skipped(hooks: &[HookReport]) -> impl Iterator<Item = (&HookReport, &str)> {
    hooks.iter().filter_map(|hook| match &hook.state {
        HookState::Skipped { reason } => Some((hook, reason.as_str())),
        HookState::Attached | HookState::Fallback { .. } => None,
    })
}
