//! The handshake began and did not complete.

use super::{Case, HASTE_MS, Judgement, SILENCE_MS, by_alert, by_library, missing};
use crate::{
    engine::{
        alert,
        close::Layer,
        handshake::{Handshake, Party, other, sender},
    },
    event::End,
    report::{Cause, CloseKind, Confidence, Initiator, Outcome},
    wire::names,
};

pub(super) fn judge(case: &Case, tls: &Handshake) -> Judgement {
    let client = case.client();
    let failed = |initiator, cause, confidence| Judgement {
        outcome: Outcome::Failed,
        phase: tls.phase(),
        initiator,
        cause,
        confidence,
    };
    let in_the_clear = answered_in_the_clear(case, tls);
    let in_the_clear = in_the_clear.map(|(by, why)| failed(by, why, Confidence::Certain));
    // A client's library takes the answer for a record of another version, and sends an alert that says so.
    if let Some(judgement) = in_the_clear.filter(|_| client == End::Local) {
        return judgement;
    }
    if let Some(judgement) = by_library(case, tls) {
        return judgement;
    }
    let app = |end| case.initiator(end, Layer::App);
    if let Some(why) = certificate_required(tls) {
        return failed(app(other(client)), why, Confidence::Likely);
    }
    // Of an answer in the clear, an alert of the client's is a consequence.
    let complains = tls
        .fatal_alert()
        .is_some_and(|seen| tls.client == Some(seen.direction));
    if let Some(judgement) = in_the_clear.filter(|_| complains) {
        return judgement;
    }
    if let Some(judgement) = by_alert(case, tls) {
        return judgement;
    }
    if let Some(judgement) = in_the_clear {
        return judgement;
    }
    if let Some(by) = alerted(case, tls) {
        return failed(app(by), Cause::EncryptedAlert, Confidence::Likely);
    }
    if let Some(direction) = tls.canceled() {
        return failed(
            app(sender(direction)),
            Cause::UserCanceled,
            Confidence::Certain,
        );
    }
    let close = &case.close;
    if close.by.is_none() || missing(case).is_some() {
        return case.incomplete(tls.phase());
    }
    if case.overflow && hello_unanswered(case, tls) {
        let initiator = case.initiator(other(client), Layer::Kernel);
        return failed(initiator, Cause::ListenOverflow, Confidence::Certain);
    }
    if alpn_rejected(case, tls) {
        return failed(app(client), Cause::AlpnRejectedByApp, Confidence::Likely);
    }
    let why = waited_in_vain(case, tls).unwrap_or(close.cause);
    failed(case.closer(), why, close.confidence)
}

/// TLS 1.3: for the client's library all was done, no protocol was selected, and the client, which speaks nothing but
/// HTTP/2, left before its Finished was on its way, as grpc-java does.
fn alpn_rejected(case: &Case, tls: &Handshake) -> bool {
    let close = &case.close;
    let by_client = case.client() == End::Local && close.by == Some(End::Local);
    let left = by_client && close.layer == Layer::App && close.cause != Cause::ProcessKilled;
    let not_negotiated = tls.alpn_not_negotiated() && tls.offers_only(names::is_http2);
    left && tls.is_tls13() && not_negotiated
}

/// TLS 1.2: the server asked for a certificate, the client sent none, the server said
/// `handshake_failure` (RFC 5246 §7.4.6).
fn certificate_required(tls: &Handshake) -> Option<Cause> {
    let server = tls.client?.reverse();
    let seen = tls.fatal_alert()?;
    let refused = seen.direction == server && seen.description == alert::HANDSHAKE_FAILURE;
    (refused && tls.certificate_requested && tls.empty_certificate)
        .then_some(Cause::CertificateRequired)
}

/// The server answered the ClientHello with something that is not TLS. HTTP servers answer with an
/// error and close; who closed first is a matter of microseconds then.
fn answered_in_the_clear(case: &Case, tls: &Handshake) -> Option<(Initiator, Cause)> {
    let server = tls.client?.reverse();
    tls.plaintext(server)?;
    let server_app = case.initiator(sender(server), Layer::App);
    if tls.http(server) {
        Some((server_app, Cause::TlsToPlainHttp))
    } else if case.close.by.is_some() {
        Some((case.closer(), Cause::NotTls))
    } else {
        Some((server_app, Cause::NotTls))
    }
}

/// Who sent an encrypted alert and nothing else after it, while the other one had not left yet: a
/// server complains of a client's sudden end, too.
fn alerted(case: &Case, tls: &Handshake) -> Option<End> {
    let early = tls.early_alert?;
    let client = case.client();
    let (by, is_last) = if early.from_client {
        (client, tls.from_client.goodbye.happened())
    } else {
        (other(client), tls.from_server.goodbye.happened())
    };
    (is_last && !case.left_before(other(by), early.at)).then_some(by)
}

/// Silence as a cause: who ended it had nothing to say, the other one had. What acted by itself (a
/// kill, an RST at once, an administrator) is the better cause and stays.
fn waited_in_vain(case: &Case, tls: &Handshake) -> Option<Cause> {
    let close = &case.close;
    let by_client = close.by == Some(case.client());
    let timeout = close.cause == Cause::RetransmitTimeout;
    let by_choice = close.layer == Layer::App
        && matches!(
            close.cause,
            Cause::ClosedByApp
                | Cause::ClosedByPeer
                | Cause::ResetByPeer
                | Cause::ResetLinger
                | Cause::ResetUnreadData
        );
    if (timeout || (by_choice && by_client)) && hello_lost(case, tls) {
        return Some(Cause::ClientHelloLost);
    }
    // A kernel resets because of a timer or an administrator, not because its program lost patience.
    let by_kernel = close.layer == Layer::Kernel;
    if !by_choice || by_kernel || case.peer_killed() {
        return None;
    }
    let silence = case.connection.silence_ms(close.at?);
    let long = silence >= SILENCE_MS;
    let waited = long || (close.fin_first && silence >= HASTE_MS);
    let closer = if by_client {
        Party::Client
    } else {
        Party::Server
    };
    let gave_up = match tls.turn() {
        Some(party) => party != closer && waited,
        None => long,
    };
    let tcp = &case.connection.tcp;
    let lost_on_the_way = case.client() == End::Local && case.peer.spoke;
    let server_spoke = tcp.stream(tls.client?.reverse()).payload || lost_on_the_way;
    let hello = tcp.stream(tls.client?);
    let unacknowledged = hello.acknowledged_up_to(hello.next()) == Some(false);
    match gave_up {
        true if !server_spoke && unacknowledged => None,
        true if server_spoke || !by_client => Some(Cause::HandshakeStalled),
        true => Some(Cause::ServerSilent),
        false => None,
    }
}

/// The ClientHello was sent again and not acknowledged.
fn hello_lost(case: &Case, tls: &Handshake) -> bool {
    let repeated = case.connection.hello_retransmits() > 0 || case.close.kind == CloseKind::Timeout;
    repeated && hello_unanswered(case, tls)
}

/// The ClientHello was neither acknowledged nor answered. Only its sender can tell.
fn hello_unanswered(case: &Case, tls: &Handshake) -> bool {
    let connection = case.connection;
    let Some(direction) = tls.client else {
        return false;
    };
    let stream = connection.tcp.stream(direction);
    let end = tls.hello_end.unwrap_or(stream.next());
    let server_spoke = connection.tcp.stream(direction.reverse()).payload;
    let sent_here = sender(direction) == End::Local || !connection.tcp.kernel;
    let acknowledged = stream.acknowledged_up_to(end).unwrap_or(false);
    sent_here && !server_spoke && !acknowledged
}
