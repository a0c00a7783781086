//! Any events in any order: no panic, one report at most for each connection, bounded memory, and the
//! same again for the same events.

use std::collections::HashMap;

use proptest::prelude::*;

use super::bytes::*;
use crate::{
    engine::{Config, Engine, Output},
    event::{
        ConnectionId, Counters, Direction, End, Event, EventKind, Function, ResetReason, Segment,
        Socket, StateChange, Tail, TailPacket, Task, TcpFlags, TcpState, Timestamp,
    },
};

const MAX_CONNECTIONS: usize = 4;

/// What happens to the engine.
#[derive(Clone, Debug)]
enum Step {
    Event(Event),
    Tick(Timestamp),
}

fn payloads() -> impl Strategy<Value = Vec<u8>> {
    let hello = client_hello(Offer {
        alpn: Some("h2"),
        psk: true,
        early_data: true,
    });
    let retry = Selection {
        retry: true,
        ..SELECT_13
    };
    prop_oneof![
        Just(hello.clone()),
        Just(hello[..40].to_vec()),
        Just(flight_13()),
        Just(server_hello(retry)),
        Just(flight_12(SELECT_12)),
        Just(client_flight_12()),
        Just(server_end_12()),
        Just(data(FINISHED)),
        Just(data(ALERT)),
        Just(data(NO_CERTIFICATE)),
        Just(alert(2, 48)),
        Just(b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        Just(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ]
}

fn tasks() -> impl Strategy<Value = Task> {
    (0..3_u32, any::<bool>(), prop::option::of(0..16_u8)).prop_map(|(pid, exiting, exit_signal)| {
        Task {
            pid,
            comm: format!("program {pid}"),
            exiting,
            exit_signal,
            ..Task::default()
        }
    })
}

fn sockets() -> impl Strategy<Value = Socket> {
    let numbers = prop::array::uniform5(prop_oneof![Just(0), Just(1000), 995..1200_u32]);
    let ports = (0..3_u16, 0..3_u16);
    (ports, tasks(), prop::option::of(numbers), any::<bool>()).prop_map(
        |((local, remote), task, numbers, linger_zero)| Socket {
            local: ([127, 0, 0, 1], local).into(),
            remote: ([127, 0, 0, 1], remote).into(),
            netns: 1,
            task,
            counters: numbers.map(|numbers| Counters {
                bytes_acked: numbers[4].into(),
                bytes_received: numbers[4].into(),
                snd_nxt: numbers[0],
                snd_una: numbers[1],
                rcv_nxt: numbers[2],
                copied_seq: numbers[3],
                linger_zero,
                ..Counters::default()
            }),
        },
    )
}

fn segments() -> impl Strategy<Value = EventKind> {
    let place = (any::<bool>(), 0..3_u16, 0..3_u16, 990..1600_u32);
    let marks = (
        any::<u8>(),
        0..4_u8,
        any::<bool>(),
        prop::bool::weighted(0.1),
    );
    (place, payloads(), tasks(), marks).prop_map(
        |((egress, local, remote, seq), payload, task, (flags, ttl, last, listener))| {
            EventKind::Segment(Segment {
                direction: if egress {
                    Direction::Egress
                } else {
                    Direction::Ingress
                },
                local: ([127, 0, 0, 1], local).into(),
                remote: ([127, 0, 0, 1], remote).into(),
                seq,
                ack: seq ^ 7,
                flags: TcpFlags(flags),
                ttl,
                length: u32::try_from(payload.len()).unwrap(),
                payload: payload.into(),
                task,
                last: last && listener,
                listener,
            })
        },
    )
}

fn kinds() -> impl Strategy<Value = EventKind> {
    let state = || (0..14_u8).prop_map(TcpState);
    let function = prop_oneof![
        Just(Function::SendFin),
        Just(Function::ReceiveFin),
        Just(Function::ReceiveReset),
        Just(Function::SendActiveReset),
        Just(Function::Accept),
    ];
    let opened_by = prop::option::of(prop_oneof![Just(End::Local), Just(End::Remote)]);
    let reason = prop::option::of((0..20_u32).prop_map(ResetReason));
    prop_oneof![
        4 => (state(), state(), sockets())
            .prop_map(|(old, new, socket)| EventKind::State(StateChange { old, new, socket })),
        6 => segments(),
        1 => sockets().prop_map(EventKind::Destroyed),
        1 => (reason, tasks()).prop_map(|(reason, task)| EventKind::ResetSent { reason, task }),
        1 => Just(EventKind::ResetReceived),
        1 => prop_oneof![Just(104), Just(110), Just(111), Just(113), 0..200_u32]
            .prop_map(|errno| EventKind::SocketError { errno }),
        1 => (state(), 990..1600_u32, 990..1600_u32)
            .prop_map(|(state, seq, end_seq)| EventKind::Retransmit { state, seq, end_seq }),
        1 => (function, tasks()).prop_map(|(function, task)| EventKind::Function { function, task }),
        1 => (sockets(), opened_by)
            .prop_map(|(socket, opened_by)| EventKind::Existing { socket, opened_by }),
        1 => Just(EventKind::Ended),
        1 => tasks().prop_map(EventKind::Held),
        1 => tails().prop_map(EventKind::Tail),
    ]
}

fn tails() -> impl Strategy<Value = Tail> {
    let times = || {
        prop_oneof![
            Just(Timestamp(u64::MAX)),
            (0..2_000_000_000_u64).prop_map(Timestamp)
        ]
    };
    let records = prop::option::of(prop_oneof![Just(34), Just(65), any::<u16>()]);
    let packet = (times(), any::<bool>(), records).prop_map(|(time, sent, record)| TailPacket {
        time,
        direction: if sent {
            Direction::Egress
        } else {
            Direction::Ingress
        },
        record,
    });
    let last = || prop::option::of((times(), 990..1600_u32));
    let packets = prop::collection::vec(packet, 0..16);
    (packets, last(), last()).prop_map(|(packets, sent, received)| Tail {
        packets,
        sent,
        received,
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let times = || (0..2_000_000_000_u64).prop_map(Timestamp);
    let events = (times(), 0..8_u64, kinds()).prop_map(|(time, connection, kind)| {
        Step::Event(Event {
            time,
            connection: ConnectionId(connection),
            kind,
        })
    });
    let step = prop_oneof![9 => events, 1 => times().prop_map(Step::Tick)];
    prop::collection::vec(step, 0..120)
}

fn run(steps: &[Step]) -> (Engine, Vec<Output>) {
    let mut engine = Engine::new(Config {
        max_connections: MAX_CONNECTIONS,
        ..Config::default()
    });
    let mut outputs = Vec::new();
    for step in steps {
        match step {
            Step::Event(event) => engine.event(event, &mut outputs),
            Step::Tick(now) => engine.tick(*now, &mut outputs),
        }
        assert!(engine.stats().tracked <= MAX_CONNECTIONS);
    }
    engine.finish(Timestamp(u64::MAX), &mut outputs);
    (engine, outputs)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_events(steps in steps()) {
        let (engine, outputs) = run(&steps);
        prop_assert_eq!(engine.stats().tracked, 0);
        prop_assert_eq!(engine.tracker.held_bytes, 0);
        let mut reports: HashMap<ConnectionId, usize> = HashMap::new();
        for output in &outputs {
            if let Output::Report(report) = output {
                *reports.entry(report.id).or_default() += 1;
                let times = report.verdict.evidence.iter().map(|evidence| evidence.at_ms);
                prop_assert!(times.is_sorted());
            }
        }
        prop_assert!(reports.values().all(|count| *count == 1), "{:?}", reports);
        prop_assert_eq!(run(&steps).1, outputs);
    }
}
