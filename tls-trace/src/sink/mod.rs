//! Where reports go. A sink knows nothing of hooks, and never makes the tracer wait.

pub mod comment;
pub mod escape;
pub mod failures;
pub mod filter;
pub mod http;
pub mod json;
pub mod output;
pub mod pcapng;
pub mod prometheus;
#[cfg(test)]
pub(crate) mod sample;
pub mod socket;
pub mod text;

use std::collections::BTreeMap;

use crate::{
    engine::Handshake,
    event::{Event, Timestamp},
    flap::{Flap, FlapEvent},
    report::Report,
    source::live::Lost,
};

pub use escape::{escaped, shortened};

/// A consumer of what the tracer finds. Calls come from the tracing loop: they return at once.
pub trait Sink {
    /// The next events for the engine.
    fn events(&mut self, events: &[Event]) {
        let _ = events;
    }

    /// The engine is told the time.
    fn tick(&mut self, now: Timestamp) {
        let _ = now;
    }

    /// A finished report.
    fn report(&mut self, report: &Report) {
        let _ = report;
    }

    /// The result of a handshake.
    fn handshake(&mut self, handshake: &Handshake) {
        let _ = handshake;
    }

    /// A connection was cut and opened anew.
    fn flap_event(&mut self, event: &FlapEvent) {
        let _ = event;
    }

    /// A program begins, or ceases, to lose its connection to a server again and again.
    fn flap(&mut self, flap: &Flap) {
        let _ = flap;
    }

    /// The tracer's own condition, about once a second.
    fn status(&mut self, status: &Status) {
        let _ = status;
    }

    /// The engine is told that no more events come; reports may follow.
    fn finish(&mut self, now: Timestamp) {
        let _ = now;
    }
}

/// The tracer's own condition.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Counters of the engine.
    pub engine: crate::engine::Stats,
    /// Counters of the detector of flaps.
    pub flaps: crate::flap::Stats,
    /// Losses so far.
    pub lost: Vec<Lost>,
    /// Map occupancy: name, entries in use, capacity.
    pub maps: Vec<(&'static str, u64, u64)>,
    /// Running processes, by coverage and TLS library.
    pub processes: BTreeMap<[&'static str; 2], u64>,
    /// Files that could not be inspected, by error.
    pub unreadable: BTreeMap<&'static str, u64>,
}
