//! Segments that arrive in another order than they were sent, and those that arrive again.

use rstest::rstest;

use super::{
    bytes::{Offer, client_hello},
    story::Story,
};
use crate::report::Notice;

/// The parts of a ClientHello that came over the network, by number, and how often a part of it was
/// sent again.
#[rstest]
#[case(&[0, 1, 2], 0)]
#[case(&[0, 2, 1], 0)]
#[case(&[1, 2, 0], 0)]
#[case(&[2, 1, 0], 0)]
#[case(&[2, 0, 1], 0)]
#[case(&[0, 0, 1, 2], 1)]
#[case(&[0, 2, 1, 1], 1)]
#[case(&[0, 2, 0, 1, 2], 2)]
fn a_late_segment_is_not_one_sent_again(#[case] order: &[usize], #[case] again: u32) {
    let hello = client_hello(Offer::default());
    let parts: Vec<_> = hello.chunks(hello.len().div_ceil(3)).collect();
    let mut story = Story::server();
    let base = story.counters.rcv_nxt;
    for &part in order {
        let before: usize = parts[..part].iter().map(|part| part.len()).sum();
        story.counters.rcv_nxt = base.wrapping_add(u32::try_from(before).unwrap());
        story.gets_unread(parts[part]);
    }
    story.counters.rcv_nxt = base.wrapping_add(u32::try_from(hello.len()).unwrap());
    story.counters.copied_seq = story.counters.rcv_nxt;
    story.closes().gets_fin().ends();
    let report = story.report();
    assert_eq!(report.tcp.client_hello_retransmits, again);
    let told = report.notices.contains(&Notice::ClientHelloRetransmitted);
    assert_eq!(told, again > 0);
}
