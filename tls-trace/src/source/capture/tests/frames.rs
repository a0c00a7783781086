//! Link layers, IP and TCP headers.

use bytes::Bytes;
use etherparse::{IpFragOffset, Ipv4Header, ip_number};
use rstest::rstest;

use super::make::{CLIENT, SERVER, Tcp, at, ethernet, packet, tcp};
use crate::{
    event::TcpFlags,
    source::capture::{
        LinkType, Packet,
        fragments::Fragments,
        segment::{NoTcp, TcpSegment, dissect},
    },
};

const IPV4: [u8; 2] = [0x08, 0x00];
const IPV6: [u8; 2] = [0x86, 0xdd];
const VLAN: [u8; 2] = [0x81, 0x00];
const QINQ: [u8; 2] = [0x88, 0xa8];

fn one(packet: &Packet) -> Result<TcpSegment, NoTcp> {
    dissect(packet, &mut Fragments::new())
}

fn sample() -> Tcp {
    tcp("A", 77, b"payload")
}

fn check(packet: &Packet) {
    let segment = one(packet).unwrap();
    assert_eq!(segment.payload, &b"payload"[..]);
    assert_eq!((segment.seq, segment.length, segment.ttl), (77, 7, 64));
    assert_eq!(segment.flags, TcpFlags(TcpFlags::ACK));
    assert_eq!(segment.source.port(), 51514);
    assert_eq!(segment.destination.port(), 443);
}

#[rstest]
#[case::ethernet(LinkType::ETHERNET, ethernet(&[IPV4], &[]))]
#[case::vlan(LinkType::ETHERNET, ethernet(&[VLAN, IPV4], &[]))]
#[case::qinq(LinkType::ETHERNET, ethernet(&[QINQ, VLAN, IPV4], &[]))]
#[case::cooked(LinkType::LINUX_SLL, [&[0; 14][..], &IPV4].concat())]
#[case::cooked_vlan(LinkType::LINUX_SLL, [&[0; 14][..], &VLAN, &[0, 7], &IPV4].concat())]
#[case::cooked_2(LinkType::LINUX_SLL2, [&IPV4[..], &[0; 18]].concat())]
#[case::null_of_macos(LinkType::NULL, vec![2, 0, 0, 0])]
#[case::loop_of_openbsd(LinkType::LOOP, vec![0, 0, 0, 2])]
#[case::raw(LinkType::RAW, vec![])]
#[case::raw_4(LinkType::IPV4, vec![])]
fn link_layers(#[case] link_type: LinkType, #[case] header: Vec<u8>) {
    check(&packet(
        0,
        link_type,
        [header.clone(), sample().ip()].concat(),
    ));
    // An Ethernet frame is padded to 60 bytes.
    check(&packet(
        0,
        link_type,
        [header, sample().ip(), vec![0; 6]].concat(),
    ));
}

#[rstest]
#[case::arp(LinkType::ETHERNET, ethernet(&[[0x08, 0x06]], &[0; 28]), NoTcp::OtherProtocol)]
#[case::wlan(LinkType(105), vec![0; 60], NoTcp::UnknownLink)]
#[case::nothing(LinkType::ETHERNET, vec![], NoTcp::OtherProtocol)]
#[case::not_ip(LinkType::RAW, vec![0; 60], NoTcp::Unreadable)]
fn no_segment(#[case] link_type: LinkType, #[case] frame: Vec<u8>, #[case] reason: NoTcp) {
    assert_eq!(one(&packet(0, link_type, frame)).unwrap_err(), reason);
}

#[test]
fn ipv6_with_extension_headers() {
    let ip = sample()
        .between("[2001:db8::9]:51514", "[2001:db8::7]:443")
        .ip();
    check(&packet(0, LinkType::ETHERNET, ethernet(&[IPV6], &ip)));

    // Hop-by-hop options, then destination options, then TCP.
    let tcp_length = ip.len() - 40;
    let mut header = ip[..40].to_vec();
    header[4..6].copy_from_slice(&u16::try_from(tcp_length + 16).unwrap().to_be_bytes());
    header[6] = 0;
    let options = [60, 0, 1, 4, 0, 0, 0, 0, 6, 0, 1, 4, 0, 0, 0, 0];
    let extended = [&header[..], &options, &ip[40..]].concat();
    check(&packet(0, LinkType::RAW, extended));
}

#[test]
fn ipv4_options() {
    let ip = sample().ip();
    let mut header = ip[..20].to_vec();
    header[0] = 0x46;
    let length = u16::try_from(ip.len() + 4).unwrap();
    header[2..4].copy_from_slice(&length.to_be_bytes());
    check(&packet(
        0,
        LinkType::RAW,
        [&header[..], &[1, 1, 1, 0], &ip[20..]].concat(),
    ));
}

#[test]
fn length_left_to_the_network_card() {
    let mut ip = sample().ip();
    ip[2..4].copy_from_slice(&[0, 0]);
    check(&packet(0, LinkType::RAW, ip));
}

#[test]
fn every_cut_of_a_packet() {
    let whole = packet(0, LinkType::ETHERNET, ethernet(&[IPV4], &sample().ip()));
    for captured in 0..whole.data.len() {
        let cut = Packet {
            data: whole.data.slice(..captured),
            ..whole.clone()
        };
        match one(&cut) {
            Ok(segment) => {
                assert!(captured >= 14 + 20 + 20, "{captured}");
                assert_eq!((segment.seq, segment.length), (77, 7));
                assert_eq!(segment.payload, &b"payload"[..captured - 54]);
            }
            Err(_) => assert!(captured < 14 + 20 + 20, "{captured}"),
        }
    }
}

#[test]
fn cut_inside_tcp_options() {
    let mut ip = tcp("S", 77, b"").ip();
    ip.extend([2, 4, 5, 0xb4, 1, 1, 4, 2, 8, 10, 0, 0]);
    ip[3] += 12;
    ip[32] = 8 << 4;
    let segment = one(&packet(0, LinkType::RAW, ip.clone())).unwrap();
    assert_eq!((segment.length, segment.seq), (0, 77));
    ip.truncate(45);
    let segment = one(&packet(0, LinkType::RAW, ip)).unwrap();
    assert_eq!((segment.length, segment.seq), (0, 77));
    assert_eq!(segment.flags, TcpFlags(TcpFlags::SYN));
}

/// The pieces of an IPv4 packet, cut at multiples of eight bytes.
fn fragments(ip: &[u8], size: usize) -> Vec<Packet> {
    let payload = &ip[20..];
    let pieces = payload.chunks(size).enumerate().map(|(index, piece)| {
        let (mut header, _) = Ipv4Header::from_slice(ip).unwrap();
        header.identification = 4711;
        header.dont_fragment = false;
        header.fragment_offset =
            IpFragOffset::try_new(u16::try_from(index * size / 8).unwrap()).unwrap();
        header.more_fragments = index * size + piece.len() < payload.len();
        header.set_payload_len(piece.len()).unwrap();
        let data = [&header.to_bytes()[..], piece].concat();
        packet(index as u64, LinkType::RAW, data)
    });
    pieces.collect()
}

#[test]
fn fragments_in_any_order() {
    let data: Vec<u8> = (0..=99).collect();
    let pieces = fragments(&tcp("A", 77, &data).ip(), 48);
    assert_eq!(pieces.len(), 3);
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
        let mut held = Fragments::new();
        for index in &order[..2] {
            assert_eq!(
                dissect(&pieces[*index], &mut held).unwrap_err(),
                NoTcp::Fragment
            );
        }
        let segment = dissect(&pieces[order[2]], &mut held).unwrap();
        assert_eq!(segment.payload, &data[..]);
        assert_eq!(segment.length, 100);
    }
    // The last fragment comes when nobody waits any more.
    let mut held = Fragments::new();
    let late = Packet {
        time: at(40_000),
        ..pieces[2].clone()
    };
    for packet in [&pieces[0], &pieces[1], &late] {
        assert_eq!(dissect(packet, &mut held).unwrap_err(), NoTcp::Fragment);
    }
}

#[test]
fn fragments_of_ipv6() {
    let ip = sample()
        .between("[2001:db8::9]:51514", "[2001:db8::7]:443")
        .ip();
    let piece = |range: std::ops::Range<usize>, more: u8| {
        let part = &ip[40..][range.clone()];
        let mut header = ip[..40].to_vec();
        header[4..6].copy_from_slice(&u16::try_from(part.len() + 8).unwrap().to_be_bytes());
        header[6] = 44;
        let offset = u16::try_from(range.start).unwrap().to_be_bytes();
        let fragment = [ip_number::TCP.0, 0, offset[0], offset[1] | more, 0, 0, 0, 9];
        packet(0, LinkType::RAW, [&header[..], &fragment, part].concat())
    };
    let mut held = Fragments::new();
    let first = dissect(&piece(0..16, 1), &mut held);
    assert_eq!(first.unwrap_err(), NoTcp::Fragment);
    let segment = dissect(&piece(16..27, 0), &mut held).unwrap();
    assert_eq!(segment.payload, &b"payload"[..]);
}

#[test]
fn many_datagrams_without_end_are_bounded() {
    let mut held = Fragments::new();
    let first = fragments(&tcp("A", 77, &[1; 100]).ip(), 48);
    let flood = |identification: u16| {
        let mut packet = first[0].clone();
        let mut data = packet.data.to_vec();
        data[4..6].copy_from_slice(&identification.to_be_bytes());
        packet.data = Bytes::from(data);
        packet
    };
    for packet in &first[..2] {
        assert_eq!(dissect(packet, &mut held).unwrap_err(), NoTcp::Fragment);
    }
    for identification in 10_000..10_100 {
        let _ = dissect(&flood(identification), &mut held);
    }
    // The one before the flood was given up.
    assert_eq!(dissect(&first[2], &mut held).unwrap_err(), NoTcp::Fragment);
}

#[test]
fn addresses() {
    let segment = one(&sample().at(0)).unwrap();
    assert_eq!(segment.source, CLIENT.parse().unwrap());
    assert_eq!(segment.destination, SERVER.parse().unwrap());
}
