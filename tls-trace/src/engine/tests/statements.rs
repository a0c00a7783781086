//! What GnuTLS and BoringSSL, and OpenSSL without symbols, add to what the wire shows.

use rstest::rstest;

use super::{
    bytes::*,
    story::{Story, task},
};
use crate::{
    event::{LibraryEvent, LibraryMoment, LibraryName, Statement},
    report::{
        Cause, EarlyData, EarlyDataOutcome, EarlyDataReason, Initiator, JoinKey, Outcome, Report,
    },
};

/// What a client's library says of the session whose ClientHello [`client_hello`] makes.
fn stated(library: LibraryName, statement: Statement) -> LibraryEvent {
    LibraryEvent {
        library,
        done: Some(statement.completed),
        moment: LibraryMoment::Stated(Box::new(statement)),
        task: task(100, "client"),
        random: [7; 32],
        server: Some(false),
        version: None,
        early_data_accepted: None,
        early_data_consistent: None,
        session_alpn: None,
        resumed: None,
        verify_result: None,
        alpn: None,
        loose: false,
    }
}

fn failed(reason: u32) -> Statement {
    Statement {
        reason: Some(reason),
        ..Statement::default()
    }
}

fn alerts(description: u8) -> Statement {
    Statement {
        alert_sent: Some(description),
        ..Statement::default()
    }
}

/// A client's end whose library says this after the server's flight; then an encrypted alert, and the end.
fn report(said: impl IntoIterator<Item = LibraryEvent>) -> Report {
    let mut story = Story::client();
    story
        .sends(client_hello(Offer::default()))
        .gets(flight_13());
    for event in said {
        story.library(event, false);
    }
    story.sends(data(ALERT)).closes().gets_fin().ends();
    story.report().clone()
}

#[rstest]
#[case(1 << 10 | 2, "expired", Cause::CertificateExpired)]
#[case(1 << 6 | 2, "signer_not_found", Cause::CertificateUnknownCa)]
#[case(1 << 14 | 2, "unexpected_owner", Cause::CertificateHostnameMismatch)]
fn what_gnutls_found_of_a_certificate_says_more_than_its_error(
    #[case] status: u32,
    #[case] name: &str,
    #[case] cause: Cause,
) {
    let verified = LibraryEvent {
        verify_result: Some(status),
        ..stated(LibraryName::Gnutls, Statement::default())
    };
    let failed = stated(LibraryName::Gnutls, failed(43));
    let alerts = stated(LibraryName::Gnutls, alerts(42));
    let report = report([verified, failed, alerts]);
    assert_eq!(report.verdict.cause, cause);
    let library = report.library.as_ref().expect("the library spoke");
    assert_eq!(library.reason_name.as_deref(), Some("certificate_error"));
    assert_eq!(library.verify_name.as_deref(), Some(name));
}

#[test]
fn of_a_certificate_boringssl_says_more_by_its_alert() {
    let failed = || stated(LibraryName::Boringssl, failed(125));
    let alerts = || stated(LibraryName::Boringssl, alerts(45));
    for said in [[failed(), alerts()], [alerts(), failed()]] {
        assert_eq!(report(said).verdict.cause, Cause::CertificateExpired);
    }
    assert_eq!(report([failed()]).verdict.cause, Cause::CertificateUnknown);
}

/// Without symbols the result of the verification cannot be read.
#[test]
fn of_a_certificate_openssl_says_by_its_alert_what_it_does_not_say_otherwise() {
    let both = Statement {
        alert_sent: Some(45),
        ..failed(134)
    };
    let said = stated(LibraryName::Openssl, both);
    let expired = report([said.clone()]);
    assert_eq!(expired.verdict.cause, Cause::CertificateExpired);
    let library = expired.library.as_ref().expect("the library spoke");
    assert_eq!(
        library.reason_name.as_deref(),
        Some("certificate_verify_failed")
    );
    let with_result = LibraryEvent {
        verify_result: Some(62),
        ..said
    };
    let wrong_name = report([with_result]);
    assert_eq!(wrong_name.verdict.cause, Cause::CertificateHostnameMismatch);
    let alone = report([stated(LibraryName::Openssl, failed(134))]);
    assert_eq!(alone.verdict.cause, Cause::CertificateUnknown);
}

/// `SSL_R_WRONG_VERSION_NUMBER` and `protocol_version` are how BoringSSL takes words of another protocol.
#[rstest]
#[case::http(&b"HTTP/1.0 400 Bad Request\r\n\r\n"[..], Cause::TlsToPlainHttp)]
#[case::page(&b"<!DOCTYPE HTML>\n<html lang=\"en\">\n"[..], Cause::TlsToPlainHttp)]
#[case::another_protocol(&b"SSH-2.0-OpenSSH_9.2\r\n"[..], Cause::NotTls)]
fn an_answer_in_the_clear_is_no_other_version(#[case] answer: &[u8], #[case] cause: Cause) {
    let mut story = Story::client();
    story.sends(client_hello(Offer::default())).gets(answer);
    for said in [failed(247), alerts(70)] {
        story.library(stated(LibraryName::Boringssl, said), false);
    }
    story.sends(alert(2, 70)).closes().gets_fin().ends();
    assert_eq!(story.report().verdict.cause, cause);
}

/// The same to a server that has no library to ask.
#[test]
fn an_alert_that_answers_words_in_the_clear_is_not_the_cause() {
    let mut story = Story::server();
    story
        .gets(client_hello(Offer::default()))
        .sends("HTTP/1.1 400 Bad Request\r\n\r\n")
        .gets(alert(2, 70))
        .gets_fin()
        .ends();
    let verdict = &story.report().verdict;
    assert_eq!(
        (verdict.initiator, verdict.cause),
        (Initiator::ServerApp, Cause::TlsToPlainHttp)
    );
}

/// The application decided, after the library had nothing to object.
#[test]
fn an_alert_alone_says_why() {
    let completed = Statement {
        completed: true,
        ..Statement::default()
    };
    let completed = stated(LibraryName::Gnutls, completed);
    let report = report([completed, stated(LibraryName::Gnutls, alerts(46))]);
    assert_eq!(report.verdict.outcome, Outcome::Failed);
    assert_eq!(report.verdict.cause, Cause::CertificateUnknown);
}

/// `gnutls_alert_send_appropriate()` has an alert for everything, also for a peer that is gone.
#[test]
fn an_alert_to_a_peer_that_is_gone_is_no_reason() {
    let gone = stated(LibraryName::Gnutls, failed(110));
    let report = report([gone, stated(LibraryName::Gnutls, alerts(80))]);
    assert_eq!(report.verdict.cause, Cause::EncryptedAlert);
}

#[test]
fn the_random_is_found_among_other_bytes_or_not_at_all() {
    let sample = |random: [u8; 32]| {
        let mut sample = vec![9; 128];
        sample[52..84].copy_from_slice(&random);
        LibraryEvent {
            random: [0; 32],
            ..stated(
                LibraryName::Boringssl,
                Statement {
                    sample,
                    ..failed(184)
                },
            )
        }
    };
    let found = report([sample([7; 32])]);
    let library = found.library.as_ref().expect("it is found");
    assert_eq!(library.joined_by, JoinKey::ClientRandom);
    assert_eq!(found.verdict.cause, Cause::NoSharedCipher);
    assert!(report([sample([8; 32])]).library.is_none());
    assert!(report([sample([0; 32])]).library.is_none());
}

#[rstest]
#[case(270, Cause::UnexpectedMessage)]
#[case(300, Cause::UnexpectedMessage)]
fn too_much_early_data_of_boringssl(#[case] reason: u32, #[case] cause: Cause) {
    let mut story = Story::server();
    let hello = client_hello(Offer {
        early_data: true,
        ..Offer::default()
    });
    story.gets(hello).sends(flight_13());
    let event = LibraryEvent {
        server: Some(true),
        task: task(200, "server"),
        ..stated(LibraryName::Boringssl, failed(reason))
    };
    story.library(event, false);
    story.sends(data(ALERT)).closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(report.verdict.cause, cause);
    let aborted = EarlyData {
        outcome: EarlyDataOutcome::Aborted,
        reason: Some(EarlyDataReason::TooMuchData),
    };
    assert_eq!(report.early_data, Some(aborted));
}
