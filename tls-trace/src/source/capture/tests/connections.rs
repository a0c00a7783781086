//! Which packets are of one connection, who opened it, when it is over.

use rstest::rstest;

use super::make::{CLIENT, SERVER, Tcp, events, tcp};
use crate::{
    event::{Direction, Event, EventKind, Segment},
    source::capture::{Connections, Packet},
};

const CLIENT_HELLO: &[u8] = b"\x16\x03\x01\0\xc8\x01\0\0\xc4\x03\x03";
const SERVER_HELLO: &[u8] = b"\x16\x03\x03\0\x7a\x02\0\0\x76\x03\x03";

fn segments(events: &[Event]) -> Vec<(u64, &Segment)> {
    let segment = |event: &'_ Event| match &event.kind {
        EventKind::Segment(_) => Some(event.connection.0),
        _ => None,
    };
    let ids = events.iter().filter_map(segment);
    let found = events.iter().filter_map(|event| match &event.kind {
        EventKind::Segment(segment) => Some(segment),
        _ => None,
    });
    ids.zip(found).collect()
}

/// Connection ids of segments in order; an ended connection as its negative.
fn story(packets: &[Packet]) -> Vec<i64> {
    let id = |event: &Event| {
        let id = i64::try_from(event.connection.0).unwrap();
        match event.kind {
            EventKind::Ended => -id,
            _ => id,
        }
    };
    events(packets).iter().map(id).collect()
}

#[test]
fn the_sender_of_the_syn_is_local() {
    let packets = [tcp("S", 10, b"").at(0), tcp("SA", 20, b"").back().at(1)];
    let events = events(&packets);
    let found = segments(&events);
    let directions: Vec<_> = found.iter().map(|(_, segment)| segment.direction).collect();
    assert_eq!(directions, [Direction::Egress, Direction::Ingress]);
    for (id, segment) in found {
        assert_eq!(id, 1);
        assert_eq!(segment.local, CLIENT.parse().unwrap());
        assert_eq!(segment.remote, SERVER.parse().unwrap());
    }
}

#[test]
fn without_a_syn_the_hello_or_the_ports_tell() {
    let odd = |tcp: Tcp| tcp.between("10.0.0.9:400", "10.0.0.7:8443");
    let cases = [
        (tcp("SA", 1, b"").back(), Direction::Ingress),
        (odd(tcp("A", 1, CLIENT_HELLO)), Direction::Egress),
        (odd(tcp("A", 1, SERVER_HELLO)).back(), Direction::Ingress),
        (tcp("A", 1, b""), Direction::Egress),
        (tcp("A", 1, b"").back(), Direction::Ingress),
    ];
    for (tcp, direction) in cases {
        let events = events(&[tcp.at(0)]);
        assert_eq!(segments(&events)[0].1.direction, direction, "{tcp:?}");
    }
}

#[test]
fn another_initial_sequence_number_is_another_connection() {
    let syn = |seq| tcp("S", seq, b"");
    let packets = [
        syn(10).identified(1).at(0),
        syn(10).identified(2).at(1000), // Sent again.
        tcp("SA", 20, b"").back().at(1001),
        tcp("A", 11, b"x").at(1002),
        syn(4000).at(2000),
        tcp("A", 4001, b"x").at(2001),
    ];
    assert_eq!(story(&packets), [1, 1, 1, 1, -1, 2, 2]);
}

#[test]
fn an_answer_captured_before_the_question() {
    let packets = [tcp("SA", 20, b"").back().at(0), tcp("S", 10, b"").at(0)];
    assert_eq!(story(&packets), [1, 1]);
    // A SYN after the middle of another connection begins a new one.
    let packets = [tcp("A", 1, b"x").at(0), tcp("S", 10, b"").at(1)];
    assert_eq!(story(&packets), [1, -1, 2]);
}

#[test]
fn closed_by_both_ends_and_quiet() {
    let packets = [
        tcp("S", 10, b"").at(0),
        tcp("FA", 11, b"").at(10),
        tcp("FA", 21, b"").back().at(20),
        tcp("A", 12, b"").at(900), // Not quiet yet.
        tcp("S", 1, b"")
            .between("10.0.0.1:1", "10.0.0.2:2")
            .at(1500),
        tcp("S", 1, b"")
            .between("10.0.0.1:3", "10.0.0.2:2")
            .at(1901),
        tcp("A", 12, b"").at(2000), // Over: not heard.
        tcp("S", 99, b"").at(2001),
    ];
    assert_eq!(story(&packets), [1, 1, 1, 1, 2, -1, 3, 4]);
    let events = events(&packets);
    let end = events.iter().find(|event| event.kind == EventKind::Ended);
    assert_eq!(
        end.unwrap().time,
        packets[3].time,
        "the time of its last packet"
    );
}

#[test]
fn reset_and_quiet() {
    let packets = [
        tcp("S", 10, b"").at(0),
        tcp("RA", 0, b"").back().at(1),
        tcp("S", 1, b"")
            .between("10.0.0.1:1", "10.0.0.2:2")
            .at(1002),
    ];
    assert_eq!(story(&packets), [1, 1, -1, 2]);
}

#[test]
fn the_end_of_the_capture_ends_everything() {
    let packets = [
        tcp("S", 10, b"").at(0),
        tcp("S", 1, b"").between("10.0.0.1:1", "10.0.0.2:2").at(500),
        tcp("RA", 0, b"")
            .between("10.0.0.2:2", "10.0.0.1:1")
            .at(501),
        tcp("A", 11, b"x").at(700),
    ];
    let mut connections = Connections::default();
    let mut events = Vec::new();
    for packet in &packets {
        connections.packet(packet, &mut events);
    }
    let open: Vec<_> = connections.open().collect();
    events.clear();
    connections.end(&mut events);
    let ends: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.connection.0,
                event.time,
                event.kind == EventKind::Ended,
            )
        })
        .collect();
    assert_eq!(
        ends,
        [(2, packets[2].time, true), (1, packets[3].time, true)]
    );
    let open: Vec<_> = open.iter().map(|(id, last)| (id.0, *last)).collect();
    assert_eq!(open, [(2, packets[2].time), (1, packets[3].time)]);
    // A capture that does not continue this one has connections of its own.
    events.clear();
    let id = connections.packet(&packets[3], &mut events);
    assert_eq!(id.map(|id| id.0), Some(3));
}

#[test]
fn a_packet_captured_twice_is_one() {
    let marked = tcp("A", 11, b"x").identified(5);
    let unmarked = tcp("A", 12, b"x");
    let mut forwarded = marked.ip();
    forwarded[8] -= 1; // TTL
    forwarded[36] ^= 0xff; // Checksum of TCP, left to the network card.
    let forwarded = super::make::packet(12, crate::source::capture::LinkType::RAW, forwarded);
    let mut connections = Connections::default();
    let mut events = Vec::new();
    let packets = [
        marked.at(0),
        forwarded,
        marked.at(300),
        unmarked.at(301),
        unmarked.at(302),
        // Nothing but time tells a retransmission from a copy.
        unmarked.at(500),
        // Sent again, with another number.
        tcp("A", 11, b"x").identified(6).at(501),
    ];
    for packet in &packets {
        connections.packet(packet, &mut events);
    }
    assert_eq!(events.len(), 4);
    assert_eq!(connections.counts().copies, 3);
    assert_eq!(connections.counts().segments, 7);
}

/// Of a long connection: its beginning, then what changes it and where its streams were by then.
#[rstest]
#[case::large_segments(1000, 256)]
#[case::small_segments(1, 4096)]
fn the_middle_of_a_long_connection_is_passed_over(#[case] length: u16, #[case] heard: u32) {
    const SEGMENTS: u32 = 5000;
    let payload = vec![b'x'; length.into()];
    let seq = |index: u32| 11 + index * u32::from(length);
    let mut packets = vec![tcp("S", 10, b"").at(0), tcp("SA", 20, b"").back().at(1)];
    for index in 0..SEGMENTS {
        packets.push(tcp("A", seq(index), &payload).at(2 + u64::from(index)));
    }
    packets.push(tcp("A", 21, b"").back().at(6000));
    packets.push(tcp("FA", seq(SEGMENTS), b"").at(6001));
    let events = events(&packets);
    let found = segments(&events);
    let (first, last) = found.split_at(usize::try_from(heard).unwrap() - 1);
    assert_eq!(first.last().unwrap().1.seq, seq(heard - 4));
    let last: Vec<_> = last
        .iter()
        .map(|(_, segment)| (segment.direction, segment.seq))
        .collect();
    let expected = [
        (Direction::Egress, seq(heard - 3)),
        (Direction::Egress, seq(SEGMENTS - 1)),
        (Direction::Ingress, 21),
        (Direction::Egress, seq(SEGMENTS)),
    ];
    assert_eq!(last, expected);
}
