//! Why a connection ended, as far as sizes and time of records tell. Always `likely`.

use super::{Frames, Http2, goaway, sizes, told};
use crate::{
    engine::{
        close::{Layer, errno},
        handshake::other,
        moment::ms_between,
        verdict::{self, Case, SILENCE_MS},
    },
    event::{End, Timestamp},
    report::{self, Cause, CloseKind, Confidence, GoAway, Initiator, Outcome, Sender},
};

/// An end comes this soon after the words that announce it, in milliseconds.
const SOON_MS: f64 = 2000.0;
/// A PING without an answer is waited for this long at least, in milliseconds: gRPC allows no less.
pub(super) const PING_WAIT_MS: f64 = 900.0;
/// Intervals of a timer vary less than this share.
const EVEN: f64 = 0.25;
/// Without TCP_USER_TIMEOUT the kernel does not give up sooner than this, in milliseconds: by default
/// after 15 minutes of retransmission, or two hours and 11 minutes of keepalive (Go: 2.5 minutes).
const KERNEL_PATIENCE_MS: f64 = 90_000.0;

/// Why it ended.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine) struct Finding {
    pub(in crate::engine) cause: Cause,
    pub(in crate::engine) outcome: Outcome,
    pub(in crate::engine) initiator: Initiator,
    /// When it showed.
    pub(in crate::engine) at: Timestamp,
    /// What showed, for people.
    pub(in crate::engine) fact: String,
    pub(super) goaway: Option<sizes::Farewell>,
}

/// Looks for a reason in what HTTP/2 showed of an ended connection.
pub(in crate::engine) fn find(case: &Case) -> Option<Finding> {
    let http2 = case.connection.http2.as_deref();
    let http2 = http2.filter(|http2| http2.shows())?;
    let killed = case.close.cause == Cause::ProcessKilled || case.peer_killed();
    if case.close.by.is_none() || killed || verdict::capture_gap(case.connection) {
        return None;
    }
    let view = View { case, http2 };
    view.before_settings()
        .or_else(|| view.farewell())
        .or_else(|| view.bare_goaway())
        .or_else(|| view.user_timeout())
        .or_else(|| view.unanswered_ping())
}

/// What a report says of HTTP/2.
pub(in crate::engine) fn report(case: &Case) -> Option<report::Http2> {
    if let Some(said) = case.connection.http2_said() {
        let goaways = told::goaways(case, said);
        return Some(report::Http2 { goaways });
    }
    case.connection.http2.as_deref()?;
    let found = find(case);
    let goaway = found.and_then(|finding| Some((finding.at, finding.goaway?)));
    let goaways = goaway.map(|(at, goaway)| GoAway {
        at_ms: ms_between(case.connection.first, at),
        from: Sender::Server,
        code: goaway.error.code(),
        name: Some(goaway.error),
        debug: (!goaway.text.is_empty()).then(|| goaway.text.to_owned()),
        confidence: Confidence::Likely,
    });
    Some(report::Http2 {
        goaways: goaways.into_iter().collect(),
    })
}

pub(super) struct View<'a> {
    pub(super) case: &'a Case<'a>,
    pub(super) http2: &'a Http2,
}

impl View<'_> {
    pub(super) fn client_closed(&self) -> bool {
        self.case.close.by == Some(self.case.client()) && self.case.close.layer == Layer::App
    }

    pub(super) fn server_closed(&self) -> bool {
        self.case.close.by == Some(other(self.case.client())) && self.case.close.layer == Layer::App
    }

    /// Records of control frames up to the end, oldest first: what comes to one who left is too late.
    pub(super) fn frames(&self) -> Vec<&Frames> {
        let end = self.case.close.at;
        let in_time = |frames: &&Frames| end.is_none_or(|end| frames.at <= end);
        self.http2.frames().filter(in_time).collect()
    }

    /// Milliseconds from `at` to the end.
    pub(super) fn ms_to_end(&self, at: Timestamp) -> f64 {
        let end = self.case.close.at.unwrap_or(self.case.connection.first);
        ms_between(at, end)
    }

    pub(super) fn finding(&self, cause: Cause, at: Timestamp, fact: String) -> Finding {
        Finding {
            cause,
            outcome: Outcome::Broken,
            initiator: self.case.closer(),
            at,
            fact,
            goaway: None,
        }
    }

    /// The length a record with so many bytes of frames has.
    pub(super) fn record(&self, bytes: u16) -> u16 {
        bytes + self.http2.overhead
    }

    /// The client sent its preface, and no SETTINGS came.
    fn before_settings(&self) -> Option<Finding> {
        let http2 = self.http2;
        if !http2.preface_at.happened() || http2.settings_at.happened() {
            return None;
        }
        let preface_at = http2.preface_at.timestamp(self.case.connection.first);
        let silence = self.ms_to_end(preface_at);
        if http2.odd && (self.server_closed() || self.client_closed()) {
            let fact = "server answered the HTTP/2 preface with a record that is not SETTINGS";
            let at = http2.last_at().unwrap_or(preface_at);
            return Some(Finding {
                initiator: self.case.initiator(other(self.case.client()), Layer::App),
                ..self.finding(Cause::Http1OnH2, at, fact.to_owned())
            });
        }
        // A server that answers the client's goodbye may be the first to close TCP.
        let left = self.case.first_to_leave();
        let by_app = self.case.close.layer == Layer::App;
        let by = |end| by_app && left == self.case.initiator(end, Layer::App);
        if by(other(self.case.client())) && self.case.close.cause != Cause::ResetLinger {
            let fact = "server closed before it sent SETTINGS";
            return Some(self.finding(Cause::H2ClosedBeforeSettings, preface_at, fact.to_owned()));
        }
        (by(self.case.client()) && silence >= SILENCE_MS).then(|| {
            let fact = format!(
                "no SETTINGS from the server for {silence:.0} ms after the client's preface"
            );
            Finding {
                initiator: left,
                ..self.finding(Cause::H2SettingsTimeout, preface_at, fact)
            }
        })
    }

    /// The last thing the server said but PING and `close_notify` has the size of a known GOAWAY.
    fn farewell(&self) -> Option<Finding> {
        let frames: Vec<&Frames> = self.http2.frames().collect();
        let at = frames
            .iter()
            .rposition(|frames| !frames.from_client && !sizes::follows_farewell(frames.bytes))?;
        let (before, said) = (&frames[..at], frames[at]);
        let farewell = sizes::farewell(said.bytes)?;
        let cause = goaway::cause(farewell.error.code(), Some(farewell.text));
        let data_after = self.http2.data_at >= Some(said.at);
        let more = frames[at + 1..]
            .iter()
            .any(|frames| frames.from_client && !sizes::answers_farewell(frames.bytes));
        if data_after || more {
            return None;
        }
        let again = frames[at + 1..]
            .iter()
            .any(|frames| !frames.from_client && sizes::is_second_goaway(frames.bytes));
        let soon = self.ms_to_end(said.at) <= SOON_MS;
        let record = self.record(said.bytes);
        let (text, sent) = (farewell.text, farewell.frames);
        let size = format!("{record} bytes from the server, the size of {sent} \"{text}\"");
        let (outcome, fact) = if cause == Cause::H2GoawayTooManyPings {
            let interval = ping_interval(before)?.max(0.0) / 1e3;
            let fact = format!("client's PINGs every {interval:.1} s, then {size}");
            (Outcome::Broken, soon.then_some(fact)?)
        } else {
            let unasked = self.quiet_before(before, said.at) && soon;
            (Outcome::Established, (unasked || again).then_some(size)?)
        };
        Some(Finding {
            outcome,
            initiator: self.case.initiator(other(self.case.client()), Layer::App),
            goaway: Some(farewell),
            ..self.finding(cause, said.at, fact)
        })
    }

    /// Nobody had said anything for a while.
    fn quiet_before(&self, before: &[&Frames], at: Timestamp) -> bool {
        let silence = self.silence_before(before, at);
        silence.is_none_or(|silence| silence >= SILENCE_MS)
    }

    /// Milliseconds for which nobody had said anything; below 0 if somebody said something later.
    pub(super) fn silence_before(&self, before: &[&Frames], at: Timestamp) -> Option<f64> {
        let last = before.last().map(|frames| frames.at);
        let last = last.max(self.http2.data_at)?;
        Some(ms_between(last, at))
    }

    /// gRPC sets TCP_USER_TIMEOUT to its keepalive timeout (gRFC A18).
    fn user_timeout(&self) -> Option<Finding> {
        let close = &self.case.close;
        let ending = self.case.connection.ending.as_deref()?;
        let timed_out = ending
            .error
            .is_some_and(|(_, code)| code == errno::ETIMEDOUT);
        let here = close.by == Some(End::Local) && close.layer == Layer::Kernel;
        let silence = self.ms_to_end(self.http2.last_at()?);
        (close.kind == CloseKind::Timeout && timed_out && here && silence < KERNEL_PATIENCE_MS)
            .then(|| {
                let fact = format!(
                    "the kernel gave up {:.1} s after the last byte: TCP_USER_TIMEOUT",
                    silence / 1e3
                );
                self.finding(Cause::TcpUserTimeout, close.at.unwrap_or_default(), fact)
            })
    }

    /// The last thing the closer said, long before it closed, has the size of a PING.
    fn unanswered_ping(&self) -> Option<Finding> {
        if !self.client_closed() && !self.server_closed() {
            return None;
        }
        let by_client = self.client_closed();
        let goodbye = |frames: &&&Frames| {
            frames.from_client == by_client && self.ms_to_end(frames.at) < PING_WAIT_MS
        };
        let frames = self.frames();
        let last = frames.iter().rposition(|frames| !goodbye(&frames))?;
        let ping = frames[last];
        let waited = self.ms_to_end(ping.at);
        let is_ping = ping.bytes == sizes::PING && ping.from_client == by_client;
        // What follows the other's words at once may be an answer.
        let is_ping = is_ping && self.quiet_before(&frames[..last], ping.at);
        let data_after = self.http2.data_at >= Some(ping.at);
        (is_ping && !data_after && waited >= PING_WAIT_MS).then(|| {
            let who = if by_client { "client" } else { "server" };
            let record = self.record(sizes::PING);
            let fact = format!(
                "{record} bytes from the {who}, the size of a PING, and no answer for {waited:.0} ms"
            );
            self.finding(Cause::H2PingTimeout, ping.at, fact)
        })
    }
}

/// Milliseconds between the PINGs of a client that were answered, where the last thing before is one
/// more and all came at even intervals.
fn ping_interval(before: &[&Frames]) -> Option<f64> {
    let last = before.last()?;
    let pings: Vec<Timestamp> = before
        .iter()
        .filter(|frames| frames.from_client && frames.bytes == sizes::PING)
        .map(|frames| frames.at)
        .collect();
    let from = pings.len().saturating_sub(3);
    let intervals: Vec<f64> = pings[from..]
        .windows(2)
        .map(|pair| ms_between(pair[0], pair[1]))
        .collect();
    let [a, b] = intervals[..] else {
        return None;
    };
    let mean = f64::midpoint(a, b);
    let even = (a - b).abs() <= mean * EVEN && mean > 0.0;
    (last.from_client && last.bytes == sizes::PING && even).then_some(mean)
}
