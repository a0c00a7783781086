//! Flaps: connections of one program to one server that are cut and opened anew, again and again.
//! Sans-IO, beside the engine: fed with what it says of handshakes and with its reports.
//!
//! A *flap event* is a connection that (1) attempted a TLS handshake, (2) ended by somebody else's
//! wish than its client's, or failed in the handshake, (3) lived shorter than [`Config::longest`]
//! after the handshake, (4) was followed by another of the same process to the same server within
//! [`Config::reopened`], and (5) began after the event before it had ended: a pool that loses ten
//! connections at once has lost its server once.
#![forbid(unsafe_code)]

mod disconnect;
mod forced;
mod hint;
mod history;
mod key;
mod record;
#[cfg(test)]
mod tests;

use std::time::Duration;

use hashlink::LruCache;

pub use self::{
    disconnect::Disconnect,
    forced::{Class, lifetime},
    record::{Change, Flap, FlapEvent},
};
use self::{
    history::{Ended, History, Tick},
    key::Key,
};
use crate::{
    engine::Handshake,
    event::Timestamp,
    report::{Report, SCHEMA},
};

/// How often histories are looked through for what is over.
const SWEEP: Duration = Duration::from_secs(1);

/// What counts as flapping.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Connections that live longer are no flap events. The default covers the idle timeouts of
    /// load balancers (350 s) and gRPC's keepalive of 120 s, cut at the fourth ping.
    pub longest: Duration,
    /// A connection that nobody opens anew within this was not missed.
    pub reopened: Duration,
    /// Time in which [`Config::events`] unplanned events are flapping.
    pub window: Duration,
    /// See [`Config::window`].
    pub events: usize,
    /// Pairs of program and server remembered; the least recently active is forgotten and counted.
    pub keys: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            longest: Duration::from_secs(600),
            reopened: Duration::from_secs(60),
            window: Duration::from_secs(600),
            events: 3,
            keys: 4096,
        }
    }
}

/// What the detector has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A connection was cut and opened anew.
    Event(FlapEvent),
    /// Flapping begins or ends.
    Flap(Box<Flap>),
}

/// Counters of [`Flaps`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Pairs of program and server remembered.
    pub tracked: usize,
    /// Pairs forgotten because there were too many.
    pub evicted: u64,
}

/// The detector.
#[derive(Debug)]
pub struct Flaps {
    config: Config,
    histories: LruCache<Key, History>,
    swept: Timestamp,
    evicted: u64,
}

impl Flaps {
    /// A detector that remembers nothing yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            histories: LruCache::new(config.keys.max(1)),
            swept: Timestamp(0),
            evicted: 0,
        }
    }

    /// Counters so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            tracked: self.histories.len(),
            evicted: self.evicted,
        }
    }

    /// A handshake ended, one way or the other: its connection may replace one that was cut.
    pub fn handshake(&mut self, handshake: &Handshake, outputs: &mut Vec<Output>) {
        if self.histories.is_empty() {
            return;
        }
        let Some(key) = Key::of_handshake(handshake) else {
            return;
        };
        let Some(history) = self.histories.get_mut(&key) else {
            return;
        };
        let event = history.opened(Tick::at(handshake.began), &self.config);
        Self::judge(&self.config, &key, history, event, outputs);
    }

    /// A connection ended.
    pub fn report(&mut self, report: &Report, outputs: &mut Vec<Output>) {
        let Some(class) = forced::class(report) else {
            return;
        };
        let life = lifetime(report);
        let Some(key) = Key::of_report(report).filter(|_| life < self.config.longest) else {
            return;
        };
        let at = Tick::at(report.ended);
        let ended = Ended {
            time: report.ended,
            began: Tick::at(report.began()),
            at,
            life,
            cause: report.verdict.cause,
            class,
            disconnect: Disconnect::of(report),
        };
        if !self.histories.contains_key(&key) && self.histories.len() == self.histories.capacity() {
            self.histories.remove_lru();
            self.evicted += 1;
        }
        let history = self
            .histories
            .entry(key.clone())
            .or_insert_with(|| History::new(at));
        // The end of a flap is told under the name of its beginning.
        if history.flapping().is_none() {
            history.who.comm.clone_from(&report.comm);
            history.who.cgroup.clone_from(&report.cgroup);
        }
        let earlier = history.opened(ended.began, &self.config);
        Self::judge(&self.config, &key, history, earlier, outputs);
        let event = history.ended(ended, &self.config);
        Self::judge(&self.config, &key, history, event, outputs);
    }

    /// Says what time it is: what has been quiet for long enough is over.
    pub fn tick(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        if now.since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        let tick = Tick::at(now);
        let over: Vec<_> = self
            .histories
            .iter()
            .filter(|(_, history)| history.is_over(tick, &self.config))
            .map(|(key, _)| key.clone())
            .collect();
        for key in over {
            if let Some(history) = self.histories.remove(&key) {
                outputs.extend(flap(Change::Off, now, &key, &history));
            }
        }
    }

    /// Tells of an event, and whether it makes a flap.
    fn judge(
        config: &Config,
        key: &Key,
        history: &mut History,
        event: Option<Ended>,
        outputs: &mut Vec<Output>,
    ) {
        let Some(event) = event else {
            return;
        };
        outputs.push(Output::Event(FlapEvent {
            role: key.role(),
            cause: event.cause,
            class: event.class,
            disconnect: event.disconnect,
        }));
        if history.begins_to_flap(config) {
            outputs.extend(flap(Change::On, event.time, key, history));
        }
    }
}

/// The record of a history that flaps.
fn flap(change: Change, at: Timestamp, key: &Key, history: &History) -> Option<Output> {
    let cause = history.flapping()?;
    let summary = history.summary(cause)?;
    let flap = Flap {
        schema: SCHEMA,
        flap: change,
        time: None,
        at,
        role: key.role(),
        pid: key.pid(),
        comm: history.who.comm.clone(),
        cgroup: history.who.cgroup.clone(),
        peer: key.peer(),
        port: key.port(),
        events: history.events,
        planned: history.planned,
        span_s: history.span().as_secs_f64(),
        life_s: summary.life.as_secs_f64(),
        variation: summary.variation,
        period_s: summary.period.map(|period| period.as_secs_f64()),
        cause,
        cause_share: summary.share,
        grpc_disconnect_error: summary.disconnect,
        hint: hint::hint(cause, summary.period),
    };
    Some(Output::Flap(Box::new(flap)))
}
