//! Connections that stay open.

use super::{bytes::*, story::Story};
use crate::{
    engine::rest::Resting,
    report::{Notice, Outcome},
};

/// A connection at rest, its slot and its node in the table fit in 256 bytes: 100,000 in 26 MB.
#[test]
fn a_connection_at_rest_is_small() {
    assert!(size_of::<Resting>() <= 200, "{}", size_of::<Resting>());
}

#[test]
fn rest_changes_nothing() {
    let offer = Offer {
        alpn: Some("h2"),
        ..Offer::default()
    };
    let used = |pause: u64| {
        let mut story = Story::client();
        let hello = client_hello(offer);
        story.sends(&hello).gets(flight_12(SELECT_12));
        story.sends(client_flight_12()).gets(server_end_12());
        story.sends(data(50)).gets(data(60)).wait(pause);
        story.retransmits(1).wait(pause).gets_reset().destroyed();
        story.report().clone()
    };
    let (brief, long) = (used(10), used(3_000));
    assert_eq!(long.verdict.outcome, Outcome::Broken);
    assert_eq!(long.notices, [Notice::AlpnNotNegotiated]);
    assert_eq!(brief.sni, long.sni);
    assert_eq!(brief.alpn, long.alpn);
    assert_eq!(brief.phases_ms, long.phases_ms);
    assert_eq!(brief.tcp, long.tcp);
    assert_eq!(brief.pid, long.pid);
    assert_eq!((brief.cipher, brief.resumed), (long.cipher, long.resumed));
    let facts = |report: &crate::report::Report| {
        let evidence = report.verdict.evidence.iter();
        evidence
            .map(|evidence| evidence.fact.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(facts(&used(10)), facts(&used(3_000)));
}
