//! What TCP did on one connection: opening, sequence numbers, and everything about the end.

use super::{connection::Names, moment::Moment};
use crate::event::{Counters, Direction, End, ResetReason, Task, TcpState, Timestamp};

/// TCP facts that every connection has.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each seen or not"
)]
pub(super) struct Transport {
    pub(super) state: TcpState,
    /// Who sent the SYN.
    pub(super) opened_by: Option<End>,
    /// TCP's own handshake completed.
    pub(super) open: bool,
    /// The opening was seen, so nothing was missed before.
    pub(super) opening_seen: bool,
    /// Events of the kernel speak of this connection, not only segments.
    pub(super) kernel: bool,
    /// `accept()` returned it, or its process sent something.
    pub(super) accepted: bool,
    /// Accepts are told, so that `accepted` means something when it is false.
    pub(super) accepts_visible: bool,
    /// TTL of the peer's segments; 0 unknown.
    pub(super) peer_ttl: u8,
    pub(super) syn_at: Moment,
    pub(super) open_at: Moment,
    /// Last payload that was new, in either direction.
    pub(super) last_payload: Moment,
    pub(super) retransmits: u32,
    pub(super) syn_retransmits: u16,
    /// Of the ClientHello, as the kernel tells.
    pub(super) hello_retransmits: u16,
    /// Segments seen again that carried bytes of the ClientHello.
    pub(super) hello_duplicates: u16,
    pub(super) egress: Stream,
    pub(super) ingress: Stream,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            state: TcpState::CLOSE,
            opened_by: None,
            open: false,
            opening_seen: false,
            kernel: false,
            accepted: false,
            accepts_visible: false,
            peer_ttl: 0,
            syn_at: Moment::NEVER,
            open_at: Moment::NEVER,
            last_payload: Moment::NEVER,
            retransmits: 0,
            syn_retransmits: 0,
            hello_retransmits: 0,
            hello_duplicates: 0,
            egress: Stream::default(),
            ingress: Stream::default(),
        }
    }
}

impl Transport {
    /// Whether the sequence numbers of both directions are those of the other end.
    pub(super) fn mirrors(&self, other: &Self) -> bool {
        let agree = |a: &Stream, b: &Stream| a.base().zip(b.base()).is_none_or(|(a, b)| a == b);
        agree(&self.egress, &other.ingress) && agree(&self.ingress, &other.egress)
    }

    pub(super) fn stream(&self, direction: Direction) -> &Stream {
        match direction {
            Direction::Egress => &self.egress,
            Direction::Ingress => &self.ingress,
        }
    }

    pub(super) fn stream_mut(&mut self, direction: Direction) -> &mut Stream {
        match direction {
            Direction::Egress => &mut self.egress,
            Direction::Ingress => &mut self.ingress,
        }
    }
}

/// Sequence numbers of one direction. Comparison is modulo 2^32 (RFC 9293 §3.4).
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, packed")]
pub(super) struct Stream {
    /// Of the first payload byte.
    base: u32,
    /// After the last payload byte seen.
    next: u32,
    /// Highest acknowledgment of the other end seen.
    acknowledged: u32,
    /// A range before `next` of which some was not seen yet; empty where both ends are equal.
    hole: [u32; 2],
    has_base: bool,
    has_acknowledged: bool,
    /// Payload was seen.
    pub(super) payload: bool,
    /// The source reached its bound in this direction.
    pub(super) capped: bool,
}

impl Stream {
    pub(super) fn base(&self) -> Option<u32> {
        self.has_base.then_some(self.base)
    }

    pub(super) fn set_base(&mut self, seq: u32) {
        if !self.has_base {
            (self.has_base, self.base, self.next) = (true, seq, seq);
        }
    }

    fn acknowledged(&self) -> Option<u32> {
        self.has_acknowledged.then_some(self.acknowledged)
    }

    /// Takes a range of payload; returns whether it brought anything new.
    pub(super) fn advance(&mut self, seq: u32, length: u32) -> bool {
        self.payload = true;
        self.set_base(seq);
        let end = seq.wrapping_add(length);
        if !after(end, self.next) {
            return self.fill(seq, end);
        }
        if after(seq, self.next) {
            let [from, until] = self.hole;
            let from = if from == until { self.next } else { from };
            self.hole = [from, seq];
        }
        self.next = end;
        true
    }

    /// Takes a late range; returns whether it lies in the hole. Of several holes one is made, so that
    /// what was seen between them counts as new: a segment that was sent again may be missed, a late
    /// one is never taken for it.
    fn fill(&mut self, seq: u32, end: u32) -> bool {
        let [from, until] = self.hole;
        let fills = after(end, from) && after(until, seq);
        if fills && !after(seq, from) {
            self.hole[0] = if after(end, until) { until } else { end };
        } else if fills && !after(until, end) {
            self.hole[1] = seq;
        }
        fills
    }

    pub(super) fn acknowledge(&mut self, ack: u32) {
        if self.acknowledged().is_none_or(|old| after(ack, old)) {
            (self.has_acknowledged, self.acknowledged) = (true, ack);
        }
    }

    /// Whether bytes before `end` (all of them) were acknowledged.
    pub(super) fn acknowledged_up_to(&self, end: u32) -> Option<bool> {
        Some(!after(end, self.acknowledged()?))
    }

    /// Whether the kernel counted payload up to `next` that was never seen; FIN takes one number.
    pub(super) fn unseen(&self, next: u32) -> bool {
        self.has_base && after(next, self.next.wrapping_add(1))
    }

    /// All payload up to `next` is accounted for, though not seen.
    pub(super) fn pass(&mut self, next: u32) {
        if self.has_base && after(next, self.next) {
            self.next = next;
        }
    }

    /// After the last payload byte seen.
    pub(super) fn next(&self) -> u32 {
        self.next
    }
}

/// Whether `a` comes after `b`.
pub(super) fn after(a: u32, b: u32) -> bool {
    let distance = a.wrapping_sub(b);
    distance != 0 && distance < 1 << 31
}

/// Everything about the end of a connection; absent while it is open.
#[derive(Clone, Debug, Default)]
pub(super) struct Ending {
    /// This end sent FIN.
    pub(super) local_fin: Option<LocalClose>,
    /// The peer's FIN was taken.
    pub(super) remote_fin: Option<Timestamp>,
    /// The socket went to CLOSE.
    pub(super) closed: Option<LocalClose>,
    pub(super) reset_sent: Option<(Timestamp, Option<ResetReason>)>,
    pub(super) reset_received: Option<Timestamp>,
    /// TTL of the RST that arrived.
    pub(super) reset_ttl: Option<u8>,
    pub(super) error: Option<(Timestamp, u32)>,
    /// Counters at the last event that had them.
    pub(super) counters: Option<Counters>,
    pub(super) destroyed: bool,
    /// The source has no more.
    pub(super) ended: bool,
}

/// A transition that this end may have made by itself.
#[derive(Clone, Debug)]
pub(super) struct LocalClose {
    pub(super) at: Timestamp,
    pub(super) from: TcpState,
    pub(super) pid: u32,
    pub(super) comm: std::sync::Arc<str>,
    /// Signal that was ending the current task.
    pub(super) signal: Option<u8>,
    pub(super) counters: Option<Counters>,
}

impl LocalClose {
    pub(super) fn new(
        at: Timestamp,
        from: TcpState,
        task: &Task,
        names: &mut Names,
        counters: Option<Counters>,
    ) -> Self {
        Self {
            at,
            from,
            pid: task.pid,
            comm: names.comm(task),
            signal: task
                .exit_signal
                .filter(|signal| task.exiting && *signal != 0),
            counters,
        }
    }

    /// Bytes the application had not read; the peer's FIN takes one number when it is unread, too.
    pub(super) fn unread(&self, fin_received: bool) -> u32 {
        self.counters.map_or(0, |counters| {
            counters
                .rcv_nxt
                .wrapping_sub(counters.copied_seq)
                .saturating_sub(u32::from(fin_received))
        })
    }
}
