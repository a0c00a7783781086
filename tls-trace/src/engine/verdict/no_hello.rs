//! TCP opened, but no ClientHello was seen.

use super::{Case, HASTE_MS, Judgement, SILENCE_MS, by_alert};
use crate::{
    engine::{
        close::Layer,
        handshake::{Handshake, sender},
    },
    report::{Cause, Confidence, Outcome, Phase},
    wire::PlaintextProtocol,
};

/// Not one byte in either direction.
pub(super) fn silent(case: &Case) -> Option<Judgement> {
    let connection = case.connection;
    let (by, client) = (case.close.by?, connection.client()?);
    if !connection.tcp.opening_seen || !no_bytes(case) {
        return None;
    }
    let judgement = |outcome, cause| {
        Some(Judgement {
            outcome,
            phase: Phase::Connected,
            initiator: case.closer(),
            cause,
            confidence: Confidence::Certain,
        })
    };
    let app = case.close.layer == Layer::App;
    let killed = case.close.cause == Cause::ProcessKilled;
    if app && by == client {
        let why = if killed {
            Cause::ProcessKilled
        } else {
            Cause::None
        };
        return judgement(Outcome::Aborted, why);
    }
    if !case.tls_port && !case.peer.hello {
        return None;
    }
    if connection.hello_came_late {
        return judgement(Outcome::Failed, case.close.cause);
    }
    let silence = connection.silence_ms(case.close.at?);
    let waited = silence >= SILENCE_MS || (case.close.fin_first && silence >= HASTE_MS);
    if app && waited && !killed && !case.peer_killed() {
        return judgement(Outcome::Failed, Cause::ClientSilent);
    }
    judgement(Outcome::Failed, case.close.cause)
}

/// The kernel's counters include SYN and FIN, one each.
fn no_bytes(case: &Case) -> bool {
    let tcp = &case.connection.tcp;
    let counters = case
        .connection
        .ending
        .as_ref()
        .and_then(|ending| ending.counters);
    let counted_none = counters.is_none_or(|counters| {
        counters.bytes_received <= 1
            && counters.bytes_acked <= 2
            && counters.snd_nxt.wrapping_sub(counters.snd_una) <= 1
    });
    let proof = counters.is_some() || case.wire || !tcp.kernel;
    !tcp.egress.payload && !tcp.ingress.payload && counted_none && proof
}

/// The client's first bytes are not a ClientHello, and the server wanted one.
pub(super) fn not_tls(case: &Case, tls: &Handshake) -> Option<Judgement> {
    let connection = case.connection;
    let direction = connection
        .client_direction()
        .filter(|_| connection.tcp.opening_seen)?;
    let server = sender(direction.reverse());
    let plaintext = tls.plaintext(direction);
    let Some(plaintext) = plaintext.filter(|plaintext| !like_a_record(&plaintext.sample)) else {
        return by_alert(case, tls);
    };
    let server_spoke_tls = tls.tls[direction.reverse() as usize];
    let server_silent = !connection.tcp.stream(direction.reverse()).payload;
    let closed_by_server = case.close.by == Some(server) && case.close.layer == Layer::App;
    let confidence = if server_spoke_tls || tls.told_to_use_tls {
        Confidence::Certain
    } else if case.tls_port && server_silent && closed_by_server {
        Confidence::Likely
    } else {
        return None;
    };
    let http = matches!(
        plaintext.protocol,
        PlaintextProtocol::HttpRequest | PlaintextProtocol::Http2
    );
    Some(Judgement {
        outcome: Outcome::Failed,
        phase: Phase::Connected,
        initiator: case.initiator(server, Layer::App),
        cause: if http {
            Cause::PlainHttpToTlsPort
        } else {
            Cause::NotTls
        },
        confidence,
    })
}

/// Begins as a TLS record does (RFC 8446 §5.1), though it is none: what is wrong with it the server's
/// alert says best.
fn like_a_record(bytes: &[u8]) -> bool {
    matches!(bytes, [20..=23, 3, ..])
}

/// Open before the trace began, or its beginning was lost: reported only where TLS is likely.
pub(super) fn unseen(case: &Case) -> Option<Judgement> {
    let connection = case.connection;
    let tls = connection.tls.as_deref();
    let spoke_tls = tls.is_some_and(|tls| tls.tls[0] || tls.tls[1]);
    let suspected = spoke_tls || case.tls_port || case.assigned_port;
    let late = !connection.tcp.opening_seen && !tls.is_some_and(Handshake::any_plaintext);
    let lost = tls.is_some_and(|tls| tls.lost);
    let phase = tls.map_or(Phase::Connected, Handshake::phase);
    (suspected && (late || lost)).then(|| case.incomplete(phase))
}
