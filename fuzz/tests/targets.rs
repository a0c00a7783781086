//! Fuzz targets. `cargo test` runs each for a moment, first on its corpus; `cargo bolero test NAME` lets
//! libFuzzer look for more.

mod support;

use std::{collections::HashMap, io::Cursor, time::Duration};

use tls_trace::{
    engine::{Config, Engine, Output},
    event::{Direction, Timestamp},
    inspect::{self, inspect_source},
    source::{
        capture::{CaptureFile, Connections},
        recording::{Header, Recorder, Recording, Replay, redact},
    },
    wire::{ClientHello, Conversation, Limits, Observation, ServerHello},
};

use support::{SAMPLES, Script, segment};

/// What each target may take of a run of all tests.
const MOMENT: Duration = Duration::from_secs(2);

/// Bytes of both directions, in segments cut anywhere, mean the same as in one piece.
#[test]
fn records() {
    bolero::check!()
        .with_test_time(MOMENT)
        .for_each(|input: &[u8]| {
            let Some((&[split, size], bytes)) = input.split_first_chunk() else {
                return;
            };
            let (client, server) = bytes.split_at(bytes.len() * usize::from(split) / 256);
            let turns = [(Direction::Egress, client), (Direction::Ingress, server)];
            let pieces = told(&turns, usize::from(size).max(1));
            let whole = told(&turns, usize::MAX);
            let count = |kinds: &[Observation]| kinds.len();
            assert_eq!(count(&pieces), count(&whole), "{pieces:?}\n{whole:?}");
        });
}

fn told(turns: &[(Direction, &[u8])], size: usize) -> Vec<Observation> {
    let mut conversation = Conversation::new(Limits::default());
    let mut observations = Vec::new();
    for direction in [Direction::Egress, Direction::Ingress] {
        conversation.set_base(direction, 1);
    }
    for (direction, bytes) in turns {
        for (index, piece) in bytes.chunks(size.min(bytes.len().max(1))).enumerate() {
            let segment = segment(*direction, 1 + index * size, piece);
            conversation.segment(Timestamp(0), &segment, &mut observations);
            assert!(conversation.held() <= 2 * Limits::default().buffered_bytes);
        }
    }
    conversation.finish(Timestamp(0), &mut observations);
    observations
}

/// The bodies of hellos.
#[test]
fn handshake() {
    bolero::check!()
        .with_test_time(MOMENT)
        .for_each(|body: &[u8]| {
            let most = body.len() / 2;
            if let Some(hello) = ClientHello::parse(body) {
                assert!(hello.cipher_suites.len() <= most && hello.extensions.len() <= most);
            }
            if let Some(hello) = ServerHello::parse(body) {
                assert!(hello.extensions.len() <= most);
            }
        });
}

/// Segments of a real stream in any order, some of them twice, then all that are missing: nothing is
/// lost and nothing comes twice.
#[test]
fn reassembly() {
    bolero::check!()
        .with_test_time(MOMENT)
        .for_each(|input: &[u8]| {
            let Some((&sample, picks)) = input.split_first() else {
                return;
            };
            let stream = SAMPLES[usize::from(sample) % SAMPLES.len()];
            let mut conversation = Conversation::new(Limits::default());
            conversation.set_base(Direction::Egress, 1);
            let mut observations = Vec::new();
            let mut deliver = |from: usize, to: usize| {
                let segment = segment(Direction::Egress, 1 + from, &stream[from..to]);
                conversation.segment(Timestamp(0), &segment, &mut observations);
            };
            for pick in picks.chunks_exact(2) {
                let from = stream.len() * usize::from(pick[0]) / 256;
                deliver(from, (from + usize::from(pick[1])).min(stream.len()));
            }
            deliver(0, stream.len());
            let whole = told(&[(Direction::Egress, stream)], usize::MAX);
            assert_eq!(observations, whole);
        });
}

/// Any events: no panic, at most one report for each connection, and the same again.
#[test]
fn engine_events() {
    bolero::check!()
        .with_test_time(MOMENT)
        .for_each(|input: &[u8]| {
            let outputs = judged(input);
            let mut reports = HashMap::new();
            for output in &outputs {
                if let Output::Report(report) = output {
                    *reports.entry(report.id).or_insert(0) += 1;
                }
            }
            assert!(reports.values().all(|count| *count == 1), "{reports:?}");
            assert_eq!(judged(input), outputs);
        });
}

fn judged(input: &[u8]) -> Vec<Output> {
    let mut engine = Engine::new(Config::default());
    let mut outputs = Vec::new();
    let mut script = Script::new(input);
    for event in &mut script {
        engine.event(&event, &mut outputs);
        engine.tick(event.time, &mut outputs);
    }
    engine.finish(script.now(), &mut outputs);
    outputs
}

/// Files that may be captures, all the way to the reports.
#[test]
fn capture_files() {
    bolero::check!()
        .with_test_time(MOMENT)
        .with_max_len(16_384)
        .for_each(|file: &[u8]| {
            let Ok(mut file) = CaptureFile::read(Cursor::new(file.to_vec())) else {
                return;
            };
            let mut connections = Connections::default();
            let mut engine = Engine::new(Config::default());
            let (mut events, mut outputs) = (Vec::new(), Vec::new());
            // A few bytes of gzip may become very many packets.
            for _ in 0..2_000 {
                let Ok(Some(packet)) = file.next_packet() else {
                    break;
                };
                connections.packet(&packet, &mut events);
                for event in events.drain(..) {
                    engine.event(&event, &mut outputs);
                }
            }
            connections.end(&mut events);
            for event in events.drain(..) {
                engine.event(&event, &mut outputs);
            }
            engine.finish(connections.now(), &mut outputs);
        });
}

/// Recordings: files that may be one, and items that may be any, whose checksum is right. Where they can
/// be read they can be replayed and redacted, and the other recording has as many items.
#[test]
fn recordings() {
    bolero::check!()
        .with_test_time(MOMENT)
        .with_max_len(16_384)
        .for_each(|input: &[u8]| {
            replayed(input);
            let file = recording_of(input);
            let other = redact(Cursor::new(&file), Vec::new());
            if let (Some(items), Ok(other)) = (replayed(&file), other) {
                assert_eq!(replayed(&other), Some(items));
            }
        });
}

/// A recording with these bytes as its items.
fn recording_of(items: &[u8]) -> Vec<u8> {
    let header = Header::new(0, Config::default());
    let recorder = Recorder::new(Vec::new(), &header).expect("memory can be written");
    let mut file = recorder.close().expect("memory can be written");
    let body = zstd::bulk::compress(items, 1).expect("memory can be written");
    let length = u32::try_from(body.len()).expect("inputs are short");
    file.extend(length.to_le_bytes());
    file.extend(crc32fast::hash(&body).to_le_bytes());
    file.extend(body);
    file
}

/// Files that may be programs with a TLS library and no symbols: what is found is in the file, and the same is
/// found again.
#[test]
fn stripped_programs() {
    bolero::check!()
        .with_test_time(MOMENT)
        .with_max_len(32_768)
        .for_each(|file: &[u8]| {
            let file = file.to_vec();
            let inspected = || inspect_source(&file, inspect::Limits::default()).ok();
            let found = inspected();
            let stripped = found.as_ref().and_then(|found| found.stripped.as_ref());
            if let Some(stripped) = stripped {
                assert!(stripped.is_still_in(&file), "{stripped:?}");
            }
            assert_eq!(inspected(), found);
        });
}

/// How many items a recording has, told to an engine; `None` where it cannot be read to its end.
fn replayed(file: &[u8]) -> Option<usize> {
    let mut recording = Recording::open(file).ok()?;
    let mut replay = Replay::new(recording.header(), None);
    let mut reports = Vec::new();
    let mut items = 0;
    let result = loop {
        match recording.next_item() {
            Ok(Some(item)) => replay.item(item, &mut reports),
            Ok(None) => break Some(items),
            Err(_) => break None,
        }
        items += 1;
    };
    replay.end(&mut reports);
    result
}
