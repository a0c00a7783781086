//! A server whose process did nothing that would tell who it is.

use super::{
    bytes::{Offer, client_hello},
    story::{Story, task},
};
use crate::{
    engine::Output,
    event::{EventKind, Task, TcpState},
    report::Cause,
};

/// The client left; the server has neither sent nor closed.
fn silent() -> Story {
    let mut story = Story::server();
    story.gets(client_hello(Offer::default()));
    story.wait(600).turn(TcpState::CLOSE_WAIT);
    let asked = |output: &Output| matches!(output, Output::HolderWanted(wanted) if wanted.connection == story.id);
    assert_eq!(
        story.outputs.iter().filter(|output| asked(output)).count(),
        1
    );
    story
}

#[test]
fn is_named_by_who_holds_its_socket() {
    let mut story = silent();
    story.event(EventKind::Held(task(200, "silent"))).wait(290);
    assert_eq!(story.reports().len(), 0, "late evidence may come");
    let report = story.wait(10).report();
    assert_eq!(report.verdict.cause, Cause::ServerSilent);
    assert_eq!(
        (report.pid, report.comm.as_deref()),
        (Some(200), Some("silent"))
    );
    // The answer is not something that happened on the connection.
    assert!(report.duration_ms < 601.0, "{}", report.duration_ms);
}

#[test]
fn is_reported_without_a_name_where_nobody_holds_it() {
    let mut story = silent();
    story.event(EventKind::Held(Task::default())).wait(300);
    assert_eq!(story.report().pid, None);
}

#[test]
fn an_answer_is_not_waited_for_long() {
    let mut story = silent();
    assert_eq!(story.wait(890).reports().len(), 0);
    assert_eq!(story.wait(10).report().pid, None);
    story.event(EventKind::Held(task(200, "late"))).wait(1000);
    assert_eq!(story.reports().len(), 1);
}

#[test]
fn what_its_process_does_is_not_waited_for_longer() {
    let mut story = silent();
    story.closes().ends();
    assert_eq!(story.report().comm.as_deref(), Some("nginx"));
}
