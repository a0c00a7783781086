//! Packets with comments, for Wireshark and tshark: a pcapng file (draft-ietf-opsawg-pcapng).

use std::{
    borrow::Cow,
    io::{self, Write},
};

use pcap_parser::{
    EnhancedPacketBlock, InterfaceDescriptionBlock, Linktype, OptionCode, PcapNGOption,
    SectionHeaderBlock, ToVec,
};

use crate::source::capture::{LinkType, Packet};

/// Times are written in nanoseconds (`if_tsresol`).
const NANOSECONDS: u8 = 9;
/// Most bytes of an option; their number is written in 16 bits, and padded to four.
const OPTION: usize = u16::MAX as usize - 3;
/// The length of a section that is not said in advance.
const UNSPECIFIED: i64 = -1;

/// Writes a capture of one section.
#[derive(Debug)]
pub struct PcapngWriter<W> {
    writer: W,
    /// Link types that have an interface, in the order of their numbers.
    interfaces: Vec<LinkType>,
}

impl<W: Write> PcapngWriter<W> {
    /// Begins a file; the comment is of the file as a whole.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(mut writer: W, comment: &str) -> io::Result<Self> {
        let program = concat!("tls-trace ", env!("CARGO_PKG_VERSION"));
        let mut section = SectionHeaderBlock {
            block_type: 0,
            block_len1: 0,
            bom: 0,
            major_version: 0,
            minor_version: 0,
            section_len: UNSPECIFIED,
            options: vec![
                text(OptionCode::Comment, comment),
                text(OptionCode::ShbUserAppl, program),
            ],
            block_len2: 0,
        };
        write(&mut writer, &mut section)?;
        Ok(Self {
            writer,
            interfaces: Vec::new(),
        })
    }

    /// Writes a packet.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn packet(&mut self, packet: &Packet, comment: Option<&str>) -> io::Result<()> {
        let interface = self.interface(packet.link_type)?;
        let mut options = Vec::new();
        options.extend(comment.map(|comment| text(OptionCode::Comment, comment)));
        let captured = u32::try_from(packet.data.len()).unwrap_or(u32::MAX);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the two halves of a number"
        )]
        let (ts_high, ts_low) = ((packet.time.0 >> 32) as u32, packet.time.0 as u32);
        let mut block = EnhancedPacketBlock {
            block_type: 0,
            block_len1: 0,
            if_id: interface,
            ts_high,
            ts_low,
            caplen: captured,
            origlen: packet.length,
            data: &packet.data,
            options,
            block_len2: 0,
        };
        write(&mut self.writer, &mut block)
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The rest cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.writer.flush()?;
        Ok(self.writer)
    }

    /// The number of the interface for a link type, written when it is the first of its kind.
    fn interface(&mut self, link_type: LinkType) -> io::Result<u32> {
        let known = self.interfaces.iter().position(|known| *known == link_type);
        let index = if let Some(index) = known {
            index
        } else {
            let mut interface = InterfaceDescriptionBlock {
                block_type: 0,
                block_len1: 0,
                linktype: Linktype(link_type.0.into()),
                reserved: 0,
                snaplen: 0,
                options: Vec::new(),
                block_len2: 0,
                if_tsresol: NANOSECONDS,
                if_tsoffset: 0,
            };
            write(&mut self.writer, &mut interface)?;
            self.interfaces.push(link_type);
            self.interfaces.len() - 1
        };
        Ok(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

fn write(writer: &mut impl Write, block: &mut impl ToVec) -> io::Result<()> {
    let bytes = block
        .to_vec()
        .map_err(|error| io::Error::other(format!("a block of pcapng: {error:?}")))?;
    writer.write_all(&bytes)
}

/// An option with text, cut where an option ends at the latest.
fn text(code: OptionCode, text: &str) -> PcapNGOption<'_> {
    let mut end = text.len().min(OPTION);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = &text[..end];
    PcapNGOption {
        code,
        len: u16::try_from(text.len()).unwrap_or(u16::MAX),
        value: Cow::Borrowed(text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{event::Timestamp, source::capture::CaptureFile};

    #[test]
    fn what_is_written_can_be_read() {
        let packet = |time, link_type, data: &'static [u8]| Packet {
            time: Timestamp(time),
            link_type,
            data: Bytes::from_static(data),
            length: 1500,
        };
        let packets = [
            packet(1_700_000_000_123_456_789, LinkType::ETHERNET, b"abcde"),
            packet(1_700_000_000_123_456_790, LinkType::LINUX_SLL2, b"abcdefgh"),
            packet(1_700_000_000_123_456_791, LinkType::ETHERNET, b""),
        ];
        let long = "é".repeat(40_000);
        let mut writer = PcapngWriter::new(Vec::new(), &long).unwrap();
        for (packet, comment) in packets.iter().zip([None, Some("why"), Some(&long[..])]) {
            writer.packet(packet, comment).unwrap();
        }
        let file = writer.finish().unwrap();
        assert!(file.windows(3).any(|window| window == b"why"));

        let mut file = CaptureFile::read(std::io::Cursor::new(file)).unwrap();
        for expected in packets {
            assert_eq!(file.next_packet().unwrap(), Some(expected));
        }
        assert_eq!(file.next_packet().unwrap(), None);
    }
}
