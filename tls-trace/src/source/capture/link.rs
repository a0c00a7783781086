//! From the link layer to IP.

use etherparse::{EtherType, Ethernet2Slice, SingleVlanSlice, ether_type};

use super::packet::LinkType;

/// VLAN tags in a row that are looked behind; providers use two.
const MAX_TAGS: usize = 4;
/// Bytes of the address family in front of IP on loopback interfaces of BSD and macOS.
const NULL_HEADER: usize = 4;
/// Linux cooked headers, version 1 and 2, and where they name the protocol.
const SLL_HEADER: usize = 16;
const SLL_PROTOCOL: usize = 14;
const SLL2_HEADER: usize = 20;
const SLL2_PROTOCOL: usize = 0;

/// Why a frame has no IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoIp {
    /// ARP, or anything else that is not IP, or too short to say.
    OtherProtocol,
    /// Nothing is known of this link layer.
    UnknownLink,
}

/// The IP packet in a frame, with whatever trails it.
pub(super) fn ip(link_type: LinkType, frame: &[u8]) -> Result<&[u8], NoIp> {
    let ip = match link_type {
        LinkType::ETHERNET => ethernet(frame),
        LinkType::LINUX_SLL => cooked(frame, SLL_PROTOCOL, SLL_HEADER),
        LinkType::LINUX_SLL2 => cooked(frame, SLL2_PROTOCOL, SLL2_HEADER),
        // The family's number depends on the system; the IP version says as much.
        LinkType::NULL | LinkType::LOOP => frame.get(NULL_HEADER..),
        LinkType::RAW
        | LinkType::RAW_DLT
        | LinkType::RAW_OPENBSD
        | LinkType::IPV4
        | LinkType::IPV6 => Some(frame),
        _ => return Err(NoIp::UnknownLink),
    };
    ip.ok_or(NoIp::OtherProtocol)
}

fn ethernet(frame: &[u8]) -> Option<&[u8]> {
    let ethernet = Ethernet2Slice::from_slice_without_fcs(frame).ok()?;
    ether_payload(ethernet.ether_type(), ethernet.payload_slice())
}

fn cooked(frame: &[u8], protocol: usize, header: usize) -> Option<&[u8]> {
    let protocol = frame.get(protocol..)?.first_chunk()?;
    let protocol = EtherType(u16::from_be_bytes(*protocol));
    ether_payload(protocol, frame.get(header..)?)
}

fn ether_payload(mut protocol: EtherType, mut payload: &[u8]) -> Option<&[u8]> {
    for _ in 0..=MAX_TAGS {
        match protocol {
            ether_type::IPV4 | ether_type::IPV6 => return Some(payload),
            ether_type::VLAN_TAGGED_FRAME
            | ether_type::PROVIDER_BRIDGING
            | ether_type::VLAN_DOUBLE_TAGGED_FRAME => {
                let tag = SingleVlanSlice::from_slice(payload).ok()?;
                (protocol, payload) = (tag.ether_type(), tag.payload_slice());
            }
            _ => return None,
        }
    }
    None
}
