//! The engine alone, on one core.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use tls_trace::{
    engine::{Config, Engine, Output},
    event::{ConnectionId, Event, EventKind, Socket, Timestamp},
    sink::Sink as _,
    source::{
        live::{Live, Options},
        recording::{FlightRecorder, Header},
    },
};

use crate::{
    Effort,
    figure::{Figure, Section},
    handshake::{Server, Then, load},
    programs::count,
    usage,
};

/// Connections of a round.
const ROUND: u64 = 2_000;
/// Nanoseconds between the beginnings of two of them.
const APART: u64 = 20_000;
/// Events that the daemon's sinks take at once, and bytes that its flight recorder keeps by default.
const BATCH: usize = 64;
const FLIGHT: usize = 8 << 20;
/// ClientHello.random behind the headers of record and message and the version.
const RANDOM: std::ops::Range<usize> = 11..19;

pub fn measure(effort: Effort) -> Result<Section> {
    let time = effort.pick(Duration::from_secs(8), Duration::from_secs(2));
    let ends = record()?;
    let events_each = ends.iter().map(Vec::len).sum::<usize>();
    let mut engine = Engine::new(Config::default());
    let mut flight = FlightRecorder::new(&Header::new(0, Config::default()), FLIGHT);
    let mut outputs = Vec::new();
    let (mut busy, mut recording) = (Duration::ZERO, Duration::ZERO);
    let (mut events, mut reports, mut round) = (0, 0, 0);
    while busy < time {
        let batch = multiply(&ends, round);
        round += 1;
        let started = usage::thread_cpu()?;
        let mut ticked = Timestamp(0);
        for event in &batch {
            engine.event(event, &mut outputs);
            // As often as the daemon does, and its sinks take what there is.
            if event.time.since(ticked) > Duration::from_millis(50) {
                ticked = event.time;
                engine.tick(event.time, &mut outputs);
                reports += reports_in(&outputs);
                outputs.clear();
            }
        }
        busy += usage::thread_cpu()?.saturating_sub(started);
        let started = usage::thread_cpu()?;
        for events in batch.chunks(BATCH) {
            flight.events(events);
        }
        recording += usage::thread_cpu()?.saturating_sub(started);
        events += batch.len() as u64;
    }
    engine.finish(engine_end(round), &mut outputs);
    reports += reports_in(&outputs);
    let connections = round * ROUND * 2;
    ensure!(
        reports == connections,
        "{connections} ends made {reports} reports"
    );
    let recorded = recording.as_secs_f64() / count(events);
    let each = busy.as_secs_f64() / count(events);
    Ok(Section {
        title: "Engine",
        method: format!(
            "The events of both ends of a TLS 1.3 handshake and of its close, as the live source \
             gave them on this machine ({events_each} for the two), multiplied to {} connections \
             that begin {} µs apart, with addresses and ClientHello.random of their own; one \
             thread, reports included, sinks not; {:.0} s of its CPU time. The flight recorder keeps \
             the latest {} MiB of the same events.",
            connections / 2,
            APART / 1000,
            busy.as_secs_f64(),
            FLIGHT >> 20,
        ),
        figures: vec![
            Figure::new("events/s", 1.0 / each, "").at_least(2e6),
            Figure::new("an event", each * 1e9, "ns"),
            Figure::new(
                "a connection, from its first event to its report",
                busy.as_secs_f64() * 1e6 / count(connections),
                "µs",
            ),
            Figure::new("an event in the flight recorder", recorded * 1e9, "ns"),
            Figure::new("engine with it : without it", (each + recorded) / each, ""),
        ],
    })
}

fn reports_in(outputs: &[Output]) -> u64 {
    let reports = outputs
        .iter()
        .filter(|output| matches!(output, Output::Report(_)));
    reports.count() as u64
}

fn engine_end(rounds: u64) -> Timestamp {
    Timestamp((rounds + 2) * ROUND * APART + 10_000_000_000)
}

/// The events of both ends of one connection, from the running kernel; times from 0 on.
fn record() -> Result<[Vec<Event>; 2]> {
    let runtime = tokio::runtime::Runtime::new()?;
    let _entered = runtime.enter();
    let mut live = Live::start(&Options::default())?;
    let server = Server::start(1, Then::Close)?;
    let mut events = Vec::new();
    // The last of a few: by then everything is warm.
    load(server.port, 1, 100.0, Duration::from_millis(50))?;
    let deadline = Instant::now() + Duration::from_millis(200);
    while Instant::now() < deadline {
        live.drain(&mut events);
        thread::sleep(Duration::from_millis(5));
    }
    let mut ends: BTreeMap<ConnectionId, Vec<Event>> = BTreeMap::new();
    for event in events {
        ends.entry(event.connection).or_default().push(event);
    }
    let port_of = |events: &[Event]| {
        let addresses = events.iter().find_map(addresses)?;
        let ports = [addresses.0.port(), addresses.1.port()];
        ports.contains(&server.port).then_some(ports)
    };
    let mut ours: Vec<_> = ends
        .into_values()
        .filter_map(|events| Some((port_of(&events)?, events)))
        .collect();
    let (_, second) = ours.pop().unwrap_or_default();
    let (_, first) = ours.pop().unwrap_or_default();
    let start = first
        .iter()
        .chain(&second)
        .map(|event| event.time.0)
        .min()
        .unwrap_or_default();
    let mut both = [first, second];
    for events in &mut both {
        ensure!(
            events.len() > 8,
            "only these events of a connection: {events:?}"
        );
        for event in events {
            event.time.0 -= start;
        }
    }
    Ok(both)
}

/// Addresses that an event names, both of them.
fn addresses(event: &Event) -> Option<(SocketAddr, SocketAddr)> {
    let (local, remote) = match &event.kind {
        EventKind::State(change) => (change.socket.local, change.socket.remote),
        EventKind::Segment(segment) => (segment.local, segment.remote),
        _ => return None,
    };
    (local.port() != 0 && remote.port() != 0).then_some((local, remote))
}

/// Many connections like one, in order of time.
fn multiply(ends: &[Vec<Event>; 2], round: u64) -> Vec<Event> {
    let mut events = Vec::new();
    for number in round * ROUND..(round + 1) * ROUND {
        for (end, template) in ends.iter().enumerate() {
            for event in template {
                let mut event = event.clone();
                event.time.0 += 1_000_000_000 + number * APART;
                event.connection = ConnectionId(number * 2 + end as u64 + 1);
                distinguish(&mut event.kind, number);
                events.push(event);
            }
        }
    }
    events.sort_by_key(|event| event.time);
    events
}

/// Gives an event of connection `number` its own addresses and ClientHello.random.
fn distinguish(kind: &mut EventKind, number: u64) {
    match kind {
        EventKind::State(change) => socket(&mut change.socket, number),
        EventKind::Destroyed(gone) => socket(gone, number),
        EventKind::Segment(segment) => {
            address(&mut segment.local, number);
            address(&mut segment.remote, number);
            if segment.payload.first() == Some(&22) && segment.payload.get(5) == Some(&1) {
                let mut hello = segment.payload.to_vec();
                hello[RANDOM].copy_from_slice(&number.to_be_bytes());
                segment.payload = Bytes::from(hello);
            }
        }
        _ => {}
    }
}

fn socket(socket: &mut Socket, number: u64) {
    address(&mut socket.local, number);
    address(&mut socket.remote, number);
}

/// Both ends change alike, and so stay each other's peer.
fn address(address: &mut SocketAddr, number: u64) {
    if let SocketAddr::V4(address) = address {
        let [.., b, c, d] = number.to_be_bytes();
        address.set_ip([127, b, c, d].into());
    }
}
