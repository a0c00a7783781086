//! Makes packets and capture files.

use std::net::SocketAddr;

use etherparse::PacketBuilder;

use crate::{
    event::{Event, Timestamp},
    source::capture::{CaptureError, CaptureFile, Connections, LinkType, Packet},
};

pub(super) const CLIENT: &str = "10.0.0.9:51514";
pub(super) const SERVER: &str = "10.0.0.7:443";

/// A TCP segment to be sent.
#[derive(Clone, Debug)]
pub(super) struct Tcp {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) flags: &'static str,
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) identification: u16,
    pub(super) payload: Vec<u8>,
}

/// A segment with these flags (`S`, `A`, `F`, `R`), of the client unless said otherwise.
pub(super) fn tcp(flags: &'static str, seq: u32, payload: &[u8]) -> Tcp {
    Tcp {
        from: CLIENT.parse().unwrap(),
        to: SERVER.parse().unwrap(),
        flags,
        seq,
        ack: 0,
        identification: 0,
        payload: payload.to_vec(),
    }
}

impl Tcp {
    /// The other way.
    pub(super) fn back(mut self) -> Self {
        std::mem::swap(&mut self.from, &mut self.to);
        self
    }

    pub(super) fn between(mut self, from: &str, to: &str) -> Self {
        (self.from, self.to) = (from.parse().unwrap(), to.parse().unwrap());
        self
    }

    pub(super) fn identified(mut self, identification: u16) -> Self {
        self.identification = identification;
        self
    }

    /// As an IP packet.
    pub(super) fn ip(&self) -> Vec<u8> {
        let has = |flag| self.flags.contains(flag);
        let builder = match (self.from, self.to) {
            (SocketAddr::V4(from), SocketAddr::V4(to)) => {
                let mut header = etherparse::Ipv4Header::new(
                    0,
                    64,
                    etherparse::ip_number::TCP,
                    from.ip().octets(),
                    to.ip().octets(),
                )
                .unwrap();
                header.identification = self.identification;
                let extensions = etherparse::Ipv4Extensions::default();
                PacketBuilder::ip(etherparse::IpHeaders::Ipv4(header, extensions))
            }
            (SocketAddr::V6(from), SocketAddr::V6(to)) => {
                PacketBuilder::ipv6(from.ip().octets(), to.ip().octets(), 64)
            }
            mixed => panic!("two families: {mixed:?}"),
        };
        let mut builder = builder.tcp(self.from.port(), self.to.port(), self.seq, 65535);
        if has('S') {
            builder = builder.syn();
        }
        if has('A') {
            builder = builder.ack(self.ack);
        }
        if has('F') {
            builder = builder.fin();
        }
        if has('R') {
            builder = builder.rst();
        }
        let mut packet = Vec::new();
        builder.write(&mut packet, &self.payload).unwrap();
        packet
    }

    /// As a packet captured so many milliseconds after the beginning.
    pub(super) fn at(&self, milliseconds: u64) -> Packet {
        packet(milliseconds, LinkType::RAW, self.ip())
    }
}

/// A packet captured whole.
pub(super) fn packet(milliseconds: u64, link_type: LinkType, data: Vec<u8>) -> Packet {
    Packet {
        time: at(milliseconds),
        link_type,
        length: u32::try_from(data.len()).unwrap(),
        data: data.into(),
    }
}

pub(super) fn at(milliseconds: u64) -> Timestamp {
    Timestamp(1_700_000_000_000_000_000 + milliseconds * 1_000_000)
}

/// An Ethernet frame.
pub(super) fn ethernet(ether_types: &[[u8; 2]], payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 12];
    for (index, ether_type) in ether_types.iter().enumerate() {
        if index > 0 {
            frame.extend([0, 7]); // The tag before this type.
        }
        frame.extend(ether_type);
    }
    frame.extend(payload);
    frame
}

/// The events of packets, without those of the end.
pub(super) fn events(packets: &[Packet]) -> Vec<Event> {
    let mut connections = Connections::default();
    let mut events = Vec::new();
    for packet in packets {
        connections.packet(packet, &mut events);
    }
    events
}

/// All packets of a file in memory, and how it ended.
pub(super) fn read(file: &[u8]) -> (Vec<Packet>, Result<(), CaptureError>) {
    let mut packets = Vec::new();
    let result = (|| {
        let mut file = CaptureFile::read(std::io::Cursor::new(file.to_vec()))?;
        while let Some(packet) = file.next_packet()? {
            packets.push(packet);
        }
        Ok(())
    })();
    (packets, result)
}

/// How a classic file is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Classic {
    pub(super) big_endian: bool,
    pub(super) nanoseconds: bool,
}

impl Classic {
    fn u32(self, value: u32) -> [u8; 4] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn u16(self, value: u16) -> [u8; 2] {
        if self.big_endian {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    /// A pcap file with these packets.
    pub(super) fn file(self, packets: &[Packet]) -> Vec<u8> {
        let magic = if self.nanoseconds {
            0xa1b2_3c4d
        } else {
            0xa1b2_c3d4
        };
        let link_type = packets
            .first()
            .map_or(LinkType::RAW, |packet| packet.link_type);
        let mut file = Vec::new();
        file.extend(self.u32(magic));
        file.extend([self.u16(2), self.u16(4)].concat());
        for word in [0, 0, 65535, link_type.0.into()] {
            file.extend(self.u32(word));
        }
        for packet in packets {
            let seconds = u32::try_from(packet.time.0 / 1_000_000_000).unwrap();
            let nanos = u32::try_from(packet.time.0 % 1_000_000_000).unwrap();
            let fraction = if self.nanoseconds {
                nanos
            } else {
                nanos / 1000
            };
            let captured = u32::try_from(packet.data.len()).unwrap();
            for word in [seconds, fraction, captured, packet.length] {
                file.extend(self.u32(word));
            }
            file.extend(&packet.data[..]);
        }
        file
    }

    /// A block of a pcapng file.
    pub(super) fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let padding = body.len().next_multiple_of(4) - body.len();
        let length = u32::try_from(12 + body.len() + padding).unwrap();
        let mut block = Vec::new();
        block.extend(self.u32(kind));
        block.extend(self.u32(length));
        block.extend(body);
        block.extend(&[0; 3][..padding]);
        block.extend(self.u32(length));
        block
    }

    pub(super) fn section(self) -> Vec<u8> {
        let mut body = self.u32(0x1a2b_3c4d).to_vec();
        body.extend([self.u16(1), self.u16(0)].concat());
        body.extend([0xff; 8]);
        self.block(0x0a0d_0d0a, &body)
    }

    /// An interface with options (code, value).
    pub(super) fn interface(self, link_type: LinkType, options: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = [self.u16(link_type.0), self.u16(0)].concat();
        body.extend(self.u32(65535));
        for (code, value) in options {
            body.extend(self.u16(*code));
            body.extend(self.u16(u16::try_from(value.len()).unwrap()));
            body.extend(*value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        self.block(1, &body)
    }

    /// An enhanced packet block at so many ticks.
    pub(super) fn enhanced(self, interface: u32, ticks: u64, packet: &Packet) -> Vec<u8> {
        let mut body = Vec::new();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the two halves of a number"
        )]
        let halves = [(ticks >> 32) as u32, ticks as u32];
        let captured = u32::try_from(packet.data.len()).unwrap();
        for word in [interface, halves[0], halves[1], captured, packet.length] {
            body.extend(self.u32(word));
        }
        body.extend(&packet.data[..]);
        self.block(6, &body)
    }
}
