//! What is said against a handshake: alerts, in the clear and encrypted.

use rstest::rstest;

use super::{
    bytes::*,
    handshakes::{client_13, failed, hello, likely, verdict},
    story::Story,
};
use crate::report::{Cause, Initiator, Notice, Outcome, Phase};

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
