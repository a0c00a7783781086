//! Bytes no library would send, or only a strange one.

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::wire::{
    ClientHello, EncryptedRecord, HandshakeMessage, PlaintextProtocol, ServerHello, StreamLoss,
};

fn only_client_hello(stream: &[u8]) -> ClientHello {
    let observations = whole(stream);
    match &kinds(&observations)[..] {
        [
            ObservationKind::ClientHelloStarted,
            ObservationKind::ClientHello(hello),
        ] => ClientHello::clone(hello),
        other => panic!("not just a ClientHello: {other:?}"),
    }
}

fn last(stream: &[u8]) -> ObservationKind {
    let observation = whole(stream).pop();
    observation.expect("something is seen").kind
}

fn is_malformed(kind: &ObservationKind) -> bool {
    matches!(kind, ObservationKind::Malformed { .. })
}

#[test]
fn every_prefix_shows_a_prefix() {
    for stream in STREAMS {
        for length in 0..stream.len() {
            assert!(whole(stream).starts_with(&whole(&stream[..length])));
        }
    }
}

#[test]
fn client_hello_started_with_the_sixth_byte() {
    for (length, expected) in [(5, 0), (6, 1), (TLS13.0.len(), 1)] {
        let observations = whole(&TLS13.0[..length]);
        let started = |kind: &&&ObservationKind| ***kind == ObservationKind::ClientHelloStarted;
        assert_eq!(
            kinds(&observations).iter().filter(started).count(),
            expected
        );
    }
}

/// Bodies of hellos cut at every length: what is left parses only where all extensions are gone.
#[test]
fn truncated_hellos() {
    let hello = &client_hello(&[(0, &server_name(b"a.example")), (42, b"")])[4..];
    let without_extensions = 2 + 32 + 1 + 2 + 4 + 2;
    for length in 0..hello.len() {
        let parsed = ClientHello::parse(&hello[..length]);
        assert_eq!(
            parsed.is_some(),
            length == without_extensions,
            "{length} bytes"
        );
    }
    let hello = &TLS13.1[9..127];
    assert!(ServerHello::parse(hello).is_some());
    let without_extensions = 2 + 32 + 1 + 32 + 2 + 1;
    for length in 0..hello.len() {
        let parsed = ServerHello::parse(&hello[..length]);
        assert_eq!(
            parsed.is_some(),
            length == without_extensions,
            "{length} bytes"
        );
    }
}

#[test]
fn names_of_any_bytes() {
    let longest = [b'a'; 255];
    for name in [&b"\x00\x1b[31m\xff\"\\"[..], &longest, b""] {
        let hello = only_client_hello(&record(22, &client_hello(&[(0, &server_name(name))])));
        assert_eq!(hello.server_name.as_deref(), Some(name));
    }
}

#[test]
fn a_broken_extension_does_not_lose_the_hello() {
    let hello = only_client_hello(&record(
        22,
        &client_hello(&[
            (0, b"\0\x09\0\0\x20short"),   // server_name longer than its list
            (16, b"\0\x03\x09h2"),         // protocol longer than the list
            (51, b"\0\x04\0\x1d\0\x20"),   // key share without its key
            (43, b"\x02\x03\x04"),         // supported_versions: fine
            (0x1a1a, b""),                 // GREASE
            (10, b"\0\x04\x2a\x2a\0\x1d"), // supported_groups, GREASE first
        ]),
    ));
    assert_eq!(hello.extensions, [0, 16, 51, 43, 0x1a1a, 10]);
    assert_eq!((hello.server_name, hello.alpn), (None, None));
    assert!(hello.key_shares.is_empty());
    assert_eq!(hello.supported_versions, [0x0304]);
    assert_eq!(hello.supported_groups, [0x2a2a, 0x001d]);
}

#[test]
fn encrypted_client_hello_is_noted() {
    let hello = only_client_hello(&record(22, &client_hello(&[(0xfe0d, &[0; 40])])));
    assert!(hello.encrypted_client_hello);
}

#[test]
fn a_hello_of_64_kib_in_any_pieces() {
    let padding = vec![0; 65_000];
    let message = client_hello(&[(0, &server_name(b"big.example")), (21, &padding)]);
    let stream: Vec<u8> = message
        .chunks(1 << 14)
        .flat_map(|part| record(22, part))
        .collect();
    let hello = only_client_hello(&stream);
    assert_eq!(hello.server_name.as_deref(), Some(&b"big.example"[..]));
    assert_eq!(hello.length as usize, message.len());
    for size in [1, 1448, 65_000] {
        let chunks = stream.chunks(size).enumerate();
        let segments: Vec<Segment> = chunks
            .map(|(index, chunk)| segment(index * size, chunk))
            .collect();
        assert_eq!(deliver(&segments), whole(&stream), "{size} bytes at a time");
    }
}

#[test]
fn a_hello_too_long_to_hold_is_lost() {
    let header = [1, 1, 0x20, 0]; // 73,728 bytes: the bound, without the header.
    let stream = record(22, &header);
    let lost = ObservationKind::Lost(StreamLoss { bytes: 73_732 });
    assert_eq!(last(&stream), lost);
}

#[test]
fn a_certificate_too_long_to_hold_is_passed_over() {
    let certificate = message(11, &vec![9; 100_000]);
    let records: Vec<u8> = certificate
        .chunks(1 << 14)
        .flat_map(|part| record(22, part))
        .collect();
    let stream = [
        TLS12.1[..79].to_vec(),
        records,
        record(22, &message(14, b"")),
    ]
    .concat();
    let passed_over = |message_type, length| {
        ObservationKind::Handshake(HandshakeMessage {
            message_type,
            length,
            body: Bytes::new(),
        })
    };
    let observations = whole(&stream);
    assert_eq!(
        kinds(&observations)[1..],
        [&passed_over(11, 100_000), &passed_over(14, 0)]
    );
}

#[test]
fn messages_split_and_joined_in_records() {
    let hello = client_hello(&[(0, &server_name(b"a.example"))]);
    let one_record = only_client_hello(&record(22, &hello));
    let stream: Vec<u8> = hello.iter().flat_map(|byte| record(22, &[*byte])).collect();
    assert_eq!(
        only_client_hello(&stream),
        one_record,
        "a record for every byte"
    );

    // The server's first flight of TLS 1.2 in a single record.
    let mut flight = Vec::new();
    let mut rest = TLS12.1;
    while let [22, 3, _, high, low, body @ ..] = rest
        && body[0] != 4
    {
        let (body, after) = body.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        flight.extend_from_slice(body);
        rest = after;
    }
    let joined = whole(&record(22, &flight));
    assert_eq!(joined.len(), 4);
    assert_eq!(kinds(&joined), kinds(&whole(TLS12.1))[..4]);
}

#[test]
fn a_second_hello_split_after_change_cipher_spec() {
    let hello = client_hello(&[(0, &server_name(b"a.example"))]);
    let first = record(22, &hello);
    let ccs = record(20, &[1]);
    for at in 1..hello.len() {
        let second = [record(22, &hello[..at]), record(22, &hello[at..])].concat();
        let stream = [&first[..], &ccs, &second].concat();
        let observations = whole(&stream);
        assert_eq!(
            kinds(&observations)[1],
            kinds(&observations)[3],
            "split at {at}"
        );
        assert_eq!(observations.len(), 4);
    }
}

#[rstest]
#[case::empty_handshake_record(record(22, b""))]
#[case::length_65535(record(23, &vec![0; 0xffff]))]
#[case::version_2([22, 2, 0, 0, 1, 0].to_vec())]
#[case::unknown_content_type(record(99, b"x"))]
#[case::long_change_cipher_spec(record(20, &[1, 1]))]
#[case::change_cipher_spec_of_2(record(20, &[2]))]
#[case::long_alert_in_the_clear(record(21, &[0; 26]))]
#[case::http(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())]
fn rules_broken_after_a_hello(#[case] next: Vec<u8>) {
    let stream = [&TLS12.0[..227], &next, &TLS12.0[227..]].concat();
    let observations = whole(&stream);
    assert_eq!(observations.len(), 3, "{observations:?}");
    assert!(is_malformed(&observations[2].kind), "{observations:?}");
    assert_eq!(observations[2].offset, 227);
}

#[rstest]
#[case::change_cipher_spec(20, &[1])]
#[case::application_data(23, &[0; 40])]
fn a_record_inside_a_message(#[case] content_type: u8, #[case] body: &[u8]) {
    let hello = client_hello(&[]);
    let stream = [record(22, &hello[..20]), record(content_type, body)].concat();
    assert!(is_malformed(&last(&stream)));
}

#[test]
fn an_alert_inside_a_message_is_seen() {
    let stream = [record(22, &client_hello(&[])[..20]), record(21, &[2, 80])].concat();
    assert!(matches!(last(&stream), ObservationKind::Alert(alert) if alert.description == 80));
}

#[test]
fn hellos_that_do_not_parse() {
    let cut = |message_type, body: &[u8]| record(22, &message(message_type, body));
    assert!(is_malformed(&last(&cut(1, &[3, 3, 7]))));
    assert!(is_malformed(&last(&cut(1, b""))));
    assert!(is_malformed(&last(&cut(2, &[3, 3, 7]))));
}

#[test]
fn empty_application_data_is_a_record() {
    let record = EncryptedRecord {
        content_type: 23,
        length: 0,
    };
    let stream = [TLS13.0, &[23, 3, 3, 0, 0]].concat();
    assert_eq!(last(&stream), ObservationKind::Encrypted(record));
}

/// Picked up in the middle, without ChangeCipherSpec: handshake and alert records are ciphertext.
#[test]
fn encrypted_records_at_the_start() {
    for content_type in [21, 22, 23, 24] {
        let body = [0xc7; 40];
        let record = record(content_type, &body);
        let expected = ObservationKind::Encrypted(EncryptedRecord {
            content_type,
            length: 40,
        });
        let observations = whole(&[&record[..], &record].concat());
        assert_eq!(kinds(&observations), [&expected, &expected]);
    }
}

fn not_tls(stream: &[u8], flags: u8) -> Option<(PlaintextProtocol, Bytes)> {
    let mut segment = segment(0, stream);
    segment.flags = TcpFlags(flags);
    match deliver([&segment]).pop()?.kind {
        ObservationKind::NotTls(plaintext) => Some((plaintext.protocol, plaintext.sample)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn plaintext_with_a_sample() {
    let request = [b"GET / HTTP/1.1\r\n", &[b'x'; 200][..]].concat();
    let (protocol, sample) = not_tls(&request, TcpFlags::ACK).expect("HTTP");
    assert_eq!(protocol, PlaintextProtocol::HttpRequest);
    assert_eq!(sample, request[..128]);
}

#[test]
fn a_few_bytes_are_judged_at_the_end() {
    let other = |sample: &'static [u8]| Some((PlaintextProtocol::Other, Bytes::from(sample)));
    assert_eq!(not_tls(b"GET", TcpFlags::ACK), None);
    assert_eq!(not_tls(b"GET", TcpFlags::FIN), other(b"GET"));
    assert_eq!(
        not_tls(&[22, 3, 1, 0], TcpFlags::FIN),
        None,
        "TLS, as far as it goes"
    );

    let mut observations = Vec::new();
    let mut conversation = Conversation::default();
    conversation.segment(Timestamp(0), &segment(0, b"GET"), &mut observations);
    assert_eq!((observations.len(), conversation.held()), (0, 3));
    conversation.finish(Timestamp(1), &mut observations);
    assert!(matches!(&observations[0].kind, ObservationKind::NotTls(seen) if seen.sample == "GET"));
    conversation.finish(Timestamp(1), &mut observations);
    assert_eq!(observations.len(), 1, "said once");
}

#[test]
fn nothing_follows_what_is_not_read_any_further() {
    let stream = [b"SSH-2.0-x\r\n", TLS13.0].concat();
    let segments = [segment(0, &stream[..11]), segment(11, &stream[11..])];
    assert_eq!(deliver(&segments).len(), 1);
}

/// Records, whole or cut, of any type and content.
fn records() -> impl Strategy<Value = Vec<u8>> {
    let content_type = prop_oneof![4 => 20_u8..=24, 1 => any::<u8>()];
    let body = prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..=3], 0..300);
    let record = (content_type, body, 0_u16..3).prop_map(|(content_type, body, more)| {
        let mut record = record(content_type, &body);
        record[4] = record[4].wrapping_add(u8::try_from(more).unwrap_or(0));
        record
    });
    prop::collection::vec(record, 1..8).prop_map(|records| records.concat())
}

#[rstest]
#[case::request(b"EHLO a\r\n")]
#[case::reply(b":server 001 a\r\n")]
fn what_may_precede_tls_is_held_within_bounds(#[case] line: &[u8]) {
    let segments = line.repeat(200);
    let segments = segments.chunks(100).enumerate();
    let segments: Vec<_> = segments
        .map(|(number, bytes)| (u32::try_from(100 * number).unwrap(), 0, bytes.to_vec(), 0))
        .collect();
    survives(&segments).unwrap();
}

/// Delivers bytes to a conversation with a low bound and checks what it holds.
fn survives(segments: &[(u32, u32, Vec<u8>, u8)]) -> Result<(), TestCaseError> {
    let limits = Limits {
        buffered_bytes: 1000,
    };
    let mut conversation = Conversation::new(limits);
    let mut observations = Vec::new();
    for (seq, longer, payload, flags) in segments {
        let mut segment = segment(0, payload);
        segment.seq = segment.seq.wrapping_add(*seq);
        segment.length += longer;
        segment.flags = TcpFlags(*flags);
        segment.last = flags & 0x80 != 0;
        conversation.segment(Timestamp(0), &segment, &mut observations);
        prop_assert!(conversation.held() <= limits.buffered_bytes);
    }
    conversation.finish(Timestamp(0), &mut observations);
    Ok(())
}

proptest! {
    #[test]
    fn random_segments_are_survived(segments in prop::collection::vec(
        (
            prop_oneof![Just(0_u32), 0_u32..2000, any::<u32>()],
            prop_oneof![Just(0_u32), 0_u32..200, Just(1 << 31)],
            prop_oneof![records(), prop::collection::vec(any::<u8>(), 0..500)],
            any::<u8>(),
        ),
        1..20,
    )) {
        survives(&segments)?;
    }

    #[test]
    fn random_records_split_anywhere_show_the_same(stream in records(), at in any::<prop::sample::Index>()) {
        let at = at.index(stream.len());
        let parts = [segment(0, &stream[..at]), segment(at, &stream[at..])];
        let comparable = |observations: Vec<Observation>| -> Vec<Observation> {
            let sampled = |kind: &ObservationKind| matches!(kind, ObservationKind::NotTls(_));
            observations.into_iter().filter(|seen| !sampled(&seen.kind)).collect()
        };
        prop_assert_eq!(comparable(deliver(&parts)), comparable(whole(&stream)));
    }

    #[test]
    fn hellos_with_bytes_changed_are_survived(
        at in any::<prop::sample::Index>(),
        with in prop::collection::vec(any::<u8>(), 1..4),
    ) {
        for hello in [&TLS13_EARLY_DATA.0[9..], &TLS13.1[9..127]] {
            let mut hello = hello.to_vec();
            let at = at.index(hello.len() - with.len());
            hello[at..at + with.len()].copy_from_slice(&with);
            let _ = ClientHello::parse(&hello);
            let _ = ServerHello::parse(&hello);
        }
    }
}
