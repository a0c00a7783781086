//! Captures to reports: source and engine, without any output.

use std::{io, time::Duration};

use crate::{
    command::clock,
    engine::{self, Engine, Output},
    event::{Event, Timestamp},
    report::Report,
    source::capture::{CaptureError, CaptureFile, Connections, Counts, Packet},
};

/// How often the engine is told the time of the capture.
const TICK: Duration = Duration::from_millis(10);

/// Hears what is found.
pub(super) trait Observer {
    /// A connection ended, or its failure is decided.
    fn report(&mut self, report: &Report) -> io::Result<()>;

    /// Another packet was read.
    fn packet(&mut self, file: &CaptureFile);

    /// The capture ends: reports of the connections still open follow.
    fn end(&mut self, connections: &Connections);
}

/// Why an analysis stops.
#[derive(Debug)]
pub(super) enum Stop {
    /// A file cannot be read, or not any further.
    Capture(CaptureError),
    /// Nobody observes any more.
    Output(io::Error),
}

impl From<CaptureError> for Stop {
    fn from(error: CaptureError) -> Self {
        Self::Capture(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Reads captures one after another.
#[derive(Debug)]
pub(super) struct Analysis {
    connections: Connections,
    engine: Engine,
    /// Reports of connections that did not fail are looked at, too.
    all: bool,
    ticked: Timestamp,
    /// Times of the first and the last packet of all.
    span: Option<(Timestamp, Timestamp)>,
    events: Vec<Event>,
    outputs: Vec<Output>,
}

impl Analysis {
    /// For somebody who wants to hear of failures, or of every connection.
    pub(super) fn new(config: engine::Config, all: bool) -> Self {
        let engine = Engine::new(config);
        Self {
            connections: Connections::default(),
            engine: if all { engine } else { engine.failures_only() },
            all,
            ticked: Timestamp(0),
            span: None,
            events: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Reads a file to its end. A file that begins where the one before ended continues it, as those
    /// of a rotating capture do.
    ///
    /// # Errors
    /// The file cannot be read any further; what came before was analysed. Or nobody observes.
    pub(super) fn read(
        &mut self,
        file: &mut CaptureFile,
        observer: &mut impl Observer,
    ) -> Result<(), Stop> {
        let mut begun = false;
        while let Some(packet) = file.next_packet()? {
            if !begun && !self.connections.continues_with(&packet) {
                self.finish(observer)?;
            }
            begun = true;
            self.packet(&packet);
            self.deliver(observer)?;
            observer.packet(file);
        }
        Ok(())
    }

    /// No more files: reports what can be said of every connection left.
    ///
    /// # Errors
    /// Nobody observes.
    pub(super) fn finish(&mut self, observer: &mut impl Observer) -> io::Result<()> {
        let now = self.connections.now();
        self.engine.tick(now, &mut self.outputs);
        self.deliver(observer)?;
        observer.end(&self.connections);
        self.connections.end(&mut self.events);
        self.feed();
        self.engine.finish(now, &mut self.outputs);
        self.ticked = Timestamp(0);
        self.deliver(observer)
    }

    /// What became of the packets.
    pub(super) fn counts(&self) -> Counts {
        self.connections.counts()
    }

    /// Connections without TLS that did not fail.
    pub(super) fn not_tls(&self) -> u64 {
        self.engine.stats().not_tls
    }

    /// From the first packet to the last.
    pub(super) fn span(&self) -> Option<(Timestamp, Timestamp)> {
        self.span
    }

    fn packet(&mut self, packet: &Packet) {
        let (first, last) = self.span.unwrap_or((packet.time, packet.time));
        self.span = Some((first.min(packet.time), last.max(packet.time)));
        if packet.time.since(self.ticked) >= TICK {
            self.ticked = packet.time;
            self.engine.tick(packet.time, &mut self.outputs);
        }
        self.connections.packet(packet, &mut self.events);
        self.feed();
    }

    fn feed(&mut self) {
        for event in self.events.drain(..) {
            self.engine.event(&event, &mut self.outputs);
        }
    }

    fn deliver(&mut self, observer: &mut impl Observer) -> io::Result<()> {
        for output in self.outputs.drain(..) {
            if let Output::Report(mut report) = output {
                if self.all || report.verdict.outcome.is_failure() {
                    report.set_time(clock::since_1970(report.ended));
                }
                observer.report(&report)?;
            }
        }
        Ok(())
    }
}
