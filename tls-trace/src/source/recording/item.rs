//! What a recording consists of.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    engine,
    event::{ConnectionId, Event, Timestamp},
    report::Report,
};

/// One entry of a recording, in the order in which the engine heard of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Item<'a> {
    /// First of all.
    Header(Cow<'a, Header>),
    /// Something happened.
    Event(Cow<'a, Event>),
    /// The engine was told the time.
    Tick(Timestamp),
    /// A report came out, and this was added to it.
    Context(Cow<'a, Context>),
    /// The tracer stopped.
    Finish(Timestamp),
}

/// Where the recording comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the program.
    pub program: String,
    /// Nanoseconds from the clock of the events to the time since 1970, when recording began.
    pub wall_clock_offset: i64,
    /// Settings of the engine.
    pub config: engine::Config,
}

impl Header {
    /// A header of this program.
    #[must_use]
    pub fn new(wall_clock_offset: i64, config: engine::Config) -> Self {
        Self {
            program: env!("CARGO_PKG_VERSION").to_owned(),
            wall_clock_offset,
            config,
        }
    }
}

/// What only the running system knew of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// [`Report::id`].
    pub id: ConnectionId,
    /// [`Report::time`].
    pub time: Option<String>,
    /// [`Report::comm`].
    pub comm: Option<String>,
    /// [`Report::cgroup`].
    pub cgroup: Option<String>,
}

impl Context {
    /// The context in a finished report.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        Self {
            id: report.id,
            time: report.time.clone(),
            comm: report.comm.clone(),
            cgroup: report.cgroup.clone(),
        }
    }

    /// Adds it to the same report made again.
    pub fn complete(self, report: &mut Report) {
        report.set_time(self.time);
        report.comm = self.comm;
        report.cgroup = self.cgroup;
    }
}
