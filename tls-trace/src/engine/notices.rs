//! What is worth knowing about a connection beside its verdict.

use std::time::Duration;

use super::{
    close::Layer,
    handshake::Handshake,
    http2::Http2,
    library::Http2Said,
    verdict::{self, Case, Judgement},
};
use crate::{
    event::End,
    report::{Cause, EarlyDataOutcome, Notice, Outcome},
};

/// Collects notices, in the order of their declaration.
pub(super) fn collect(case: &Case, judgement: Judgement, slow: Duration) -> Vec<Notice> {
    let Some(tls) = case.connection.tls.as_deref() else {
        return Vec::new();
    };
    let completed = matches!(judgement.outcome, Outcome::Established | Outcome::Broken);
    let ended = case.close.by.is_some();
    // Neither data nor goodbyes can be told from a flight that cannot.
    let completed = completed && !tls.is_flight_hidden();
    let unused = completed && ended && tls.is_unused() && payload_complete(case);
    let holds = |notice| match notice {
        Notice::AlpnNotNegotiated => tls.alpn_not_negotiated(),
        Notice::HelloRetryRequest => tls.times.retry_at.happened(),
        Notice::ClientHelloRetransmitted => case.connection.hello_retransmits() > 0,
        Notice::SlowHandshake => {
            let done = tls.times.established_at.ms_since(tls.times.started);
            done.is_some_and(|ms| ms > slow.as_secs_f64() * 1e3)
        }
        Notice::Renegotiation => tls.renegotiation,
        Notice::Unused => unused,
        Notice::NoCloseNotify => {
            completed && judgement.cause == Cause::None && no_close_notify(case, tls)
        }
        Notice::ClosedWithUnreadTickets => unused && unread_tickets(case, tls),
        Notice::EarlyDataRejected => tls
            .early_data()
            .is_some_and(|data| data.outcome == EarlyDataOutcome::Rejected),
        Notice::H2Goaway => matches!(
            judgement.cause,
            Cause::H2GoawayMaxAge | Cause::H2GoawayMaxIdle | Cause::H2GoawayGraceful
        ),
        Notice::H2SettingsAckLate => {
            const LATE_MS: f64 = 10_000.0;
            let http2 = case.connection.http2.as_deref();
            let said = case.connection.http2_said();
            let after = said
                .and_then(Http2Said::acknowledged_after)
                .or_else(|| http2.and_then(Http2::acknowledged_after));
            after.is_some_and(|ms| ms > LATE_MS)
        }
        Notice::Contradiction => tls
            .library
            .as_ref()
            .is_some_and(|said| said.contradicts(tls)),
    };
    Notice::ALL
        .iter()
        .copied()
        .filter(|notice| holds(*notice))
        .collect()
}

/// Every payload byte of both directions was seen, up to the end.
fn payload_complete(case: &Case) -> bool {
    let tcp = &case.connection.tcp;
    let lost = case
        .connection
        .tls
        .as_ref()
        .is_some_and(|tls| tls.lost || tls.malformed);
    !lost && !tcp.egress.capped && !tcp.ingress.capped && !verdict::capture_gap(case.connection)
}

/// It ended by FIN, and nobody had sent an alert before.
fn no_close_notify(case: &Case, tls: &Handshake) -> bool {
    let encrypted = tls.from_client.records > 0 && tls.from_server.records > 0;
    case.close.fin_first
        && case.close.layer == Layer::App
        && encrypted
        && tls.first_goodbye().is_none()
        && payload_complete(case)
}

/// The client's kernel reset because the client left what the server sent after the handshake.
fn unread_tickets(case: &Case, tls: &Handshake) -> bool {
    let client = case.connection.client();
    client == Some(End::Local)
        && case.close.by == client
        && case.close.cause == Cause::ResetUnreadData
        && tls.is_tls13()
        && tls.from_server.application_data > 0
}
