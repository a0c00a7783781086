//! The packets of a connection, cut anywhere, in any order, some of them again: the same report. What
//! one end answers to the other still comes after it.

use std::fmt;

use proptest::prelude::*;

use super::bytes::*;
use crate::{
    engine::{Config, Engine, Output},
    event::{
        ConnectionId,
        Direction::{self, Egress, Ingress},
        Event, EventKind, Segment, Task, TcpFlags, Timestamp,
    },
    report::{Cause, Notice, PhasesMs, Report},
};

const ACK: u8 = TcpFlags::ACK;
const FIN: u8 = TcpFlags::FIN | ACK;
/// The server's sequence numbers wrap.
const BASES: [u32; 2] = [100, u32::MAX - 50];

/// What one end sends without hearing from the other.
type Turn = (Direction, Vec<u8>);

/// Part of a turn, or a copy of it that comes some turns later.
#[derive(Clone)]
struct Part {
    direction: Direction,
    seq: u32,
    ack: u32,
    payload: Vec<u8>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = BASES[self.direction as usize];
        let at = self.seq.wrapping_sub(base) as usize;
        write!(f, "{:?} {at}..{}", self.direction, at + self.payload.len())
    }
}

/// Handshakes that succeed, and some data.
fn completed() -> Vec<Vec<Turn>> {
    let hello = || client_hello(Offer::default());
    let retry = Selection {
        retry: true,
        ..SELECT_13
    };
    let select_psk = Selection {
        psk: true,
        ..SELECT_13
    };
    let early = Offer {
        psk: true,
        early_data: true,
        ..Offer::default()
    };
    let finished = || [change_cipher_spec(), data(FINISHED)].concat();
    let header = b"PROXY TCP4 192.0.2.9 192.0.2.2 40000 443\r\n".to_vec();
    let handshakes = [
        vec![
            (Egress, hello()),
            (Ingress, flight_13()),
            (Egress, finished()),
        ],
        vec![
            (Egress, [header, hello()].concat()),
            (Ingress, flight_13()),
            (Egress, finished()),
        ],
        vec![
            (Egress, hello()),
            (Ingress, server_hello(retry)),
            (Egress, hello()),
            (Ingress, flight_13()),
            (Egress, finished()),
        ],
        vec![
            (Egress, [client_hello(early), data(400)].concat()),
            (
                Ingress,
                [server_hello(select_psk), data(36), data(FINISHED)].concat(),
            ),
            (Egress, [data(END_OF_EARLY_DATA), data(FINISHED)].concat()),
        ],
        vec![
            (Egress, hello()),
            (Ingress, flight_12(SELECT_12)),
            (Egress, client_flight_12()),
            (Ingress, server_end_12()),
        ],
    ];
    let rest = [(Ingress, 250), (Egress, 50), (Ingress, 70), (Egress, ALERT)];
    let rest = rest.map(|(direction, length)| (direction, data(length)));
    handshakes
        .into_iter()
        .map(|turns| turns.into_iter().chain(rest.clone()).collect())
        .collect()
}

/// Conversations, and the cause that is found in each.
fn conversations() -> Vec<(Vec<Turn>, Cause)> {
    let hello = || client_hello(Offer::default());
    let request = b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n".to_vec();
    let response = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec();
    let failed = [
        (
            vec![(Egress, hello()), (Ingress, alert(2, 40))],
            Cause::HandshakeFailure,
        ),
        (
            vec![
                (Egress, hello()),
                (Ingress, flight_12(SELECT_12)),
                (Egress, alert(2, 48)),
            ],
            Cause::CertificateUnknownCa,
        ),
        (
            vec![
                (Egress, hello()),
                (Ingress, flight_13()),
                (Egress, [data(NO_CERTIFICATE), data(FINISHED)].concat()),
                (Ingress, data(ALERT)),
            ],
            Cause::CertificateRequired,
        ),
        (
            vec![(Egress, request), (Ingress, alert(2, 70))],
            Cause::PlainHttpToTlsPort,
        ),
        (
            vec![(Egress, hello()), (Ingress, response)],
            Cause::TlsToPlainHttp,
        ),
    ];
    let completed = completed().into_iter().map(|turns| (turns, Cause::None));
    completed.chain(failed).collect()
}

/// Each turn in segments that end at these permilles of it.
fn cut(turns: &[Turn], cuts: &[Vec<usize>]) -> Vec<Vec<Part>> {
    let mut next = BASES;
    let mut parts = Vec::new();
    for ((direction, bytes), cuts) in turns.iter().zip(cuts.iter().cycle()) {
        let side = *direction as usize;
        let mut edges: Vec<usize> = cuts.iter().map(|at| bytes.len() * at / 1000).collect();
        edges.extend([0, bytes.len()]);
        edges.sort_unstable();
        edges.dedup();
        let part = |edge: &[usize]| Part {
            direction: *direction,
            seq: next[side].wrapping_add(u32::try_from(edge[0]).unwrap()),
            ack: next[1 - side],
            payload: bytes[edge[0]..edge[1]].to_vec(),
        };
        parts.push(edges.windows(2).map(part).collect());
        next[side] = next[side].wrapping_add(u32::try_from(bytes.len()).unwrap());
    }
    parts
}

/// The report of a conversation whose parts arrive in this order; the server closes first.
fn report(parts: &[Part]) -> Report {
    let (mut engine, mut outputs) = (Engine::new(Config::default()), Vec::new());
    let mut now = 0;
    let mut tell = |kind| {
        now += 10_000;
        let event = Event {
            time: Timestamp(now),
            connection: ConnectionId(1),
            kind,
        };
        engine.event(&event, &mut outputs);
    };
    let segment = |direction: Direction, flags, seq, ack, payload: &[u8]| {
        EventKind::Segment(Segment {
            direction,
            local: "192.0.2.1:5000".parse().unwrap(),
            remote: "192.0.2.2:443".parse().unwrap(),
            seq,
            ack,
            flags: TcpFlags(flags),
            ttl: 64,
            length: u32::try_from(payload.len()).unwrap(),
            payload: payload.to_vec().into(),
            task: Task::default(),
            last: false,
            listener: false,
        })
    };
    let [client, server] = BASES;
    let before = |base: u32| base.wrapping_sub(1);
    tell(segment(Egress, TcpFlags::SYN, before(client), 0, b""));
    let flags = TcpFlags::SYN | ACK;
    tell(segment(Ingress, flags, before(server), client, b""));
    tell(segment(Egress, ACK, client, server, b""));
    let mut next = BASES;
    for part in parts {
        let end = part
            .seq
            .wrapping_add(u32::try_from(part.payload.len()).unwrap());
        let next = &mut next[part.direction as usize];
        if end.wrapping_sub(*next).cast_signed() > 0 {
            *next = end;
        }
        tell(segment(
            part.direction,
            ACK,
            part.seq,
            part.ack,
            &part.payload,
        ));
    }
    let [client, server] = next;
    tell(segment(Ingress, FIN, server, client, b""));
    tell(segment(Egress, FIN, client, server.wrapping_add(1), b""));
    tell(segment(
        Ingress,
        ACK,
        server.wrapping_add(1),
        client.wrapping_add(1),
        b"",
    ));
    tell(EventKind::Ended);
    let mut reports = outputs.into_iter().filter_map(|output| match output {
        Output::Report(report) => Some(*report),
        _ => None,
    });
    let mut report = reports.next().unwrap();
    assert_eq!(reports.next(), None);
    // More segments take longer.
    (report.ended, report.duration_ms) = (Timestamp(0), 0.0);
    report.phases_ms = PhasesMs::default();
    for evidence in &mut report.verdict.evidence {
        evidence.at_ms = 0.0;
        // The first bytes that tell what is spoken are quoted, however many came together.
        if let Some(at) = evidence.fact.find("in the clear: ") {
            evidence.fact.truncate(at);
        }
    }
    report
}

/// Without what tells that something was sent again.
fn without_copies(mut report: Report) -> Report {
    (report.tcp.retransmits, report.tcp.client_hello_retransmits) = (0, 0);
    let again = |notice: &Notice| *notice == Notice::ClientHelloRetransmitted;
    report.notices.retain(|notice| !again(notice));
    let evidence = &mut report.verdict.evidence;
    evidence.retain(|evidence| !evidence.fact.starts_with("ClientHello sent again"));
    report
}

/// A conversation, by number, and the same in order and out of order.
fn shuffled() -> impl Strategy<Value = (usize, Vec<Vec<Part>>)> {
    let conversations = conversations();
    let cuts = prop::collection::vec(prop::collection::vec(0..1000_usize, 0..5), 8);
    (0..conversations.len(), cuts).prop_flat_map(move |(number, cuts)| {
        let turns = cut(&conversations[number].0, &cuts);
        let turns: Vec<_> = turns
            .into_iter()
            .map(|turn| Just(turn).prop_shuffle())
            .collect();
        (Just(number), turns)
    })
}

#[test]
fn in_order() {
    for (number, (turns, cause)) in conversations().iter().enumerate() {
        let report = report(&cut(turns, &[vec![]]).concat());
        assert_eq!(report.verdict.cause, *cause, "{number}: {report:#?}");
        assert_eq!(report.tcp.retransmits, 0, "{number}");
    }
}

proptest! {
    #[test]
    fn any_cuts_in_any_order((number, turns) in shuffled()) {
        let whole = report(&cut(&conversations()[number].0, &[vec![]]).concat());
        let found = report(&turns.concat());
        prop_assert!(found == whole, "{found:#?}\n{whole:#?}");
    }

    #[test]
    fn some_again(
        (number, mut turns) in shuffled(),
        copies in prop::collection::vec(any::<[prop::sample::Index; 4]>(), 1..6),
    ) {
        for [from, which, to, place] in copies {
            let from = from.index(turns.len());
            let copy = which.get(&turns[from]).clone();
            let to = from + to.index(turns.len() - from);
            let place = place.index(turns[to].len() + 1);
            turns[to].insert(place, copy);
        }
        let whole = report(&cut(&conversations()[number].0, &[vec![]]).concat());
        let found = without_copies(report(&turns.concat()));
        prop_assert!(found == whole, "{found:#?}\n{whole:#?}");
    }
}
