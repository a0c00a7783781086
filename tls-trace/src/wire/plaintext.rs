//! What the first bytes of a direction are: TLS, or which other protocol.

use super::{
    message::PlaintextProtocol,
    reader::u16_list,
    record::{CHANGE_CIPHER_SPEC, HEARTBEAT, MAX_LENGTH},
};

/// Bytes of a [`Plaintext::sample`](super::Plaintext::sample).
pub(super) const SAMPLE: usize = 128;
/// Longest method of an HTTP request that is recognised.
const MAX_METHOD: usize = 24;

/// What the first bytes of a direction begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// A TLS record.
    Tls,
    /// Something else.
    NotTls(PlaintextProtocol),
    /// More bytes are needed; never more than 32.
    Incomplete,
}

/// Judges the first bytes of a direction.
pub(super) fn opening(bytes: &[u8]) -> Opening {
    let Some(&first) = bytes.first() else {
        return Opening::Incomplete;
    };
    match first {
        CHANGE_CIPHER_SPEC..=HEARTBEAT => tls(bytes),
        0x80.. => ssl2(bytes),
        0 => http2_settings(bytes),
        _ => text(bytes),
    }
}

/// The same when no more bytes come. `None` where they are the beginning of a TLS record.
pub(super) fn opening_at_end(bytes: &[u8]) -> Option<PlaintextProtocol> {
    match (opening(bytes), bytes.first()?) {
        (Opening::NotTls(protocol), _) => Some(protocol),
        (Opening::Tls, _) | (Opening::Incomplete, CHANGE_CIPHER_SPEC..=HEARTBEAT) => None,
        (Opening::Incomplete, _) => Some(PlaintextProtocol::Other),
    }
}

fn tls(bytes: &[u8]) -> Opening {
    const OTHER: Opening = Opening::NotTls(PlaintextProtocol::Other);
    match *bytes {
        [_, 3, 0..=4, a, b, ..] if u16::from_be_bytes([a, b]) <= MAX_LENGTH => Opening::Tls,
        [_] | [_, 3] | [_, 3, 0..=4] | [_, 3, 0..=4, _] => Opening::Incomplete,
        _ => OTHER,
    }
}

/// CLIENT-HELLO of SSL 2.0, also sent by old clients of later versions (RFC 5246 §E.2).
fn ssl2(bytes: &[u8]) -> Opening {
    const OTHER: Opening = Opening::NotTls(PlaintextProtocol::Other);
    const CLIENT_HELLO: u8 = 1;
    /// Message type, version and three lengths, which the length of the record counts.
    const FIXED: u32 = 9;
    if bytes.get(2).is_some_and(|kind| *kind != CLIENT_HELLO)
        || bytes.get(3).is_some_and(|major| !matches!(major, 0 | 3))
    {
        return OTHER;
    }
    let Some([high, low, _, _, _, lengths @ ..]) = bytes.first_chunk::<11>() else {
        return Opening::Incomplete;
    };
    let record = u32::from(u16::from_be_bytes([high & 0x7f, *low]));
    let parts: u32 = u16_list(lengths).into_iter().map(u32::from).sum();
    if record == FIXED + parts {
        Opening::NotTls(PlaintextProtocol::Ssl2)
    } else {
        OTHER
    }
}

/// The SETTINGS frame a server begins with (RFC 9113 §3.4): under 256 bytes, stream 0, no flags.
fn http2_settings(bytes: &[u8]) -> Opening {
    const FRAME: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const SETTING: u8 = 6;
    let fits = bytes
        .iter()
        .zip(FRAME)
        .enumerate()
        .all(|(index, (byte, expected))| match index {
            2 => byte % SETTING == 0,
            _ => *byte == expected,
        });
    match fits {
        true if bytes.len() < FRAME.len() => Opening::Incomplete,
        true => Opening::NotTls(PlaintextProtocol::Http2),
        false => Opening::NotTls(PlaintextProtocol::Other),
    }
}

fn text(bytes: &[u8]) -> Opening {
    // Without a status line (HTTP/0.9): so does Python's http.server answer what it does not take for a request.
    const BEGINNINGS: [(&[u8], PlaintextProtocol); 9] = [
        (b"HTTP/", PlaintextProtocol::HttpResponse),
        (b"<!DOCTYPE HTML", PlaintextProtocol::HttpResponse),
        (b"<!DOCTYPE html", PlaintextProtocol::HttpResponse),
        (b"<HTML", PlaintextProtocol::HttpResponse),
        (b"<html", PlaintextProtocol::HttpResponse),
        (b"PRI * HTTP/2.0", PlaintextProtocol::Http2),
        (b"SSH-", PlaintextProtocol::Ssh),
        (b"220 ", PlaintextProtocol::SmtpOrFtp),
        (b"220-", PlaintextProtocol::SmtpOrFtp),
    ];
    for (beginning, protocol) in BEGINNINGS {
        if bytes.starts_with(beginning) {
            return Opening::NotTls(protocol);
        }
        if beginning.starts_with(bytes) {
            return Opening::Incomplete;
        }
    }
    http_request(bytes)
}

/// A method, a space and the beginning of a target (RFC 9112 §3). Methods other than CONNECT count
/// with a target that can only be one of HTTP: SMTP and others begin with upper-case words too.
fn http_request(bytes: &[u8]) -> Opening {
    const TARGETS: [&[u8]; 4] = [b"/", b"*", b"http://", b"https://"];
    let is_method = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    let length = bytes.iter().take_while(|byte| is_method(byte)).count();
    let (method, rest) = bytes.split_at(length);
    let found = match rest.split_first() {
        None if length <= MAX_METHOD => return Opening::Incomplete,
        Some((b' ', _)) if method == b"CONNECT" => true,
        Some((b' ', target)) if (1..=MAX_METHOD).contains(&length) => {
            let complete = TARGETS.iter().any(|known| target.starts_with(known));
            if !complete && TARGETS.iter().any(|known| known.starts_with(target)) {
                return Opening::Incomplete;
            }
            complete
        }
        _ => false,
    };
    if found {
        Opening::NotTls(PlaintextProtocol::HttpRequest)
    } else {
        Opening::NotTls(PlaintextProtocol::Other)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::http_request(b"GET / HTTP/1.1\r\n", PlaintextProtocol::HttpRequest)]
    #[case::http_options(b"OPTIONS * HTTP/1.1\r\n", PlaintextProtocol::HttpRequest)]
    #[case::http_proxy(
        b"GET http://example.com/ HTTP/1.1\r\n",
        PlaintextProtocol::HttpRequest
    )]
    #[case::http_connect(
        b"CONNECT example.com:443 HTTP/1.1\r\n",
        PlaintextProtocol::HttpRequest
    )]
    #[case::webdav(b"VERSION-CONTROL /x HTTP/1.1\r\n", PlaintextProtocol::HttpRequest)]
    #[case::http_response(b"HTTP/1.1 400 Bad Request\r\n", PlaintextProtocol::HttpResponse)]
    #[case::http_page(
        b"<!DOCTYPE HTML>\n<html lang=\"en\">",
        PlaintextProtocol::HttpResponse
    )]
    #[case::http_page_of_old(b"<html>\r\n<head><title>400 ", PlaintextProtocol::HttpResponse)]
    #[case::xmpp(b"<stream:stream xmlns=", PlaintextProtocol::Other)]
    #[case::http2_client(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", PlaintextProtocol::Http2)]
    #[case::http2_server(b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80", PlaintextProtocol::Http2)]
    #[case::ssh(b"SSH-2.0-OpenSSH_9.2\r\n", PlaintextProtocol::Ssh)]
    #[case::smtp(b"220 mail.example.com ESMTP\r\n", PlaintextProtocol::SmtpOrFtp)]
    #[case::ftp(b"220-Welcome\r\n220 Ready\r\n", PlaintextProtocol::SmtpOrFtp)]
    #[case::smtp_client(b"EHLO example.com\r\n", PlaintextProtocol::Other)]
    #[case::pop3(b"+OK ready\r\n", PlaintextProtocol::Other)]
    #[case::postgres(b"\0\0\0\x08\x04\xd2\x16\x2f", PlaintextProtocol::Other)]
    #[case::zeros(&[0; 40], PlaintextProtocol::Other)]
    #[case::upper_case(&[b'A'; 40], PlaintextProtocol::Other)]
    #[case::not_version_3(b"\x16\x02\x01\x00\x05", PlaintextProtocol::Other)]
    #[case::record_too_long(b"\x16\x03\x01\x48\x01", PlaintextProtocol::Other)]
    #[case::ssl2(
        b"\x80\x1c\x01\0\x02\0\x03\0\0\0\x10\x07\0\xc0",
        PlaintextProtocol::Ssl2
    )]
    #[case::ssl2_framing_tls(b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10", PlaintextProtocol::Ssl2)]
    #[case::ssl2_lengths(b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x11", PlaintextProtocol::Other)]
    fn protocols(#[case] bytes: &[u8], #[case] protocol: PlaintextProtocol) {
        assert_eq!(opening(bytes), Opening::NotTls(protocol));
        assert_eq!(opening_at_end(bytes), Some(protocol));
        for length in 0..bytes.len() {
            let opening = opening(&bytes[..length]);
            assert!(
                opening == Opening::Incomplete || opening == Opening::NotTls(protocol),
                "{length} bytes: {opening:?}"
            );
            assert!(opening != Opening::Incomplete || length < 32, "undecided");
        }
    }

    #[test]
    fn tls_is_recognised_by_its_header() {
        for content_type in 20..=24 {
            let header = [content_type, 3, 1, 0x48, 0];
            assert_eq!(opening(&header), Opening::Tls);
            assert_eq!(opening_at_end(&header[..4]), None);
            for length in 0..5 {
                assert_eq!(opening(&header[..length]), Opening::Incomplete);
            }
        }
    }

    #[test]
    fn a_few_bytes_and_no_more_are_something_else() {
        assert_eq!(opening_at_end(b""), None);
        assert_eq!(opening_at_end(b"GET"), Some(PlaintextProtocol::Other));
        assert_eq!(opening_at_end(b"HTTP"), Some(PlaintextProtocol::Other));
    }
}
