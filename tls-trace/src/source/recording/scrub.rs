//! Names out of the start of a stream, in place: every length stays what it was, so the same records and
//! messages are found in it. What is not known to be free of names becomes zero.

use super::{certificate, hello, others::Others, plain};
use crate::wire::ServerHello;

/// Content types (RFC 8446 §5.1, RFC 6520).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const HEARTBEAT: u8 = 24;
/// Handshake messages (RFC 5246 §7.4, RFC 5077, RFC 6066 §8).
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const NEW_SESSION_TICKET: u8 = 4;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const CERTIFICATE_REQUEST: u8 = 13;
const CLIENT_KEY_EXCHANGE: u8 = 16;
const FINISHED: u8 = 20;
const CERTIFICATE_STATUS: u8 = 22;
const RECORD_HEADER: usize = 5;
const MESSAGE_HEADER: usize = 4;
/// Most bytes of a record (RFC 5246 §6.2.3).
const RECORD: usize = (1 << 14) + 2048;

/// Overwrites names in a stream from its first byte on.
pub(super) fn scrub(stream: &mut [u8], others: &mut Others) {
    let begin = match record(stream) {
        Some(_) => 0,
        None => (0..stream.len())
            .find(|at| begins_tls(&stream[*at..]))
            .unwrap_or(stream.len()),
    };
    let (before, tls) = stream.split_at_mut(begin);
    plain::scrub(before);
    records(tls, others);
}

/// Content type and length of the record that begins here.
fn record(bytes: &[u8]) -> Option<(u8, usize)> {
    let [content_type, 3, 0..=4, high, low] = *bytes.first_chunk::<RECORD_HEADER>()? else {
        return None;
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let known = (CHANGE_CIPHER_SPEC..=HEARTBEAT).contains(&content_type);
    (known && length <= RECORD).then_some((content_type, length))
}

/// A record with a hello or an alert, after something else.
fn begins_tls(bytes: &[u8]) -> bool {
    let first = bytes.get(RECORD_HEADER);
    match record(bytes) {
        Some((HANDSHAKE, _)) => matches!(first, Some(&(CLIENT_HELLO | SERVER_HELLO))),
        Some((ALERT, 2)) => matches!(first, Some(1 | 2)),
        _ => false,
    }
}

fn records(mut tls: &mut [u8], others: &mut Others) {
    // Messages in the clear may go on in the next record.
    let mut open: Vec<&mut [u8]> = Vec::new();
    while let Some((content_type, length)) = record(tls) {
        let whole = (RECORD_HEADER + length).min(tls.len());
        let (this, rest) = std::mem::take(&mut tls).split_at_mut(whole);
        tls = rest;
        let body = &mut this[RECORD_HEADER..];
        match content_type {
            HANDSHAKE if open.is_empty() && is_hello(body) => messages(vec![body], others),
            HANDSHAKE => open.push(body),
            ALERT | CHANGE_CIPHER_SPEC if length <= 2 => {}
            _ => body.fill(0),
        }
        if content_type == CHANGE_CIPHER_SPEC {
            // What follows is encrypted, but for a hello after a HelloRetryRequest.
            messages(std::mem::take(&mut open), others);
            encrypted(tls, others);
            return;
        }
    }
    messages(open, others);
    tls.fill(0);
}

/// Nothing here has names, but for a hello after a HelloRetryRequest.
fn encrypted(mut tls: &mut [u8], others: &mut Others) {
    while let Some((content_type, length)) = record(tls) {
        let whole = (RECORD_HEADER + length).min(tls.len());
        let (this, rest) = std::mem::take(&mut tls).split_at_mut(whole);
        tls = rest;
        let body = &mut this[RECORD_HEADER..];
        match content_type {
            HANDSHAKE if is_hello(body) => messages(vec![body], others),
            ALERT | CHANGE_CIPHER_SPEC if length <= 2 => {}
            _ => body.fill(0),
        }
    }
    tls.fill(0);
}

/// A hello and nothing else.
fn is_hello(body: &[u8]) -> bool {
    matches!(*body, [CLIENT_HELLO | SERVER_HELLO, a, b, c, ref rest @ ..]
        if u32::from_be_bytes([0, a, b, c]) as usize == rest.len())
}

/// Handshake messages in the bodies of these records.
fn messages(mut bodies: Vec<&mut [u8]>, others: &mut Others) {
    let mut bytes = bodies.concat();
    let mut rest = &mut bytes[..];
    while let Some(&[message_type, a, b, c]) = rest.first_chunk() {
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        let whole = (MESSAGE_HEADER + length).min(rest.len());
        let (message, after) = std::mem::take(&mut rest).split_at_mut(whole);
        rest = after;
        let body = &mut message[MESSAGE_HEADER..];
        match message_type {
            CLIENT_HELLO => hello::scrub(body, others),
            SERVER_HELLO if ServerHello::parse(body).is_some() => {}
            CERTIFICATE => certificate::scrub(body, others),
            SERVER_KEY_EXCHANGE => {
                // The named group of ECDHE (RFC 8422 §5.4).
                let kept = if body.first() == Some(&3) { 3 } else { 0 };
                body.iter_mut().skip(kept).for_each(|byte| *byte = 0);
            }
            SERVER_HELLO
            | NEW_SESSION_TICKET
            | CERTIFICATE_REQUEST..=CLIENT_KEY_EXCHANGE
            | FINISHED
            | CERTIFICATE_STATUS => body.fill(0),
            _ => {
                message.fill(0);
                rest.fill(0);
                break;
            }
        }
    }
    let mut scrubbed = &bytes[..];
    for body in &mut bodies {
        let (these, after) = scrubbed.split_at(body.len());
        body.copy_from_slice(these);
        scrubbed = after;
    }
}
