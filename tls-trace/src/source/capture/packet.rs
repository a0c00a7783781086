//! A packet as a capture file holds it.

use bytes::Bytes;

use crate::event::Timestamp;

/// One captured packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When it was captured, nanoseconds since 1970-01-01 UTC.
    pub time: Timestamp,
    /// What its first bytes are.
    pub link_type: LinkType,
    /// The captured bytes.
    pub data: Bytes,
    /// Bytes it had on the wire.
    pub length: u32,
}

/// Link-layer header type (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkType(pub u16);

#[expect(missing_docs, reason = "names of the registry, without LINKTYPE_")]
impl LinkType {
    /// The lower 16 bits of the field; pcap tells of the frame check sequence in
    /// the upper ones.
    pub(super) fn of(field: pcap_parser::Linktype) -> Self {
        let [low, high, ..] = field.0.to_le_bytes();
        Self(u16::from_le_bytes([low, high]))
    }

    pub const NULL: Self = Self(0);
    pub const ETHERNET: Self = Self(1);
    /// Raw IP as OpenBSD numbers it.
    pub const RAW_OPENBSD: Self = Self(14);
    /// Raw IP as other systems number it.
    pub const RAW_DLT: Self = Self(12);
    pub const RAW: Self = Self(101);
    pub const LOOP: Self = Self(108);
    pub const LINUX_SLL: Self = Self(113);
    pub const IPV4: Self = Self(228);
    pub const IPV6: Self = Self(229);
    pub const LINUX_SLL2: Self = Self(276);
}
