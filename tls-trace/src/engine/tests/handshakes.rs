//! Every way a handshake goes.

use rstest::rstest;

use super::{bytes::*, story::Story};
use crate::{
    engine::Output,
    event::{ResetReason, TcpState},
    report::{Cause, Confidence, EarlyDataReason, Initiator, Notice, Outcome, Phase, Report, Role},
};

pub(super) type Expected = (Outcome, Phase, Initiator, Cause, Confidence);

pub(super) fn verdict(report: &Report) -> Expected {
    let verdict = &report.verdict;
    (
        verdict.outcome,
        verdict.phase,
        verdict.initiator,
        verdict.cause,
        verdict.confidence,
    )
}

fn failed(phase: Phase, initiator: Initiator, cause: Cause) -> Expected {
    (
        Outcome::Failed,
        phase,
        initiator,
        cause,
        Confidence::Certain,
    )
}

fn likely(expected: Expected) -> Expected {
    (
        expected.0,
        expected.1,
        expected.2,
        expected.3,
        Confidence::Likely,
    )
}

pub(super) fn established(initiator: Initiator) -> Expected {
    (
        Outcome::Established,
        Phase::Established,
        initiator,
        Cause::None,
        Confidence::Certain,
    )
}

fn hello() -> Vec<u8> {
    client_hello(Offer::default())
}

/// A client's TLS 1.3 handshake up to the server's session tickets.
fn client_13() -> Story {
    let mut story = Story::client();
    story
        .sends(hello())
        .gets(flight_13())
        .sends([change_cipher_spec(), data(FINISHED)].concat());
    story
}

#[test]
fn tls13_used_and_closed() {
    let mut story = client_13();
    story
        .gets(data(250))
        .sends(data(100))
        .gets(data(500))
        .sends(data(ALERT))
        .closes()
        .gets_fin();
    story.ends();
    let report = story.report();
    assert_eq!(verdict(report), established(Initiator::ClientApp));
    assert_eq!(report.role, Role::Client);
    assert_eq!(report.notices, []);
    assert_eq!(report.sni.as_deref(), Some("example.org"));
    assert_eq!(report.version.as_deref(), Some("TLS 1.3"));
    assert_eq!(report.comm.as_deref(), Some("curl"));
    assert!(report.phases_ms.rest.is_some());
    let done = story
        .outputs
        .iter()
        .filter(|output| matches!(output, Output::PayloadDone(_)));
    assert_eq!(done.count(), 1);
    let handshakes = story
        .outputs
        .iter()
        .filter(|output| matches!(output, Output::Handshake(_)));
    assert_eq!(handshakes.count(), 1);
}

#[test]
fn tls12_used_and_closed_by_the_server() {
    let mut story = Story::server();
    story
        .gets(hello())
        .sends(flight_12(SELECT_12))
        .gets(client_flight_12())
        .sends(server_end_12());
    story
        .gets(data(100))
        .sends(data(500))
        .sends(encrypted(21, 26))
        .closes()
        .gets_fin()
        .ends();
    let report = story.report();
    assert_eq!(verdict(report), established(Initiator::ServerApp));
    assert_eq!(report.role, Role::Server);
    assert_eq!(report.comm.as_deref(), Some("nginx"));
    assert_eq!(report.resumed, Some(false));
    assert_eq!(report.group.as_deref(), Some("x25519"));
}

#[test]
fn tls12_resumed() {
    let mut story = Story::client();
    story
        .sends(hello())
        .gets([server_hello(SELECT_12), server_end_12()].concat());
    story
        .sends([server_end_12(), data(60)].concat())
        .gets(data(60))
        .closes()
        .gets_fin()
        .ends();
    let report = story.report();
    assert_eq!(verdict(report), established(Initiator::ClientApp));
    assert_eq!(report.resumed, Some(true));
}

#[rstest]
#[case::unknown_ca(48, Cause::CertificateUnknownCa)]
#[case::expired(45, Cause::CertificateExpired)]
#[case::bad(42, Cause::CertificateBad)]
#[case::unassigned(199, Cause::OtherAlert)]
fn certificate_rejected_in_the_clear(#[case] code: u8, #[case] cause: Cause) {
    let mut story = Story::client();
    story
        .sends(hello())
        .gets(flight_13())
        .sends(alert(2, code))
        .closes()
        .gets_fin()
        .ends();
    let report = story.report();
    let expected = failed(Phase::EncryptedHandshake, Initiator::ClientApp, cause);
    assert_eq!(verdict(report), expected);
    assert_eq!(report.alerts[0].code, code);
}

#[rstest]
#[case::protocol_version(70, Cause::ProtocolVersion)]
#[case::handshake_failure(40, Cause::HandshakeFailure)]
#[case::no_application_protocol(120, Cause::NoApplicationProtocol)]
#[case::unrecognized_name(112, Cause::UnrecognizedName)]
fn refused_by_the_server(#[case] code: u8, #[case] cause: Cause) {
    let mut story = Story::client();
    story
        .sends(hello())
        .gets(alert(2, code))
        .gets_fin()
        .closes()
        .ends();
    let expected = failed(Phase::ClientHello, Initiator::ServerApp, cause);
    assert_eq!(verdict(story.report()), expected);
}

#[test]
fn a_fatal_alert_is_reported_without_waiting_for_the_socket() {
    let mut story = Story::client();
    story.sends(hello()).gets(alert(2, 70));
    assert!(story.reports().is_empty());
    story.wait(400);
    let expected = failed(
        Phase::ClientHello,
        Initiator::ServerApp,
        Cause::ProtocolVersion,
    );
    assert_eq!(verdict(story.report()), expected);
    story.gets_fin().closes().ends();
    assert_eq!(story.reports().len(), 1);
}

/// Java pads its alerts.
#[rstest]
#[case::plain(ALERT)]
#[case::padded(ALERT + 16)]
fn encrypted_alert_of_the_client(#[case] length: usize) {
    let mut story = Story::server();
    story
        .gets(hello())
        .sends(flight_13())
        .gets([change_cipher_spec(), data(length)].concat());
    story.gets_fin().closes().ends();
    let expected = failed(
        Phase::EncryptedHandshake,
        Initiator::ClientApp,
        Cause::EncryptedAlert,
    );
    assert_eq!(verdict(story.report()), likely(expected));
}

/// OpenSSL complains of a client that left.
#[rstest]
#[case::encrypted(data(ALERT))]
#[case::in_the_clear(alert(2, 50))]
fn an_alert_after_the_end_is_not_its_cause(#[case] alert: Vec<u8>) {
    let mut story = Story::server();
    story.gets(hello()).sends(flight_13());
    story.gets_fin().sends(alert).closes().ends();
    let expected = failed(
        Phase::EncryptedHandshake,
        Initiator::ClientApp,
        Cause::ClosedByPeer,
    );
    assert_eq!(verdict(story.report()), expected);
}

#[test]
fn certificate_required() {
    let mut story = Story::client();
    story
        .sends(hello())
        .gets(flight_13())
        .sends([data(NO_CERTIFICATE), data(FINISHED)].concat());
    story
        .sends(data(100))
        .gets(data(ALERT))
        .gets_fin()
        .closes()
        .ends();
    let expected = failed(
        Phase::Finished,
        Initiator::ServerApp,
        Cause::CertificateRequired,
    );
    assert_eq!(verdict(story.report()), likely(expected));
}

#[test]
fn client_certificate_rejected() {
    let mut story = Story::server();
    story.gets(hello()).sends(flight_13());
    story
        .gets([data(900), data(281), data(FINISHED)].concat())
        .sends(data(ALERT))
        .closes();
    story.gets_fin().ends();
    let expected = failed(
        Phase::Finished,
        Initiator::ServerApp,
        Cause::RejectedAfterFinished,
    );
    assert_eq!(verdict(story.report()), likely(expected));
}

#[test]
fn a_server_that_says_goodbye_at_once_rejects_nothing() {
    let mut story = client_13();
    story.gets(data(ALERT)).gets_fin().closes().ends();
    let report = story.report();
    assert_eq!(report.verdict.outcome, Outcome::Established);
    assert_eq!(report.verdict.initiator, Initiator::ServerApp);
}

#[test]
fn an_exchange_of_close_notify_rejects_nothing() {
    let mut story = Story::client();
    story
        .sends(hello())
        .gets(flight_13())
        .sends([data(900), data(281), data(FINISHED)].concat());
    story
        .sends(data(ALERT))
        .closes()
        .gets(data(ALERT))
        .gets_fin()
        .ends();
    let report = story.report();
    assert_eq!(report.verdict.outcome, Outcome::Established);
    assert_eq!(report.notices, [Notice::Unused]);
}

#[test]
fn tickets_unread() {
    let mut story = client_13();
    story.gets_unread(data(250)).gets_unread(data(250));
    story
        .sends(data(ALERT))
        .resets(Some(ResetReason::TCP_ABORT_ON_CLOSE))
        .error(104)
        .destroyed();
    let report = story.report();
    assert_eq!(verdict(report), established(Initiator::ClientApp));
    assert_eq!(
        report.notices,
        [Notice::Unused, Notice::ClosedWithUnreadTickets]
    );
}

#[test]
fn tickets_unread_seen_from_the_server() {
    let mut story = Story::server();
    story
        .gets(hello())
        .sends(flight_13())
        .gets(data(FINISHED))
        .sends(data(250))
        .sends(data(250));
    story.gets_reset().destroyed();
    let report = story.report();
    assert_eq!(verdict(report), established(Initiator::ClientApp));
    assert_eq!(report.notices, [Notice::Unused]);
}

#[test]
fn broken_by_a_reset() {
    let mut story = client_13();
    story
        .gets(data(250))
        .sends(data(100))
        .gets(data(500))
        .wait(2000);
    story.gets_reset().destroyed();
    let report = story.report();
    let (outcome, initiator, cause) = (
        report.verdict.outcome,
        report.verdict.initiator,
        report.verdict.cause,
    );
    assert_eq!(
        (outcome, initiator, cause),
        (Outcome::Broken, Initiator::ServerApp, Cause::ResetByPeer)
    );
}

#[test]
fn a_quiet_client_counts_after_a_while() {
    let mut story = client_13();
    let handshakes = |story: &Story| {
        let of = |output: &&Output| matches!(output, Output::Handshake(_));
        story.outputs.iter().filter(of).count()
    };
    assert_eq!(handshakes(&story), 0);
    story.wait(5001);
    assert_eq!(handshakes(&story), 1);
    story.closes().gets_fin().ends();
    assert_eq!(handshakes(&story), 1);
    assert_eq!(story.report().verdict.outcome, Outcome::Established);
}

#[rstest]
#[case::fin(false)]
#[case::reset(true)]
fn alpn_not_selected_and_left_at_once(#[case] reset: bool) {
    let offer = Offer {
        alpn: Some("h2"),
        ..Offer::default()
    };
    let mut story = Story::client();
    story
        .sends(client_hello(offer))
        .gets(flight_12(SELECT_12))
        .sends(client_flight_12());
    story.gets(server_end_12());
    if reset {
        story
            .resets(Some(ResetReason::TCP_ABORT_ON_CLOSE))
            .destroyed();
    } else {
        story.closes().gets_fin().ends();
    }
    let report = story.report();
    let expected = failed(
        Phase::Established,
        Initiator::ClientApp,
        Cause::AlpnRejectedByApp,
    );
    assert_eq!(verdict(report), likely(expected));
    assert!(report.notices.contains(&Notice::AlpnNotNegotiated));
}

#[test]
fn alpn_not_selected_but_used() {
    let offer = Offer {
        alpn: Some("h2"),
        ..Offer::default()
    };
    let mut story = Story::client();
    story
        .sends(client_hello(offer))
        .gets(flight_12(SELECT_12))
        .sends(client_flight_12());
    story
        .gets(server_end_12())
        .sends(data(90))
        .gets(data(90))
        .closes()
        .gets_fin()
        .ends();
    let report = story.report();
    assert_eq!(report.verdict.outcome, Outcome::Established);
    assert_eq!(
        report.notices,
        [Notice::AlpnNotNegotiated, Notice::NoCloseNotify]
    );
}

#[test]
fn hello_retry_request() {
    let offer = Offer {
        psk: true,
        early_data: true,
        ..Offer::default()
    };
    let retry = Selection {
        retry: true,
        ..SELECT_13
    };
    let mut story = Story::client();
    story
        .sends(client_hello(offer))
        .gets([server_hello(retry), change_cipher_spec()].concat());
    story
        .sends([change_cipher_spec(), hello()].concat())
        .gets(flight_13())
        .sends(data(FINISHED));
    story
        .gets(data(200))
        .sends(data(50))
        .gets(data(50))
        .closes()
        .gets_fin()
        .ends();
    let report = story.report();
    assert_eq!(verdict(report), established(Initiator::ClientApp));
    assert!(report.notices.contains(&Notice::HelloRetryRequest));
    assert_eq!(
        report.early_data.unwrap().reason,
        Some(EarlyDataReason::HelloRetryRequest)
    );
}

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
    story.id.0 += 1;
    story.state = TcpState::SYN_RECV;
    story.counters.bytes_acked = 0;
    story.counters.bytes_received = 0;
    story.counters.snd_una = story.counters.snd_nxt;
    story.counters.copied_seq = story.counters.rcv_nxt;
    story
        .turn(TcpState::ESTABLISHED)
        .wait(2000)
        .closes()
        .gets_fin()
        .ends();
    let expected = failed(Phase::Connected, Initiator::ServerApp, Cause::ClientSilent);
    assert_eq!(verdict(story.report()), expected);
}

#[test]
fn tls12_client_certificate_missing() {
    let mut story = Story::server();
    let request = [
        server_hello(SELECT_12),
        handshake(11, &[0; 700]),
        handshake(13, &[0; 10]),
        handshake(14, &[]),
    ];
    story.gets(hello()).sends(request.concat());
    story.gets([handshake(11, &[0; 3]), client_flight_12()].concat());
    story.sends(alert(2, 40)).closes().gets_fin().ends();
    let expected = failed(
        Phase::EncryptedHandshake,
        Initiator::ServerApp,
        Cause::CertificateRequired,
    );
    assert_eq!(verdict(story.report()), likely(expected));
}

#[test]
fn garbage_answered_with_an_alert() {
    let mut story = Story::server();
    story
        .gets(record(22, &[]))
        .sends(alert(2, 50))
        .closes()
        .gets_fin()
        .ends();
    let expected = failed(Phase::Connected, Initiator::ServerApp, Cause::DecodeError);
    assert_eq!(verdict(story.report()), expected);
}

#[test]
fn a_killed_peer_breaks_what_looks_like_an_orderly_end() {
    let mut story = Story::pair();
    let finished = [change_cipher_spec(), data(FINISHED)].concat();
    story
        .sends(hello())
        .switch()
        .gets(hello())
        .sends(flight_13());
    story.switch().gets(flight_13()).sends(&finished);
    story
        .switch()
        .gets(&finished)
        .sends(data(250))
        .switch()
        .gets(data(250));
    story
        .sends(data(10))
        .switch()
        .gets(data(10))
        .sends(data(20))
        .switch()
        .gets(data(20));
    story.task.exiting = true;
    story.task.exit_signal = Some(9);
    story
        .closes()
        .switch()
        .gets_fin()
        .closes()
        .ends()
        .switch()
        .gets_fin()
        .ends();
    let causes: Vec<_> = story
        .reports()
        .iter()
        .map(|r| (r.verdict.outcome, r.verdict.cause))
        .collect();
    assert_eq!(
        causes,
        [
            (Outcome::Broken, Cause::ClosedByPeer),
            (Outcome::Broken, Cause::ProcessKilled)
        ]
    );
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

/// Servers close once they have said `close_notify`; a client that has read it may be faster.
#[test]
fn the_first_to_say_goodbye_ended_it() {
    let mut story = client_13();
    story
        .gets(data(250))
        .sends(data(90))
        .gets(data(400))
        .gets(data(ALERT));
    story.closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(verdict(report), established(Initiator::ServerApp));
    assert_eq!(report.notices, []);
}
