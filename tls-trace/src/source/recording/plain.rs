//! Names out of what is not TLS: words of protocols stay, by which they are known; of the rest the shape.

/// First bytes of binary protocols that have no names in them: SSLRequest and GSSENCRequest of PostgreSQL.
const POSTGRESQL: [&[u8]; 2] = [
    &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f],
    &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x30],
];
/// SSLRequest of MySQL: length 32, sequence number 1; capabilities and numbers.
const MYSQL: ([u8; 4], usize) = ([32, 0, 0, 1], 36);
/// Header of the PROXY protocol, version 2; addresses follow, whose length is at its end.
const PROXY_V2: (&[u8], usize) = (b"\r\n\r\n\0\r\nQUIT\n", 16);
/// What a server of MySQL begins with: length, sequence number 0, protocol version 10.
const MYSQL_GREETING: usize = 5;
/// An ExtendedRequest of LDAP that asks for TLS, and has nothing else in it.
const LDAP: (&[u8], usize) = (b"1.3.6.1.4.1.1466.20037", 48);
/// What follows the greeting of SOCKS 5, up to the address.
const SOCKS5_REQUEST: usize = 4;

/// What stays as it is where it stands alone.
const WORDS: [&str; 62] = [
    "HTTP/1.0",
    "HTTP/1.1",
    "HTTP/2.0",
    "HTTP request was sent to HTTPS port",
    "speaking plain HTTP to an SSL-enabled server port",
    "HTTP request to an HTTPS server",
    "http://",
    "https://",
    "PRI * HTTP/2.0",
    "SM",
    "SSH-2.0-",
    "GET",
    "HEAD",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "Host",
    "User-Agent",
    "Accept",
    "Server",
    "Content-Type",
    "Content-Length",
    "Connection",
    "PROXY TCP4",
    "PROXY TCP6",
    "PROXY UNKNOWN",
    "EHLO",
    "HELO",
    "LHLO",
    "STARTTLS",
    "NOOP",
    "RSET",
    "XCLIENT",
    "ESMTP",
    "SMTP",
    "CAPABILITY",
    "IMAP4rev1",
    "ID",
    "CAPA",
    "STLS",
    "OK",
    "AUTH",
    "AUTH TLS",
    "AUTH SSL",
    "FEAT",
    "SYST",
    "HOST",
    "CLNT",
    "OPTS",
    "CAP",
    "LS",
    "NOTICE",
    "<?xml",
    "<stream:stream",
    "<starttls",
    "</starttls",
    "<proceed",
    "Bad Request",
];

/// Overwrites names.
pub(super) fn scrub(bytes: &mut [u8]) {
    let mut rest = bytes;
    while let Some(length) = binary(rest) {
        rest = std::mem::take(&mut rest).split_at_mut(length).1;
    }
    text(rest);
}

/// Overwrites names in a binary request at the beginning; returns its length.
fn binary(bytes: &mut [u8]) -> Option<usize> {
    let most = bytes.len();
    let known = POSTGRESQL.iter().find(|known| bytes.starts_with(known));
    if let Some(known) = known {
        return Some(known.len());
    }
    let (header, length) = MYSQL;
    if bytes.starts_with(&header) {
        return Some(length.min(most));
    }
    let (signature, header) = PROXY_V2;
    if bytes.starts_with(signature) && most >= header {
        let length = usize::from(u16::from_be_bytes([bytes[header - 2], bytes[header - 1]]));
        let end = (header + length).min(most);
        bytes[header..end].fill(0);
        return Some(end);
    }
    let (start_tls, longest) = LDAP;
    let message = &bytes[..most.min(longest)];
    if bytes.first() == Some(&0x30)
        && message.windows(start_tls.len()).any(|at| at == start_tls)
        && most <= longest
    {
        return Some(most);
    }
    match *bytes {
        [_, _, 0, 0, 10, ..] => {
            bytes[MYSQL_GREETING..].fill(0);
            Some(most)
        }
        // SETTINGS of HTTP/2: the header of the frame (RFC 9113 §4.1).
        [0, 0, _, 4, 0, 0, 0, 0, 0, ..] => {
            bytes[9..].fill(0);
            Some(most)
        }
        // CLIENT-HELLO of SSL 2.0: its version and lengths.
        [0x80..=0xff, _, 1, 0 | 3, ..] => {
            bytes[11.min(most)..].fill(0);
            Some(most)
        }
        [4, 1 | 2, ..] => {
            socks4(bytes);
            Some(most)
        }
        [5, 1..=16, ..] => {
            socks5(bytes);
            Some(most)
        }
        _ => None,
    }
}

/// Version, command, port; address, user and name: the shape of an address that stands for a name stays.
fn socks4(bytes: &mut [u8]) {
    let is_name = matches!(*bytes, [_, _, _, _, 0, 0, 0, last, ..] if last != 0);
    let address = 4..8.min(bytes.len()).max(4);
    let from = if is_name { 8 } else { address.start };
    for (at, byte) in bytes.iter_mut().enumerate().skip(from) {
        *byte = match (*byte, address.contains(&at)) {
            (_, true) => 1,
            (0, false) => 0,
            _ => b'x',
        };
    }
}

/// Greeting, perhaps credentials, request (RFC 1928, RFC 1929).
fn socks5(bytes: &mut [u8]) {
    let mut at = 2 + usize::from(bytes[1]);
    while let Some(rest) = bytes.get_mut(at..) {
        at += match *rest {
            [1, user, ..] => {
                let password = rest.get(2 + usize::from(user)).copied().unwrap_or(0);
                let end = 2 + usize::from(user);
                fill(rest, 2..end);
                fill(rest, end + 1..end + 1 + usize::from(password));
                end + 1 + usize::from(password)
            }
            [5, _, 0, 3, length, ..] => {
                let end = SOCKS5_REQUEST + 1 + usize::from(length);
                fill(rest, SOCKS5_REQUEST + 1..end);
                fill(rest, end + 2..usize::MAX);
                return;
            }
            _ => {
                fill(rest, SOCKS5_REQUEST..usize::MAX);
                return;
            }
        };
    }
}

fn fill(bytes: &mut [u8], range: std::ops::Range<usize>) {
    let end = range.end.min(bytes.len());
    bytes[range.start.min(end)..end].fill(b'x');
}

/// Letters become x, digits 0, and everything from the first byte on that is not of text zero.
fn text(bytes: &mut [u8]) {
    let is_text = |byte: &u8| matches!(*byte, b' '..=b'~' | b'\r' | b'\n' | b'\t' | 0x80..);
    let length = bytes.iter().take_while(|byte| is_text(byte)).count();
    let (bytes, rest) = bytes.split_at_mut(length);
    rest.fill(0);
    let original = bytes.to_vec();
    for byte in &mut *bytes {
        *byte = match *byte {
            b'a'..=b'z' => b'x',
            b'A'..=b'Z' => b'X',
            b'0'..=b'9' => b'0',
            b' '..=b'~' | b'\r' | b'\n' | b'\t' => *byte,
            _ => 0,
        };
    }
    for word in WORDS {
        for at in alone(&original, word.as_bytes()) {
            bytes[at..at + word.len()].copy_from_slice(&original[at..at + word.len()]);
        }
    }
    // Status codes: at the beginning of a line, and after the version of HTTP.
    let is_code = |at: usize| {
        let before = &original[..at];
        let begins = before.is_empty() || before.ends_with(b"\n") || ends_with_version(before);
        let code = original.get(at..at + 4);
        begins
            && matches!(
                code,
                Some([b'1'..=b'5', b'0'..=b'9', b'0'..=b'9', b' ' | b'-' | b'\r'])
            )
    };
    for at in (0..original.len()).filter(|at| is_code(*at)) {
        bytes[at..at + 3].copy_from_slice(&original[at..at + 3]);
    }
}

fn ends_with_version(bytes: &[u8]) -> bool {
    [&b"HTTP/1.0 "[..], b"HTTP/1.1 "]
        .iter()
        .any(|version| bytes.ends_with(version))
}

/// Where the word is, in any case, without letters or digits beside it.
fn alone<'a>(text: &'a [u8], word: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let part = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    (0..text.len()).filter(move |&at| {
        let found = text.get(at..at + word.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(word))
            && !(part(word.first()) && at > 0 && part(text.get(at - 1)))
            && !(part(word.last()) && part(text.get(at + word.len())))
    })
}
