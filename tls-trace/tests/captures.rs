//! Captures of real traffic with known answers: every ClientHello is found, named and fingerprinted.
//! They are not part of the project; where the folder is absent, nothing is tested.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use tls_trace::{
    event::{Direction, Event, EventKind},
    source::capture::{CaptureFile, Connections},
    wire::{Conversation, Limits, Observation, ObservationKind},
};

/// A ClientHello as `expected-ja4.tsv` names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    file: String,
    client: String,
    server: String,
    server_name: String,
    ja4: String,
}

#[test]
fn every_client_hello_of_the_captures() {
    let Some(folder) = folder() else {
        println!("captures: skipped: none here; TLS_TRACE_CAPTURES names their folder");
        return;
    };
    let mut expected = expected(&folder.join("expected-ja4.tsv"));
    expected.sort();
    let files: BTreeSet<&str> = expected.iter().map(|row| row.file.as_str()).collect();
    let found = files.iter().flat_map(|name| rows(name, &folder.join(name)));
    let mut found: Vec<Row> = found.collect();
    found.sort();
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

fn folder() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let folder = std::env::var_os("TLS_TRACE_CAPTURES").map_or_else(beside, PathBuf::from);
    folder.join("expected-ja4.tsv").exists().then_some(folder)
}

fn expected(path: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(path).expect("the expected rows");
    let row = |line: &str| {
        let [file, client, server, server_name, ja4] =
            <[&str; 5]>::try_from(line.split('\t').collect::<Vec<_>>()).expect("five columns");
        let [file, client, server, server_name, ja4] =
            [file, client, server, server_name, ja4].map(str::to_owned);
        Row {
            file,
            client,
            server,
            server_name,
            ja4,
        }
    };
    text.lines().skip(1).map(row).collect()
}

/// The first ClientHello of each connection.
fn rows(name: &str, path: &Path) -> Vec<Row> {
    let address = |address: SocketAddr| format!("{}|{}", address.ip(), address.port());
    let mut rows = Vec::new();
    for (local, remote, observations) in connections(path) {
        let hello = observations
            .iter()
            .find_map(|observation| match &observation.kind {
                ObservationKind::ClientHello(hello) => Some((observation.direction, hello)),
                _ => None,
            });
        let Some((direction, hello)) = hello else {
            continue;
        };
        let (client, server) = match direction {
            Direction::Egress => (local, remote),
            Direction::Ingress => (remote, local),
        };
        let server_name = hello.server_name.as_deref().unwrap_or_default();
        rows.push(Row {
            file: name.to_owned(),
            client: address(client),
            server: address(server),
            server_name: String::from_utf8_lossy(server_name).into_owned(),
            ja4: hello.ja4(),
        });
    }
    rows
}

/// Addresses and observations of each connection of a file.
fn connections(path: &Path) -> Vec<(SocketAddr, SocketAddr, Vec<Observation>)> {
    type Read = (SocketAddr, SocketAddr, Conversation, Vec<Observation>);
    let mut table: BTreeMap<u64, Read> = BTreeMap::new();
    for event in events(path) {
        let EventKind::Segment(segment) = event.kind else {
            continue;
        };
        let (_, _, conversation, observations) =
            table.entry(event.connection.0).or_insert_with(|| {
                (
                    segment.local,
                    segment.remote,
                    Conversation::new(Limits::default()),
                    Vec::new(),
                )
            });
        conversation.segment(event.time, &segment, observations);
    }
    table
        .into_values()
        .map(|(local, remote, _, observations)| (local, remote, observations))
        .collect()
}

fn events(path: &Path) -> Vec<Event> {
    let mut file = CaptureFile::open(path).expect("a capture");
    let mut connections = Connections::default();
    let mut events = Vec::new();
    while let Some(packet) = file.next_packet().expect("a packet") {
        connections.packet(&packet, &mut events);
    }
    connections.end(&mut events);
    events
}
