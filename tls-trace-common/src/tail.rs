//! The last packets of a socket: what tells why a long connection of HTTP/2 ended.

use crate::Header;
#[cfg(doc)]
use crate::{EGRESS, INGRESS};

/// Packets of one direction in a [`TailRecord`], a power of two.
pub const TAIL_PACKETS: usize = 8;
/// Times in a [`TailRecord`] are `CLOCK_MONOTONIC` in units of 2^22 ns, about 4.2 ms, which is about what
/// the kernel's coarse clock tells; they start again after 208 days.
pub const TAIL_TICK: u32 = 22;
/// Longest payload of a packet of which records are looked at: control frames are shorter.
pub const TAIL_CONTROL: u32 = 192;
/// [`TailRecord::sizes`], the low byte: of a packet that is too long for control frames, or does not begin with a
/// TLS record.
pub const TAIL_DATA: u8 = u8::MAX;

abi! {
    /// The last packets of a socket, told when it leaves ESTABLISHED, and again when it is closed if there were
    /// more. What was told is not told again. Arrays are by direction, [`INGRESS`] and [`EGRESS`].
    pub struct TailRecord, size 144 {
        /// Start.
        pub header: Header,
        /// Where the next packet would go: the oldest in `times` and `sizes`, where that is used.
        pub next: [u32; 2],
        /// Sequence number after the last payload byte.
        pub edges: [u32; 2],
        /// Time of the last packet with payload, in units of [`TAIL_TICK`]; 0: none.
        pub last: [u32; 2],
        /// When a packet passed, in units of [`TAIL_TICK`].
        pub times: [[u32; TAIL_PACKETS]; 2],
        /// Length of the TLS record in it without its header, or [`TAIL_DATA`]; 0: unused. A packet with two records
        /// is two entries. In the high byte numbers that count up over both directions and start again: the order
        /// of what has the same time.
        pub sizes: [[u16; TAIL_PACKETS]; 2],
    }
}

/// Value in the map `DONE` of sockets of which nothing more is wanted.
pub const DONE_ALL: u8 = 1;
/// Value in the map `DONE` of sockets whose last packets are wanted still.
pub const DONE_BUT_TAIL: u8 = 2;
