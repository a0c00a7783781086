//! Every way a handshake goes that is completed.

use rstest::rstest;

use super::{bytes::*, story::Story};
use crate::{
    engine::Output,
    event::ResetReason,
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

pub(super) fn failed(phase: Phase, initiator: Initiator, cause: Cause) -> Expected {
    (
        Outcome::Failed,
        phase,
        initiator,
        cause,
        Confidence::Certain,
    )
}

pub(super) fn likely(expected: Expected) -> Expected {
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

pub(super) fn hello() -> Vec<u8> {
    client_hello(Offer::default())
}

/// A client's TLS 1.3 handshake up to the server's session tickets.
pub(super) fn client_13() -> Story {
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
