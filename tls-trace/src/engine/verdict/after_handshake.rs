//! The handshake completed, at least for the client.

use super::{Case, Judgement, by_alert, by_library, capture_gap};
use crate::{
    engine::{
        close::{self, Layer},
        handshake::{Handshake, other},
        http2,
        moment::ms_between,
    },
    event::End,
    report::{Cause, CloseKind, Confidence, Outcome, Phase},
    wire::names,
};

/// An end that leaves this soon after the handshake, in milliseconds, left because of the handshake.
const AT_ONCE_MS: f64 = 100.0;

pub(super) fn judge(case: &Case, tls: &Handshake) -> Judgement {
    let phase = http2::phase(case.connection, tls);
    let close = &case.close;
    let judgement = |outcome, initiator, cause, confidence| Judgement {
        outcome,
        phase,
        initiator,
        cause,
        confidence,
    };
    let told = by_library(case, tls).or_else(|| by_alert(case, tls));
    if let Some(judgement) = told {
        return judgement;
    }
    if let Some((outcome, initiator, cause)) = http2::told(case) {
        return judgement(outcome, initiator, cause, Confidence::Certain);
    }
    let server = other(case.client());
    let at_once = || Some((alpn_rejected(case, tls)?, Cause::AlpnRejectedByApp));
    let rejected = rejection(tls).map(|why| (server, why)).or_else(at_once);
    if let Some((by, why)) = rejected {
        let initiator = case.initiator(by, Layer::App);
        return judgement(Outcome::Failed, initiator, why, Confidence::Likely);
    }
    if unconfirmed(case, tls, server) {
        return judgement(
            Outcome::Failed,
            case.closer(),
            close.cause,
            Confidence::Likely,
        );
    }
    if let Some(found) = http2::find(case) {
        return judgement(
            found.outcome,
            found.initiator,
            found.cause,
            Confidence::Likely,
        );
    }
    if close.by.is_none() || ended_gracefully(case, tls) {
        let confidence = match phase {
            phase if phase >= Phase::Established => Confidence::Certain,
            _ => Confidence::Likely,
        };
        let initiator = case.first_to_leave();
        return judgement(Outcome::Established, initiator, Cause::None, confidence);
    }
    let why = match close.cause {
        Cause::ResetInjected if was_idle(case) => Cause::IdleTimeoutMiddlebox,
        other => other,
    };
    judgement(Outcome::Broken, case.closer(), why, close.confidence)
}

/// Nobody had said anything for so long that a device between may have forgotten the connection: it answers
/// what comes then with a reset.
fn was_idle(case: &Case) -> bool {
    let seen = !capture_gap(case.connection);
    let idle = |at| case.connection.idle_ms(at) >= http2::IDLE_MS;
    seen && case.close.at.is_some_and(idle)
}

/// TLS 1.3: after a flight with a certificate, the server's first and only record has an alert's size.
/// After a flight without one there is nothing left to reject, so there it is a `close_notify`.
fn rejection(tls: &Handshake) -> Option<Cause> {
    let early = tls.early_alert?;
    let rejected = !early.from_client
        && early.after_flight
        && !tls.flight.bare
        && !tls.times.established_at.happened();
    let cause = if tls.flight.empty_certificate {
        Cause::CertificateRequired
    } else {
        Cause::RejectedAfterFinished
    };
    rejected.then_some(cause)
}

/// ALPN offered, none selected, and an end that left without using the connection, as grpc-go does since
/// 1.67 on either side. TLS 1.3 hides the selection, unless the library tells.
fn alpn_rejected(case: &Case, tls: &Handshake) -> Option<End> {
    let close = &case.close;
    let times = &tls.times;
    // One that leaves at once may be gone before the server says anything more.
    let done = if times.established_at.happened() {
        times.established_at
    } else {
        times.finished_at
    };
    let soon = close.at.is_some_and(|at| {
        let done = done.timestamp(case.connection.first);
        ms_between(done, at) <= AT_ONCE_MS
    });
    let killed = close.cause == Cause::ProcessKilled || case.peer_killed();
    let left = close.layer == Layer::App && !killed && done.happened() && soon;
    if !left || !tls.alpn_not_negotiated() {
        return None;
    }
    let is_http = |name: &str| names::is_http2(name) || matches!(name, "http/1.1" | "http/1.0");
    let client = case.client();
    let server = other(client);
    // A server that answers the goodbye may be the first to close TCP.
    let first = case.first_to_leave();
    if first == case.initiator(client, Layer::App) {
        // One that offered anything beside HTTP/2 has another way to go on: it left for another reason.
        (tls.is_unused() && tls.offers_only(names::is_http2)).then_some(client)
    } else if first == case.initiator(server, Layer::App) {
        // In HTTP the client speaks first: a server that leaves without an answer had no other reason.
        let unread = !tls.from_server.answered || close.cause == Cause::ResetUnreadData;
        (unread && tls.offers_only(is_http)).then_some(server)
    } else {
        None
    }
}

/// The server, or nobody, ended it right after the client's Finished without a word: whether the
/// Finished was ever taken is not known.
fn unconfirmed(case: &Case, tls: &Handshake, server: End) -> bool {
    let close = &case.close;
    let silent = tls.phase() == Phase::Finished && tls.early_alert.is_none();
    let killed = close.cause == Cause::ProcessKilled || case.peer_killed();
    let by_server = close.by == Some(server) && (!close.fin_first || !tls.flight.bare || killed);
    let cut = close.kind == CloseKind::Timeout || close.layer == Layer::Network;
    silent && (by_server || cut)
}

fn ended_gracefully(case: &Case, tls: &Handshake) -> bool {
    let close = &case.close;
    if close.cause == Cause::ProcessKilled || case.peer_killed() {
        return false;
    }
    let said_goodbye = tls.first_goodbye().is_some();
    let left_unused = close.by == Some(case.client()) && tls.is_unused();
    let reset = close.kind == CloseKind::Reset && close.layer == Layer::App;
    close.fin_first || (reset && (said_goodbye || left_unused || goodbye_unread(case)))
}

/// The one who left had read everything but a `close_notify`, which came in just before it closed.
/// Payload is no longer looked at by then, so the number of bytes has to tell.
fn goodbye_unread(case: &Case) -> bool {
    // Record header, initialization vector, alert, MAC of SHA-384 and CBC padding: the longest there
    // is in TLS 1.2. In TLS 1.3 it is 24, or 40 from Java.
    const LONGEST: u32 = 5 + 16 + 64;
    let unread = match case.close.by {
        Some(End::Local) => case.connection.ending.as_deref().map_or(0, close::unread),
        _ => case.peer.unread,
    };
    (1..=LONGEST).contains(&unread)
}
