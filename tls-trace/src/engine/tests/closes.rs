//! Every signature of a close, on a client that has sent its ClientHello unless said otherwise.

use rstest::rstest;

use super::{
    bytes::{Offer, client_hello},
    story::{Story, task},
};
use crate::{
    event::{EventKind, Function, ResetReason, TcpState},
    report::{Cause, CloseKind, Confidence, Initiator, Outcome, Phase},
};

fn hello() -> Vec<u8> {
    client_hello(Offer::default())
}

fn client() -> Story {
    let mut story = Story::client();
    story.sends(hello());
    story
}

fn server() -> Story {
    let mut story = Story::server();
    story.gets(hello());
    story
}

#[track_caller]
fn assert_ended(story: &Story, initiator: Initiator, cause: Cause, kind: CloseKind) {
    let report = story.report();
    let verdict = &report.verdict;
    assert_eq!(
        (
            verdict.outcome,
            verdict.initiator,
            verdict.cause,
            report.tcp.close_kind
        ),
        (Outcome::Failed, initiator, cause, kind),
        "{report:#?}"
    );
}

#[test]
fn closed_by_app() {
    let mut story = server();
    story.closes().gets_fin().ends();
    assert_ended(
        &story,
        Initiator::ServerApp,
        Cause::ClosedByApp,
        CloseKind::Fin,
    );
}

#[test]
fn an_end_that_the_kernel_does_not_tell_is_asked_for() {
    let mut story = server();
    assert_eq!(story.lingering_after(3000), 0, "it is open");
    story.closes();
    let asked = [1000, 2000, 5000, 60_000, 5000, 5000].map(|ms| story.lingering_after(ms));
    assert_eq!(asked, [0, 1, 0, 0, 1, 0]);
    story.event(EventKind::Ended);
    assert_ended(
        &story,
        Initiator::ServerApp,
        Cause::ClosedByApp,
        CloseKind::Fin,
    );
    assert_eq!(story.lingering_after(0), 0);
}

#[test]
fn closed_by_peer() {
    let mut story = client();
    story.gets_fin().closes().ends();
    assert_ended(
        &story,
        Initiator::ServerApp,
        Cause::ClosedByPeer,
        CloseKind::Fin,
    );
}

#[rstest]
#[case::with_reason(Some(ResetReason::TCP_STATE))]
#[case::newer(Some(ResetReason::TCP_ABORT_ON_LINGER))]
#[case::linux_6_1(None)]
fn reset_linger(#[case] reason: Option<ResetReason>) {
    let mut story = client();
    story.counters.linger_zero = true;
    story.resets(reason).error(104).destroyed();
    assert_ended(
        &story,
        Initiator::ClientApp,
        Cause::ResetLinger,
        CloseKind::Reset,
    );
}

#[rstest]
#[case::with_reason(Some(ResetReason::TCP_ABORT_ON_CLOSE))]
#[case::linux_6_1(None)]
fn reset_unread_data(#[case] reason: Option<ResetReason>) {
    let mut story = Story::server();
    story.event(EventKind::Function {
        function: Function::Accept,
        task: task(200, "nginx"),
    });
    story.gets_unread(hello()).resets(reason).destroyed();
    assert_ended(
        &story,
        Initiator::ServerApp,
        Cause::ResetUnreadData,
        CloseKind::Reset,
    );
}

#[test]
fn reset_by_peer() {
    let mut story = client();
    story.gets_reset().destroyed();
    assert_ended(
        &story,
        Initiator::ServerApp,
        Cause::ResetByPeer,
        CloseKind::Reset,
    );
}

#[test]
fn a_late_report_of_an_rst_changes_nothing() {
    let mut story = client();
    story.turn(TcpState::CLOSE).error(104);
    let reason = Some(ResetReason::TCP_ABORT_ON_CLOSE);
    let task = task(100, "curl");
    story
        .event(EventKind::ResetSent { reason, task })
        .destroyed();
    assert_ended(
        &story,
        Initiator::ClientApp,
        Cause::ResetUnreadData,
        CloseKind::Reset,
    );
}

#[test]
fn reset_injected_by_ttl() {
    let mut story = Story::server();
    story
        .gets(hello())
        .reset_segment(255)
        .gets_reset()
        .destroyed();
    assert_ended(
        &story,
        Initiator::Network,
        Cause::ResetInjected,
        CloseKind::Reset,
    );
    let evidence = &story.report().verdict.evidence;
    assert!(
        evidence
            .iter()
            .any(|e| e.fact == "peer sent RST, TTL 255 against 61 before")
    );
}

#[rstest]
#[case::with_reason(Some(ResetReason::TCP_KEEPALIVE_TIMEOUT))]
#[case::linux_6_1(None)]
fn keepalive_timeout(#[case] reason: Option<ResetReason>) {
    let mut story = client();
    let task = task(0, "swapper/0");
    story.wait(100).event(EventKind::ResetSent { reason, task });
    story.turn(TcpState::CLOSE).error(110).destroyed();
    assert_ended(
        &story,
        Initiator::ClientKernel,
        Cause::KeepaliveTimeout,
        CloseKind::Timeout,
    );
}

#[test]
fn retransmit_timeout() {
    let mut story = server();
    story.acknowledge = false;
    story
        .sends([22, 3, 3, 0, 9])
        .wait(200)
        .retransmits(5)
        .wait(400)
        .retransmits(5);
    story.turn(TcpState::CLOSE).error(110).destroyed();
    assert_ended(
        &story,
        Initiator::ServerKernel,
        Cause::RetransmitTimeout,
        CloseKind::Timeout,
    );
}

#[test]
fn aborted_by_admin() {
    let mut story = client();
    story.task = task(999, "ss");
    let task = story.task.clone();
    story.error(103).event(EventKind::ResetSent {
        reason: Some(ResetReason::TCP_STATE),
        task,
    });
    story.turn(TcpState::CLOSE).destroyed();
    assert_ended(
        &story,
        Initiator::ClientKernel,
        Cause::AbortedByAdmin,
        CloseKind::Reset,
    );
    assert_eq!(story.report().comm.as_deref(), Some("curl"));
}

#[rstest]
#[case::with_reason(Some(ResetReason::TCP_STATE), false)]
#[case::linux_6_1(None, true)]
fn listener_closed(#[case] reason: Option<ResetReason>, #[case] accepts: bool) {
    let mut story = Story::server();
    if accepts {
        let function = Function::Accept;
        story.event(EventKind::Function {
            function,
            task: task(200, "nginx"),
        });
        story.id.0 += 1;
        story.state = TcpState::SYN_RECV;
        story.turn(TcpState::ESTABLISHED);
    }
    story
        .gets_unread(hello())
        .resets(reason)
        .error(104)
        .destroyed();
    assert_ended(
        &story,
        Initiator::ServerApp,
        Cause::ListenerClosed,
        CloseKind::Reset,
    );
}

#[test]
fn orphan_gives_up() {
    let mut story = client();
    story.closes().wait(200).retransmits(1);
    story.turn(TcpState::CLOSE).destroyed();
    assert_ended(
        &story,
        Initiator::ClientKernel,
        Cause::RetransmitTimeout,
        CloseKind::Timeout,
    );
}

#[rstest]
#[case::clean(false)]
#[case::with_unread_data(true)]
fn process_killed(#[case] reset: bool) {
    let mut story = client();
    story.task.exiting = true;
    story.task.exit_signal = Some(9);
    let kind = if reset {
        story
            .resets(Some(ResetReason::TCP_ABORT_ON_CLOSE))
            .destroyed();
        CloseKind::Reset
    } else {
        story.closes().gets_fin().ends();
        CloseKind::Fin
    };
    assert_ended(&story, Initiator::ClientApp, Cause::ProcessKilled, kind);
}

/// A server that was killed before it did anything with its connection is known by its reset, where the kernel says
/// that close(2) is the reason.
#[rstest]
#[case(Some(ResetReason::TCP_ABORT_ON_CLOSE), Some("nginx"))]
#[case(Some(ResetReason::TCP_KEEPALIVE_TIMEOUT), None)]
#[case::before_linux_6_10(None, None)]
fn who_resets_by_closing_is_known(#[case] reason: Option<ResetReason>, #[case] comm: Option<&str>) {
    let mut story = Story::server();
    story.gets_unread(hello()).resets(reason).destroyed();
    assert_eq!(story.report().comm.as_deref(), comm);
}

#[test]
fn a_dying_peer_does_not_make_this_end_killed() {
    let mut story = client();
    story.task.exiting = true;
    story.task.exit_signal = Some(9);
    story.gets_reset().destroyed();
    assert_ended(
        &story,
        Initiator::ServerApp,
        Cause::ResetByPeer,
        CloseKind::Reset,
    );
}

#[test]
fn an_exiting_process_was_not_killed() {
    let mut story = server();
    story.task.exiting = true;
    story.closes().gets_fin().ends();
    assert_ended(
        &story,
        Initiator::ServerApp,
        Cause::ClosedByApp,
        CloseKind::Fin,
    );
}

#[track_caller]
fn assert_not_connected(story: &Story, initiator: Initiator, cause: Cause) {
    let report = story.report();
    let verdict = &report.verdict;
    assert_eq!(
        (
            verdict.outcome,
            verdict.phase,
            verdict.initiator,
            verdict.cause,
            verdict.confidence
        ),
        (
            Outcome::Failed,
            Phase::Connect,
            initiator,
            cause,
            Confidence::Certain
        )
    );
    assert_eq!(report.tcp.close_kind, CloseKind::NeverOpened);
}

#[test]
fn connect_refused() {
    let mut story = Story::connecting();
    story.gets_reset().destroyed();
    assert_not_connected(&story, Initiator::ServerKernel, Cause::ConnectRefused);
}

#[test]
fn connect_timeout() {
    let mut story = Story::connecting();
    story.wait(1000).retransmits(1).wait(2000).retransmits(1);
    story.turn(TcpState::CLOSE).error(110).destroyed();
    assert_not_connected(&story, Initiator::ClientKernel, Cause::ConnectTimeout);
}

#[test]
fn connect_given_up() {
    let mut story = Story::connecting();
    story
        .wait(1000)
        .retransmits(1)
        .wait(500)
        .turn(TcpState::CLOSE)
        .destroyed();
    assert_not_connected(&story, Initiator::ClientApp, Cause::ConnectTimeout);
}

#[test]
fn connect_cancelled() {
    let mut story = Story::connecting();
    story.turn(TcpState::CLOSE).destroyed();
    assert_not_connected(&story, Initiator::ClientApp, Cause::ConnectCancelled);
}

#[rstest]
#[case::host(113)]
#[case::network(101)]
#[case::prohibited(13)]
fn unreachable_by_icmp(#[case] errno: u32) {
    let mut story = Story::connecting();
    story.turn(TcpState::CLOSE).error(errno).destroyed();
    assert_not_connected(&story, Initiator::Network, Cause::Unreachable);
}

/// Both sockets of a connection on this host; the client sent its ClientHello.
fn pair() -> Story {
    let mut story = Story::pair();
    story.sends(hello()).switch().gets(hello()).switch();
    story
}

fn causes(story: &Story) -> Vec<(u64, Initiator, Cause)> {
    let mut causes: Vec<_> = story
        .reports()
        .iter()
        .map(|report| (report.id.0, report.verdict.initiator, report.verdict.cause))
        .collect();
    causes.sort_unstable();
    causes
}

#[test]
fn both_ends_of_a_reset() {
    let mut story = pair();
    story.gets_reset().destroyed();
    // The peer's RST is told of after it was taken.
    story
        .switch()
        .resets(Some(ResetReason::TCP_ABORT_ON_CLOSE))
        .destroyed()
        .wait(400);
    assert_eq!(
        causes(&story),
        [
            (1, Initiator::ServerApp, Cause::ResetByPeer),
            (2, Initiator::ServerApp, Cause::ResetUnreadData),
        ]
    );
    let peers: Vec<_> = story
        .reports()
        .iter()
        .map(|report| report.peer_report)
        .collect();
    assert!(peers.iter().all(Option::is_some));
}

#[test]
fn reset_injected_between_two_ends_on_this_host() {
    let mut story = pair();
    story.gets_reset().destroyed();
    // The server goes on for a while and closes later.
    story
        .switch()
        .wait(100)
        .closes()
        .gets_reset()
        .destroyed()
        .wait(400);
    assert_eq!(
        causes(&story)[0],
        (1, Initiator::Network, Cause::ResetInjected)
    );
}

#[test]
fn reset_by_the_peers_kernel() {
    let mut story = pair();
    let task = task(999, "ss");
    story
        .error(103)
        .event(EventKind::ResetSent { reason: None, task });
    story.switch().gets_reset().destroyed().switch();
    story.turn(TcpState::CLOSE).destroyed().wait(400);
    assert_eq!(
        causes(&story),
        [
            (1, Initiator::ClientKernel, Cause::AbortedByAdmin),
            (2, Initiator::ClientKernel, Cause::ResetByPeer),
        ]
    );
}

#[test]
fn a_client_hello_that_never_came() {
    let mut story = Story::pair();
    story.acknowledge = false;
    let hello = hello();
    story.sends(&hello).wait(200).retransmits(hello.len());
    story.turn(TcpState::CLOSE).error(110).destroyed();
    story.switch().closes().turn(TcpState::CLOSE).destroyed();
    assert_eq!(
        causes(&story),
        [
            (1, Initiator::ClientKernel, Cause::ClientHelloLost),
            (2, Initiator::ServerApp, Cause::ClientSilent),
        ]
    );
}

#[test]
fn the_peer_of_a_killed_process_was_not_kept_waiting() {
    let mut story = pair();
    story.task.exiting = true;
    story.task.exit_signal = Some(9);
    story.closes().switch().wait(600).gets_fin().closes().ends();
    story.switch().gets_fin().ends();
    assert_eq!(
        causes(&story),
        [
            (1, Initiator::ClientApp, Cause::ProcessKilled),
            (2, Initiator::ClientApp, Cause::ClosedByPeer),
        ]
    );
}
