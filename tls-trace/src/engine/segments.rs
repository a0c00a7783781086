//! Facts of a connection from its segments: sequence numbers, TTL, flags, payload.

use super::{
    connection::{Connection, Names, ProcessSource},
    handshake::{other, sender},
    transport::LocalClose,
};
use crate::{
    event::{Direction, Segment, TcpFlags, TcpState, Timestamp},
    wire::{Conversation, Observation},
};

impl Connection {
    /// Takes a segment; appends what its payload completes to `observations`.
    pub(super) fn segment(
        &mut self,
        at: Timestamp,
        segment: &Segment,
        names: &mut Names,
        observations: &mut Vec<Observation>,
    ) {
        if !self.remote.is_known() {
            (self.local, self.remote) = (segment.local.into(), segment.remote.into());
        }
        let again = !self.sequence(at, segment);
        if segment.length > 0 && !again {
            self.http2_spoke(at, segment.direction);
        }
        if let Some(history) = &mut self.history {
            history.segment(at, segment, again);
        }
        if segment.length > 0 && segment.direction == Direction::Egress && segment.task.pid != 0 {
            self.tcp.accepted = true;
            self.found_process(ProcessSource::Sent, &segment.task, names);
        }
        if !self.tcp.kernel {
            self.flags(at, segment, names);
        }
        if !self.told.closed {
            self.payload(at, segment, again, observations);
        }
    }

    fn payload(
        &mut self,
        at: Timestamp,
        segment: &Segment,
        again: bool,
        observations: &mut Vec<Observation>,
    ) {
        if segment.last {
            self.http2_bound_reached();
        }
        let lost = self.tls.as_ref().is_some_and(|tls| tls.lost);
        if segment.length > 0 && self.conversation.is_none() {
            if self.told.payload_done || lost {
                // Nobody reads it any more.
                self.tcp.stream_mut(segment.direction).capped = true;
                self.http2_segment(at, segment, again);
                return;
            }
            self.begin_conversation();
        }
        if let Some(conversation) = &mut self.conversation {
            conversation.segment(at, segment, observations);
        }
    }

    fn begin_conversation(&mut self) {
        let mut conversation = Box::<Conversation>::default();
        for direction in [Direction::Egress, Direction::Ingress] {
            if let Some(base) = self
                .tcp
                .stream(direction)
                .base()
                .filter(|_| self.tcp.opening_seen)
            {
                conversation.set_base(direction, base);
            }
        }
        self.conversation = Some(conversation);
    }

    /// Sequence and acknowledgment numbers, TTL. Returns false for payload that was seen before.
    fn sequence(&mut self, at: Timestamp, segment: &Segment) -> bool {
        let moment = self.moment(at);
        let flags = segment.flags;
        if segment.direction == Direction::Ingress {
            if flags.has(TcpFlags::RST) {
                self.ending_mut().reset_ttl.get_or_insert(segment.ttl);
            } else if segment.ttl != 0 {
                self.tcp.peer_ttl = segment.ttl;
            }
        }
        let stream = self.tcp.stream_mut(segment.direction);
        stream.capped |= segment.last;
        let mut new = true;
        if flags.has(TcpFlags::SYN) {
            stream.set_base(segment.seq.wrapping_add(1));
        } else if segment.length > 0 {
            new = stream.advance(segment.seq, segment.length);
            if new {
                self.tcp.last_payload = moment;
            } else {
                self.duplicate(segment);
            }
        }
        if flags.has(TcpFlags::ACK) && !flags.has(TcpFlags::RST) {
            self.tcp
                .stream_mut(segment.direction.reverse())
                .acknowledge(segment.ack);
        }
        new
    }

    fn duplicate(&mut self, segment: &Segment) {
        let end = segment.seq.wrapping_add(segment.length);
        if !self.tcp.kernel {
            self.tcp.retransmits = self.tcp.retransmits.saturating_add(1);
        }
        if self.is_hello(segment.direction, segment.seq, end) {
            self.tcp.hello_duplicates = self.tcp.hello_duplicates.saturating_add(1);
        }
    }

    /// Without the kernel's events, flags tell of opening and closing.
    fn flags(&mut self, at: Timestamp, segment: &Segment, names: &mut Names) {
        let moment = self.moment(at);
        let egress = segment.direction == Direction::Egress;
        let end = sender(segment.direction);
        if segment.flags.has(TcpFlags::SYN) {
            if segment.flags.has(TcpFlags::ACK) {
                self.opening(other(end));
                self.tcp.open = true;
                self.tcp.open_at.set_once(moment);
            } else {
                if self.tcp.syn_at.happened() {
                    self.tcp.syn_retransmits = self.tcp.syn_retransmits.saturating_add(1);
                    self.tcp.retransmits = self.tcp.retransmits.saturating_add(1);
                }
                self.opening(end);
                self.tcp.syn_at.set_once(moment);
            }
        } else if segment.length > 0 {
            self.tcp.open = true;
        }
        let mut close = || LocalClose::new(at, TcpState::ESTABLISHED, &segment.task, names, None);
        if segment.flags.has(TcpFlags::RST) {
            if egress {
                let ending = self.ending_mut();
                ending.reset_sent.get_or_insert((at, None));
                ending.closed.get_or_insert_with(&mut close);
            } else {
                self.ending_mut().reset_received.get_or_insert(at);
            }
        } else if segment.flags.has(TcpFlags::FIN) {
            if egress {
                self.ending_mut().local_fin.get_or_insert_with(&mut close);
            } else {
                self.ending_mut().remote_fin.get_or_insert(at);
            }
        }
    }
}
