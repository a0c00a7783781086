//! Handshakes that come to no end, and what is none.

use rstest::rstest;

use super::{
    bytes::*,
    handshakes::{failed, hello, verdict},
    story::Story,
};
use crate::{
    engine::Output,
    report::{Cause, Confidence, Initiator, Notice, Outcome, Phase},
};

#[test]
fn plain_http_answered_in_words() {
    let mut story = Story::client();
    story.sends(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    let page = "HTTP/1.1 400 Bad Request\r\nServer: nginx\r\nConnection: close\r\n\r\n<html>\
                <head><title>400 The plain HTTP request was sent to HTTPS port</title></head>";
    story.gets(page).gets_fin().closes().ends();
    let expected = failed(
        Phase::Connected,
        Initiator::ServerApp,
        Cause::PlainHttpToTlsPort,
    );
    assert_eq!(verdict(story.report()), expected);
}

#[test]
fn plain_http_answered_with_an_alert() {
    let mut story = Story::server();
    story
        .gets(b"GET / HTTP/1.1\r\n\r\n")
        .sends(alert(2, 10))
        .closes()
        .gets_fin()
        .ends();
    let expected = failed(
        Phase::Connected,
        Initiator::ServerApp,
        Cause::PlainHttpToTlsPort,
    );
    assert_eq!(verdict(story.report()), expected);
}

#[test]
fn plain_http_is_nobodys_business() {
    let mut story = Story::client();
    story
        .sends(b"GET / HTTP/1.1\r\n\r\n")
        .gets(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    story.gets_fin().closes().ends();
    assert!(story.reports().is_empty());
    assert_eq!(story.engine.stats().not_tls, 1);
}

#[rstest]
#[case::http(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], Initiator::ServerApp, Cause::TlsToPlainHttp)]
#[case::ssh(&b"SSH-2.0-OpenSSH_9.2\r\n"[..], Initiator::ClientApp, Cause::NotTls)]
fn tls_to_a_plain_port(#[case] answer: &[u8], #[case] initiator: Initiator, #[case] cause: Cause) {
    let mut story = Story::client();
    story.sends(hello()).gets(answer).closes().gets_fin().ends();
    let expected = failed(Phase::ClientHello, initiator, cause);
    assert_eq!(verdict(story.report()), expected);
}

#[test]
fn server_silent() {
    let mut story = Story::client();
    story.sends(hello()).wait(3000).closes().wait(400);
    let expected = failed(
        Phase::ClientHello,
        Initiator::ClientApp,
        Cause::ServerSilent,
    );
    assert_eq!(verdict(story.report()), expected);
}

#[test]
fn client_hello_lost() {
    let mut story = Story::client();
    story.acknowledge = false;
    let hello = hello();
    story.sends(&hello);
    for pause in [200, 400, 800] {
        story.wait(pause).retransmits(hello.len());
    }
    story.closes().wait(400);
    let report = story.report();
    let expected = failed(
        Phase::ClientHello,
        Initiator::ClientApp,
        Cause::ClientHelloLost,
    );
    assert_eq!(verdict(report), expected);
    assert_eq!(report.tcp.client_hello_retransmits, 3);
    assert!(report.notices.contains(&Notice::ClientHelloRetransmitted));
}

#[test]
fn handshake_stalled() {
    let mut story = Story::client();
    story
        .sends(hello())
        .gets(server_hello(SELECT_12))
        .wait(2000)
        .closes()
        .wait(400);
    let expected = failed(
        Phase::ServerHello,
        Initiator::ClientApp,
        Cause::HandshakeStalled,
    );
    assert_eq!(verdict(story.report()), expected);
}

/// As Envoy's direct_response filter does, whatever the client was about to say.
#[rstest]
#[case::before_any_word(&[], Phase::Connected)]
#[case::after_its_flight(&[flight_12(SELECT_12)], Phase::ServerHello)]
#[case::after_its_flight_in_tls_1_3(&[flight_13()], Phase::EncryptedHandshake)]
fn a_server_that_did_not_wait(#[case] flight: &[Vec<u8>], #[case] phase: Phase) {
    let mut story = Story::server();
    story
        .gets(hello())
        .sends(flight_13())
        .gets([data(FINISHED), data(20)].concat())
        .gets_fin()
        .closes()
        .ends();
    story.outputs.clear();
    story.again();
    if let [flight] = flight {
        story.gets(hello()).sends(flight);
    }
    story.wait(2).closes().wait(1).gets_fin().ends();
    let expected = failed(phase, Initiator::ServerApp, Cause::ClosedByApp);
    assert_eq!(verdict(story.report()), expected);
}

#[test]
fn client_left_in_the_middle() {
    let mut story = Story::client();
    story
        .sends(hello())
        .gets(flight_13())
        .closes()
        .gets_fin()
        .ends();
    let expected = failed(
        Phase::EncryptedHandshake,
        Initiator::ClientApp,
        Cause::ClosedByApp,
    );
    assert_eq!(verdict(story.report()), expected);
}

#[test]
fn bytes_not_captured() {
    let mut story = Story::client();
    story.sends(hello());
    let lost = flight_13();
    story.counters.rcv_nxt = story
        .counters
        .rcv_nxt
        .wrapping_add(u32::try_from(lost.len()).unwrap());
    story.closes().gets_fin().ends();
    assert_eq!(story.report().verdict.outcome, Outcome::Incomplete);
}

#[test]
fn health_check() {
    let mut story = Story::server();
    story.gets_fin().closes().ends();
    let report = story.report();
    let expected = (
        Outcome::Aborted,
        Phase::Connected,
        Initiator::ClientApp,
        Cause::None,
        Confidence::Certain,
    );
    assert_eq!(verdict(report), expected);
}

/// Whether handshakes there succeed or fail.
#[rstest]
#[case::completed([data(FINISHED), data(20)].concat())]
#[case::certificate_rejected(alert(2, 48))]
fn a_silent_client_is_a_failure_only_on_a_tls_port(#[case] answer: Vec<u8>) {
    let mut story = Story::server();
    story.wait(2000).closes().gets_fin().ends();
    assert!(story.reports().is_empty());

    let mut story = Story::server();
    story
        .gets(hello())
        .sends(flight_13())
        .gets(answer)
        .gets_fin()
        .closes()
        .ends();
    story.outputs.clear();
    story.again().wait(2000).closes().gets_fin().ends();
    let expected = failed(Phase::Connected, Initiator::ServerApp, Cause::ClientSilent);
    assert_eq!(verdict(story.report()), expected);
}

#[test]
fn open_before_the_trace_began() {
    let mut story = Story::existing();
    story
        .sends(data(100))
        .gets(data(200))
        .closes()
        .gets_fin()
        .ends();
    let report = story.report();
    assert_eq!(report.verdict.outcome, Outcome::Incomplete);
    assert!(
        !story
            .outputs
            .iter()
            .any(|output| matches!(output, Output::Handshake(_)))
    );
}

#[test]
fn open_before_the_trace_began_and_not_tls() {
    let mut story = Story::existing();
    story.sends(b"EHLO x\r\n").closes().gets_fin().ends();
    assert!(story.reports().is_empty());
}
