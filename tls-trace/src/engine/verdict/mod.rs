//! From facts to a verdict: decision lists, the most specific proven cause first. What nothing proves
//! is `unknown`; a connection that did not fail and showed no TLS has no verdict at all.

mod after_handshake;
mod during_handshake;
mod never_opened;
mod no_hello;

use super::{
    alert,
    close::{Close, Layer, PeerEnd},
    connection::Connection,
    handshake::{Handshake, Party, other, sender},
    moment::Moment,
};
use crate::{
    event::{Direction, End},
    report::{Cause, Confidence, Initiator, Outcome, Phase},
};

/// Quiet for this long before the end, in milliseconds, means that somebody waited in vain.
pub(super) const SILENCE_MS: f64 = 500.0;

/// Quiet for less than this before the end, in milliseconds, and nobody waited: whoever closes that soon does so
/// whatever the other end might have said.
const HASTE_MS: f64 = 100.0;

/// What is judged.
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each so or not"
)]
pub(super) struct Case<'a> {
    pub(super) connection: &'a Connection,
    pub(super) close: Close,
    /// What the other socket did, where it is on this host.
    pub(super) peer: PeerEnd,
    /// The server's port completed TLS before.
    pub(super) tls_port: bool,
    /// The server's port is assigned to a protocol that begins with TLS.
    pub(super) assigned_port: bool,
    /// Payload is being captured at all.
    pub(super) wire: bool,
    /// The server is on this host, and its kernel dropped a segment of this end that would have opened
    /// the connection there.
    pub(super) overflow: bool,
}

/// A [`crate::report::Verdict`] before its evidence is written down.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Judgement {
    pub(super) outcome: Outcome,
    pub(super) phase: Phase,
    pub(super) initiator: Initiator,
    pub(super) cause: Cause,
    pub(super) confidence: Confidence,
}

/// Judges a connection. `None`: nothing to report.
pub(super) fn judge(case: &Case) -> Option<Judgement> {
    let connection = case.connection;
    if !connection.tcp.open {
        return never_opened::judge(case);
    }
    let Some(tls) = connection.tls.as_deref() else {
        return no_hello::silent(case).or_else(|| no_hello::unseen(case));
    };
    if tls.phase() >= Phase::Finished {
        return Some(after_handshake::judge(case, tls));
    }
    if tls.times.started.happened() || tls.times.server_hello_at.happened() {
        return Some(during_handshake::judge(case, tls));
    }
    no_hello::not_tls(case, tls).or_else(|| no_hello::unseen(case))
}

/// Why the handshake was not seen whole.
pub(super) fn missing(case: &Case) -> Option<&'static str> {
    let connection = case.connection;
    let tcp = &connection.tcp;
    let tls = connection.tls.as_deref();
    if !tcp.opening_seen && !tls.is_some_and(|tls| tls.times.started.happened()) {
        Some("open before tracing began")
    } else if tls.is_some_and(|tls| tls.lost) || capture_gap(connection) {
        Some("some of its bytes were not captured")
    } else if tcp.egress.capped || tcp.ingress.capped {
        Some("the capture bound was reached")
    } else {
        None
    }
}

/// Whether the kernel counted bytes that were never shown.
pub(super) fn capture_gap(connection: &Connection) -> bool {
    let tcp = &connection.tcp;
    let counters = connection
        .ending
        .as_ref()
        .and_then(|ending| ending.counters);
    counters.is_some_and(|counters| {
        tcp.ingress.unseen(counters.rcv_nxt) || tcp.egress.unseen(counters.snd_nxt)
    })
}

impl Case<'_> {
    /// The end that is the client; without any sign of it, this one.
    pub(super) fn client(&self) -> End {
        self.connection.client().unwrap_or(End::Local)
    }

    pub(super) fn initiator(&self, by: End, layer: Layer) -> Initiator {
        match (layer, by == self.client()) {
            (Layer::Network, _) => Initiator::Network,
            (Layer::Unknown, _) => Initiator::Unknown,
            (Layer::App, true) => Initiator::ClientApp,
            (Layer::App, false) => Initiator::ServerApp,
            (Layer::Kernel, true) => Initiator::ClientKernel,
            (Layer::Kernel, false) => Initiator::ServerKernel,
        }
    }

    /// Whoever ended TCP.
    pub(super) fn closer(&self) -> Initiator {
        match self.close.by {
            Some(by) => self.initiator(by, self.close.layer),
            None => Initiator::Unknown,
        }
    }

    /// Who said `close_notify` first has ended it, whoever was faster to close TCP then.
    pub(super) fn first_to_leave(&self) -> Initiator {
        let goodbye = self
            .connection
            .tls
            .as_deref()
            .and_then(Handshake::first_goodbye)
            .or_else(|| self.connection.http2_goodbye());
        match goodbye {
            Some((party, at)) if self.close.by.is_some() => {
                let end = match party {
                    Party::Client => self.client(),
                    Party::Server => other(self.client()),
                };
                if self.left_before(other(end), at) {
                    self.closer()
                } else {
                    self.initiator(end, Layer::App)
                }
            }
            _ => self.closer(),
        }
    }

    /// Whether this end had ended TCP already.
    pub(super) fn left_before(&self, end: End, at: Moment) -> bool {
        let at = at.timestamp(self.connection.first);
        self.close.by == Some(end) && self.close.at.is_some_and(|closed| closed < at)
    }

    /// The peer's process was killed, which from here looks like an orderly end.
    pub(super) fn peer_killed(&self) -> bool {
        self.peer.killed && self.close.by == Some(End::Remote)
    }

    fn incomplete(&self, phase: Phase) -> Judgement {
        let close = &self.close;
        let graceful = close.fin_first && close.cause != Cause::ProcessKilled;
        Judgement {
            outcome: Outcome::Incomplete,
            phase,
            initiator: self.closer(),
            cause: if close.by.is_none() || graceful {
                Cause::Unknown
            } else {
                close.cause
            },
            confidence: Confidence::Unknown,
        }
    }
}

/// A fatal alert in the clear: its sender says why. One that answers the other's leaving (OpenSSL's
/// servers send decode_error then) comes too late to be the cause.
fn by_alert(case: &Case, tls: &Handshake) -> Option<Judgement> {
    let seen = tls.fatal_alert()?;
    let by = sender(seen.direction);
    (!case.left_before(other(by), seen.at)).then(|| Judgement {
        outcome: Outcome::Failed,
        phase: tls.phase(),
        initiator: case.initiator(by, Layer::App),
        cause: alert::cause(seen.description),
        confidence: Confidence::Certain,
    })
}

/// The library of this end says why, of a connection that shows that it failed. An alert in the clear
/// is as good as the library's word for it, and may say more together with the rest of the wire; what a
/// library says of its own after the peer's follows from it: Go takes one in the clear, where TLS 1.3 has
/// none any more, for a bad record.
fn by_library(case: &Case, tls: &Handshake) -> Option<Judgement> {
    let library = tls.library.as_ref()?;
    let why = library.explanation()?;
    let alert = tls.fatal_alert();
    let told = alert.filter(|seen| seen.direction == Direction::Ingress);
    if !why.by_peer && told.is_some_and(|seen| library.failed_at().is_some_and(|at| at > seen.at)) {
        return None;
    }
    let failed = alert.is_some() || tls.early_alert.is_some() || case.close.by.is_some();
    let vague = why.by_peer || why.cause == Cause::CertificateUnknown;
    if !failed || tls.times.established_at.happened() || (vague && alert.is_some()) {
        return None;
    }
    let by = if why.by_peer { End::Remote } else { End::Local };
    Some(Judgement {
        outcome: Outcome::Failed,
        phase: tls.phase(),
        initiator: case.initiator(by, Layer::App),
        cause: why.cause,
        confidence: Confidence::Certain,
    })
}
