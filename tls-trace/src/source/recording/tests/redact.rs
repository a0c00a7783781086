//! Names and addresses are gone, and the reports say the same.

use std::net::IpAddr;

use proptest::prelude::*;
use rstest::rstest;

use super::super::others::Others;
use super::*;
use crate::{
    event::{GoError, GoErrorKind, LibraryEvent, LibraryMoment, LibraryName},
    wire::Preface,
};

macro_rules! sample {
    ($name:literal) => {
        [
            &include_bytes!(concat!("../../../../testdata/wire/", $name, ".client.bin"))[..],
            &include_bytes!(concat!("../../../../testdata/wire/", $name, ".server.bin"))[..],
        ]
    };
}

/// What each end says, in segments of so many bytes, the client's first flight first.
fn conversation(connection: u64, [client, server]: [&[u8]; 2], size: usize) -> Vec<Event> {
    use Direction::{Egress, Ingress};
    let mut kinds = vec![
        segment(Egress, TcpFlags::SYN, 99, b""),
        segment(Ingress, TcpFlags::SYN | TcpFlags::ACK, 499, b""),
    ];
    // The first flight ends where the rest is told after the server's.
    let first = client.len().min(client_flight(client));
    let parts = [
        (Egress, 100, &client[..first]),
        (Ingress, 500, server),
        (Egress, 100 + first, &client[first..]),
    ];
    for (direction, base, bytes) in parts {
        for (index, part) in bytes.chunks(size).enumerate() {
            let seq = u32::try_from(base + index * size).unwrap();
            kinds.push(segment(direction, TcpFlags::ACK, seq, part));
        }
    }
    let [client, server] = [client, server].map(|bytes| u32::try_from(bytes.len()).unwrap());
    let fin = TcpFlags::ACK | TcpFlags::FIN;
    kinds.push(segment(Ingress, fin, 500 + server, b""));
    kinds.push(segment(Egress, fin, 100 + client, b""));
    kinds.push(EventKind::Ended);
    let event = |(index, kind)| event(connection, connection * 1000 + index as u64, kind);
    kinds.into_iter().enumerate().map(event).collect()
}

/// Bytes up to the end of the ClientHello's record, or all of them.
fn client_flight(client: &[u8]) -> usize {
    let hello = |at: &[u8]| matches!(*at, [22, 3, 0..=4, _, _, 1]);
    let Some(at) = client.windows(6).position(hello) else {
        return client.len();
    };
    at + 5 + usize::from(u16::from_be_bytes([client[at + 3], client[at + 4]]))
}

/// The reports, and those of the redacted recording with everything that it holds.
fn redacted(events: &[Event]) -> (Vec<Report>, Vec<Report>, Vec<Item<'static>>) {
    let mut recorder = Recorder::new(Vec::new(), &header()).unwrap();
    let reports = trace(events, &mut recorder);
    let file = recorder.close().unwrap();
    let other = super::super::redact(Cursor::new(file), Vec::new()).unwrap();
    let (items, result) = read(&other);
    assert!(result.is_ok(), "{result:?}");
    (reports, replay(&other), items)
}

/// The bytes of each direction.
fn streams(items: &[Item]) -> [Vec<u8>; 2] {
    let mut streams = [Vec::new(), Vec::new()];
    for item in items {
        if let Item::Event(event) = item
            && let EventKind::Segment(segment) = &event.kind
        {
            streams[segment.direction as usize].extend_from_slice(&segment.payload);
        }
    }
    streams
}

/// Without what redaction changes.
fn anonymous(mut report: Report) -> Report {
    let nobody = "192.0.2.1:1".parse().unwrap();
    (report.local, report.remote) = (nobody, nobody);
    report.sni = report.sni.map(|name| "x".repeat(name.len()));
    report.comm = report.comm.map(|name| "x".repeat(name.len()));
    report.cgroup = report.cgroup.map(|path| "x".repeat(path.len()));
    if let Some(certificate) = &mut report.server_certificate {
        for name in [&mut certificate.subject, &mut certificate.issuer] {
            *name = "x".repeat(name.len());
        }
        certificate.names = vec![certificate.names.len().to_string()];
    }
    for evidence in &mut report.verdict.evidence {
        for (before, after) in [
            ("SNI ", ')'),
            ("in the clear: ", '\0'),
            ("certificate ", '\0'),
            (" sent by ", ' '),
        ] {
            if let Some(at) = evidence.fact.find(before) {
                let from = at + before.len();
                let to = evidence.fact[from..].find(after);
                let to = to.map_or(evidence.fact.len(), |to| from + to);
                evidence.fact.replace_range(from..to, "");
            }
        }
    }
    report
}

fn holds(stream: &[u8], name: &str) -> bool {
    let name = name.as_bytes();
    stream
        .windows(name.len())
        .any(|at| at.eq_ignore_ascii_case(name))
}

#[rstest]
#[case(sample!("tls13"))]
#[case(sample!("tls12"))]
#[case(sample!("tls10"))]
#[case(sample!("tls13-hrr"))]
#[case(sample!("tls13-early-data"))]
#[case(sample!("tls12-resumed"))]
#[case(sample!("client-certificate"))]
#[case(sample!("no-shared-cipher"))]
#[case(sample!("unknown-ca"))]
fn handshakes(#[case] sample: [&[u8]; 2], #[values(7, 100, 100_000)] size: usize) {
    let (before, after, items) = redacted(&conversation(1, sample, size));
    let name = before[0]
        .sni
        .clone()
        .unwrap_or_else(|| "localhost".to_owned());
    let other = after[0].sni.clone();
    assert_ne!(other.as_ref(), Some(&name));
    assert_eq!(
        other.map(|other| other.len()),
        before[0].sni.as_ref().map(String::len)
    );
    let mut names = vec![name];
    if let Some(certificate) = &before[0].server_certificate {
        names.extend(certificate.names.clone());
        names.push(certificate.subject.trim_start_matches("CN=").to_owned());
    }
    for (original, stream) in sample.iter().zip(streams(&items)) {
        assert_eq!(original.len(), stream.len());
        for name in &names {
            assert!(!holds(&stream, name), "{name}");
        }
    }
    let [before, after] = [before, after].map(|reports| {
        let reports = reports.into_iter().map(anonymous);
        reports.collect::<Vec<_>>()
    });
    assert_eq!(after, before);
}

/// What comes before TLS, or instead of it: what the client and the server say, and what is still known.
#[rstest]
#[case::proxy_v1(b"PROXY TCP4 192.0.2.66 198.51.100.77 40000 443\r\n", b"", &[Preface::ProxyV1])]
#[case::proxy_v2(
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0cBBBBCCCC\x9c\x40\x01\xbb",
    b"",
    &[Preface::ProxyV2]
)]
#[case::http_connect(
    b"CONNECT secret.example:443 HTTP/1.1\r\nProxy-Authorization: Basic c2VjcmV0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nVia: secret.example\r\n\r\n",
    &[Preface::HttpConnect]
)]
#[case::socks4(b"\x04\x01\x01\xbb\0\0\0\x01me\0secret.example\0", b"\0\x5aBBBBBB", &[Preface::Socks4])]
#[case::socks5(
    b"\x05\x01\x02\x01\x06secret\x06secret\x05\x01\0\x03\x0esecret.example\x01\xbb",
    b"\x05\x02\x01\0\x05\0\0\x01BBBB\x01\xbb",
    &[Preface::Socks5]
)]
#[case::postgresql(b"\0\0\0\x08\x04\xd2\x16\x2f", b"S", &[Preface::PostgreSql])]
#[case::smtp(
    b"EHLO secret.example\r\nSTARTTLS\r\n",
    b"220 secret.example ESMTP Postfix\r\n250-secret.example\r\n250 STARTTLS\r\n220 Ready\r\n",
    &[Preface::Smtp]
)]
#[case::imap(b"a1 STARTTLS\r\n", b"* OK secret.example\r\na1 OK begin\r\n", &[Preface::Imap])]
fn prefaces(#[case] client: &[u8], #[case] server: &[u8], #[case] known: &[Preface]) {
    let [tls_client, tls_server] = sample!("tls13");
    let sample = [[client, tls_client].concat(), [server, tls_server].concat()];
    let (before, after, items) = redacted(&conversation(1, [&sample[0], &sample[1]], 60));
    assert_eq!(before[0].preface, known);
    for stream in streams(&items) {
        for name in ["secret", "192.0.2.66", "BBBB", "c2VjcmV0"] {
            assert!(!holds(&stream, name), "{name}: {stream:?}");
        }
    }
    assert_eq!(anonymous(after[0].clone()), anonymous(before[0].clone()));
}

#[rstest]
#[case(
    b"GET /secret HTTP/1.1\r\nHost: secret.example\r\n\r\n",
    b"\x15\x03\x03\0\x02\x02\x46",
    Cause::PlainHttpToTlsPort
)]
#[case(
    b"GET /secret HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n<title>400 The plain HTTP request was sent to HTTPS port</title>secret",
    Cause::PlainHttpToTlsPort
)]
fn instead_of_tls(#[case] client: &[u8], #[case] server: &[u8], #[case] cause: Cause) {
    let (before, after, items) = redacted(&conversation(1, [client, server], 1000));
    assert_eq!(before[0].verdict.cause, cause);
    assert!(
        streams(&items)
            .iter()
            .all(|stream| !holds(stream, "secret"))
    );
    assert_eq!(anonymous(after[0].clone()), anonymous(before[0].clone()));
}

/// The same address is the same everywhere, also where a socket of IPv6 has it.
#[test]
fn addresses() {
    let socket = |local: &str, remote: &str| Socket {
        local: local.parse().unwrap(),
        remote: remote.parse().unwrap(),
        netns: 1,
        task: Task::default(),
        counters: None,
    };
    let pairs = [
        ("198.51.100.9:5", "127.0.0.1:6"),
        ("[::ffff:198.51.100.9]:5", "[::1]:6"),
        ("[2001:db8::1]:5", "0.0.0.0:0"),
    ];
    let mut items: Vec<_> = pairs
        .iter()
        .map(|(local, remote)| event(1, 1, EventKind::Destroyed(socket(local, remote))))
        .collect();
    items.push(event(
        1,
        1,
        EventKind::ListenOverflow {
            server: "198.51.100.9:5".parse().unwrap(),
            client: "203.0.113.1:5".parse().unwrap(),
            netns: 1,
        },
    ));
    let items: Vec<_> = items.into_iter().map(Cow::Owned).map(Item::Event).collect();
    let other = super::super::redact(Cursor::new(recording(&items)), Vec::new()).unwrap();
    let mut locals = Vec::new();
    for item in read(&other).0 {
        let Item::Event(event) = item else {
            panic!("{item:?}");
        };
        match event.into_owned().kind {
            EventKind::Destroyed(socket) => {
                assert!([5, 6, 0].contains(&socket.remote.port()));
                assert!(socket.remote.ip().is_loopback() || socket.remote.ip().is_unspecified());
                locals.push(socket.local.ip());
            }
            EventKind::ListenOverflow { server, client, .. } => {
                assert_eq!(server.ip(), locals[0]);
                assert_ne!(client.ip(), locals[0]);
            }
            other => panic!("{other:?}"),
        }
    }
    let [v4, mapped, v6] = locals[..] else {
        panic!("{locals:?}");
    };
    assert_ne!(v4, "198.51.100.9".parse::<IpAddr>().unwrap());
    assert_eq!(mapped.to_canonical(), v4);
    assert!(v6.is_ipv6() && v6 != "2001:db8::1".parse::<IpAddr>().unwrap());
}

/// Everything that a file holds: as it is, and decoded.
fn whole(file: &[u8]) -> Vec<u8> {
    let mut whole = file.to_vec();
    for item in read(file).0 {
        whole.extend(postcard::to_stdvec(&item).unwrap());
    }
    whole
}

/// Names and addresses of all kinds, in every place of a recording, are nowhere in the redacted one.
#[test]
fn nothing_is_left() {
    let [client, server] = sample!("tls12");
    let asked = [b"PROXY TCP4 192.0.2.66 198.51.100.77 40000 443\r\n", client].concat();
    let mut events = conversation(1, [&asked, server], 100);
    let mut task = Task {
        pid: 7,
        comm: "secretd".to_owned(),
        ..Task::default()
    };
    for event in &mut events {
        if let Some(here) = event.kind.task_mut() {
            *here = task.clone();
        }
    }
    task.comm = "otherd".to_owned();
    let error = |kind, text: &str| {
        LibraryMoment::Returned(GoError {
            kind,
            text: Some(text.to_owned()),
            alert_sent: Some(42),
        })
    };
    let moments = [
        error(GoErrorKind::Hostname, "hidden.example.com"),
        error(GoErrorKind::Message, "tls: no, hidden.example.com"),
    ];
    for moment in moments {
        let said = LibraryEvent {
            library: LibraryName::Go,
            moment,
            task: task.clone(),
            random: [7; 32],
            server: None,
            done: None,
            version: None,
            early_data_accepted: None,
            early_data_consistent: None,
            session_alpn: None,
            resumed: None,
            verify_result: None,
            alpn: None,
            loose: false,
        };
        events.push(event(2, 5000, EventKind::Library(said)));
    }
    let mut items: Vec<_> = events
        .into_iter()
        .map(Cow::Owned)
        .map(Item::Event)
        .collect();
    items.push(Item::Context(Cow::Owned(Context {
        id: ConnectionId(1),
        time: None,
        comm: Some("secretd".to_owned()),
        cgroup: Some("/kubepods/podsecret.slice".to_owned()),
    })));
    items.push(Item::Finish(Timestamp(1_000_000_000)));
    let before = recording(&items);
    let after = super::super::redact(Cursor::new(&before), Vec::new()).unwrap();

    let addresses = ["10.0.0.9", "10.0.0.7"].map(|address| {
        let address: IpAddr = address.parse().unwrap();
        postcard::to_stdvec(&address).unwrap()
    });
    let names = [
        "secretd",
        "otherd",
        "kubepods",
        "podsecret",
        "hidden",
        "test.example",
        "192.0.2.66",
        "198.51.100.77",
    ];
    let originals = names.map(str::as_bytes);
    let originals = originals
        .into_iter()
        .chain(addresses.iter().map(Vec::as_slice));
    let [held, holds] = [whole(&before), whole(&after)];
    for original in originals {
        let is_in = |bytes: &[u8]| bytes.windows(original.len()).any(|at| at == original);
        let shown = original.escape_ascii();
        assert!(is_in(&held), "{shown} was not there");
        assert!(!is_in(&holds), "{shown} is left");
    }

    let [before, after] = [before, after].map(|file| replay(&file).into_iter().map(anonymous));
    let [before, after]: [Vec<_>; 2] = [before.collect(), after.collect()];
    assert_eq!(before.len(), 1);
    assert_eq!(after, before);
    let certificate = after[0].server_certificate.as_ref().unwrap();
    assert!(certificate.not_after.is_some());
}

proptest! {
    /// Whatever the bytes are: no word of more than a few letters that is not a protocol's comes through.
    #[test]
    fn words(mut bytes in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>()) {
        let at = at.index(bytes.len() + 1);
        bytes.splice(at..at, *b"Qzrtpl7Wkj");
        let length = bytes.len();
        super::super::plain::scrub(&mut bytes);
        prop_assert_eq!(bytes.len(), length);
        prop_assert!(!holds(&bytes, "Qzrtpl7Wkj"));
    }

    /// A stream that is cut, damaged or neither keeps its length.
    #[test]
    fn any_stream(which in 0..3_usize, end in any::<prop::sample::Index>(), damage in any::<[(prop::sample::Index, u8); 3]>()) {
        let [client, server] = [sample!("tls13-hrr"), sample!("tls12"), sample!("client-certificate")][which];
        for stream in [client, server] {
            let mut stream = stream[..=end.index(stream.len())].to_vec();
            for (at, byte) in damage {
                let at = at.index(stream.len());
                stream[at] = byte;
            }
            let length = stream.len();
            super::super::scrub::scrub(&mut stream, &mut Others::default());
            prop_assert_eq!(stream.len(), length);
            prop_assert!(!holds(&stream, "localhost"));
        }
    }
}
