//! Delivery in pieces, out of order, twice, with holes: the same observations.

use super::*;

#[test]
fn one_byte_at_a_time() {
    for stream in STREAMS {
        let segments: Vec<Segment> = stream
            .iter()
            .enumerate()
            .map(|(offset, byte)| segment(offset, &[*byte]))
            .collect();
        assert_eq!(deliver(&segments), whole(stream));
    }
}

#[test]
fn small_segments_backwards() {
    for stream in STREAMS {
        let chunks = stream.chunks(8).enumerate();
        let segments: Vec<Segment> = chunks
            .map(|(index, chunk)| segment(index * 8, chunk))
            .collect();
        assert_eq!(deliver(segments.iter().rev()), whole(stream));
    }
}

#[test]
fn two_parts_split_anywhere_in_either_order() {
    for stream in STREAMS {
        for at in 1..stream.len() {
            let parts = [segment(0, &stream[..at]), segment(at, &stream[at..])];
            assert_eq!(deliver(&parts), whole(stream), "split at {at}");
            assert_eq!(
                deliver(parts.iter().rev()),
                whole(stream),
                "split at {at}, late"
            );
        }
    }
}
