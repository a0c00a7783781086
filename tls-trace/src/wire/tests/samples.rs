//! What real connections show.

use rstest::rstest;

use super::*;
use crate::wire::{AlertMessage, ClientHello, ServerHello};

/// One word for each observation.
fn summary(stream: &[u8]) -> String {
    let words: Vec<String> = whole(stream)
        .into_iter()
        .map(|observation| match observation.kind {
            ObservationKind::ClientHelloStarted => "started".to_owned(),
            ObservationKind::ClientHello(_) => "client_hello".to_owned(),
            ObservationKind::ServerHello(hello) if hello.hello_retry_request => "retry".to_owned(),
            ObservationKind::ServerHello(_) => "server_hello".to_owned(),
            ObservationKind::Handshake(message) => {
                format!("handshake:{}:{}", message.message_type, message.length)
            }
            ObservationKind::ChangeCipherSpec => "ccs".to_owned(),
            ObservationKind::Alert(alert) => {
                format!("alert:{}:{}", alert.level, alert.description)
            }
            ObservationKind::Encrypted(record) => {
                format!("{}:{}", record.content_type, record.length)
            }
            other => format!("{other:?}"),
        })
        .collect();
    words.join(" ")
}

#[rstest]
#[case::tls13_client(TLS13.0, "started client_hello ccs 23:69 23:25 23:19")]
#[case::tls13_server(
    TLS13.1,
    "server_hello ccs 23:32 23:448 23:97 23:69 23:250 23:250 23:19"
)]
#[case::tls12_client(
    TLS12.0,
    "started client_hello handshake:16:33 ccs 22:40 23:32 21:26"
)]
#[case::tls12_server(
    TLS12.1,
    "server_hello handshake:11:424 handshake:12:111 handshake:14:0 handshake:4:182 ccs 22:40 21:26"
)]
#[case::hrr_client(
    TLS13_HRR.0,
    "started client_hello ccs client_hello 23:69 23:25 23:19"
)]
#[case::hrr_server(
    TLS13_HRR.1,
    "retry ccs server_hello 23:23 23:448 23:97 23:69 23:250 23:250 23:19"
)]
#[case::early_data_client(
    TLS13_EARLY_DATA.0,
    "started client_hello ccs 23:35 23:21 23:69 23:25 23:19"
)]
#[case::early_data_server(TLS13_EARLY_DATA.1, "server_hello ccs 23:27 23:69 23:258 23:19")]
#[case::resumed_client(TLS12_RESUMED.0, "started client_hello ccs 22:40 23:32 21:26")]
#[case::resumed_server(TLS12_RESUMED.1, "server_hello ccs 22:40 21:26")]
#[case::tls10_client(
    TLS10.0,
    "started client_hello handshake:16:33 ccs 22:52 23:36 23:36 21:36"
)]
#[case::client_certificate(
    CLIENT_CERTIFICATE.0,
    "started client_hello handshake:11:424 handshake:16:33 handshake:15:74 ccs 22:40 23:32 21:26"
)]
#[case::certificate_request(
    CLIENT_CERTIFICATE.1,
    "server_hello handshake:11:424 handshake:12:112 handshake:13:48 handshake:14:0 \
     handshake:4:598 ccs 22:40 21:26"
)]
#[case::no_shared_cipher(NO_SHARED_CIPHER.1, "alert:2:40")]
#[case::alert_after_server_hello(UNKNOWN_CA.0, "started client_hello alert:2:48")]
fn messages_and_records(#[case] stream: &[u8], #[case] expected: &str) {
    assert_eq!(summary(stream), expected);
}

/// The hellos of a stream.
fn client_hellos(stream: &[u8]) -> Vec<ClientHello> {
    let hello = |observation: Observation| match observation.kind {
        ObservationKind::ClientHello(hello) => Some(*hello),
        _ => None,
    };
    whole(stream).into_iter().filter_map(hello).collect()
}

fn server_hellos(stream: &[u8]) -> Vec<ServerHello> {
    let hello = |observation: Observation| match observation.kind {
        ObservationKind::ServerHello(hello) => Some(*hello),
        _ => None,
    };
    whole(stream).into_iter().filter_map(hello).collect()
}

#[test]
fn client_hello_fields() {
    let hello = &client_hellos(TLS13.0)[0];
    assert_eq!(hello.legacy_version, 0x0303);
    assert_eq!(hello.random[..4], [0x8b, 0xf6, 0x1d, 0xe8]);
    assert_eq!(hello.session_id.len(), 32);
    assert_eq!(hello.cipher_suites, [0x1302, 0x1303, 0x1301, 0x00ff]);
    assert_eq!(
        hello.extensions,
        [0, 11, 10, 35, 16, 22, 23, 13, 43, 45, 51]
    );
    assert_eq!(hello.server_name.as_deref(), Some(&b"test.example"[..]));
    assert_eq!(
        hello.alpn.as_deref(),
        Some(&["h2", "http/1.1"].map(Bytes::from)[..])
    );
    assert_eq!(hello.supported_versions, [0x0304]);
    assert_eq!(hello.supported_groups[..3], [0x001d, 0x0017, 0x001e]);
    assert_eq!(hello.key_shares, [0x001d]);
    assert_eq!(hello.signature_algorithms[..2], [0x0403, 0x0503]);
    assert_eq!(hello.length, 259);
    assert_eq!((hello.psk_identities, hello.early_data), (0, false));
    assert!(!hello.session_ticket && !hello.encrypted_client_hello);
}

#[test]
fn resumption() {
    let hello = &client_hellos(TLS13_EARLY_DATA.0)[0];
    assert_eq!((hello.psk_identities, hello.early_data), (1, true));
    assert_eq!(server_hellos(TLS13_EARLY_DATA.1)[0].selected_psk, Some(0));

    let hello = &client_hellos(TLS12_RESUMED.0)[0];
    assert!(hello.session_ticket);
    assert_eq!(
        server_hellos(TLS12_RESUMED.1)[0].session_id,
        hello.session_id
    );
}

#[test]
fn server_hello_fields() {
    let hello = &server_hellos(TLS13.1)[0];
    assert_eq!((hello.version, hello.cipher_suite), (0x0304, 0x1302));
    assert_eq!((hello.group, hello.selected_psk), (Some(0x001d), None));
    assert_eq!(
        (hello.extensions.as_slice(), hello.length),
        (&[43, 51][..], 122)
    );

    let hello = &server_hellos(TLS12.1)[0];
    assert_eq!((hello.version, hello.cipher_suite), (0x0303, 0xc02c));
    assert_eq!(
        (hello.group, hello.alpn.as_deref()),
        (None, Some(&b"h2"[..]))
    );
    assert_eq!(server_hellos(TLS10.1)[0].version, 0x0301);
}

#[test]
fn hello_retry_request_and_what_follows() {
    let hellos = server_hellos(TLS13_HRR.1);
    assert!(hellos[0].hello_retry_request && !hellos[1].hello_retry_request);
    assert_eq!(hellos[0].group, Some(0x0018));
    assert_eq!(hellos[1].group, Some(0x0018));
    let hellos = client_hellos(TLS13_HRR.0);
    assert_eq!(hellos[0].random, hellos[1].random);
    assert_eq!(
        (&hellos[0].key_shares[..], &hellos[1].key_shares[..]),
        (&[29][..], &[24][..])
    );
}

#[test]
fn bodies_of_certificates_and_key_exchange_are_kept() {
    let observations = whole(CLIENT_CERTIFICATE.1);
    let bodies: Vec<(u8, usize)> = observations
        .iter()
        .filter_map(|observation| match &observation.kind {
            ObservationKind::Handshake(message) => Some((message.message_type, message.body.len())),
            _ => None,
        })
        .collect();
    assert_eq!(bodies, [(11, 424), (12, 112), (13, 48), (14, 0), (4, 0)]);
}

#[test]
fn offsets_are_those_of_records_and_messages() {
    let offsets: Vec<u64> = whole(TLS12.1)
        .iter()
        .map(|observation| observation.offset)
        .collect();
    // ServerHello's message behind its record header; ChangeCipherSpec and the rest at the header.
    let at_header = |offset: &u64| (20..=24).contains(&TLS12.1[usize::try_from(*offset).unwrap()]);
    assert_eq!(offsets[0], 5);
    assert!(offsets.is_sorted());
    assert!(offsets[5..].iter().all(at_header));
}

#[test]
fn alert_of_two_bytes_is_in_the_clear_after_change_cipher_spec() {
    let stream = [TLS13.1, &record(21, &[2, 10])].concat();
    let alert = AlertMessage {
        level: 2,
        description: 10,
    };
    let last = whole(&stream).pop().map(|observation| observation.kind);
    assert_eq!(last, Some(ObservationKind::Alert(alert)));
}
