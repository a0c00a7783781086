//! A listener whose accept queue is full.

use rstest::rstest;

use super::{
    bytes::{Offer, client_hello, flight_13},
    story::Story,
};
use crate::{
    event::{EventKind, TcpState},
    report::{Cause, Confidence, Initiator, Phase},
};

/// The server's kernel drops something that the client sent.
fn drops(story: &mut Story) {
    let (server, client, netns) = (story.remote, story.local, 4_026_531_840);
    story.event(EventKind::ListenOverflow {
        server,
        client,
        netns,
    });
}

#[rstest]
#[case::timeout(Some(110))]
#[case::given_up(None)]
fn a_dropped_syn(#[case] errno: Option<u32>) {
    let mut story = Story::connecting();
    drops(&mut story);
    story.wait(1_000).retransmits(1).turn(TcpState::CLOSE);
    if let Some(errno) = errno {
        story.error(errno);
    }
    story.destroyed();
    let verdict = &story.report().verdict;
    assert_eq!(verdict.phase, Phase::Connect);
    assert_eq!(verdict.initiator, Initiator::ServerKernel);
    assert_eq!(verdict.cause, Cause::ListenOverflow);
    assert_eq!(verdict.confidence, Confidence::Certain);
    let decisive = verdict.evidence.iter().find(|evidence| evidence.decisive);
    assert!(decisive.is_some_and(|e| e.fact.contains("accept queue")));
}

/// The client takes the connection for open.
#[test]
fn a_dropped_ack() {
    let mut story = Story::client();
    drops(&mut story);
    story.acknowledge = false;
    let hello = client_hello(Offer::default());
    story.sends(&hello).wait(200).retransmits(hello.len());
    story.closes().turn(TcpState::CLOSE).destroyed();
    let verdict = &story.report().verdict;
    assert_eq!(verdict.phase, Phase::ClientHello);
    assert_eq!(verdict.initiator, Initiator::ServerKernel);
    assert_eq!(verdict.cause, Cause::ListenOverflow);
}

/// A later attempt came through; what ended it is something else.
#[test]
fn only_late() {
    let mut story = Story::connecting();
    drops(&mut story);
    story.wait(1_000).retransmits(1).turn(TcpState::ESTABLISHED);
    let hello = client_hello(Offer::default());
    story
        .sends(hello)
        .gets(flight_13())
        .gets_reset()
        .destroyed();
    assert_eq!(story.report().verdict.cause, Cause::ResetByPeer);
}
