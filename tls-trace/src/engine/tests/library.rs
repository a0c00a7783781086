//! What a TLS library adds to what the wire shows.

use rstest::rstest;

use super::{
    bytes::*,
    story::{Story, task},
};
use crate::{
    event::{GoError, GoErrorKind, LibraryEvent, LibraryMoment, LibraryName, ResetReason},
    report::{Cause, Confidence, EarlyDataOutcome, Initiator, JoinKey, Notice, Outcome},
};

/// Processes of [`Story`]'s two ends.
const CURL: u32 = 100;
const NGINX: u32 = 200;

/// What OpenSSL says of the session whose ClientHello [`client_hello`] makes.
fn said(moment: LibraryMoment) -> LibraryEvent {
    LibraryEvent {
        library: LibraryName::Openssl,
        moment,
        task: task(CURL, "curl"),
        random: [7; 32],
        server: Some(false),
        done: Some(false),
        version: Some(TLS13),
        early_data_accepted: None,
        early_data_consistent: Some(true),
        session_alpn: Some(String::new()),
        resumed: Some(false),
        verify_result: Some(0),
        alpn: Some(String::new()),
        loose: false,
    }
}

fn failed(reason: u32) -> LibraryEvent {
    said(LibraryMoment::Failed { reason })
}

fn completed() -> LibraryEvent {
    LibraryEvent {
        done: Some(true),
        ..said(LibraryMoment::HandshakeReturned)
    }
}

fn tell(story: &mut Story, event: LibraryEvent) {
    story.library(event, false);
}

fn hello_with_alpn() -> Vec<u8> {
    client_hello(Offer {
        alpn: Some("h2"),
        ..Offer::default()
    })
}

#[rstest]
#[case(10, Cause::CertificateExpired, "cert_has_expired")]
#[case(18, Cause::CertificateUnknownCa, "depth_zero_self_signed_cert")]
#[case(23, Cause::CertificateRevoked, "cert_revoked")]
#[case(62, Cause::CertificateHostnameMismatch, "hostname_mismatch")]
fn the_verify_result_is_the_cause_though_the_alert_is_encrypted(
    #[case] result: u32,
    #[case] cause: Cause,
    #[case] name: &str,
) {
    let mut story = Story::client();
    story
        .sends(client_hello(Offer::default()))
        .gets(flight_13());
    let event = LibraryEvent {
        verify_result: Some(result),
        ..failed(134)
    };
    tell(&mut story, event);
    story.sends(data(ALERT)).closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(report.verdict.outcome, Outcome::Failed);
    assert_eq!(report.verdict.cause, cause);
    assert_eq!(report.verdict.initiator, Initiator::ClientApp);
    assert_eq!(report.verdict.confidence, Confidence::Certain);
    let library = report.library.as_ref().expect("the library spoke");
    assert_eq!(library.reason, Some(134));
    assert_eq!(
        library.reason_name.as_deref(),
        Some("certificate_verify_failed")
    );
    assert_eq!(library.verify_name.as_deref(), Some(name));
}

#[test]
fn an_alert_received_behind_encryption_is_named() {
    let mut story = Story::client();
    story
        .sends(client_hello(Offer::default()))
        .gets(flight_13())
        .sends([data(900), data(281), data(FINISHED)].concat());
    tell(&mut story, completed());
    story.gets(data(ALERT));
    // Read by SSL_read, long after SSL_do_handshake: known by its thread only.
    let event = LibraryEvent {
        loose: true,
        done: Some(true),
        ..failed(1045)
    };
    tell(&mut story, event);
    story.gets_fin().closes().ends();
    let verdict = &story.report().verdict;
    assert_eq!(verdict.cause, Cause::CertificateExpired);
    assert_eq!(verdict.initiator, Initiator::ServerApp);
    assert_eq!(verdict.confidence, Confidence::Certain);
    let decisive = verdict.evidence.iter().find(|evidence| evidence.decisive);
    let fact = decisive.map(|evidence| &*evidence.fact);
    assert_eq!(fact, Some("openssl received alert 45 certificate_expired"));
}

#[rstest]
#[case::of_another_process(NGINX, false)]
#[case::after_the_handshake(CURL, true)]
fn an_error_known_by_its_thread_only_is_doubted(#[case] pid: u32, #[case] established: bool) {
    let mut story = Story::client();
    story
        .sends(client_hello(Offer::default()))
        .gets(flight_13());
    if established {
        story.sends(data(FINISHED)).gets(data(250));
    }
    let event = LibraryEvent {
        task: task(pid, "other"),
        loose: true,
        ..failed(134)
    };
    tell(&mut story, event);
    assert_eq!(story.engine.stats().joins.doubtful, 1);
    story.closes().gets_fin().ends();
    assert_eq!(story.report().library, None);
}

/// It reads early data outside of the handshake's function, when the client's Finished is long there.
#[test]
fn a_server_that_is_slow_to_read_too_much_early_data() {
    let mut story = Story::server();
    let offer = Offer {
        psk: true,
        early_data: true,
        ..Offer::default()
    };
    let select = Selection {
        psk: true,
        ..SELECT_13
    };
    story
        .gets([client_hello(offer), change_cipher_spec(), data(2018)].concat())
        .sends(
            [
                server_hello(select),
                change_cipher_spec(),
                data(36),
                data(FINISHED),
            ]
            .concat(),
        )
        .gets([data(END_OF_EARLY_DATA), data(FINISHED)].concat());
    let event = LibraryEvent {
        task: task(NGINX, "nginx"),
        server: Some(true),
        loose: true,
        ..failed(164)
    };
    tell(&mut story, event);
    story.sends(data(ALERT)).gets_fin().closes().ends();
    let report = story.report();
    assert_eq!(report.verdict.cause, Cause::UnexpectedMessage);
    assert_eq!(report.verdict.initiator, Initiator::ServerApp);
    let early_data = report.early_data.map(|data| data.outcome);
    assert_eq!(early_data, Some(EarlyDataOutcome::Aborted));
}

#[test]
fn a_failure_on_the_way_is_forgotten_when_the_handshake_completes() {
    let mut story = Story::client();
    story
        .sends(client_hello(Offer::default()))
        .gets(flight_13());
    tell(&mut story, failed(134));
    story.sends(data(FINISHED));
    tell(&mut story, completed());
    story.gets(data(250)).sends(data(100)).gets(data(500));
    story.sends(data(ALERT)).closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(report.verdict.outcome, Outcome::Established);
    assert_eq!(report.library.as_ref().and_then(|said| said.reason), None);
}

/// WANT_READ looks like an unfinished handshake, and is no failure.
#[test]
fn a_library_that_waits_changes_nothing() {
    let mut story = Story::client();
    story.sends(client_hello(Offer::default()));
    tell(&mut story, said(LibraryMoment::HandshakeReturned));
    story
        .gets(flight_13())
        .sends(data(FINISHED))
        .gets(data(250));
    story.sends(data(100)).gets(data(500));
    story.sends(data(ALERT)).closes().gets_fin().ends();
    assert_eq!(story.report().verdict.outcome, Outcome::Established);
}

#[test]
fn alpn_of_tls_1_3_is_known() {
    for (selected, expected, notice) in [("h2", Some("h2"), false), ("", None, true)] {
        let mut story = Story::client();
        story
            .sends(hello_with_alpn())
            .gets(flight_13())
            .sends(data(FINISHED));
        let event = LibraryEvent {
            alpn: Some(selected.to_owned()),
            ..completed()
        };
        tell(&mut story, event);
        story.gets(data(250)).sends(data(100)).gets(data(500));
        story.sends(data(ALERT)).closes().gets_fin().ends();
        let report = story.report();
        assert_eq!(report.alpn.selected.as_deref(), expected);
        let told = report.notices.contains(&Notice::AlpnNotNegotiated);
        assert_eq!(told, notice, "{selected}");
    }
}

/// The wire shows early data of 40 bytes, then records of these sizes.
#[rstest]
#[case::pending(
    said(LibraryMoment::HandshakeReturned),
    false,
    &[END_OF_EARLY_DATA, FINISHED],
    EarlyDataOutcome::Accepted,
    false
)]
#[case::rejected_though_four_bytes_look_like_the_end(
    completed(),
    false,
    &[END_OF_EARLY_DATA, FINISHED],
    EarlyDataOutcome::Rejected,
    false
)]
#[case::accepted(
    completed(),
    true,
    &[END_OF_EARLY_DATA, FINISHED],
    EarlyDataOutcome::Accepted,
    false
)]
#[case::accepted_without_the_end(
    completed(),
    true,
    &[FINISHED],
    EarlyDataOutcome::Accepted,
    true
)]
fn the_library_knows_what_became_of_early_data(
    #[case] event: LibraryEvent,
    #[case] accepted: bool,
    #[case] sizes: &[usize],
    #[case] outcome: EarlyDataOutcome,
    #[case] contradiction: bool,
) {
    let mut story = Story::client();
    let offer = Offer {
        psk: true,
        early_data: true,
        ..Offer::default()
    };
    let psk = Selection {
        psk: true,
        ..SELECT_13
    };
    story.sends(client_hello(offer)).sends(data(40));
    let event = LibraryEvent {
        early_data_accepted: Some(accepted),
        ..event
    };
    let records = sizes.iter().copied().map(data);
    story
        .gets([server_hello(psk), data(36), data(FINISHED)].concat())
        .sends(records.collect::<Vec<_>>().concat());
    tell(&mut story, event);
    story.gets(data(250)).sends(data(100)).gets(data(500));
    story.sends(data(ALERT)).closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(report.early_data.map(|data| data.outcome), Some(outcome));
    let told = report.notices.contains(&Notice::Contradiction);
    assert_eq!(told, contradiction);
}

/// Both ends have the same random: the role decides.
#[test]
fn the_role_tells_the_two_ends_apart() {
    let mut story = Story::pair();
    story.sends(client_hello(Offer::default()));
    story.switch().gets(client_hello(Offer::default()));
    let server = LibraryEvent {
        task: task(NGINX, "nginx"),
        server: Some(true),
        ..failed(193)
    };
    tell(&mut story, server);
    story.sends(alert(2, 40)).closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(report.verdict.cause, Cause::NoSharedCipher);
    assert_eq!(report.verdict.initiator, Initiator::ServerApp);
    let mut unknown = failed(193);
    unknown.random = [8; 32];
    tell(&mut story, unknown);
    assert_eq!(story.engine.stats().joins.none, 1);
}

/// What Go says of a server that found no version in common: it never saw a ClientHello.
fn no_version() -> LibraryEvent {
    LibraryEvent {
        library: LibraryName::Go,
        random: [0; 32],
        server: Some(true),
        task: task(NGINX, "caddy"),
        ..said(LibraryMoment::Returned(GoError {
            kind: GoErrorKind::Message,
            text: Some("tls: client offered only unsupported versions: [303]".to_owned()),
            alert_sent: Some(70),
        }))
    }
}

#[test]
fn the_socket_leads_to_a_handshake_without_a_random() {
    for shows_socket in [true, false] {
        let mut story = Story::server();
        story.gets(client_hello(Offer::default()));
        story.library(no_version(), shows_socket);
        story.sends(alert(2, 70)).closes().gets_fin().ends();
        let report = story.report();
        assert_eq!(report.verdict.cause, Cause::ProtocolVersion);
        let joined_by = report.library.as_ref().map(|said| said.joined_by);
        assert_eq!(joined_by, shows_socket.then_some(JoinKey::Socket));
        let joins = story.engine.stats().joins;
        assert_eq!(joins.socket, u64::from(shows_socket));
        assert_eq!(joins.none, u64::from(!shows_socket));
    }
}

/// A client that connects and leaves makes every library complain. That is no handshake.
#[test]
fn a_socket_without_tls_has_no_library() {
    let mut story = Story::server();
    story.library(no_version(), true);
    story.gets_fin().closes().ends();
    assert_eq!(story.engine.stats().joins.none, 1);
    assert!(
        story
            .reports()
            .iter()
            .all(|report| report.library.is_none())
    );
}

#[test]
fn the_random_goes_before_the_socket() {
    let mut story = Story::client();
    story
        .sends(client_hello(Offer::default()))
        .gets(flight_13());
    let event = LibraryEvent {
        library: LibraryName::Go,
        ..said(LibraryMoment::Returned(GoError {
            kind: GoErrorKind::Hostname,
            text: Some("example.org".to_owned()),
            alert_sent: Some(42),
        }))
    };
    story.library(event, true);
    story.sends(data(ALERT)).closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(report.verdict.cause, Cause::CertificateHostnameMismatch);
    assert_eq!(report.verdict.initiator, Initiator::ClientApp);
    let library = report.library.as_ref().expect("the library spoke");
    assert_eq!(library.joined_by, JoinKey::ClientRandom);
    assert_eq!(library.reason_name.as_deref(), Some("x509.HostnameError"));
    assert_eq!(library.message.as_deref(), Some("example.org"));
}

/// OpenSSL's clients object in the clear, which Go's servers take for a record that does not decrypt.
#[test]
fn an_error_that_follows_from_the_peers_alert_is_not_the_cause() {
    let mut story = Story::server();
    story
        .gets(client_hello(Offer::default()))
        .sends(flight_13())
        .gets(alert(2, 48));
    let event = LibraryEvent {
        library: LibraryName::Go,
        server: Some(true),
        task: task(NGINX, "caddy"),
        ..said(LibraryMoment::Returned(GoError {
            kind: GoErrorKind::Other,
            text: None,
            alert_sent: Some(20),
        }))
    };
    story.library(event, true);
    story.sends(data(ALERT)).closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(report.verdict.cause, Cause::CertificateUnknownCa);
    assert_eq!(report.verdict.initiator, Initiator::ClientApp);
}

/// grpc-go leaves so fast that the server's next word may come too late, or be an answer to the goodbye.
#[rstest]
#[case::with_h2_only("h2", false, Cause::AlpnRejectedByApp)]
#[case::server_closes_first("h2", true, Cause::AlpnRejectedByApp)]
#[case::with_an_alternative("http/1.1", false, Cause::None)]
fn leaving_without_a_protocol(
    #[case] offer: &'static str,
    #[case] server_closes_first: bool,
    #[case] cause: Cause,
) {
    let mut story = Story::client();
    story
        .sends(client_hello(Offer {
            alpn: Some(offer),
            ..Offer::default()
        }))
        .gets(flight_13())
        .sends(data(FINISHED));
    let event = LibraryEvent {
        library: LibraryName::Go,
        ..completed()
    };
    tell(&mut story, event);
    story.sends(data(ALERT));
    if server_closes_first {
        story.gets(data(ALERT)).gets_fin().closes();
    } else {
        story.closes().gets_fin();
    }
    story.ends();
    let verdict = &story.report().verdict;
    assert_eq!(verdict.cause, cause);
    assert_eq!(verdict.confidence, Confidence::Likely);
}

/// grpc-java's client wants a protocol, and does not even send its Finished.
#[rstest]
#[case::only_http2("h2", true, Cause::AlpnRejectedByApp)]
#[case::another_way_to_go_on("http/1.1", true, Cause::ClosedByApp)]
#[case::its_library_was_not_done("h2", false, Cause::ClosedByApp)]
fn leaving_without_a_protocol_before_the_finished(
    #[case] offer: &'static str,
    #[case] done: bool,
    #[case] cause: Cause,
) {
    let mut story = Story::client();
    story
        .sends(client_hello(Offer {
            alpn: Some(offer),
            ..Offer::default()
        }))
        .gets(flight_13());
    let event = LibraryEvent {
        library: LibraryName::Boringssl,
        done: Some(done),
        ..completed()
    };
    tell(&mut story, event);
    story.closes().gets_fin().ends();
    let verdict = &story.report().verdict;
    assert_eq!(
        (verdict.outcome, verdict.initiator, verdict.cause),
        (Outcome::Failed, Initiator::ClientApp, cause)
    );
}

/// grpc-go's server, too, wants a protocol; it hangs up without reading.
#[rstest]
#[case::at_once("http/1.1", Some(false), Cause::AlpnRejectedByApp)]
#[case::with_a_request_unread("http/1.1", Some(true), Cause::AlpnRejectedByApp)]
#[case::after_an_answer("http/1.1", None, Cause::None)]
#[case::where_servers_speak_first("imap", Some(false), Cause::None)]
fn hanging_up_without_a_protocol(
    #[case] offer: &'static str,
    #[case] request_unread: Option<bool>,
    #[case] cause: Cause,
) {
    let mut story = Story::server();
    story
        .gets(client_hello(Offer {
            alpn: Some(offer),
            ..Offer::default()
        }))
        .sends(flight_13())
        .gets(data(FINISHED));
    let event = LibraryEvent {
        library: LibraryName::Go,
        server: Some(true),
        task: task(NGINX, "grpc"),
        ..completed()
    };
    tell(&mut story, event);
    match request_unread {
        Some(false) => story.sends(data(ALERT)).closes().gets_fin(),
        Some(true) => story
            .gets_unread(data(200))
            .sends(data(ALERT))
            .resets(Some(ResetReason::TCP_ABORT_ON_CLOSE)),
        None => story
            .gets(data(200))
            .sends(data(300))
            .sends(data(ALERT))
            .closes()
            .gets_fin(),
    };
    story.ends();
    assert_eq!(story.report().verdict.cause, cause);
}
