//! Servers that answer plain HTTP on their TLS port say so in words.

use super::connection::Connection;
use crate::event::Segment;

/// Payload bytes searched of a segment: header and the beginning of an error page.
const SEARCHED: usize = 2048;

/// nginx, Apache httpd, Go's net/http, in this order.
const HINTS: [&[u8]; 3] = [
    b"HTTP request was sent to HTTPS port",
    b"speaking plain HTTP to an SSL-enabled server port",
    b"HTTP request to an HTTPS server",
];

/// Looks for the hint in a segment from the server, when the client spoke HTTP.
pub(super) fn look_for_hint(connection: &mut Connection, segment: &Segment) {
    let server = connection
        .client_direction()
        .map(crate::event::Direction::reverse);
    let Some(tls) = connection.tls.as_mut() else {
        return;
    };
    if segment.length == 0 || server != Some(segment.direction) || tls.told_to_use_tls {
        return;
    }
    if tls.http(segment.direction.reverse()) {
        let payload = &segment.payload[..segment.payload.len().min(SEARCHED)];
        tls.told_to_use_tls = HINTS
            .iter()
            .any(|hint| payload.windows(hint.len()).any(|window| window == *hint));
    }
}
