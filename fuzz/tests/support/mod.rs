//! What the targets are made of.

use std::net::{Ipv4Addr, SocketAddr};

use tls_trace::event::{
    ConnectionId, Counters, Direction, Event, EventKind, Function, ResetReason, Segment, Socket,
    StateChange, Tail, TailPacket, Task, TcpFlags, TcpState, Timestamp,
};

/// Streams of real handshakes.
pub const SAMPLES: [&[u8]; 6] = [
    include_bytes!("../../../tls-trace/testdata/wire/tls13.client.bin"),
    include_bytes!("../../../tls-trace/testdata/wire/tls13.server.bin"),
    include_bytes!("../../../tls-trace/testdata/wire/tls12.client.bin"),
    include_bytes!("../../../tls-trace/testdata/wire/tls12.server.bin"),
    include_bytes!("../../../tls-trace/testdata/wire/tls13-hrr.client.bin"),
    include_bytes!("../../../tls-trace/testdata/wire/unknown-ca.client.bin"),
];

/// A segment of payload.
pub fn segment(direction: Direction, seq: usize, payload: &[u8]) -> Segment {
    Segment {
        direction,
        local: address(0),
        remote: address(1),
        seq: u32::try_from(seq).unwrap_or(u32::MAX),
        ack: 1,
        flags: TcpFlags(TcpFlags::ACK),
        ttl: 64,
        length: u32::try_from(payload.len()).unwrap_or(u32::MAX),
        payload: payload.to_vec().into(),
        task: Task::default(),
        last: false,
        listener: false,
    }
}

fn address(host: u8) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, host), 443 + u16::from(host)).into()
}

/// Events made of bytes: four for each, and payload from the samples or from the bytes themselves.
pub struct Script<'a> {
    input: &'a [u8],
    now: u64,
}

impl<'a> Script<'a> {
    pub fn new(input: &'a [u8]) -> Self {
        Self { input, now: 1_000 }
    }

    pub fn now(&self) -> Timestamp {
        Timestamp(self.now)
    }

    fn payload(&mut self, pick: u8) -> &'a [u8] {
        if pick < 64 {
            let taken = usize::from(pick).min(self.input.len());
            let (payload, rest) = self.input.split_at(taken);
            self.input = rest;
            return payload;
        }
        let sample = SAMPLES[usize::from(pick) % SAMPLES.len()];
        &sample[..sample.len() * (usize::from(pick) - 63) / 192]
    }
}

impl Iterator for Script<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let (&[kind, connection, a, b], rest) = self.input.split_first_chunk()?;
        self.input = rest;
        // Up to half a second.
        self.now += u64::from(a) * 2_000_000;
        let kind = match kind % 12 {
            0..=3 => {
                let direction = if kind & 0x80 == 0 {
                    Direction::Egress
                } else {
                    Direction::Ingress
                };
                let payload = self.payload(b);
                let seq = 1 + usize::from(a) * 16;
                EventKind::Segment(Segment {
                    flags: TcpFlags(kind >> 2),
                    last: a == 0xff,
                    listener: a == 0xfe,
                    ..segment(direction, if a < 16 { 1 } else { seq }, payload)
                })
            }
            4 | 5 => EventKind::State(StateChange {
                old: TcpState(a % 13),
                new: TcpState(b % 13),
                socket: socket(connection, a),
            }),
            6 => EventKind::Destroyed(socket(connection, a)),
            7 => EventKind::ResetSent {
                reason: (a > 0).then_some(ResetReason(u32::from(b))),
                task: Task::default(),
            },
            8 if a == 0xff => EventKind::Tail(Tail {
                packets: vec![TailPacket {
                    time: self.now(),
                    direction: Direction::Ingress,
                    record: (b > 0).then_some(u16::from(b)),
                }],
                sent: None,
                received: Some((self.now(), u32::from(a))),
            }),
            8 => EventKind::ResetReceived,
            9 => EventKind::SocketError {
                errno: u32::from(b),
            },
            10 => EventKind::Retransmit {
                state: TcpState(a % 13),
                seq: u32::from(a),
                end_seq: u32::from(b),
            },
            _ => EventKind::Function {
                function: match b % 3 {
                    0 => Function::SendFin,
                    1 => Function::ReceiveFin,
                    _ => Function::Accept,
                },
                task: Task::default(),
            },
        };
        Some(Event {
            time: self.now(),
            connection: ConnectionId(u64::from(connection % 4)),
            kind,
        })
    }
}

fn socket(connection: u8, number: u8) -> Socket {
    let next = 1 + u32::from(number);
    Socket {
        local: address(connection % 2),
        remote: address(1 - connection % 2),
        netns: 1,
        task: Task {
            pid: u32::from(number),
            exiting: number & 1 == 1,
            exit_signal: (number & 3 == 3).then_some(9),
            ..Task::default()
        },
        counters: (number & 4 == 4).then(|| Counters {
            snd_nxt: next,
            snd_una: 1,
            rcv_nxt: next,
            copied_seq: 1,
            ..Counters::default()
        }),
    }
}
