//! From facts to a verdict: a decision list, the most specific proven cause first. What nothing proves
//! is `unknown`; a connection that did not fail and showed no TLS has no verdict at all.

use super::{
    alert,
    close::{Close, Layer, PeerEnd, errno},
    connection::Connection,
    handshake::{EarlyAlert, Handshake, other, sender},
};
use crate::{
    event::{End, TcpState},
    report::{Cause, CloseKind, Confidence, Initiator, Outcome, Phase},
};

/// Quiet for this long before the end, in milliseconds, means that somebody waited in vain.
const SILENCE_MS: f64 = 500.0;

/// A client that leaves this soon after the handshake, in milliseconds, left because of the handshake.
const AT_ONCE_MS: f64 = 100.0;

/// What is judged.
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
        return never_opened(case);
    }
    let Some(tls) = connection.tls.as_deref() else {
        return silent(case).or_else(|| unseen(case));
    };
    if tls.established_at.happened() || tls.phase() == Phase::Finished {
        return Some(after_handshake(case, tls));
    }
    if tls.started.happened() || tls.server_hello_at.happened() {
        return Some(during_handshake(case, tls));
    }
    not_tls(case, tls).or_else(|| unseen(case))
}

// TCP did not open.

fn never_opened(case: &Case) -> Option<Judgement> {
    let tcp = &case.connection.tcp;
    if tcp.opened_by != Some(End::Local) {
        return None;
    }
    let ending = case.connection.ending.as_deref()?;
    let failed = |initiator, cause, confidence| {
        Some(Judgement {
            outcome: Outcome::Failed,
            phase: Phase::Connect,
            initiator,
            cause,
            confidence,
        })
    };
    let code = ending.error.map(|(_, code)| code);
    let refused = ending.reset_received.is_some() || code == Some(errno::ECONNREFUSED);
    let timed_out = code == Some(errno::ETIMEDOUT);
    let gave_up = ending
        .closed
        .as_ref()
        .filter(|closed| closed.from == TcpState::SYN_SENT);
    let killed = gave_up.is_some_and(|closed| closed.signal.is_some());
    let unanswered = tcp.syn_retransmits > 0;
    match code {
        _ if refused => failed(
            Initiator::ServerKernel,
            Cause::ConnectRefused,
            Confidence::Certain,
        ),
        Some(code) if errno::is_unreachable(code) => {
            failed(Initiator::Network, Cause::Unreachable, Confidence::Certain)
        }
        Some(errno::ECONNABORTED) => failed(
            Initiator::ClientKernel,
            Cause::AbortedByAdmin,
            Confidence::Certain,
        ),
        _ if timed_out => failed(
            Initiator::ClientKernel,
            Cause::ConnectTimeout,
            Confidence::Certain,
        ),
        _ if killed => failed(
            Initiator::ClientApp,
            Cause::ProcessKilled,
            Confidence::Certain,
        ),
        _ if gave_up.is_some() && unanswered => failed(
            Initiator::ClientApp,
            Cause::ConnectTimeout,
            Confidence::Certain,
        ),
        _ if gave_up.is_some() => failed(
            Initiator::ClientApp,
            Cause::ConnectCancelled,
            Confidence::Certain,
        ),
        // A capture that shows SYNs and no answer.
        _ if ending.ended && unanswered => failed(
            Initiator::Unknown,
            Cause::ConnectTimeout,
            Confidence::Likely,
        ),
        _ => None,
    }
}

// TCP opened, no TLS from the client.

/// Not one byte in either direction.
fn silent(case: &Case) -> Option<Judgement> {
    let connection = case.connection;
    if !connection.tcp.opening_seen || !no_bytes(case) {
        return None;
    }
    let (by, client) = (case.close.by?, connection.client()?);
    let judgement = Judgement {
        outcome: Outcome::Aborted,
        phase: Phase::Connected,
        initiator: initiator(client, by, case.close.layer),
        cause: Cause::None,
        confidence: Confidence::Certain,
    };
    let left = case.close.layer == Layer::App && by == client;
    if left {
        let killed = case.close.cause == Cause::ProcessKilled;
        return Some(Judgement {
            cause: if killed {
                Cause::ProcessKilled
            } else {
                Cause::None
            },
            ..judgement
        });
    }
    let waited = connection.silence_ms(case.close.at?) >= SILENCE_MS;
    let gave_up = by != client && case.close.layer == Layer::App && waited;
    case.tls_port.then_some(Judgement {
        outcome: Outcome::Failed,
        cause: if gave_up {
            Cause::ClientSilent
        } else {
            case.close.cause
        },
        ..judgement
    })
}

/// The counters include SYN and FIN, one each.
fn no_bytes(case: &Case) -> bool {
    let connection = case.connection;
    let tcp = &connection.tcp;
    let counters = connection
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

/// The client's first bytes are not a ClientHello.
fn not_tls(case: &Case, tls: &Handshake) -> Option<Judgement> {
    let connection = case.connection;
    let direction = connection.client_direction()?;
    let (client, server) = (sender(direction), sender(direction.reverse()));
    let plaintext = tls.plaintext(direction)?;
    let server_spoke_tls = tls.tls[direction.reverse() as usize];
    let server_silent = !connection.tcp.stream(direction.reverse()).payload;
    let rejected = case.close.by == Some(server) && case.close.layer != Layer::Network;
    let confidence = if server_spoke_tls || tls.told_to_use_tls {
        Confidence::Certain
    } else if case.tls_port && server_silent && rejected {
        Confidence::Likely
    } else {
        return None;
    };
    let http =
        tls.http(direction) && plaintext.protocol != crate::wire::PlaintextProtocol::HttpResponse;
    Some(Judgement {
        outcome: Outcome::Failed,
        phase: Phase::Connected,
        initiator: initiator(client, server, Layer::App),
        cause: if http {
            Cause::PlainHttpToTlsPort
        } else {
            Cause::NotTls
        },
        confidence,
    })
}

/// Open before the trace began, or its beginning was lost: reported only where TLS is likely.
fn unseen(case: &Case) -> Option<Judgement> {
    let connection = case.connection;
    let tls = connection.tls.as_deref();
    let spoke_tls = tls.is_some_and(|tls| tls.tls[0] || tls.tls[1]);
    let plain = tls.is_some_and(|tls| tls.plain.is_some());
    let late = !connection.tcp.opening_seen
        && !plain
        && (spoke_tls || case.tls_port || case.assigned_port);
    let lost =
        tls.is_some_and(|tls| tls.lost) && (spoke_tls || case.tls_port || case.assigned_port);
    (late || lost).then(|| incomplete(case, tls.map_or(Phase::Connected, Handshake::phase)))
}

// The handshake began and did not complete.

fn during_handshake(case: &Case, tls: &Handshake) -> Judgement {
    let client = case.connection.client().unwrap_or(End::Local);
    let failed = |by: End, layer, cause, confidence| Judgement {
        outcome: Outcome::Failed,
        phase: tls.phase(),
        initiator: initiator(client, by, layer),
        cause,
        confidence,
    };
    if let Some(seen) = tls.fatal_alert() {
        let cause = alert::cause(seen.description);
        return failed(
            sender(seen.direction),
            Layer::App,
            cause,
            Confidence::Certain,
        );
    }
    if let Some(judgement) = answered_in_the_clear(case, tls, client) {
        return judgement;
    }
    if let Some(early) = tls.early_alert.filter(|early| is_last(tls, *early)) {
        let by = if early.from_client {
            client
        } else {
            other(client)
        };
        return failed(by, Layer::App, Cause::EncryptedAlert, Confidence::Likely);
    }
    if let Some(seen) = tls.canceled() {
        return failed(
            sender(seen),
            Layer::App,
            Cause::UserCanceled,
            Confidence::Certain,
        );
    }
    let close = &case.close;
    let (Some(by), Some(at)) = (close.by, close.at) else {
        return incomplete(case, tls.phase());
    };
    if missing(case, tls).is_some() {
        return incomplete(case, tls.phase());
    }
    let silence = case.connection.silence_ms(at);
    let cause = waited_in_vain(case, tls, by == client, silence).unwrap_or(close.cause);
    failed(by, close.layer, cause, close.confidence)
}

/// The server answered the ClientHello with something that is not TLS.
fn answered_in_the_clear(case: &Case, tls: &Handshake, client: End) -> Option<Judgement> {
    let direction = tls.client?.reverse();
    tls.plaintext(direction)?;
    Some(Judgement {
        outcome: Outcome::Failed,
        phase: tls.phase(),
        initiator: initiator(client, other(client), Layer::App),
        cause: if tls.http(direction) {
            Cause::TlsToPlainHttp
        } else {
            Cause::NotTls
        },
        confidence: if case.connection.tcp.opening_seen || tls.hello_length > 0 {
            Confidence::Certain
        } else {
            Confidence::Likely
        },
    })
}

/// Silence as a cause. What acted instead of waiting (a kill, an RST with a reason, an administrator)
/// is the better cause and stays.
fn waited_in_vain(case: &Case, tls: &Handshake, by_client: bool, silence: f64) -> Option<Cause> {
    let close = &case.close;
    let waiting = matches!(
        close.cause,
        Cause::ClosedByApp
            | Cause::ClosedByPeer
            | Cause::RetransmitTimeout
            | Cause::ResetByPeer
            | Cause::ResetLinger
            | Cause::ResetUnreadData
    );
    let timeout = close.kind == CloseKind::Timeout;
    if !waiting {
        return None;
    }
    if hello_lost(case, tls) && (by_client || timeout) {
        return Some(Cause::ClientHelloLost);
    }
    if silence < SILENCE_MS || (timeout && close.cause == Cause::RetransmitTimeout) {
        return None;
    }
    let direction = tls.client?;
    let server_spoke = case.connection.tcp.stream(direction.reverse()).payload;
    match (server_spoke, by_client) {
        (true, _) => Some(Cause::HandshakeStalled),
        (false, true) if tls.hello_length > 0 => Some(Cause::ServerSilent),
        // Only a part of the ClientHello came, and nothing after it.
        (false, false) if tls.hello_length == 0 => Some(Cause::HandshakeStalled),
        _ => None,
    }
}

/// The ClientHello was sent again and not acknowledged.
fn hello_lost(case: &Case, tls: &Handshake) -> bool {
    let connection = case.connection;
    let Some(direction) = tls.client else {
        return false;
    };
    let stream = connection.tcp.stream(direction);
    let end = tls.hello_end.unwrap_or(stream.next());
    let server_spoke = connection.tcp.stream(direction.reverse()).payload;
    let acknowledged = stream.acknowledged_up_to(end).unwrap_or(false);
    sender(direction) == End::Local
        && connection.hello_retransmits() > 0
        && !server_spoke
        && !acknowledged
}

// The handshake completed, at least for the client.

fn after_handshake(case: &Case, tls: &Handshake) -> Judgement {
    let connection = case.connection;
    let client = connection.client().unwrap_or(End::Local);
    let server = other(client);
    let phase = tls.phase();
    let close = &case.close;
    let judgement = |outcome, by: Option<End>, layer, cause, confidence| Judgement {
        outcome,
        phase,
        initiator: by.map_or(Initiator::Unknown, |by| initiator(client, by, layer)),
        cause,
        confidence,
    };
    if let Some(seen) = tls.fatal_alert() {
        let cause = alert::cause(seen.description);
        return judgement(
            Outcome::Failed,
            Some(sender(seen.direction)),
            Layer::App,
            cause,
            Confidence::Certain,
        );
    }
    if let Some(cause) = rejection(tls) {
        return judgement(
            Outcome::Failed,
            Some(server),
            Layer::App,
            cause,
            Confidence::Likely,
        );
    }
    if alpn_rejected(case, tls, client) {
        let cause = Cause::AlpnRejectedByApp;
        return judgement(
            Outcome::Failed,
            Some(client),
            Layer::App,
            cause,
            Confidence::Likely,
        );
    }
    let confidence = if phase == Phase::Established {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let graceful = || {
        judgement(
            Outcome::Established,
            close.by,
            close.layer,
            Cause::None,
            confidence,
        )
    };
    if close.by.is_none() {
        return graceful();
    }
    if unconfirmed(case, tls, server) {
        return judgement(
            Outcome::Failed,
            close.by,
            close.layer,
            close.cause,
            Confidence::Likely,
        );
    }
    if ended_gracefully(case, tls, client) {
        return graceful();
    }
    judgement(
        Outcome::Broken,
        close.by,
        close.layer,
        close.cause,
        close.confidence,
    )
}

/// TLS 1.3: after a flight with a certificate, the server's first and only record has an alert's size.
/// After a flight without one there is nothing left to reject, so there it is a close_notify.
fn rejection(tls: &Handshake) -> Option<Cause> {
    let early = tls.early_alert?;
    let rejected = !early.from_client
        && early.after_flight
        && !tls.flight.bare
        && !tls.established_at.happened();
    rejected.then_some(if tls.flight.empty_certificate {
        Cause::CertificateRequired
    } else {
        Cause::RejectedAfterFinished
    })
}

/// The server ended it right after the client's Finished without a word: whether it ever took the
/// Finished is not known.
fn unconfirmed(case: &Case, tls: &Handshake, server: End) -> bool {
    let close = &case.close;
    let silent = tls.phase() == Phase::Finished && tls.early_alert.is_none();
    let by_server = close.by == Some(server) && (!close.fin_first || !tls.flight.bare);
    let cut = close.kind == CloseKind::Timeout || close.layer == Layer::Network;
    let killed = close.cause == Cause::ProcessKilled && close.by == Some(server);
    silent && (by_server || cut || killed)
}

fn ended_gracefully(case: &Case, tls: &Handshake, client: End) -> bool {
    let close = &case.close;
    let killed = close.cause == Cause::ProcessKilled;
    let said_goodbye = tls.from_client.alert_last || tls.from_server.alert_last;
    let reset = close.kind == CloseKind::Reset && close.layer == Layer::App;
    let left_unused = reset && close.by == Some(client) && is_unused(tls);
    (close.fin_first && !killed) || (said_goodbye && reset && !killed) || (left_unused && !killed)
}

/// The client sent no application data.
pub(super) fn is_unused(tls: &Handshake) -> bool {
    let server_data =
        tls.version != super::handshake::TLS13 && tls.from_server.application_data > 0;
    tls.from_client.application_data == 0 && !server_data
}

/// ALPN offered, none selected, and the client left without using the connection, as grpc-go does since
/// 1.67. Only TLS 1.2 and before show the selection.
pub(super) fn alpn_rejected(case: &Case, tls: &Handshake, client: End) -> bool {
    let close = &case.close;
    let soon = close.at.is_some_and(|at| {
        let done = tls.established_at.timestamp(case.connection.first);
        super::moment::ms_between(done, at) <= AT_ONCE_MS
    });
    let by_client = close.by == Some(client) && close.layer == Layer::App;
    alpn_not_negotiated(tls)
        && tls.established_at.happened()
        && is_unused(tls)
        && by_client
        && soon
        && close.cause != Cause::ProcessKilled
        && tls
            .hello
            .as_ref()
            .is_some_and(|hello| hello.alpn.iter().any(|p| p == "h2"))
}

/// Offered, and provably nothing selected.
pub(super) fn alpn_not_negotiated(tls: &Handshake) -> bool {
    let offered = tls
        .hello
        .as_ref()
        .is_some_and(|hello| !hello.alpn.is_empty());
    offered
        && tls.server_hello_at.happened()
        && tls.version != super::handshake::TLS13
        && tls.alpn_selected.is_none()
}

// Common parts.

/// An encrypted alert that its sender followed up with nothing else.
fn is_last(tls: &Handshake, early: EarlyAlert) -> bool {
    let side = if early.from_client {
        &tls.from_client
    } else {
        &tls.from_server
    };
    side.alert_last
}

/// Why the handshake was not seen whole.
pub(super) fn missing(case: &Case, tls: &Handshake) -> Option<&'static str> {
    let tcp = &case.connection.tcp;
    let counters = case
        .connection
        .ending
        .as_ref()
        .and_then(|ending| ending.counters);
    let gap = counters.is_some_and(|counters| {
        tcp.ingress.unseen(counters.rcv_nxt) > 0 || tcp.egress.unseen(counters.snd_nxt) > 0
    });
    if !tcp.opening_seen && !tls.started.happened() {
        Some("open before tracing began")
    } else if tls.lost || gap {
        Some("some of its bytes were not captured")
    } else if tcp.egress.capped || tcp.ingress.capped {
        Some("the capture bound was reached")
    } else {
        None
    }
}

fn incomplete(case: &Case, phase: Phase) -> Judgement {
    let client = case.connection.client().unwrap_or(End::Local);
    let close = &case.close;
    let graceful = close.fin_first && close.cause != Cause::ProcessKilled;
    Judgement {
        outcome: Outcome::Incomplete,
        phase,
        initiator: close
            .by
            .map_or(Initiator::Unknown, |by| initiator(client, by, close.layer)),
        cause: if close.by.is_none() || graceful {
            Cause::Unknown
        } else {
            close.cause
        },
        confidence: Confidence::Unknown,
    }
}

fn initiator(client: End, by: End, layer: Layer) -> Initiator {
    match (layer, by == client) {
        (Layer::Network, _) => Initiator::Network,
        (Layer::Unknown, _) => Initiator::Unknown,
        (Layer::App, true) => Initiator::ClientApp,
        (Layer::App, false) => Initiator::ServerApp,
        (Layer::Kernel, true) => Initiator::ClientKernel,
        (Layer::Kernel, false) => Initiator::ServerKernel,
    }
}
