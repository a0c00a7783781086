//! Events in, reports out: the connection table and the judgement. Sans-IO: time comes from events
//! and from [`Engine::tick`]; the same input gives the same output, byte for byte.
#![forbid(unsafe_code)]

mod account;
mod alert;
mod close;
mod conclude;
mod connection;
mod endpoints;
mod evidence;
mod handshake;
mod history;
mod holder;
mod http2;
mod interner;
mod kernel_events;
mod library;
mod moment;
mod notices;
mod pace;
mod peers;
mod rest;
mod segments;
mod table;
#[cfg(test)]
mod tests;
mod told;
mod tracker;
mod transport;
mod verdict;

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    event::{ConnectionId, Event, LibraryName, Timestamp},
    report::{Cause, Initiator, Outcome, Phase, Report, Role},
};

pub use self::{
    holder::LINGERING,
    library::{Joins, known_go_error, known_http2_text},
};
use tracker::Tracker;

/// Settings of an [`Engine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Connections tracked at most; the least recently active is evicted and counted.
    pub max_connections: usize,
    /// How long after the decisive event a report waits for late evidence.
    pub settle: Duration,
    /// Handshakes slower than this get the notice `slow_handshake`.
    pub slow_handshake: Duration,
    /// How long a TLS 1.3 client that finished may wait for the server's first record before its
    /// handshake is counted as established.
    pub provisional: Duration,
    /// Entries of the history of each connection: so many from its beginning, and as many from its
    /// end. 0: reports have no history.
    pub history: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 262_144,
            settle: Duration::from_millis(300),
            slow_handshake: Duration::from_secs(1),
            provisional: Duration::from_secs(5),
            history: 0,
        }
    }
}

/// What the engine has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A connection ended, or its failure is decided. At most one for each connection.
    Report(Box<Report>),
    /// A handshake's result is known, once for each connection that attempted one: at completion
    /// for those that succeed, with the report for those that fail.
    Handshake(Box<Handshake>),
    /// The source need not capture payload of this connection any more.
    PayloadDone(ConnectionId),
    /// The same, but [`EventKind::Tail`](crate::event::EventKind::Tail) would say more of its end.
    TailWanted(ConnectionId),
    /// A report waits to be told whose socket it is, though not for long:
    /// [`EventKind::Held`](crate::event::EventKind::Held) is the answer.
    HolderWanted(Box<HolderWanted>),
}

/// A socket that the source is asked about: whose it is, or whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HolderWanted {
    /// Its cookie.
    pub connection: ConnectionId,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Inode of the network namespace; 0 unknown.
    pub netns: u32,
}

/// The result of one handshake, for counting.
#[derive(Clone, Debug, PartialEq)]
pub struct Handshake {
    /// First event of the connection.
    pub began: Timestamp,
    /// This end, where known.
    pub local: Option<SocketAddr>,
    /// The other end, where known.
    pub remote: Option<SocketAddr>,
    /// Process that holds this end, as far as known by now.
    pub pid: Option<u32>,
    /// server_name of the ClientHello, unescaped.
    pub server_name: Option<String>,
    /// Role of the local end.
    pub role: Role,
    /// `Established`, `Failed`, `Aborted` or `Incomplete`.
    pub outcome: Outcome,
    /// Phase reached.
    pub phase: Phase,
    /// Cause, `None` for an established one.
    pub cause: Cause,
    /// Who ended it; `Unknown` for an established one.
    pub initiator: Initiator,
    /// Negotiated version as in [`Report::version`].
    pub version: Option<String>,
    /// This end's TLS library, where it spoke of this handshake.
    pub library: Option<LibraryName>,
    /// ALPN protocols offered.
    pub alpn_offered: Vec<String>,
    /// Phase durations.
    pub phases: crate::report::PhasesMs,
    /// ClientHello's first byte to completion, milliseconds.
    pub duration_ms: Option<f64>,
}

/// Counters of an [`Engine`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections in the table.
    pub tracked: usize,
    /// Connections dropped because the table was full.
    pub evicted: u64,
    /// Events taken.
    pub events: u64,
    /// Connections that ended without any TLS and without a failure; they get no report.
    pub not_tls: u64,
    /// What became of the words of TLS libraries.
    pub joins: Joins,
}

/// The engine.
#[derive(Debug)]
pub struct Engine {
    tracker: Tracker,
}

impl Engine {
    /// An engine with an empty table.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            tracker: Tracker::new(config),
        }
    }

    /// Leaves out what nobody looks at who wants failures only: the results of handshakes, and evidence
    /// and notices of connections that did not fail.
    #[must_use]
    pub fn failures_only(mut self) -> Self {
        self.tracker.failures_only = true;
        self
    }

    /// Takes one event; events come in order of time, give or take what the source could not repair.
    pub fn event(&mut self, event: &Event, outputs: &mut Vec<Output>) {
        self.tracker.event(event, outputs);
    }

    /// Says what time it is; decides what was waiting. Call it a few times a second.
    pub fn tick(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        self.tracker.tick(now, outputs);
    }

    /// No more events: reports what can be said of every connection left.
    pub fn finish(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        self.tracker.finish(now, outputs);
    }

    /// Connections that have begun to close, and of which nothing was heard since: the source may know that they are
    /// gone ([`EventKind::Ended`](crate::event::EventKind::Ended)). To be called every [`LINGERING`].
    #[must_use]
    pub fn lingering(&self, now: Timestamp) -> Vec<HolderWanted> {
        self.tracker.lingering(now)
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            tracked: self.tracker.connections.len(),
            ..self.tracker.stats
        }
    }
}
