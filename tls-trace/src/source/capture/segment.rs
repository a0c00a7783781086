//! From a packet to the TCP segment in it.

use std::{
    hash::{BuildHasher as _, Hasher as _},
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
};

use bytes::Bytes;
use etherparse::{Ipv6ExtensionSlice, LaxIpSlice, TcpSlice, ip_number};
use foldhash::quality::RandomState;

use super::{
    fragments::{Datagram, Fragments},
    link::{self, NoIp},
    packet::Packet,
};
use crate::event::TcpFlags;

/// Length of a TCP header without options.
const TCP_HEADER: usize = 20;
/// Options shorter than this hold no timestamps (RFC 7323 §3.2, with padding).
const TIMESTAMPS: usize = 12;

/// A TCP segment, before it is known whose.
#[derive(Clone, Debug)]
pub(super) struct TcpSegment {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) flags: TcpFlags,
    pub(super) ttl: u8,
    /// Payload bytes on the wire.
    pub(super) length: u32,
    /// Those of them that were captured.
    pub(super) payload: Bytes,
    pub(super) identity: Identity,
}

/// What two captures of the same packet have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    hash: u64,
    /// The sender numbers its packets or stamps them with the time, so a retransmission differs.
    pub(super) unique: bool,
}

/// Why a packet has no segment to offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTcp {
    /// Another protocol.
    OtherProtocol,
    /// Nothing is known of its link layer.
    UnknownLink,
    /// A fragment whose datagram is not complete.
    Fragment,
    /// Cut before the end of its headers, or they contradict themselves.
    Unreadable,
}

/// The IP header's share of a segment.
struct Ip {
    source: IpAddr,
    destination: IpAddr,
    ttl: u8,
    identification: u32,
}

/// Finds the segment in a packet.
pub(super) fn dissect(packet: &Packet, fragments: &mut Fragments) -> Result<TcpSegment, NoTcp> {
    let frame = &packet.data[..];
    let bytes = link::ip(packet.link_type, frame).map_err(|error| match error {
        NoIp::OtherProtocol => NoTcp::OtherProtocol,
        NoIp::UnknownLink => NoTcp::UnknownLink,
    })?;
    let (slice, _) = LaxIpSlice::from_slice(bytes).map_err(|_| NoTcp::Unreadable)?;
    let payload = slice.payload();
    if payload.ip_number != ip_number::TCP {
        return Err(NoTcp::OtherProtocol);
    }
    let ip = Ip::of(&slice);
    if payload.fragmented {
        if payload.incomplete {
            return Err(NoTcp::Unreadable);
        }
        let (datagram, offset, more) = fragment(&slice, &ip).ok_or(NoTcp::Unreadable)?;
        let whole = fragments
            .add(packet.time, datagram, offset, more, payload.payload)
            .ok_or(NoTcp::Fragment)?;
        let whole = Bytes::from(whole);
        return segment(&ip, &whole, &whole, whole.len());
    }
    let headers = payload.payload.as_ptr().addr() - bytes.as_ptr().addr();
    let length = match stated_length(&slice) {
        Some(total) => total.saturating_sub(headers),
        // Left for the network card to fill in, for a packet that it cuts in pieces.
        None => (packet.length as usize).saturating_sub(frame.len() - bytes.len() + headers),
    };
    segment(&ip, &packet.data, payload.payload, length)
}

impl Ip {
    fn of(slice: &LaxIpSlice<'_>) -> Self {
        match slice {
            LaxIpSlice::Ipv4(ip) => {
                let header = ip.header();
                Self {
                    source: header.source_addr().into(),
                    destination: header.destination_addr().into(),
                    ttl: header.ttl(),
                    identification: header.identification().into(),
                }
            }
            LaxIpSlice::Ipv6(ip) => {
                let header = ip.header();
                Self {
                    source: header.source_addr().into(),
                    destination: header.destination_addr().into(),
                    ttl: header.hop_limit(),
                    identification: 0,
                }
            }
        }
    }
}

/// Bytes from the start of the IP header, as that states them.
fn stated_length(slice: &LaxIpSlice<'_>) -> Option<usize> {
    let (length, header) = match slice {
        LaxIpSlice::Ipv4(ip) => (usize::from(ip.header().total_len()), 0),
        LaxIpSlice::Ipv6(ip) => {
            let header = ip.header();
            (usize::from(header.payload_length()), header.slice().len())
        }
    };
    (length != 0).then_some(header + length)
}

fn fragment(slice: &LaxIpSlice<'_>, ip: &Ip) -> Option<(Datagram, etherparse::IpFragOffset, bool)> {
    let (identification, offset, more) = match slice {
        LaxIpSlice::Ipv4(ip) => {
            let header = ip.header();
            let identification = u32::from(header.identification());
            (
                identification,
                header.fragments_offset(),
                header.more_fragments(),
            )
        }
        LaxIpSlice::Ipv6(ip) => ip.extensions().clone().into_iter().find_map(|extension| {
            let Ipv6ExtensionSlice::Fragment(header) = extension else {
                return None;
            };
            Some((
                header.identification(),
                header.fragment_offset(),
                header.more_fragments(),
            ))
        })?,
    };
    let datagram = Datagram {
        source: ip.source,
        destination: ip.destination,
        protocol: ip_number::TCP.0,
        identification,
    };
    Some((datagram, offset, more))
}

/// Reads the segment in `bytes`, a part of `owner`, that had `length` bytes on the wire.
fn segment(ip: &Ip, owner: &Bytes, bytes: &[u8], length: usize) -> Result<TcpSegment, NoTcp> {
    let mut fixed: [u8; TCP_HEADER] = *bytes.first_chunk().ok_or(NoTcp::Unreadable)?;
    let tcp = TcpSlice::from_slice(bytes).or_else(|_| {
        // Cut inside the options: the rest of the header still says what happened.
        fixed[12] = 5 << 4;
        TcpSlice::from_slice(&fixed).map_err(|_| NoTcp::Unreadable)
    })?;
    let header = usize::from(bytes[12] >> 4) * 4;
    let length = length.checked_sub(header).ok_or(NoTcp::Unreadable)?;
    let payload = tcp.payload();
    let payload = &payload[..payload.len().min(length)];
    Ok(TcpSegment {
        source: SocketAddr::new(ip.source, tcp.source_port()),
        destination: SocketAddr::new(ip.destination, tcp.destination_port()),
        seq: tcp.sequence_number(),
        ack: tcp.acknowledgment_number(),
        flags: TcpFlags(bytes[13]),
        ttl: ip.ttl,
        length: u32::try_from(length).unwrap_or(u32::MAX),
        payload: match payload {
            [] => Bytes::new(),
            payload => owner.slice_ref(payload),
        },
        identity: identity(ip, &tcp, length),
    })
}

/// Neither checksum (network cards fill it in later) nor TTL (routers count it down).
fn identity(ip: &Ip, tcp: &TcpSlice<'_>, length: usize) -> Identity {
    /// Of this process: nobody can make packets that are taken for each other.
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::default);
    let mut hasher = KEY.build_hasher();
    let header = tcp.header_slice();
    hasher.write(&header[..16]);
    hasher.write(tcp.options());
    hasher.write_usize(length);
    hasher.write_u32(ip.identification);
    Identity {
        hash: hasher.finish(),
        unique: ip.identification != 0 || tcp.options().len() >= TIMESTAMPS,
    }
}
