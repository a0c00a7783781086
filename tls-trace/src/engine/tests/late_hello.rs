//! A server that leaves before the client has said anything: whether that was to be TLS, only the
//! client's end can tell, and only later.

use rstest::rstest;

use super::{
    bytes::{Offer, client_hello},
    story::Story,
};
use crate::{
    event::TcpState,
    report::{Cause, Initiator, Outcome, Phase, Role},
};

/// The server accepts and closes; its socket goes to time-wait at once.
fn server_left() -> Story {
    let mut story = Story::pair();
    story.switch().closes().destroyed().switch().gets_fin();
    story
}

#[rstest]
#[case::at_once(10)]
#[case::after_a_while(5_000)]
fn a_late_hello_proves_that_it_was_tls(#[case] pause: u64) {
    let mut story = server_left();
    story.wait(pause).sends(client_hello(Offer::default()));
    story.gets_reset().destroyed().wait(1_000);
    let reports = story.reports();
    let server = reports.iter().find(|report| report.role == Role::Server);
    let verdict = &server.expect("a report of the server's end").verdict;
    assert_eq!(verdict.outcome, Outcome::Failed);
    assert_eq!(verdict.phase, Phase::Connected);
    assert_eq!(verdict.initiator, Initiator::ServerApp);
    assert_eq!(verdict.cause, Cause::ClosedByApp);
    assert_eq!(reports.len(), 2, "{reports:#?}");
}

#[test]
fn without_a_hello_it_was_nobodys_business() {
    let mut story = server_left();
    story.wait(5_000).closes().turn(TcpState::CLOSE);
    story.destroyed().wait(1_000);
    assert!(story.reports().iter().all(|r| r.role != Role::Server));
    assert_eq!(story.engine.stats().tracked, 0);
}
