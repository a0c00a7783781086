//! The requests of each protocol, as far as they may come before TLS.

use super::{MAX, Preface, agree};

/// What the bytes at the beginning of a request are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// A request of so many bytes; others follow.
    Other(usize),
    /// A request of so many bytes that asks for TLS.
    AsksForTls(usize),
    /// So many bytes, after which anything may follow: the client speaks to somebody else now.
    Through(usize),
    /// More bytes are needed.
    Incomplete,
    /// Not what comes before TLS.
    Foreign,
}

/// First bytes of the PROXY protocol, version 2.
const PROXY_V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest header of version 1, line end included.
const PROXY_V1_MAX: usize = 107;
/// Longest line of a text protocol that is waited for.
const LINE_MAX: usize = 1024;
/// PostgreSQL: length 8, then a request code; the one for encryption by GSSAPI may come first.
const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
const GSSENC_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x30];
/// LDAP: the name of the extended operation (RFC 4511 §4.14.1).
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";

/// First words of what a client says before it asks for TLS, in protocols of lines.
const WORDS: [(&str, Preface); 13] = [
    ("EHLO", Preface::Smtp),
    ("HELO", Preface::Smtp),
    ("LHLO", Preface::Smtp),
    ("CAPA", Preface::Pop3),
    ("STLS", Preface::Pop3),
    ("AUTH", Preface::Ftp),
    ("FEAT", Preface::Ftp),
    ("CAP", Preface::Irc),
    ("STARTTLS", Preface::Irc),
    ("<?xml", Preface::Xmpp),
    ("<stream:stream", Preface::Xmpp),
    ("CONNECT", Preface::HttpConnect),
    ("PROXY", Preface::ProxyV1),
];

/// Which protocol a client begins. `Ok(None)`: more bytes are needed. `Err`: none of these.
pub(super) fn protocol(bytes: &[u8]) -> Result<Option<Preface>, ()> {
    match *bytes {
        [] | [4 | 5] => return Ok(None),
        [b'\r', ..] if agree(bytes, PROXY_V2) => {
            return Ok((bytes.len() >= PROXY_V2.len()).then_some(Preface::ProxyV2));
        }
        // Version, then CONNECT or BIND.
        [4, 1 | 2, ..] => return Ok(Some(Preface::Socks4)),
        [5, 1..=16, ..] => return socks5_greeting(bytes),
        [0, ..] if agree(bytes, &SSL_REQUEST[..7]) => {
            return Ok((bytes.len() >= 8).then_some(Preface::PostgreSql));
        }
        [32, ..] if agree(bytes, &[32, 0, 0, 1]) => {
            return Ok((bytes.len() >= 4).then_some(Preface::MySql));
        }
        [0x30, ..] => return ldap_beginning(bytes),
        _ => {}
    }
    words(bytes)
}

/// Methods are few and small; after them the client waits for the answer.
fn socks5_greeting(bytes: &[u8]) -> Result<Option<Preface>, ()> {
    let Some(methods) = bytes.get(2..2 + usize::from(bytes[1])) else {
        return Ok(None);
    };
    let known = |method: &u8| matches!(method, 0..=9 | 0x80..=0xfe);
    let alone = bytes.len() == 2 + methods.len() || bytes[2 + methods.len()] <= 5;
    if methods.iter().all(known) && alone {
        Ok(Some(Preface::Socks5))
    } else {
        Err(())
    }
}

/// An LDAPMessage that holds an ExtendedRequest.
fn ldap_beginning(bytes: &[u8]) -> Result<Option<Preface>, ()> {
    let Some((header, _)) = ber_length(bytes)? else {
        return Ok(None);
    };
    match bytes.get(header..) {
        Some([2, length @ 1..=4, rest @ ..]) => match rest.get(usize::from(*length)) {
            Some(0x77) => Ok(Some(Preface::Ldap)),
            Some(_) => Err(()),
            None => Ok(None),
        },
        None | Some([] | [2]) => Ok(None),
        Some(_) => Err(()),
    }
}

/// Bytes of the header of a BER value, and of the value.
fn ber_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, ()> {
    let (header, length) = match *bytes {
        [_, short @ 0..=0x7f, ..] => (2, usize::from(short)),
        [_, 0x81, length, ..] => (3, usize::from(length)),
        [_, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        [_, 0x84, 0, 0, high, low, ..] => (6, usize::from(u16::from_be_bytes([high, low]))),
        [_] | [_, 0x81 | 0x82] | [_, 0x82, _] => return Ok(None),
        [_, 0x84, ref rest @ ..] if rest.len() < 4 => return Ok(None),
        _ => return Err(()),
    };
    Ok(Some((header, length)))
}

fn words(bytes: &[u8]) -> Result<Option<Preface>, ()> {
    let mut possible = false;
    for (word, protocol) in WORDS {
        if agree(bytes, word.as_bytes()) {
            match bytes.get(word.len()) {
                Some(b' ' | b'\r' | b'\n' | b'>') => return Ok(Some(protocol)),
                Some(_) => {}
                None => possible = true,
            }
        }
    }
    match (tagged(bytes), possible) {
        (Ok(None) | Err(()), true) => Ok(None),
        (imap, _) => imap,
    }
}

/// IMAP: a tag of the client's choice before each command.
fn tagged(bytes: &[u8]) -> Result<Option<Preface>, ()> {
    const TAG_MAX: usize = 16;
    const COMMANDS: [&[u8]; 4] = [b"CAPABILITY", b"STARTTLS", b"ID ", b"NOOP"];
    let is_tag = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let length = bytes.iter().take_while(is_tag).count();
    let (tag, rest) = bytes.split_at(length);
    if tag.is_empty() || length > TAG_MAX {
        return Err(());
    }
    let Some((b' ', command)) = rest.split_first() else {
        return if rest.is_empty() { Ok(None) } else { Err(()) };
    };
    let known = COMMANDS.iter().find(|known| agree(command, known));
    match known {
        Some(known) if command.len() >= known.len() => Ok(Some(Preface::Imap)),
        Some(_) => Ok(None),
        None => Err(()),
    }
}

/// The request that the bytes begin. `first`: it is the protocol's first.
pub(super) fn request(protocol: Preface, bytes: &[u8], first: bool) -> Request {
    match protocol {
        Preface::ProxyV1 => match line(bytes, PROXY_V1_MAX) {
            Ok(length) => Request::Through(length),
            Err(other) => other,
        },
        Preface::ProxyV2 => match *bytes {
            [_, _, _, _, _, _, _, _, _, _, _, _, _, _, high, low, ..] => {
                let length = 16 + usize::from(u16::from_be_bytes([high, low]));
                complete(bytes, length, Request::Through)
            }
            _ => Request::Incomplete,
        },
        Preface::HttpConnect => http_connect(bytes),
        Preface::Socks4 => socks4(bytes),
        Preface::Socks5 if first => complete(bytes, 2 + usize::from(bytes[1]), Request::Other),
        Preface::Socks5 => socks5(bytes),
        Preface::PostgreSql if agree(bytes, SSL_REQUEST) => {
            complete(bytes, SSL_REQUEST.len(), Request::AsksForTls)
        }
        Preface::PostgreSql if agree(bytes, GSSENC_REQUEST) => {
            complete(bytes, GSSENC_REQUEST.len(), Request::Other)
        }
        Preface::PostgreSql => Request::Foreign,
        Preface::MySql => my_sql(bytes),
        Preface::Ldap => ldap(bytes),
        Preface::Xmpp => xmpp(bytes),
        Preface::Smtp | Preface::Imap | Preface::Pop3 | Preface::Ftp | Preface::Irc => {
            match line(bytes, LINE_MAX) {
                Ok(length) => command(protocol, &bytes[..length], length),
                Err(other) => other,
            }
        }
    }
}

/// Bytes of the first line, its end included.
fn line(bytes: &[u8], most: usize) -> Result<usize, Request> {
    let within = &bytes[..bytes.len().min(most)];
    match within.iter().position(|byte| *byte == b'\n') {
        Some(end) => Ok(end + 1),
        None if bytes.len() < most => Err(Request::Incomplete),
        None => Err(Request::Foreign),
    }
}

fn complete(bytes: &[u8], length: usize, request: fn(usize) -> Request) -> Request {
    if bytes.len() >= length {
        request(length)
    } else if length <= MAX {
        Request::Incomplete
    } else {
        Request::Foreign
    }
}

fn http_connect(bytes: &[u8]) -> Request {
    const END: &[u8] = b"\r\n\r\n";
    match bytes.windows(END.len()).position(|window| window == END) {
        _ if !agree(bytes, b"CONNECT ") => Request::Foreign,
        Some(at) => Request::Through(at + END.len()),
        None => complete(bytes, bytes.len() + 1, Request::Other),
    }
}

/// Version, command, port, address, user; for version 4a a name, where the address is 0.0.0.x.
fn socks4(bytes: &[u8]) -> Request {
    const FIXED: usize = 8;
    let Some(rest) = bytes.get(FIXED..) else {
        return Request::Incomplete;
    };
    let is_name = bytes[4..7] == [0; 3] && bytes[7] != 0;
    let texts = if is_name { 2 } else { 1 };
    let mut ends = rest.iter().enumerate().filter(|(_, byte)| **byte == 0);
    match ends.nth(texts - 1) {
        Some((at, _)) => Request::Through(FIXED + at + 1),
        None => complete(bytes, bytes.len() + 1, Request::Other),
    }
}

/// After the greeting: credentials (RFC 1929), then the request (RFC 1928 §4).
fn socks5(bytes: &[u8]) -> Request {
    let (length, request): (usize, fn(usize) -> Request) = match *bytes {
        [1, user, ref rest @ ..] => {
            let Some(password) = rest.get(usize::from(user)) else {
                return Request::Incomplete;
            };
            let length = 3 + usize::from(user) + usize::from(*password);
            (length, Request::Other)
        }
        [5, 1..=3, 0, 1, ..] => (10, Request::Through),
        [5, 1..=3, 0, 4, ..] => (22, Request::Through),
        [5, 1..=3, 0, 3, name, ..] => (7 + usize::from(name), Request::Through),
        [] | [1 | 5] | [5, 1..=3] | [5, 1..=3, 0] | [5, 1..=3, 0, 3] => return Request::Incomplete,
        _ => return Request::Foreign,
    };
    complete(bytes, length, request)
}

/// Length 32, sequence number 1, then capabilities with CLIENT_SSL.
fn my_sql(bytes: &[u8]) -> Request {
    const CLIENT_SSL: u8 = 0x08;
    match *bytes {
        [32, 0, 0, 1, _, flags, ..] if flags & CLIENT_SSL != 0 => {
            complete(bytes, 4 + 32, Request::AsksForTls)
        }
        _ if bytes.len() < 6 => Request::Incomplete,
        _ => Request::Foreign,
    }
}

fn ldap(bytes: &[u8]) -> Request {
    match ber_length(bytes) {
        Ok(Some((header, length))) => match bytes.get(..header + length) {
            Some(message) if message.windows(START_TLS.len()).any(|at| at == START_TLS) => {
                Request::AsksForTls(message.len())
            }
            Some(_) => Request::Foreign,
            None => complete(bytes, header + length, Request::Other),
        },
        Ok(None) => Request::Incomplete,
        Err(()) => Request::Foreign,
    }
}

fn xmpp(bytes: &[u8]) -> Request {
    const OTHERS: [&[u8]; 3] = [b"<?xml", b"<stream:stream", b"</starttls"];
    let blank = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_whitespace())
        .count();
    let tag = &bytes[blank..];
    let Some(end) = tag.iter().position(|byte| *byte == b'>') else {
        return complete(bytes, bytes.len() + 1, Request::Other);
    };
    let length = blank + end + 1;
    if tag.starts_with(b"<starttls") {
        Request::AsksForTls(length)
    } else if OTHERS.iter().any(|known| tag.starts_with(known)) {
        Request::Other(length)
    } else {
        Request::Foreign
    }
}

/// A line of a text protocol.
fn command(protocol: Preface, line: &[u8], length: usize) -> Request {
    let text = String::from_utf8_lossy(line).to_ascii_uppercase();
    let mut words = text.split_ascii_whitespace();
    if protocol == Preface::Imap {
        words.next();
    }
    let word = words.next().unwrap_or_default();
    let argument = words.next().unwrap_or_default();
    let asks = match protocol {
        Preface::Pop3 => word == "STLS",
        Preface::Ftp => word == "AUTH" && (argument.starts_with("TLS") || argument == "SSL"),
        _ => word == "STARTTLS",
    };
    let others: &[&str] = match protocol {
        Preface::Smtp => &["EHLO", "HELO", "LHLO", "NOOP", "RSET", "XCLIENT"],
        Preface::Imap => &["CAPABILITY", "ID", "NOOP"],
        Preface::Pop3 => &["CAPA", "NOOP"],
        Preface::Ftp => &["FEAT", "SYST", "HOST", "CLNT", "OPTS"],
        _ => &["CAP"],
    };
    if asks {
        Request::AsksForTls(length)
    } else if others.contains(&word) {
        Request::Other(length)
    } else {
        Request::Foreign
    }
}
