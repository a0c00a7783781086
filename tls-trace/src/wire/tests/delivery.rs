//! Delivery in pieces, out of order, twice, with holes: the same observations, or fewer.

use proptest::{prelude::*, sample::subsequence};
use rstest::rstest;

use super::*;
use crate::wire::StreamLoss;

fn has_lost(observations: &[Observation]) -> Option<u64> {
    observations
        .iter()
        .find_map(|observation| match observation.kind {
            ObservationKind::Lost(StreamLoss { bytes }) => Some(bytes),
            _ => None,
        })
}

/// The segments between cuts.
fn cut(stream: &[u8], cuts: &[usize]) -> Vec<Segment> {
    let cuts = cuts.iter().copied().filter(|at| *at < stream.len());
    let edges: Vec<usize> = [0].into_iter().chain(cuts).chain([stream.len()]).collect();
    edges
        .windows(2)
        .map(|edge| segment(edge[0], &stream[edge[0]..edge[1]]))
        .collect()
}

/// Every order of `items`.
fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let Some((first, rest)) = items.split_first() else {
        return vec![Vec::new()];
    };
    permutations(rest)
        .into_iter()
        .flat_map(|rest| {
            (0..=rest.len()).map(move |at| {
                let mut items = rest.clone();
                items.insert(at, first.clone());
                items
            })
        })
        .collect()
}

#[test]
fn one_byte_at_a_time() {
    for stream in STREAMS {
        let cuts: Vec<usize> = (1..stream.len()).collect();
        assert_eq!(deliver(&cut(stream, &cuts)), whole(stream));
    }
}

#[test]
fn small_segments_backwards() {
    for stream in STREAMS {
        let cuts: Vec<usize> = (8..stream.len()).step_by(8).collect();
        assert_eq!(deliver(cut(stream, &cuts).iter().rev()), whole(stream));
    }
}

#[test]
fn two_parts_split_anywhere_in_either_order() {
    for stream in STREAMS {
        for at in 1..stream.len() {
            let parts = cut(stream, &[at]);
            assert_eq!(deliver(&parts), whole(stream), "split at {at}");
            assert_eq!(
                deliver(parts.iter().rev()),
                whole(stream),
                "split at {at}, late"
            );
        }
    }
}

#[test]
fn six_segments_in_every_order() {
    // Cuts inside headers, messages and bodies.
    let segments = cut(TLS12.1, &[3, 80, 200, 510, 700]);
    assert_eq!(segments.len(), 6);
    for order in permutations(&segments) {
        assert_eq!(deliver(&order), whole(TLS12.1));
    }
}

/// A stream, and its segments in any order: up to six, some longer than up to the next, some twice.
fn shuffled() -> impl Strategy<Value = (&'static [u8], Vec<Segment>)> {
    let stream = prop::sample::select(STREAMS.to_vec());
    let cuts = subsequence((1..400).collect::<Vec<usize>>(), 0..6);
    let copies = prop::collection::vec(any::<prop::sample::Index>(), 0..4);
    (stream, cuts, 0_usize..40, copies).prop_flat_map(|(stream, cuts, overlap, copies)| {
        let mut segments = cut(stream, &cuts);
        for segment in &mut segments {
            let start = segment.seq.wrapping_sub(BASE) as usize;
            let end = stream.len().min(start + segment.payload.len() + overlap);
            *segment = self::segment(start, &stream[start..end]);
        }
        for copy in copies {
            segments.push(copy.get(&segments).clone());
        }
        (Just(stream), Just(segments).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn any_cuts_any_order_with_duplicates_and_overlaps((stream, segments) in shuffled()) {
        prop_assert_eq!(deliver(&segments), whole(stream));
    }

    #[test]
    fn missing_segments_never_invent_anything(
        stream in prop::sample::select(STREAMS.to_vec()),
        size in 1_usize..200,
        missing in prop::collection::vec(any::<bool>(), 1..30),
    ) {
        let cuts: Vec<usize> = (size..stream.len()).step_by(size).collect();
        let segments = cut(stream, &cuts);
        let seen = segments.iter().zip(missing.iter().cycle()).filter(|(_, missing)| !**missing);
        let observations = deliver(seen.map(|(segment, _)| segment));
        prop_assert!(whole(stream).starts_with(&observations));
    }

    #[test]
    fn captures_cut_short_never_invent_anything(
        stream in prop::sample::select(STREAMS.to_vec()),
        size in 1_usize..300,
        captured in 0_usize..300,
    ) {
        let cuts: Vec<usize> = (size..stream.len()).step_by(size).collect();
        let mut segments = cut(stream, &cuts);
        for segment in &mut segments {
            segment.payload.truncate(captured);
        }
        prop_assert!(whole(stream).starts_with(&deliver(&segments)));
    }
}

#[test]
fn a_hole_inside_an_encrypted_body_costs_nothing() {
    let observations = whole(TLS13.1);
    let ObservationKind::Encrypted(record) = &observations[3].kind else {
        panic!("the fourth is the certificate's record: {observations:?}");
    };
    let start = usize::try_from(observations[3].offset).unwrap() + 5;
    let end = start + usize::from(record.length);
    let segments = cut(TLS13.1, &[start, end]);
    assert_eq!(
        deliver([&segments[0], &segments[2]]),
        observations,
        "body missing"
    );
    assert_eq!(
        deliver([&segments[2], &segments[0]]),
        observations,
        "and out of order"
    );

    let segments = cut(TLS13.1, &[start + 10, end - 1]);
    assert_eq!(
        deliver([&segments[0], &segments[2]]),
        observations,
        "most of it"
    );

    let mut segments = cut(TLS13.1, &[end]);
    segments[0].payload.truncate(start);
    assert_eq!(deliver(&segments), observations, "body not captured");
}

#[test]
fn the_first_copy_wins() {
    let stream = TLS13.0;
    let garbage = vec![0xff; stream.len()];
    let late = [segment(0, stream), segment(0, &garbage)];
    assert_eq!(deliver(&late), whole(stream), "consumed before");
    let waiting = [
        segment(100, &stream[100..200]),
        segment(
            50,
            &[&stream[50..100], &garbage[100..200], &stream[200..250]].concat(),
        ),
        segment(0, &[&stream[..50], &garbage[50..100]].concat()),
        segment(250, &stream[250..]),
    ];
    assert_eq!(deliver(&waiting), whole(stream), "waiting behind a hole");
}

#[test]
fn what_waits_is_held_once() {
    let mut observations = Vec::new();
    let mut conversation = Conversation::default();
    conversation.set_base(Direction::Egress, BASE);
    let mut held = |from: usize, to: usize| {
        let segment = segment(from, &TLS13.0[from..to]);
        conversation.segment(Timestamp(0), &segment, &mut observations);
        conversation.held()
    };
    let piece = held(100, 200);
    assert_eq!(held(100, 200), piece, "the same");
    assert_eq!(held(120, 180), piece, "a part of it");
    assert_eq!(held(150, 220), piece + 20, "its end and more");
    assert_eq!(held(220, 230), piece + 30, "what follows");
    assert!(held(90, 240) > piece + 40, "more at both ends");
    assert_eq!(held(0, 90), 235, "only the message under way");
}

#[test]
fn a_hole_is_lost_when_no_more_can_fill_it() {
    let [first, _, mut third] = <[Segment; 3]>::try_from(cut(TLS13.0, &[100, 200])).unwrap();
    let waiting = deliver([&first, &third]);
    assert_eq!(has_lost(&waiting), None, "it may still come");

    third.last = true;
    let observations = deliver([&first, &third]);
    assert_eq!(has_lost(&observations), Some(100), "the source stops");
    assert_eq!(observations.last().map(|lost| lost.offset), Some(100));

    third.last = false;
    let mut observations = Vec::new();
    let mut conversation = Conversation::default();
    conversation.set_base(Direction::Egress, BASE);
    for segment in [&first, &third] {
        conversation.segment(Timestamp(0), segment, &mut observations);
    }
    conversation.finish(Timestamp(9), &mut observations);
    assert_eq!(has_lost(&observations), Some(100), "the connection ends");
    assert_eq!(conversation.held(), 0);
}

/// The acknowledgment of the other end's FIN comes after the own one, which has a number and no byte.
#[test]
fn the_fin_is_no_hole() {
    let mut last = segment(TLS13.0.len(), b"");
    last.flags = TcpFlags(TcpFlags::ACK | TcpFlags::FIN);
    let acknowledgment = segment(TLS13.0.len() + 1, b"");
    let mut observations = Vec::new();
    let mut conversation = Conversation::default();
    conversation.set_base(Direction::Egress, BASE);
    for segment in [&segment(0, TLS13.0), &last, &acknowledgment] {
        conversation.segment(Timestamp(0), segment, &mut observations);
    }
    conversation.finish(Timestamp(9), &mut observations);
    assert_eq!(has_lost(&observations), None);
}

#[test]
fn a_hole_is_lost_when_too_much_waits_behind_it() {
    let stream = vec![0x17; 100_000];
    let segments = cut(&stream, &(1000..100_000).step_by(1000).collect::<Vec<_>>());
    let observations = deliver(&segments[1..]);
    assert_eq!(
        kinds(&observations),
        [&ObservationKind::Lost(StreamLoss { bytes: 1000 })]
    );
}

#[test]
fn an_uncaptured_tail_is_lost_with_the_last_segment() {
    let mut cut_short = segment(0, TLS13.0);
    cut_short.payload.truncate(100);
    cut_short.last = true;
    let lost = u64::try_from(TLS13.0.len() - 100).unwrap();
    assert_eq!(has_lost(&deliver([&cut_short])), Some(lost));
}

#[test]
fn syn_takes_a_sequence_number_and_may_carry_data() {
    let mut syn = segment(0, &TLS13.0[..50]);
    syn.seq = BASE.wrapping_sub(1);
    syn.flags = TcpFlags(TcpFlags::SYN);
    let mut observations = Vec::new();
    let mut conversation = Conversation::default();
    for segment in [
        &syn,
        &segment(100, &TLS13.0[100..]),
        &segment(50, &TLS13.0[50..100]),
    ] {
        conversation.segment(Timestamp(0), segment, &mut observations);
    }
    assert_eq!(observations, whole(TLS13.0));
}

#[test]
fn without_a_base_the_stream_begins_with_the_first_payload() {
    let mut observations = Vec::new();
    let mut conversation = Conversation::default();
    let mut acknowledgment = segment(0, b"");
    acknowledgment.seq = 12345;
    for segment in [&acknowledgment, &segment(0, TLS13.0)] {
        conversation.segment(Timestamp(0), segment, &mut observations);
    }
    assert_eq!(observations, whole(TLS13.0));
}

#[test]
fn directions_do_not_mix() {
    let mut observations = Vec::new();
    let mut conversation = Conversation::default();
    let mut server = segment(7, TLS13.1);
    server.direction = Direction::Ingress;
    conversation.segment(Timestamp(1), &server, &mut observations);
    conversation.segment(Timestamp(2), &segment(0, TLS13.0), &mut observations);
    let client = observations.split_off(whole(TLS13.1).len());
    assert!(
        observations
            .iter()
            .all(|seen| seen.direction == Direction::Ingress)
    );
    assert!(observations.iter().all(|seen| seen.time == Timestamp(1)));
    assert_eq!(kinds(&client), kinds(&whole(TLS13.0)));
}

#[rstest]
#[case::keepalive_of_a_byte(-1, b"\0", TcpFlags::ACK)]
#[case::keepalive(-1, b"", TcpFlags::ACK)]
#[case::far_ahead(1 << 31, b"far", TcpFlags::ACK)]
#[case::beyond_any_window((1 << 30) + 1000, b"far", TcpFlags::ACK)]
#[case::far_behind(-(1 << 31), b"far", TcpFlags::ACK)]
#[case::reset_with_a_remark(0, b"go away", TcpFlags::RST)]
fn segments_that_carry_no_data_of_the_stream(
    #[case] ahead: i64,
    #[case] payload: &[u8],
    #[case] flags: u8,
) {
    let (first, second) = (segment(0, &TLS13.0[..99]), segment(99, &TLS13.0[99..]));
    let mut stray = segment(99, payload);
    stray.flags = TcpFlags(flags);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "modulo 2^32"
    )]
    let ahead = ahead as u32;
    stray.seq = stray.seq.wrapping_add(ahead);
    let mut observations = Vec::new();
    let mut conversation = Conversation::default();
    conversation.set_base(Direction::Egress, BASE);
    for segment in [&first, &stray, &second] {
        conversation.segment(Timestamp(0), segment, &mut observations);
    }
    conversation.finish(Timestamp(0), &mut observations);
    assert_eq!(observations, whole(TLS13.0));
}
