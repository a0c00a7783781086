//! The extensible format (draft-ietf-opsawg-pcapng): sections, interfaces, packets, and blocks of no
//! interest here.

use bytes::Bytes;
use pcap_parser::{
    Block, InterfaceDescriptionBlock, parse_block_be, parse_block_le,
    traits::PcapNGPacketBlock as _,
};

use super::{
    blocks::Blocks,
    file::{CaptureError, Parsed, damaged, fill_for},
    packet::{LinkType, Packet},
};
use crate::event::Timestamp;

/// Longest block that is believed; a block of secrets or names may be longer than any packet.
const MAX_BLOCK: usize = 16 << 20;
/// Type of a section header block, the same in both byte orders, and what tells the order.
pub(super) const SECTION_HEADER: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];
const BIG_ENDIAN: [u8; 4] = [0x1a, 0x2b, 0x3c, 0x4d];
/// Most interfaces of a section.
const MAX_INTERFACES: usize = 65_536;

/// The section at hand.
#[derive(Default)]
pub(super) struct Pcapng {
    big_endian: bool,
    interfaces: Vec<Interface>,
    /// Time of the packet before: a simple packet has none of its own.
    last: Timestamp,
}

#[derive(Clone, Copy)]
struct Interface {
    link_type: LinkType,
    snaplen: u32,
    resolution: Resolution,
    /// Seconds to add to each time.
    offset: i64,
}

/// How many units of time a second has.
#[derive(Clone, Copy)]
enum Resolution {
    Decimal(u32),
    Binary(u32),
}

/// What a block is to us.
enum Content {
    Section {
        big_endian: bool,
    },
    Interface(Interface),
    Packet {
        interface: u32,
        ticks: u64,
        length: u32,
        data: Bytes,
    },
    Simple {
        length: u32,
        data: Bytes,
    },
    Other,
}

impl Pcapng {
    pub(super) fn next_packet(
        &mut self,
        blocks: &mut Blocks,
    ) -> Result<Option<Packet>, CaptureError> {
        loop {
            let bytes = blocks.bytes();
            let result = if self.big_endian {
                parse_block_be(bytes)
            } else {
                parse_block_le(bytes)
            };
            let parsed = Parsed::of(bytes, result, |block| {
                content(bytes, &block, self.big_endian)
            });
            match parsed {
                Parsed::Found(content, length) => {
                    let packet = self.take(content, blocks)?;
                    blocks.advance(length);
                    if packet.is_some() {
                        return Ok(packet);
                    }
                }
                Parsed::Incomplete(needed) => {
                    self.check_length(blocks)?;
                    if !fill_for(blocks, needed, MAX_BLOCK)? {
                        return Ok(None);
                    }
                }
                Parsed::Invalid => return Err(damaged(blocks, "not a block of pcapng")),
            }
        }
    }

    fn take(&mut self, content: Content, blocks: &Blocks) -> Result<Option<Packet>, CaptureError> {
        match content {
            Content::Section { big_endian } => {
                self.big_endian = big_endian;
                self.interfaces.clear();
            }
            Content::Interface(interface) => {
                if self.interfaces.len() == MAX_INTERFACES {
                    return Err(damaged(blocks, "more interfaces than any machine has"));
                }
                self.interfaces.push(interface);
            }
            Content::Packet {
                interface,
                ticks,
                length,
                data,
            } => {
                let interface = self.interface(interface, blocks)?;
                self.last = interface.time(ticks);
                return Ok(Some(self.packet(interface, length, data)));
            }
            Content::Simple { length, data } => {
                let interface = self.interface(0, blocks)?;
                let most = match interface.snaplen {
                    0 => length,
                    snaplen => length.min(snaplen),
                };
                let captured = data.len().min(most as usize);
                return Ok(Some(self.packet(interface, length, data.slice(..captured))));
            }
            Content::Other => {}
        }
        Ok(None)
    }

    fn packet(&self, interface: Interface, length: u32, data: Bytes) -> Packet {
        Packet {
            time: self.last,
            link_type: interface.link_type,
            data,
            length,
        }
    }

    fn interface(&self, index: u32, blocks: &Blocks) -> Result<Interface, CaptureError> {
        let interface = self.interfaces.get(index as usize).copied();
        interface.ok_or_else(|| {
            damaged(
                blocks,
                format!("a packet of interface {index}, which it lacks"),
            )
        })
    }

    /// Refuses a block whose length cannot be true, and one whose parts ask for more than it has: the
    /// parser would wait for it.
    fn check_length(&self, blocks: &Blocks) -> Result<(), CaptureError> {
        let bytes = blocks.bytes();
        let (Some(kind), Some(Some(length))) = (
            bytes.first_chunk::<4>(),
            bytes.get(4..).map(<[u8]>::first_chunk::<4>),
        ) else {
            return Ok(());
        };
        let big_endian = match (*kind == SECTION_HEADER, bytes.get(8..12)) {
            (true, None) => return Ok(()),
            (true, Some(order)) => order == BIG_ENDIAN,
            (false, _) => self.big_endian,
        };
        let length = if big_endian {
            u32::from_be_bytes(*length)
        } else {
            u32::from_le_bytes(*length)
        };
        if length as usize > MAX_BLOCK {
            return Err(damaged(blocks, format!("a block of {length} bytes")));
        }
        if bytes.len() >= length as usize {
            let what = format!("a block of {length} bytes has more inside than that");
            return Err(damaged(blocks, what));
        }
        Ok(())
    }
}

impl Interface {
    fn of(block: &InterfaceDescriptionBlock<'_>, big_endian: bool) -> Self {
        Self {
            // The field has 16 bits.
            link_type: LinkType::of(block.linktype),
            snaplen: block.snaplen,
            resolution: match block.if_tsresol {
                binary if binary & 0x80 != 0 => Resolution::Binary(u32::from(binary & 0x7f)),
                decimal => Resolution::Decimal(u32::from(decimal)),
            },
            // The parser takes every section for a little-endian one here.
            offset: if big_endian {
                block.if_tsoffset.swap_bytes()
            } else {
                block.if_tsoffset
            },
        }
    }

    fn time(&self, ticks: u64) -> Timestamp {
        const NANOS: u128 = 1_000_000_000;
        let ticks = u128::from(ticks);
        let nanos = match self.resolution {
            Resolution::Decimal(digits @ 0..=9) => ticks * 10_u128.pow(9 - digits),
            Resolution::Decimal(digits) => ticks / 10_u128.saturating_pow(digits - 9),
            Resolution::Binary(bits) => (ticks * NANOS).checked_shr(bits).unwrap_or(0),
        };
        let nanos = i128::try_from(nanos).unwrap_or(i128::MAX);
        let nanos = nanos.saturating_add(i128::from(self.offset) * 1_000_000_000);
        Timestamp(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

fn content(bytes: &Bytes, block: &Block<'_>, big_endian: bool) -> Content {
    match block {
        Block::SectionHeader(section) => Content::Section {
            big_endian: section.big_endian(),
        },
        Block::InterfaceDescription(interface) => {
            Content::Interface(Interface::of(interface, big_endian))
        }
        Block::EnhancedPacket(packet) => Content::Packet {
            interface: packet.if_id,
            ticks: u64::from(packet.ts_high) << 32 | u64::from(packet.ts_low),
            length: packet.origlen.max(packet.caplen),
            data: bytes.slice_ref(packet.packet_data()),
        },
        Block::SimplePacket(packet) => Content::Simple {
            length: packet.origlen,
            data: bytes.slice_ref(packet.data),
        },
        _ => Content::Other,
    }
}
