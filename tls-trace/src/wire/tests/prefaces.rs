//! TLS that does not begin with the first byte.

use rstest::rstest;

use super::*;
use crate::{
    event::Direction::{Egress, Ingress},
    wire::{PlaintextProtocol, Preface},
};

/// What one end says, before the other one answers.
type Turn = (Direction, &'static [u8]);

fn client(bytes: &'static [u8]) -> Turn {
    (Egress, bytes)
}

fn server(bytes: &'static [u8]) -> Turn {
    (Ingress, bytes)
}

/// Delivers turns in segments of at most `size` bytes.
fn told(turns: &[Turn], size: usize) -> Vec<Observation> {
    let mut observations = Vec::new();
    let mut conversation = Conversation::new(Limits::default());
    let mut offsets = [0; 2];
    for direction in [Egress, Ingress] {
        conversation.set_base(direction, BASE);
    }
    for (direction, bytes) in turns {
        for piece in bytes.chunks(size) {
            let offset = &mut offsets[*direction as usize];
            let segment = Segment {
                direction: *direction,
                ..segment(*offset, piece)
            };
            conversation.segment(Timestamp(0), &segment, &mut observations);
            *offset += piece.len();
        }
    }
    conversation.finish(Timestamp(0), &mut observations);
    observations
}

/// The observations of a direction, without their offsets.
fn of(observations: &[Observation], direction: Direction) -> Vec<&ObservationKind> {
    let of = observations.iter().filter(|one| one.direction == direction);
    of.map(|one| &one.kind).collect()
}

const PROXY_V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x7f\0\0\x01\x7f\0\0\x01\xd4\x31\x01\xbb";
const MYSQL_GREETING: &[u8] = b"\x4a\0\0\0\x0a8.0.36\0\x01\0\0\0aaaaaaaa\0\xff\xff\xff\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0bbbbbbbbbbbb\0caching_sha2_password\0";
const MYSQL_REQUEST: &[u8] =
    b"\x20\0\0\x01\x85\xae\x7f\0\0\0\0\x01\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const LDAP_REQUEST: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";
const LDAP_RESPONSE: &[u8] = b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\0\x04\0\x04\0";
const STREAM: &[u8] = b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client' to='x' version='1.0'>";

#[rstest]
#[case::proxy_v1(&[Preface::ProxyV1], vec![client(b"PROXY TCP4 192.0.2.1 192.0.2.2 51234 443\r\n")])]
#[case::proxy_v2(&[Preface::ProxyV2], vec![client(PROXY_V2)])]
#[case::http_connect(&[Preface::HttpConnect], vec![
    client(b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n"),
    server(b"HTTP/1.1 200 Connection established\r\n\r\n"),
])]
#[case::http_connect_after_refusal(&[Preface::HttpConnect, Preface::HttpConnect], vec![
    client(b"CONNECT example.org:443 HTTP/1.1\r\n\r\n"),
    server(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 2\r\n\r\nno"),
    client(b"CONNECT example.org:443 HTTP/1.1\r\nProxy-Authorization: Basic eA==\r\n\r\n"),
    server(b"HTTP/1.1 200 OK\r\n\r\n"),
])]
#[case::socks4(&[Preface::Socks4], vec![
    client(b"\x04\x01\x01\xbb\x7f\0\0\x01user\0"),
    server(b"\0\x5a\0\0\0\0\0\0"),
])]
#[case::socks4a(&[Preface::Socks4], vec![
    client(b"\x04\x01\x01\xbb\0\0\0\x01\0example.org\0"),
    server(b"\0\x5a\0\0\0\0\0\0"),
])]
#[case::socks5(&[Preface::Socks5], vec![
    client(b"\x05\x02\0\x01"),
    server(b"\x05\0"),
    client(b"\x05\x01\0\x03\x0bexample.org\x01\xbb"),
    server(b"\x05\0\0\x01\x7f\0\0\x01\x16\x03"),
])]
#[case::socks5_with_password(&[Preface::Socks5], vec![
    client(b"\x05\x01\x02"),
    server(b"\x05\x02"),
    client(b"\x01\x04user\x06secret"),
    server(b"\x01\0"),
    client(b"\x05\x01\0\x01\x7f\0\0\x01\x01\xbb"),
    server(b"\x05\0\0\x01\0\0\0\0\0\0"),
])]
#[case::postgresql(&[Preface::PostgreSql], vec![
    client(b"\0\0\0\x08\x04\xd2\x16\x2f"),
    server(b"S"),
])]
#[case::postgresql_after_gssapi(&[Preface::PostgreSql], vec![
    client(b"\0\0\0\x08\x04\xd2\x16\x30"),
    server(b"N"),
    client(b"\0\0\0\x08\x04\xd2\x16\x2f"),
    server(b"S"),
])]
#[case::mysql(&[Preface::MySql], vec![server(MYSQL_GREETING), client(MYSQL_REQUEST)])]
#[case::smtp(&[Preface::Smtp], vec![
    server(b"220 mail.example.org ESMTP\r\n"),
    client(b"EHLO client\r\n"),
    server(b"250-mail.example.org\r\n250-8BITMIME\r\n250 STARTTLS\r\n"),
    client(b"STARTTLS\r\n"),
    server(b"220 ready\r\n"),
])]
#[case::imap(&[Preface::Imap], vec![
    server(b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"),
    client(b". CAPABILITY\r\n"),
    server(b"* CAPABILITY IMAP4rev1 STARTTLS\r\n. OK done\r\n"),
    client(b". STARTTLS\r\n"),
    server(b". OK begin\r\n"),
])]
#[case::pop3(&[Preface::Pop3], vec![
    server(b"+OK ready\r\n"),
    client(b"CAPA\r\n"),
    server(b"+OK\r\nSTLS\r\n.\r\n"),
    client(b"STLS\r\n"),
    server(b"+OK begin\r\n"),
])]
#[case::ftp(&[Preface::Ftp], vec![
    server(b"220-Welcome\r\n220 Ready\r\n"),
    client(b"AUTH TLS\r\n"),
    server(b"234 go\r\n"),
])]
#[case::xmpp(&[Preface::Xmpp], vec![
    client(STREAM),
    server(b"<?xml version='1.0'?><stream:stream id='1'><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"),
    client(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
    server(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
])]
#[case::ldap(&[Preface::Ldap], vec![client(LDAP_REQUEST), server(LDAP_RESPONSE)])]
#[case::irc(&[Preface::Irc], vec![
    server(b":irc.example.org NOTICE * :*** Looking up your hostname\r\n"),
    client(b"STARTTLS\r\n"),
    server(b":irc.example.org 670 * :STARTTLS successful\r\n"),
])]
#[case::smtp_behind_a_proxy(&[Preface::ProxyV1, Preface::Smtp], vec![
    client(b"PROXY TCP4 192.0.2.1 192.0.2.2 51234 587\r\n"),
    server(b"220 mail.example.org ESMTP\r\n"),
    client(b"EHLO client\r\n"),
    server(b"250 STARTTLS\r\n"),
    client(b"STARTTLS\r\n"),
    server(b"220 ready\r\n"),
])]
fn handshakes_after(#[case] prefaces: &[Preface], #[case] turns: Vec<Turn>) {
    let tls = [client(TLS12.0), server(TLS12.1)];
    let expected = told(&tls, 4096);
    let all = [&turns[..], &tls].concat();
    for size in [4096, 7, 1] {
        let observations = told(&all, size);
        let found = of(&observations, Egress);
        let (before, after) = found.split_at(prefaces.len());
        let named: Vec<_> = prefaces
            .iter()
            .copied()
            .map(ObservationKind::Preface)
            .collect();
        assert_eq!(before, named.iter().collect::<Vec<_>>());
        assert_eq!(after, of(&expected, Egress));
        assert_eq!(of(&observations, Ingress), of(&expected, Ingress));
    }
    // Wherever it is cut, nobody is blamed for what belongs before TLS.
    let total: usize = turns.iter().map(|(_, bytes)| bytes.len()).sum();
    for length in 0..total + 200 {
        let mut rest = length;
        let cut: Vec<_> = all
            .iter()
            .map(|(direction, bytes)| {
                let taken = rest.min(bytes.len());
                rest -= taken;
                (*direction, &bytes[..taken])
            })
            .collect();
        let observations = told(&cut, 4096);
        let begun = of(&observations, Egress).contains(&&ObservationKind::ClientHelloStarted);
        let blamed = |kind: &&ObservationKind| matches!(kind, ObservationKind::NotTls(_));
        let blamed = of(&observations, Ingress).iter().any(blamed);
        assert!(!(begun && blamed), "{length} bytes: {observations:?}");
    }
}

/// What the client says ends the hope that TLS follows; both ends are named at once.
#[rstest]
#[case::smtp_in_the_clear(vec![
    server(b"220 mail.example.org ESMTP\r\n"),
    client(b"EHLO client\r\n"),
    server(b"250 OK\r\n"),
    client(b"MAIL FROM:<a@example.org>\r\n"),
], PlaintextProtocol::Other, PlaintextProtocol::SmtpOrFtp)]
#[case::postgresql_without(vec![
    client(b"\0\0\0\x08\x04\xd2\x16\x2f"),
    server(b"N"),
    client(b"\0\0\0\x52\0\x03\0\0user\0"),
], PlaintextProtocol::Other, PlaintextProtocol::Other)]
#[case::mysql_without(vec![
    server(MYSQL_GREETING),
    client(b"\x55\0\0\x01\x85\xa6\x7f\0"),
], PlaintextProtocol::Other, PlaintextProtocol::Other)]
#[case::http(vec![
    client(b"GET / HTTP/1.1\r\n\r\n"),
    server(b"HTTP/1.1 200 OK\r\n"),
], PlaintextProtocol::HttpRequest, PlaintextProtocol::HttpResponse)]
fn plain_text_is_known_for_it(
    #[case] turns: Vec<Turn>,
    #[case] client_speaks: PlaintextProtocol,
    #[case] server_speaks: PlaintextProtocol,
) {
    let mut observations = Vec::new();
    let mut conversation = Conversation::new(Limits::default());
    let mut offsets = [0; 2];
    for (direction, bytes) in &turns {
        let offset = &mut offsets[*direction as usize];
        let segment = Segment {
            direction: *direction,
            ..segment(*offset, bytes)
        };
        *offset += bytes.len();
        conversation.set_base(*direction, BASE);
        conversation.segment(Timestamp(0), &segment, &mut observations);
    }
    assert_eq!(conversation.held(), 0, "nothing is waited for");
    for (direction, protocol) in [(Egress, client_speaks), (Ingress, server_speaks)] {
        let found = of(&observations, direction);
        let [ObservationKind::NotTls(plaintext)] = found.as_slice() else {
            panic!("{found:?}");
        };
        assert_eq!(plaintext.protocol, protocol);
    }
}

/// TLS at once from one end: what the other one says is not what comes before it.
#[rstest]
#[case::banner_first(vec![server(b"220 mail.example.org ESMTP\r\n"), client(TLS12.0)], Ingress)]
#[case::banner_later(vec![client(TLS12.0), server(b"220 mail.example.org ESMTP\r\n")], Ingress)]
#[case::connect_to_tls(vec![client(b"CONNECT x:1 HTTP/1.1\r\n\r\n"), server(b"\x15\x03\x01\0\x02\x02\x46")], Egress)]
#[case::smtp_to_tls(vec![client(b"EHLO x\r\n"), server(b"\x15\x03\x01\0\x02\x02\x46")], Egress)]
fn no_preface(#[case] turns: Vec<Turn>, #[case] plain: Direction) {
    for size in [4096, 1] {
        let observations = told(&turns, size);
        let found = of(&observations, plain);
        assert!(
            matches!(found.as_slice(), [ObservationKind::NotTls(_)]),
            "{observations:?}"
        );
        assert!(
            !observations
                .iter()
                .any(|one| matches!(one.kind, ObservationKind::Preface(_)))
        );
    }
}

/// A tunnel to a server that does not speak TLS.
#[test]
fn plain_answer_behind_a_tunnel() {
    let observations = told(
        &[
            client(b"CONNECT x:80 HTTP/1.1\r\n\r\n"),
            server(b"HTTP/1.1 200 OK\r\n\r\n"),
            client(TLS12.0),
            server(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        ],
        4096,
    );
    let found = of(&observations, Ingress);
    let [ObservationKind::NotTls(plaintext)] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert_eq!(plaintext.protocol, PlaintextProtocol::HttpResponse);
    assert!(plaintext.sample.starts_with(b"HTTP/1.1 400"));
}

/// HTTP in the clear behind a PROXY protocol header is HTTP in the clear.
#[test]
fn plain_http_behind_a_header() {
    let header = b"PROXY TCP4 192.0.2.1 192.0.2.2 51234 443\r\n".as_slice();
    let turns = [client(header), client(b"GET / HTTP/1.1\r\n\r\n")];
    for size in [4096, 1] {
        let observations = told(&turns, size);
        let found = of(&observations, Egress);
        let [
            ObservationKind::Preface(Preface::ProxyV1),
            ObservationKind::NotTls(plaintext),
        ] = found.as_slice()
        else {
            panic!("{found:?}");
        };
        assert_eq!(plaintext.protocol, PlaintextProtocol::HttpRequest);
    }
}
