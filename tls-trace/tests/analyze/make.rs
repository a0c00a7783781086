//! Makes captures of TLS connections.

use std::{net::Ipv4Addr, path::PathBuf};

use etherparse::PacketBuilder;
use tempfile::TempDir;

/// Where all servers are.
pub const SERVER: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 0, 0, 7), 443);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
/// Raw IP (<https://www.tcpdump.org/linktypes.html>).
const LINKTYPE_RAW: u32 = 101;
/// 2023-11-14T22:13:20Z.
const BEGIN: u32 = 1_700_000_000;
/// Handshake messages.
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// A packet, captured so many milliseconds after the beginning.
#[derive(Clone, Debug)]
pub struct Packet {
    pub milliseconds: u32,
    pub data: Vec<u8>,
}

/// One TCP connection with a packet each millisecond.
#[derive(Debug)]
pub struct Connection {
    port: u16,
    now: u32,
    sent: u32,
    received: u32,
    packets: Vec<Packet>,
}

impl Connection {
    /// Opens a connection from a port, so many milliseconds after the beginning.
    pub fn open(port: u16, milliseconds: u32) -> Self {
        let mut connection = Self {
            port,
            now: milliseconds,
            sent: 1000,
            received: 5000,
            packets: Vec::new(),
        };
        connection.packet(true, "S", b"");
        connection.packet(false, "SA", b"");
        connection.packet(true, "A", b"");
        connection
    }

    /// The client sends.
    pub fn send(mut self, payload: &[u8]) -> Self {
        self.packet(true, "A", payload);
        self
    }

    /// The server sends.
    pub fn receive(mut self, payload: &[u8]) -> Self {
        self.packet(false, "A", payload);
        self
    }

    /// Both close, the server first.
    pub fn close(mut self) -> Vec<Packet> {
        self.packet(false, "FA", b"");
        self.packet(true, "FA", b"");
        self.packet(false, "A", b"");
        self.packets
    }

    /// All packets so far.
    pub fn packets(self) -> Vec<Packet> {
        self.packets
    }

    fn packet(&mut self, from_client: bool, flags: &str, payload: &[u8]) {
        let (server, server_port) = SERVER;
        let (from, to, ports) = if from_client {
            (CLIENT, server, (self.port, server_port))
        } else {
            (server, CLIENT, (server_port, self.port))
        };
        let (seq, ack) = if from_client {
            (&mut self.sent, self.received)
        } else {
            (&mut self.received, self.sent)
        };
        let mut builder =
            PacketBuilder::ipv4(from.octets(), to.octets(), 64).tcp(ports.0, ports.1, *seq, 65535);
        let has = |flag| flags.contains(flag);
        if has('S') {
            builder = builder.syn();
        }
        if has('A') {
            builder = builder.ack(ack);
        }
        if has('F') {
            builder = builder.fin();
        }
        let length = u32::try_from(payload.len()).unwrap();
        *seq += length + u32::from(has('S') || has('F'));
        let mut data = Vec::new();
        builder.write(&mut data, payload).unwrap();
        self.packets.push(Packet {
            milliseconds: self.now,
            data,
        });
        self.now += 1;
    }
}

/// A client whose ClientHello the server answers with handshake_failure.
pub fn failed(port: u16, name: &str, milliseconds: u32) -> Vec<Packet> {
    Connection::open(port, milliseconds)
        .send(&client_hello(name))
        .receive(&record(21, &[2, 40]))
        .close()
}

/// An abbreviated handshake of TLS 1.2, some data, and the end.
pub fn established(port: u16, name: &str, milliseconds: u32) -> Vec<Packet> {
    let finished = [record(20, &[1]), record(22, &[9; 40])].concat();
    Connection::open(port, milliseconds)
        .send(&client_hello(name))
        .receive(&[server_hello(), finished.clone()].concat())
        .send(&finished)
        .send(&record(23, &[9; 90]))
        .receive(&record(23, &[9; 900]))
        .send(&record(21, &[9; 26]))
        .receive(&record(21, &[9; 26]))
        .close()
}

/// A record.
pub fn record(content_type: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    [&[content_type, 3, 3][..], &length.to_be_bytes(), content].concat()
}

/// A ClientHello with a server name, in a record.
pub fn client_hello(name: &str) -> Vec<u8> {
    let name_length = u16::try_from(name.len()).unwrap();
    let mut server_name = (name_length + 3).to_be_bytes().to_vec();
    server_name.push(0);
    server_name.extend(name_length.to_be_bytes());
    server_name.extend(name.as_bytes());
    let mut extensions = vec![0, 0];
    extensions.extend((name_length + 5).to_be_bytes());
    extensions.extend(server_name);
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    body.extend(extensions);
    handshake(CLIENT_HELLO, &body)
}

fn server_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([8; 32]);
    body.extend([0, 0xc0, 0x2f, 0, 0, 0]);
    handshake(SERVER_HELLO, &body)
}

fn handshake(message_type: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    record(22, &[&[message_type], &length[1..], body].concat())
}

/// A pcap file (draft-ietf-opsawg-pcap).
pub fn pcap(packets: &[Packet]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, LINKTYPE_RAW] {
        file.extend(u32::to_le_bytes(word));
    }
    for packet in packets {
        let length = u32::try_from(packet.data.len()).unwrap();
        let (seconds, rest) = (packet.milliseconds / 1000, packet.milliseconds % 1000);
        for word in [BEGIN + seconds, rest * 1000, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(&packet.data);
    }
    file
}

/// Files for one test.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn capture(&self, name: &str, packets: &[Packet]) -> PathBuf {
        self.file(name, &pcap(packets))
    }
}
