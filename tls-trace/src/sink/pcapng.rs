//! Packets with comments, for Wireshark and tshark: a pcapng file (draft-ietf-opsawg-pcapng).

use std::{
    io::{self, Write},
    net::IpAddr,
};

use crate::source::capture::{LinkType, Packet};

/// Block types.
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const NAME_RESOLUTION: u32 = 4;
const ENHANCED_PACKET: u32 = 6;

/// Option codes.
const COMMENT: u16 = 1;
const SHB_USERAPPL: u16 = 4;
const IF_TSRESOL: u16 = 9;

/// Records of a block of names.
const NRB_RECORD_END: u16 = 0;
const NRB_RECORD_IPV4: u16 = 1;
const NRB_RECORD_IPV6: u16 = 2;

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const VERSION: [u16; 2] = [1, 0];
/// Times are in nanoseconds.
const NANOSECONDS: &[u8] = &[9];
/// The length of a section that is not said in advance.
const UNSPECIFIED: i64 = -1;
/// Most bytes of an option; their number is written in 16 bits, and padded to four.
const OPTION: usize = u16::MAX as usize - 3;

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
        let mut section = Block::new(SECTION_HEADER);
        section.u32(BYTE_ORDER);
        section.u16s(&VERSION);
        section.bytes(&UNSPECIFIED.to_le_bytes());
        section.option(COMMENT, cut(comment).as_bytes());
        section.option(SHB_USERAPPL, program.as_bytes());
        section.write(&mut writer)?;
        Ok(Self {
            writer,
            interfaces: Vec::new(),
        })
    }

    /// Writes names of addresses, which readers show in their place.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn names<'a>(
        &mut self,
        names: impl IntoIterator<Item = (IpAddr, &'a str)>,
    ) -> io::Result<()> {
        let mut block = Block::new(NAME_RESOLUTION);
        for (address, name) in names {
            let (record, mut value) = match address {
                IpAddr::V4(address) => (NRB_RECORD_IPV4, address.octets().to_vec()),
                IpAddr::V6(address) => (NRB_RECORD_IPV6, address.octets().to_vec()),
            };
            value.extend(name.as_bytes());
            value.push(0);
            block.option(record, &value);
        }
        block.u16s(&[NRB_RECORD_END, 0]);
        block.write(&mut self.writer)
    }

    /// Writes a packet.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn packet(&mut self, packet: &Packet, comment: Option<&str>) -> io::Result<()> {
        let interface = self.interface(packet.link_type)?;
        let captured = u32::try_from(packet.data.len()).map_err(io::Error::other)?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the two halves of a number"
        )]
        let (high, low) = ((packet.time.0 >> 32) as u32, packet.time.0 as u32);
        let mut block = Block::new(ENHANCED_PACKET);
        for word in [interface, high, low, captured, packet.length] {
            block.u32(word);
        }
        block.bytes(&packet.data);
        if let Some(comment) = comment {
            block.option(COMMENT, cut(comment).as_bytes());
        }
        block.write(&mut self.writer)
    }

    /// What is written so far reaches the file.
    ///
    /// # Errors
    /// It does not.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The rest cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.flush()?;
        Ok(self.writer)
    }

    /// The number of the interface for a link type, written when it is the first of its kind.
    fn interface(&mut self, link_type: LinkType) -> io::Result<u32> {
        let known = self.interfaces.iter().position(|known| *known == link_type);
        let index = if let Some(index) = known {
            index
        } else {
            let mut block = Block::new(INTERFACE_DESCRIPTION);
            block.u16s(&[link_type.0, 0]);
            block.u32(0); // No limit to the length of packets.
            block.option(IF_TSRESOL, NANOSECONDS);
            block.write(&mut self.writer)?;
            self.interfaces.push(link_type);
            self.interfaces.len() - 1
        };
        u32::try_from(index).map_err(io::Error::other)
    }
}

/// A block, little-endian: type, length, body, length again (§3.1).
struct Block {
    bytes: Vec<u8>,
}

impl Block {
    fn new(block_type: u32) -> Self {
        let mut block = Self { bytes: Vec::new() };
        block.u32(block_type);
        block.u32(0); // The length, once it is known.
        block
    }

    fn u32(&mut self, value: u32) {
        self.bytes.extend(value.to_le_bytes());
    }

    fn u16s(&mut self, values: &[u16]) {
        self.bytes
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    /// Bytes, padded to four.
    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// An option, or a record of a name; what is longer than its length can say is left out.
    fn option(&mut self, code: u16, value: &[u8]) {
        if let Ok(length) = u16::try_from(value.len()) {
            self.u16s(&[code, length]);
            self.bytes(value);
        }
    }

    fn write(mut self, writer: &mut impl Write) -> io::Result<()> {
        let length = u32::try_from(self.bytes.len() + 4).map_err(io::Error::other)?;
        self.bytes[4..8].copy_from_slice(&length.to_le_bytes());
        self.u32(length);
        writer.write_all(&self.bytes)
    }
}

/// Text, cut where an option ends at the latest.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(OPTION);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
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
