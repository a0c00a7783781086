//! Captures of real traffic with known answers: every ClientHello is found, named and fingerprinted.
//! They are not part of the project; where the folder is absent, nothing is tested.

use std::{
    collections::{BTreeSet, HashMap},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use pcap_file::{
    DataLink,
    pcap::PcapReader,
    pcapng::{Block, PcapNgReader},
};
use tls_trace::{
    event::{Direction, Segment, Task, TcpFlags, Timestamp},
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
        println!("skipped: no captures here; TLS_TRACE_CAPTURES names their folder");
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

type Pair = (SocketAddr, SocketAddr);

/// Addresses and observations of each connection of a file.
fn connections(path: &Path) -> Vec<(SocketAddr, SocketAddr, Vec<Observation>)> {
    let mut order: Vec<Pair> = Vec::new();
    let mut table: HashMap<Pair, (Conversation, Vec<Observation>)> = HashMap::new();
    for (link, frame) in packets(path) {
        let Some((from, to, mut segment)) = segment(link, &frame) else {
            continue;
        };
        let reverse = (to, from);
        let is_reverse = table.contains_key(&reverse);
        let pair = if is_reverse { reverse } else { (from, to) };
        if is_reverse {
            segment.direction = Direction::Ingress;
        }
        let (conversation, observations) = table.entry(pair).or_insert_with(|| {
            order.push(pair);
            (Conversation::new(Limits::default()), Vec::new())
        });
        conversation.segment(Timestamp(0), &segment, observations);
    }
    order
        .into_iter()
        .map(|pair| {
            let (_, observations) = table.remove(&pair).unwrap_or_default();
            (pair.0, pair.1, observations)
        })
        .collect()
}

/// The TCP segment in a frame.
fn segment(link: DataLink, frame: &[u8]) -> Option<(SocketAddr, SocketAddr, Segment)> {
    let sliced = match link {
        DataLink::ETHERNET => SlicedPacket::from_ethernet(frame),
        DataLink::NULL => SlicedPacket::from_ip(frame.get(4..)?),
        other => panic!("no capture here has link type {other:?}"),
    };
    let sliced = sliced.ok()?;
    let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else {
        return None;
    };
    let (source, destination) = match &sliced.net {
        Some(NetSlice::Ipv4(ip)) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        Some(NetSlice::Ipv6(ip)) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        _ => return None,
    };
    let local = SocketAddr::new(source, tcp.source_port());
    let remote = SocketAddr::new(destination, tcp.destination_port());
    let flags = [
        (TcpFlags::FIN, tcp.fin()),
        (TcpFlags::SYN, tcp.syn()),
        (TcpFlags::RST, tcp.rst()),
        (TcpFlags::ACK, tcp.ack()),
    ];
    let flags = flags
        .into_iter()
        .filter(|(_, set)| *set)
        .fold(0, |flags, (flag, _)| flags | flag);
    let segment = Segment {
        direction: Direction::Egress,
        local,
        remote,
        seq: tcp.sequence_number(),
        ack: tcp.acknowledgment_number(),
        flags: TcpFlags(flags),
        ttl: 64,
        length: u32::try_from(tcp.payload().len()).ok()?,
        payload: Bytes::copy_from_slice(tcp.payload()),
        task: Task::default(),
        last: false,
        listener: false,
    };
    Some((local, remote, segment))
}

/// The frames of a capture, pcap or pcapng whatever its name says, and their link type.
fn packets(path: &Path) -> Vec<(DataLink, Vec<u8>)> {
    let file = std::fs::read(path).expect("a capture");
    let mut packets = Vec::new();
    if !file.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a]) {
        let mut reader = PcapReader::new(&file[..]).expect("pcap");
        let link = reader.header().datalink;
        while let Some(packet) = reader.next_packet() {
            packets.push((link, packet.expect("a packet").data.into_owned()));
        }
        return packets;
    }
    let mut reader = PcapNgReader::new(&file[..]).expect("pcapng");
    let mut link = DataLink::ETHERNET;
    while let Some(block) = reader.next_block() {
        match block.expect("a block") {
            Block::EnhancedPacket(packet) => packets.push((link, packet.data.into_owned())),
            Block::InterfaceDescription(interface) => link = interface.linktype,
            _ => {}
        }
    }
    packets
}
