//! What is recorded comes back, as far as the file goes.

mod redact;

use std::{borrow::Cow, io::Cursor};

use bytes::Bytes;

use super::*;
use crate::{
    engine::{self, Engine, Output},
    event::{
        ConnectionId, Counters, Direction, End, Event, EventKind, Function, ResetReason, Segment,
        Socket, StateChange, Tail, TailPacket, Task, TcpFlags, TcpState, Timestamp,
    },
    report::{Cause, Report},
    sink::Sink as _,
};

fn header() -> Header {
    Header::new(1_700_000_000_000_000_000, engine::Config::default())
}

fn event(connection: u64, microseconds: u64, kind: EventKind) -> Event {
    Event {
        time: Timestamp(microseconds * 1000),
        connection: ConnectionId(connection),
        kind,
    }
}

fn segment(direction: Direction, flags: u8, seq: u32, payload: &[u8]) -> EventKind {
    EventKind::Segment(Segment {
        direction,
        local: "10.0.0.9:51514".parse().unwrap(),
        remote: "10.0.0.7:443".parse().unwrap(),
        seq,
        ack: 0,
        flags: TcpFlags(flags),
        ttl: 64,
        length: u32::try_from(payload.len()).unwrap(),
        payload: Bytes::copy_from_slice(payload),
        task: Task::default(),
        last: false,
        listener: false,
    })
}

/// A connection that the server ends with an alert: protocol_version.
fn failing(connection: u64) -> Vec<Event> {
    use Direction::{Egress, Ingress};
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    let length = u8::try_from(hello.len()).unwrap();
    let record = [&[22, 3, 1, 0, length + 4, 1, 0, 0, length][..], &hello].concat();
    let kinds = [
        segment(Egress, TcpFlags::SYN, 99, b""),
        segment(Ingress, TcpFlags::SYN | TcpFlags::ACK, 499, b""),
        segment(Egress, TcpFlags::ACK, 100, &record),
        segment(Ingress, TcpFlags::ACK, 500, &[21, 3, 3, 0, 2, 2, 70]),
        segment(Ingress, TcpFlags::ACK | TcpFlags::FIN, 507, b""),
        EventKind::Ended,
    ];
    let event = |(index, kind)| event(connection, connection * 100 + index as u64, kind);
    kinds.into_iter().enumerate().map(event).collect()
}

/// One event of each kind.
fn all_kinds() -> Vec<Event> {
    let task = Task {
        pid: 7,
        tid: 8,
        cgroup: u64::MAX,
        comm: "Web Content".to_owned(),
        exiting: true,
        exit_signal: Some(9),
    };
    let socket = Socket {
        local: "[2001:db8::9]:51514".parse().unwrap(),
        remote: "10.0.0.7:443".parse().unwrap(),
        netns: 4_026_531_840,
        task: task.clone(),
        counters: Some(Counters {
            bytes_acked: 1 << 40,
            linger_zero: true,
            ..Counters::default()
        }),
    };
    let state = StateChange {
        old: TcpState::SYN_SENT,
        new: TcpState::ESTABLISHED,
        socket: socket.clone(),
    };
    let kinds = [
        EventKind::State(state),
        EventKind::Destroyed(socket.clone()),
        EventKind::ResetSent {
            reason: Some(ResetReason::TCP_STATE),
            task: task.clone(),
        },
        EventKind::ResetReceived,
        EventKind::SocketError { errno: 104 },
        EventKind::Retransmit {
            state: TcpState::ESTABLISHED,
            seq: 1,
            end_seq: 2,
        },
        EventKind::Function {
            function: Function::Accept,
            task: task.clone(),
        },
        EventKind::Held(task),
        EventKind::Tail(Tail {
            packets: vec![TailPacket {
                time: Timestamp(5),
                direction: Direction::Egress,
                record: Some(34),
            }],
            sent: Some((Timestamp(5), 77)),
            received: None,
        }),
        segment(Direction::Ingress, TcpFlags::ACK, u32::MAX, b"payload"),
        EventKind::Existing {
            socket,
            opened_by: Some(End::Remote),
        },
        EventKind::Ended,
    ];
    let event = |(index, kind)| event(u64::MAX, index as u64, kind);
    kinds.into_iter().enumerate().map(event).collect()
}

fn recording(items: &[Item]) -> Vec<u8> {
    let mut recorder = Recorder::new(Vec::new(), &header()).unwrap();
    for item in items {
        recorder.push(item);
    }
    recorder.close().unwrap()
}

/// The items of a file, and how it ended.
fn read(file: &[u8]) -> (Vec<Item<'static>>, Result<(), RecordingError>) {
    let mut items = Vec::new();
    let result = (|| {
        let mut recording = Recording::open(Cursor::new(file))?;
        while let Some(item) = recording.next_item()? {
            items.push(item);
        }
        Ok(())
    })();
    (items, result)
}

fn items() -> Vec<Item<'static>> {
    let mut items: Vec<_> = all_kinds()
        .into_iter()
        .map(Cow::Owned)
        .map(Item::Event)
        .collect();
    items.push(Item::Tick(Timestamp(5)));
    items.push(Item::Context(Cow::Owned(Context {
        id: ConnectionId(7),
        time: Some("2026-11-22T14:03:22.118000Z".to_owned()),
        comm: None,
        cgroup: Some("/a".to_owned()),
    })));
    items.push(Item::Finish(Timestamp(6)));
    items
}

#[test]
fn everything_comes_back() {
    let file = recording(&items());
    let recording = Recording::open(Cursor::new(&file)).unwrap();
    assert_eq!(*recording.header(), header());
    let (found, result) = read(&file);
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(found, items());
}

#[test]
fn frames_are_closed_before_they_are_long() {
    let mut items = Vec::new();
    for index in 0..40_u64 {
        let payload: Vec<u8> = (0..30_000_u64)
            .map(|byte| (byte * index % 251) as u8)
            .collect();
        let kind = segment(Direction::Egress, TcpFlags::ACK, 1, &payload);
        items.push(Item::Event(Cow::Owned(event(index, index, kind))));
    }
    let (found, result) = read(&recording(&items));
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(found, items);
}

#[test]
fn a_file_cut_anywhere_is_good_up_to_the_cut() {
    let mut recorder = Recorder::new(Vec::new(), &header()).unwrap();
    for item in items() {
        recorder.push(&item);
        recorder.flush();
    }
    let file = recorder.close().unwrap();
    let mut most = 0;
    for length in 0..file.len() {
        let (found, result) = read(&file[..length]);
        assert!(items().starts_with(&found), "{length}");
        assert!(found.len() >= most, "{length}");
        most = found.len();
        match result {
            Ok(()) => {}
            Err(RecordingError::NotARecording) => assert!(length < MAGIC.len(), "{length}"),
            Err(RecordingError::CutShort { offset }) => assert!(offset <= length as u64),
            Err(other) => panic!("{length}: {other}"),
        }
    }
    assert_eq!(most, items().len() - 1);
}

#[test]
fn damage_is_found_wherever_it_is() {
    let mut recorder = Recorder::new(Vec::new(), &header()).unwrap();
    for item in items() {
        recorder.push(&item);
        recorder.flush();
    }
    let file = recorder.close().unwrap();
    for index in 0..file.len() {
        let mut damaged = file.clone();
        damaged[index] ^= 0x10;
        let (found, result) = read(&damaged);
        assert!(items().starts_with(&found), "{index}");
        assert!(result.is_err(), "{index}");
    }
}

#[test]
fn not_a_recording() {
    let sentence = |file: &[u8]| read(file).1.unwrap_err().to_string();
    assert_eq!(sentence(b""), "it is not a recording of tls-trace");
    assert_eq!(
        sentence(b"\x89PNG\r\n\x1a\n\0\0\0\r"),
        "it is not a recording of tls-trace"
    );
    let mut other = recording(&[]);
    other[11] = 77;
    assert_eq!(
        sentence(&other),
        "it has version 77 of the format, this program reads version 1"
    );
    let mut long = MAGIC.to_vec();
    long.extend([0xff; 8]);
    assert_eq!(sentence(&long), "it is damaged at byte 12");
}

/// What the tracer does: each batch, then the context of its reports.
fn trace(events: &[Event], sink: &mut dyn crate::sink::Sink) -> Vec<Report> {
    let mut engine = Engine::new(engine::Config::default());
    let mut outputs = Vec::new();
    let mut reports = Vec::new();
    let mut deliver = |outputs: &mut Vec<Output>, sink: &mut dyn crate::sink::Sink| {
        for output in outputs.drain(..) {
            if let Output::Report(mut report) = output {
                report.time = Some(format!("time of {}", report.id.0));
                report.comm = Some("curl".to_owned());
                sink.report(&report);
                reports.push(*report);
            }
        }
    };
    for batch in events.chunks(4) {
        sink.events(batch);
        for event in batch {
            engine.event(event, &mut outputs);
        }
        deliver(&mut outputs, sink);
        let now = batch[0].time;
        sink.tick(now);
        engine.tick(now, &mut outputs);
        deliver(&mut outputs, sink);
    }
    let now = Timestamp(u64::MAX);
    sink.finish(now);
    engine.finish(now, &mut outputs);
    deliver(&mut outputs, sink);
    reports
}

fn replay(file: &[u8]) -> Vec<Report> {
    let mut recording = Recording::open(Cursor::new(file)).unwrap();
    let mut replay = Replay::new(recording.header(), None);
    let mut reports = Vec::new();
    while let Ok(Some(item)) = recording.next_item() {
        replay.item(item, &mut reports);
    }
    replay.end(&mut reports);
    reports
}

#[test]
fn a_replay_makes_the_same_reports() {
    let events: Vec<_> = (1..20).flat_map(failing).collect();
    let mut recorder = Recorder::new(Vec::new(), &header()).unwrap();
    let reports = trace(&events, &mut recorder);
    assert_eq!(reports.len(), 19);
    assert_eq!(reports[0].verdict.cause, Cause::ProtocolVersion);
    assert_eq!(replay(&recorder.close().unwrap()), reports);
}

#[test]
fn reports_of_a_recording_without_an_end() {
    let events = failing(3);
    let items: Vec<_> = events
        .into_iter()
        .map(Cow::Owned)
        .map(Item::Event)
        .collect();
    let reports = replay(&recording(&items[..4]));
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].verdict.cause, Cause::ProtocolVersion);
    // 303 µs after the clocks were compared.
    assert_eq!(
        reports[0].time.as_deref(),
        Some("2023-11-14T22:13:20.000303Z")
    );
}

#[test]
fn the_flight_recorder_keeps_the_latest() {
    let mut recorder = FlightRecorder::new(&header(), 200_000);
    let mut other = recorder.clone();
    for index in 0..300_u32 {
        // Random enough not to be compressed away.
        let payload: Vec<u8> = (0..4000_u32)
            .map(|byte| byte.wrapping_mul(index ^ 0x9e37_79b9).to_le_bytes()[2])
            .collect();
        let kind = segment(Direction::Egress, TcpFlags::ACK, index, &payload);
        recorder.events(&[event(index.into(), index.into(), kind)]);
    }
    let mut file = Vec::new();
    other.snapshot().write(&mut file).unwrap();
    let (found, result) = read(&file);
    assert!(result.is_ok(), "{result:?}");
    // 200 kB of items of 4 kB, in chunks of 64 KiB.
    assert!((34..50).contains(&found.len()), "{}", found.len());
    let Some(Item::Event(last)) = found.last() else {
        panic!("{found:?}");
    };
    assert_eq!(last.connection, ConnectionId(299));
    other.tick(Timestamp(1));
    let mut file = Vec::new();
    recorder.snapshot().write(&mut file).unwrap();
    assert_eq!(read(&file).0.last(), Some(&Item::Tick(Timestamp(1))));
}
