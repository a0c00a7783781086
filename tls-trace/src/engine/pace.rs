//! When something can be said of a connection.

use std::time::Duration;

use super::{Config, connection::Connection, handshake::Handshake};
use crate::{
    event::{Direction, Timestamp},
    report::Phase,
};

/// After the source was told to stop, what is on its way is still read for this long: a short
/// connection's `close_notify`.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// ALPN offered and not selected: a client that minds leaves within this.
const ALPN_WAIT: Duration = Duration::from_millis(100);

pub(super) fn later(now: Timestamp, duration: Duration) -> Timestamp {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Timestamp(now.0.saturating_add(nanos))
}

/// Whether what is still to come cannot change the outcome any more, only explain it.
pub(super) fn is_decided(connection: &Connection) -> bool {
    let ending = connection.ending.as_deref();
    let cut = ending.is_some_and(|ending| {
        let fin = ending.local_fin.as_ref();
        ending.closed.is_some()
            || ending.reset_received.is_some()
            || ending.error.is_some()
            || fin.is_some_and(|close| close.signal.is_some())
    });
    let closing =
        ending.is_some_and(|ending| ending.local_fin.is_some() || ending.remote_fin.is_some());
    let Some(tls) = connection.tls.as_deref() else {
        return cut || closing;
    };
    let server = tls.client.map(Direction::reverse);
    let answered_in_the_clear = server.is_some_and(|server| tls.plaintext(server).is_some());
    let closing = closing && (tls.phase() < Phase::Finished || rejected(tls));
    cut || closing || answered_in_the_clear || tls.fatal_alert().is_some()
}

fn rejected(tls: &Handshake) -> bool {
    tls.early_alert.is_some() && !tls.times.established_at.happened()
}

/// The time from which a handshake counts as completed if nothing else happens.
pub(super) fn counts_from(
    connection: &Connection,
    tls: &Handshake,
    config: &Config,
) -> Option<Timestamp> {
    let first = connection.first;
    match tls.phase() {
        Phase::Established if tls.alpn_not_negotiated() && tls.is_unused() => {
            Some(later(tls.times.established_at.timestamp(first), ALPN_WAIT))
        }
        Phase::Established => Some(first),
        Phase::Finished => Some(later(
            tls.times.finished_at.timestamp(first),
            config.provisional,
        )),
        _ => None,
    }
}

/// Whether neither verdict nor notices need any more payload.
pub(super) fn is_payload_done(connection: &Connection, tls: &Handshake) -> bool {
    let in_the_clear = connection.client_direction().is_some_and(|client| {
        let server = client.reverse();
        // A server that speaks first does not make the client's words known.
        let both_spoke = connection.tcp.stream(client).payload;
        let page_to_come = tls.http(client) && is_bad_request(tls, server) && !tls.told_to_use_tls;
        tls.plaintext(server).is_some() && both_spoke && !page_to_come
    });
    let seen = tls.tls[0] || tls.tls[1] || tls.any_plaintext() || tls.lost;
    let begun_before = !connection.tcp.opening_seen && !tls.times.started.happened() && seen;
    let used = tls.times.established_at.happened() && tls.from_server.answered;
    let given_up = tls.lost && connection.conversation.is_none();
    used || in_the_clear || begun_before || given_up
}

/// The beginning of an answer that may go on to say that this port wants TLS.
fn is_bad_request(tls: &Handshake, server: Direction) -> bool {
    tls.plaintext(server)
        .and_then(|plaintext| plaintext.sample.get(8..12))
        .is_some_and(|status| status == b" 400")
}
