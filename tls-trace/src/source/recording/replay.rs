//! The engine, told a recording.

use std::collections::VecDeque;

use jiff::Timestamp as WallClock;

use super::{Header, Item};
use crate::{
    engine::{self, Engine, Output},
    event::Timestamp,
    report::Report,
};

/// Makes reports out of a recording: those that were made when it was recorded, byte for byte.
#[derive(Debug)]
pub struct Replay {
    engine: Engine,
    wall_clock_offset: i64,
    last: Timestamp,
    outputs: Vec<Output>,
    /// Reports whose context is still to come.
    pending: VecDeque<Box<Report>>,
}

impl Replay {
    /// A replay with settings of its own, or those of the recording.
    #[must_use]
    pub fn new(header: &Header, config: Option<engine::Config>) -> Self {
        Self {
            engine: Engine::new(config.unwrap_or(header.config)),
            wall_clock_offset: header.wall_clock_offset,
            last: Timestamp(0),
            outputs: Vec::new(),
            pending: VecDeque::new(),
        }
    }

    /// Takes the next item and appends the reports it completes.
    pub fn item(&mut self, item: Item, reports: &mut Vec<Report>) {
        match item {
            Item::Header(_) => {}
            Item::Event(event) => {
                self.last = self.last.max(event.time);
                self.engine.event(&event, &mut self.outputs);
            }
            Item::Tick(now) => self.engine.tick(now, &mut self.outputs),
            Item::Finish(now) => self.engine.finish(now, &mut self.outputs),
            Item::Context(context) => {
                let is_same = |report: &Report| report.id == context.id;
                // Reports before it have no context: the recording began after their connections.
                if let Some(index) = self.pending.iter().position(|report| is_same(report)) {
                    for report in self.pending.drain(..index) {
                        reports.push(without_context(*report, self.wall_clock_offset));
                    }
                    if let Some(mut report) = self.pending.pop_front() {
                        context.into_owned().complete(&mut report);
                        reports.push(*report);
                    }
                }
            }
        }
        self.gather();
    }

    /// The recording ends, perhaps before the tracer did: appends what can be said of the rest.
    pub fn end(&mut self, reports: &mut Vec<Report>) {
        self.engine.finish(self.last, &mut self.outputs);
        self.gather();
        for report in self.pending.drain(..) {
            reports.push(without_context(*report, self.wall_clock_offset));
        }
    }

    fn gather(&mut self) {
        for output in self.outputs.drain(..) {
            if let Output::Report(report) = output {
                self.pending.push_back(report);
            }
        }
    }
}

fn without_context(mut report: Report, wall_clock_offset: i64) -> Report {
    let nanos = i128::from(report.ended.0) + i128::from(wall_clock_offset);
    let time = WallClock::from_nanosecond(nanos).ok();
    report.set_time(time.map(|time| format!("{time:.6}")));
    report
}
