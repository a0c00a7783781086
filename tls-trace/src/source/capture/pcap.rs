//! The classic format (draft-ietf-opsawg-pcap): a header, then packets.

use pcap_parser::{
    PcapHeader, parse_pcap_frame, parse_pcap_frame_be, parse_pcap_frame_modified, parse_pcap_header,
};

use super::{
    blocks::Blocks,
    file::{CaptureError, Parsed, damaged, fill_for},
    packet::{LinkType, Packet},
};
use crate::event::Timestamp;

/// Most bytes a packet may have whatever the header says (`MAXIMUM_SNAPLEN`, libpcap pcap-int.h).
const MAX_PACKET: u32 = 262_144;
/// Longest packet header, that of the modified format.
const MAX_PACKET_HEADER: usize = 24;

/// The file's header.
pub(super) struct Pcap {
    header: PcapHeader,
}

impl Pcap {
    /// Takes the header off the front.
    pub(super) fn begin(blocks: &mut Blocks) -> Result<Self, CaptureError> {
        loop {
            let bytes = blocks.bytes();
            match Parsed::of(bytes, parse_pcap_header(bytes), |header| header) {
                Parsed::Found(header, length) => {
                    blocks.advance(length);
                    return Ok(Self { header });
                }
                Parsed::Incomplete(needed) => {
                    fill_for(blocks, needed, usize::MAX)?;
                }
                Parsed::Invalid => return Err(CaptureError::NotACapture),
            }
        }
    }

    pub(super) fn next_packet(&self, blocks: &mut Blocks) -> Result<Option<Packet>, CaptureError> {
        let most = self.header.snaplen.clamp(MAX_PACKET, 16 * MAX_PACKET) as usize;
        let parse = if self.header.is_bigendian() {
            parse_pcap_frame_be
        } else if self.header.is_modified_format() {
            parse_pcap_frame_modified
        } else {
            parse_pcap_frame
        };
        loop {
            let bytes = blocks.bytes();
            let parsed = Parsed::of(bytes, parse(bytes), |frame| Packet {
                time: self.time(frame.ts_sec, frame.ts_usec),
                link_type: LinkType::of(self.header.network),
                data: bytes.slice_ref(frame.data),
                length: frame.origlen.max(frame.caplen),
            });
            match parsed {
                Parsed::Found(packet, length) => {
                    blocks.advance(length);
                    return Ok(Some(packet));
                }
                Parsed::Incomplete(needed) => {
                    if !fill_for(blocks, needed, MAX_PACKET_HEADER + most)? {
                        return Ok(None);
                    }
                }
                Parsed::Invalid => return Err(damaged(blocks, "not a packet")),
            }
        }
    }

    fn time(&self, seconds: u32, fraction: u32) -> Timestamp {
        let unit = if self.header.is_nanosecond_precision() {
            1
        } else {
            1000
        };
        Timestamp(u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * unit)
    }
}
