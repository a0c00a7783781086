//! Handshakes that do not begin with the first byte.

use super::{bytes::*, story::Story};
use crate::{
    event::ConnectionId,
    report::{Cause, Phase},
    wire::Preface,
};

#[test]
fn a_handshake_after_starttls() {
    let mut story = Story::client();
    story.gets(b"220 mail.example.org ESMTP\r\n");
    story.sends(b"EHLO client\r\n").gets(b"250 STARTTLS\r\n");
    story.sends(b"STARTTLS\r\n").gets(b"220 go\r\n");
    story
        .sends(client_hello(Offer::default()))
        .gets(flight_12(SELECT_12));
    story.sends(alert(2, 48)).closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(report.verdict.phase, Phase::ServerHello);
    assert_eq!(report.verdict.cause, Cause::CertificateUnknownCa);
    assert_eq!(report.preface, [Preface::Smtp]);
}

/// The client asks for TLS, is refused and goes on without: nothing to report.
#[test]
fn starttls_refused() {
    let mut story = Story::client();
    story.gets(b"220 mail.example.org ESMTP\r\n");
    story.sends(b"EHLO client\r\n").gets(b"250 STARTTLS\r\n");
    story.sends(b"STARTTLS\r\n").gets(b"454 not now\r\n");
    story.sends(b"QUIT\r\n").gets(b"221 bye\r\n");
    story.gets_fin().closes().ends();
    assert!(story.reports().is_empty(), "{:#?}", story.outputs);
}

/// A port where TLS comes after something else is no TLS port: plain text there is no failure.
#[test]
fn plain_text_where_others_start_tls() {
    let mut story = Story::server();
    story.gets(b"\0\0\0\x08\x04\xd2\x16\x2f").sends(b"S");
    story
        .gets(client_hello(Offer::default()))
        .sends(flight_12(SELECT_12));
    story.gets(client_flight_12()).sends(server_end_12());
    story.gets(data(90)).sends(data(90));
    story.gets_fin().closes().ends();
    assert_eq!(story.report().preface, [Preface::PostgreSql]);
    story.outputs.clear();
    story.id = ConnectionId(7);
    story.accepts();
    story.gets(b"\0\0\0\x52\0\x03\0\0user\0x\0\0").closes();
    story.gets_fin().ends();
    assert!(story.reports().is_empty(), "{:#?}", story.outputs);
}
