//! Which ends of connections nobody on the client's side asked for.

use std::time::Duration;

use crate::{
    report::{Cause, Initiator, Outcome, Phase, Report, Role},
    wire::names::is_http2,
};

/// Whether an end was to be expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// By rule: the server limits how long connections live or stay idle, or is being replaced.
    Planned,
    /// All else.
    Unplanned,
}

impl Class {
    /// The stable label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Unplanned => "unplanned",
        }
    }
}

/// Time from the end of the handshake to the end of the connection, as far as its phases were seen.
#[must_use]
pub fn lifetime(report: &Report) -> Duration {
    let phases = &report.phases_ms;
    let handshake = [
        phases.connect,
        phases.client_hello,
        phases.server_hello,
        phases.rest,
    ];
    let handshake: f64 = handshake.into_iter().flatten().sum();
    let completed = report.verdict.phase >= Phase::Finished;
    let life = (report.duration_ms - handshake) / 1e3;
    Duration::try_from_secs_f64(if completed { life } else { 0.0 }).unwrap_or_default()
}

/// A server that limits its connections to less than this is not meant to.
const LIVED: Duration = Duration::from_secs(60);

/// Class of an end against the client's wish; nothing for all others.
pub(super) fn class(report: &Report) -> Option<Class> {
    let by_rule = matches!(
        report.verdict.cause,
        Cause::H2GoawayMaxAge | Cause::H2GoawayMaxIdle | Cause::H2GoawayGraceful
    );
    let class = if by_rule && lifetime(report) >= LIVED {
        Class::Planned
    } else {
        Class::Unplanned
    };
    forced(report).then_some(class)
}

fn forced(report: &Report) -> bool {
    let verdict = &report.verdict;
    let attempted = verdict.phase >= Phase::ClientHello
        && !matches!(verdict.cause, Cause::PlainHttpToTlsPort | Cause::NotTls);
    // With both ends here, the client's tells it, and knows its process.
    let told_by_client = report.role == Role::Server && report.peer_report.is_some();
    if !attempted || told_by_client {
        return false;
    }
    let by_client = verdict.initiator == Initiator::ClientApp;
    match verdict.outcome {
        // From a server's end, one address that fails again and again may be many programs, a
        // scanner, or a proxy.
        Outcome::Failed => {
            report.role != Role::Server && !(by_client && is_own_wish(verdict.cause))
        }
        Outcome::Broken => !by_client || gave_up(verdict.cause),
        // An HTTP/1.1 server may close after any answer: `Connection: close`, keepalive limits. Only
        // who speaks nothing but HTTP/2, as gRPC does, means to keep its connection.
        Outcome::Established => {
            matches!(
                verdict.initiator,
                Initiator::ServerApp | Initiator::ServerKernel | Initiator::Network
            ) && offers_only_h2(report)
        }
        Outcome::Aborted | Outcome::Incomplete => false,
    }
}

/// Ways in which an HTTP/2 client closes because the server did not do its part.
fn gave_up(cause: Cause) -> bool {
    matches!(cause, Cause::H2SettingsTimeout | Cause::H2PingTimeout)
}

/// Ways in which a client's program gives up by its own decision, whatever the server did.
fn is_own_wish(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::ClosedByApp
            | Cause::ClosedByPeer
            | Cause::ConnectCancelled
            | Cause::ProcessKilled
            | Cause::ResetLinger
            | Cause::ResetUnreadData
            | Cause::UserCanceled
    )
}

/// As gRPC clients do, and nobody else.
pub(super) fn offers_only_h2(report: &Report) -> bool {
    let offered = report.alpn.offered.as_deref().unwrap_or_default();
    !offered.is_empty() && offered.iter().all(|name| is_http2(name))
}
