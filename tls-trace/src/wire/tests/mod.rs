//! Whole conversations: real ones of OpenSSL 3.0, and bytes no library would send.

mod delivery;
mod hostile;
mod prefaces;
mod samples;

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;

use super::{Conversation, Limits, Observation, ObservationKind};
use crate::event::{Direction, Segment, Task, TcpFlags, Timestamp};

/// Bytes of both directions of a connection, from `testdata/wire`.
macro_rules! sample {
    ($name:literal) => {
        (
            include_bytes!(concat!("../../../testdata/wire/", $name, ".client.bin")).as_slice(),
            include_bytes!(concat!("../../../testdata/wire/", $name, ".server.bin")).as_slice(),
        )
    };
}

const TLS13: (&[u8], &[u8]) = sample!("tls13");
const TLS12: (&[u8], &[u8]) = sample!("tls12");
const TLS13_HRR: (&[u8], &[u8]) = sample!("tls13-hrr");
const TLS13_EARLY_DATA: (&[u8], &[u8]) = sample!("tls13-early-data");
const TLS12_RESUMED: (&[u8], &[u8]) = sample!("tls12-resumed");
const TLS10: (&[u8], &[u8]) = sample!("tls10");
const CLIENT_CERTIFICATE: (&[u8], &[u8]) = sample!("client-certificate");
const NO_SHARED_CIPHER: (&[u8], &[u8]) = sample!("no-shared-cipher");
const UNKNOWN_CA: (&[u8], &[u8]) = sample!("unknown-ca");

/// Every direction of every sample.
const STREAMS: [&[u8]; 18] = [
    TLS13.0,
    TLS13.1,
    TLS12.0,
    TLS12.1,
    TLS13_HRR.0,
    TLS13_HRR.1,
    TLS13_EARLY_DATA.0,
    TLS13_EARLY_DATA.1,
    TLS12_RESUMED.0,
    TLS12_RESUMED.1,
    TLS10.0,
    TLS10.1,
    CLIENT_CERTIFICATE.0,
    CLIENT_CERTIFICATE.1,
    NO_SHARED_CIPHER.0,
    NO_SHARED_CIPHER.1,
    UNKNOWN_CA.0,
    UNKNOWN_CA.1,
];

/// First sequence number of the tests' streams: a few bytes before the wrap-around.
const BASE: u32 = 0xffff_ff80;

fn segment(offset: usize, bytes: &[u8]) -> Segment {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let seq = BASE.wrapping_add(u32::try_from(offset).expect("a short test stream"));
    Segment {
        direction: Direction::Egress,
        local: address,
        remote: address,
        seq,
        ack: 0,
        flags: TcpFlags(TcpFlags::ACK),
        ttl: 64,
        length: u32::try_from(bytes.len()).expect("a short segment"),
        payload: Bytes::copy_from_slice(bytes),
        task: Task::default(),
        last: false,
        listener: false,
    }
}

/// Delivers segments of a stream whose base is known.
fn deliver<'a>(segments: impl IntoIterator<Item = &'a Segment>) -> Vec<Observation> {
    let mut observations = Vec::new();
    let mut conversation = Conversation::new(Limits::default());
    conversation.set_base(Direction::Egress, BASE);
    for segment in segments {
        conversation.segment(Timestamp(0), segment, &mut observations);
        assert!(conversation.held() <= Limits::default().buffered_bytes);
    }
    observations
}

/// The observations of a stream delivered at once.
fn whole(stream: &[u8]) -> Vec<Observation> {
    deliver(&[segment(0, stream)])
}

fn kinds(observations: &[Observation]) -> Vec<&ObservationKind> {
    observations
        .iter()
        .map(|observation| &observation.kind)
        .collect()
}

/// A record with its header.
fn record(content_type: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a record's body");
    [&[content_type, 3, 3], &length.to_be_bytes()[..], body].concat()
}

/// A handshake message with its header.
fn message(message_type: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("a message's body");
    [&[message_type], &length.to_be_bytes()[1..], body].concat()
}

/// A ClientHello message with these extensions.
fn client_hello(extensions: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = [
        &[3, 3][..],
        &[7; 32],
        &[0, 0, 4, 0x13, 0x01, 0xc0, 0x2b, 1, 0],
    ]
    .concat();
    let block: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, data)| {
            let length = u16::try_from(data.len()).expect("an extension's data");
            [&kind.to_be_bytes()[..], &length.to_be_bytes(), data].concat()
        })
        .collect();
    body.extend(
        u16::try_from(block.len())
            .expect("extensions")
            .to_be_bytes(),
    );
    body.extend(block);
    message(1, &body)
}

/// A `server_name` extension's data.
fn server_name(name: &[u8]) -> Vec<u8> {
    let length = u16::try_from(name.len()).expect("a name");
    [
        &(length + 3).to_be_bytes()[..],
        &[0],
        &length.to_be_bytes(),
        name,
    ]
    .concat()
}
