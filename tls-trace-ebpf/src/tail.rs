//! The last packets of a socket: kept beside it, told when it ends, no event per packet.

#![expect(
    clippy::cast_possible_truncation,
    reason = "sizes are bounded by TAIL_CONTROL, of times and numbers the low part is meant"
)]

use core::ffi::c_void;

use aya_ebpf::{
    helpers::{bpf_skb_load_bytes, generated::bpf_ktime_get_coarse_ns},
    programs::SkBuffContext,
};
use tls_trace_common::{
    EGRESS, INGRESS, Kind, Lost, TAIL_CONTROL, TAIL_DATA, TAIL_PACKETS, TAIL_TICK, TailRecord,
};

use crate::{kernel::header, output::send};

/// Content types of TLS records (RFC 8446 §5.1).
const CONTENT_TYPES: core::ops::RangeInclusive<u8> = 20..=23;
/// Bytes of a TLS record's header.
const RECORD_HEADER: u32 = 5;
/// Records of a packet that are looked at: a GOAWAY and what follows it.
const RECORDS: usize = 2;

/// What is kept beside a socket of which enough was seen. The kernel makes it zero. With its own 72 bytes it
/// just fits an allocation of 192.
///
/// Programs of both directions may run at once, on two CPUs. Each has places of its own; of what they share, an
/// update may get lost: a flag is set again by the next packet, and two packets at once have no order.
#[repr(C)]
pub struct SocketState {
    /// For the owner.
    pub flags: u32,
    next: [u8; 2],
    order: u8,
    reserved: u8,
    edges: [u32; 2],
    last: [u32; 2],
    times: [[u32; TAIL_PACKETS]; 2],
    sizes: [[u16; TAIL_PACKETS]; 2],
}

const _: () = assert!(size_of::<SocketState>() == 120);

/// A packet's payload.
#[derive(Clone, Copy)]
pub struct Payload {
    /// Sequence number of its first byte.
    pub seq: u32,
    /// Where it begins in the packet.
    pub offset: u32,
    /// Bytes.
    pub length: u32,
}

/// Now, in units of [`TAIL_TICK`]. The coarse clock costs a load; the exact one costs more than the rest.
#[inline(always)]
pub fn tick() -> u32 {
    // SAFETY: no arguments.
    (unsafe { bpf_ktime_get_coarse_ns() } >> TAIL_TICK) as u32
}

impl SocketState {
    /// Whether the latest packet of that direction passed at another time.
    #[inline(always)]
    pub fn is_later<const DIRECTION: u8>(&self, now: u32) -> bool {
        self.last[DIRECTION as usize] != now
    }

    /// Takes a packet, unless all of it was sent before.
    #[inline(always)]
    pub fn packet<const DIRECTION: u8>(&mut self, ctx: &SkBuffContext, now: u32, payload: Payload) {
        let direction = DIRECTION as usize;
        let Payload {
            seq,
            offset,
            length,
        } = payload;
        let edge = self.edges[direction];
        let end = seq.wrapping_add(length);
        if edge != 0 && end.wrapping_sub(edge).cast_signed() <= 0 {
            return;
        }
        self.edges[direction] = end;
        self.last[direction] = now;
        let overlaps = edge != 0 && seq.wrapping_sub(edge).cast_signed() < 0;
        if length > TAIL_CONTROL || overlaps {
            self.data::<DIRECTION>(now);
            return;
        }
        let (mut offset, mut rest) = (offset, length);
        for _ in 0..RECORDS {
            let Some(record) = record(ctx, offset).filter(|record| *record <= rest) else {
                self.data::<DIRECTION>(now);
                return;
            };
            self.push::<DIRECTION>(now, (record - RECORD_HEADER) as u8);
            offset += record;
            rest -= record;
            if rest == 0 {
                return;
            }
        }
        self.data::<DIRECTION>(now);
    }

    /// Data after data of the same direction needs no place of its own.
    #[inline(always)]
    fn data<const DIRECTION: u8>(&mut self, now: u32) {
        let newest = self.newest::<DIRECTION>();
        if self.sizes[DIRECTION as usize][newest] as u8 == TAIL_DATA {
            let next = &mut self.next[DIRECTION as usize];
            *next = next.wrapping_sub(1);
        }
        self.push::<DIRECTION>(now, TAIL_DATA);
    }

    #[inline(always)]
    fn push<const DIRECTION: u8>(&mut self, now: u32, size: u8) {
        let direction = DIRECTION as usize;
        let place = self.next[direction];
        self.next[direction] = place.wrapping_add(1);
        let place = place as usize % TAIL_PACKETS;
        self.times[direction][place] = now;
        self.sizes[direction][place] = u16::from(self.order) << 8 | u16::from(size);
        self.order = self.order.wrapping_add(1);
    }

    /// Where the latest packet is.
    #[inline(always)]
    fn newest<const DIRECTION: u8>(&self) -> usize {
        self.next[DIRECTION as usize].wrapping_sub(1) as usize % TAIL_PACKETS
    }

    /// Sends what was not told yet, if there is any.
    #[inline(always)]
    pub fn tell(&mut self, cookie: u64) {
        let [ingress, egress] = &self.sizes;
        if ingress[self.newest::<INGRESS>()] == 0 && egress[self.newest::<EGRESS>()] == 0 {
            return;
        }
        send::<TailRecord>(Lost::TAIL, |record| {
            record.header = header(cookie, Kind::TAIL, 0, 0, 0);
            record.next = [self.next[0].into(), self.next[1].into()];
            record.edges = self.edges;
            record.last = self.last;
            record.times = self.times;
            record.sizes = self.sizes;
        });
        self.sizes = [[0; TAIL_PACKETS]; 2];
    }
}

/// Bytes of the TLS record that begins there, with its header, where one begins.
#[inline(always)]
fn record(ctx: &SkBuffContext, offset: u32) -> Option<u32> {
    let mut header = [0_u8; RECORD_HEADER as usize];
    // SAFETY: room for so many bytes; the helper checks the packet.
    let result = unsafe {
        bpf_skb_load_bytes(
            ctx.skb.skb.cast::<c_void>(),
            offset,
            header.as_mut_ptr().cast(),
            RECORD_HEADER,
        )
    };
    let [content_type, major, _, high, low] = header;
    let begins = result == 0 && CONTENT_TYPES.contains(&content_type) && major == 3;
    begins.then(|| RECORD_HEADER + (u32::from(high) << 8 | u32::from(low)))
}
