//! Facts of a connection from what the kernel says about its socket.

use super::{
    connection::{Connection, Names, ProcessSource},
    moment::{Endpoint, Moment},
    transport::LocalClose,
};
use crate::event::{
    Counters, Direction, End, Function, ResetReason, Socket, StateChange, Task, TcpState, Timestamp,
};

impl Connection {
    /// Takes addresses and counters of a socket; the kernel clears addresses on disconnect and has
    /// none before a port is chosen.
    pub(super) fn socket(&mut self, socket: &Socket) {
        self.tcp.kernel = true;
        let (local, remote) = (Endpoint::from(socket.local), Endpoint::from(socket.remote));
        if remote.is_known() && (local.port != 0 || !self.remote.is_known()) {
            (self.local, self.remote) = (local, remote);
        }
        if socket.netns != 0 {
            self.netns = socket.netns;
        }
        if let Some(counters) = &socket.counters {
            self.tcp.retransmits = self.tcp.retransmits.max(counters.total_retrans);
            // Zero before the first sequence number is chosen.
            if counters.snd_una != 0 {
                self.tcp.egress.acknowledge(counters.snd_una);
            }
        }
    }

    pub(super) fn state(&mut self, at: Timestamp, change: &StateChange, names: &mut Names) {
        let moment = self.moment(at);
        self.socket(&change.socket);
        let (task, counters) = (&change.socket.task, change.socket.counters);
        self.tcp.state = change.new;
        match (change.old, change.new) {
            (_, TcpState::SYN_SENT) => {
                self.opening(End::Local);
                self.tcp.syn_at.set_once(moment);
                self.found_process(ProcessSource::Connected, task, names);
            }
            (_, TcpState::SYN_RECV) => {
                // SYN_SENT → SYN_RECV is a simultaneous open (RFC 9293 §3.5).
                self.opening(End::Remote);
                self.tcp.syn_at.set_once(moment);
            }
            (old, TcpState::ESTABLISHED) => {
                self.opening(if old == TcpState::SYN_SENT {
                    End::Local
                } else {
                    End::Remote
                });
                self.opened(moment, counters);
            }
            (old, TcpState::FIN_WAIT1 | TcpState::LAST_ACK) => {
                self.found_process(ProcessSource::Closed, task, names);
                let close = LocalClose::new(at, old, task, names, counters);
                self.ending_mut().local_fin.get_or_insert(close);
            }
            (_, TcpState::CLOSE_WAIT | TcpState::CLOSING | TcpState::TIME_WAIT) => {
                self.ending_mut().remote_fin.get_or_insert(at);
            }
            (old, TcpState::CLOSE) => {
                let close = LocalClose::new(at, old, task, names, counters);
                self.ending_mut().closed.get_or_insert(close);
            }
            _ => {}
        }
        if let (Some(ending), Some(counters)) = (&mut self.ending, counters) {
            ending.counters = Some(counters);
        }
    }

    pub(super) fn opening(&mut self, by: End) {
        self.tcp.opened_by.get_or_insert(by);
        self.tcp.opening_seen = true;
    }

    /// TCP is open; the counters name the first sequence numbers of both directions.
    fn opened(&mut self, moment: Moment, counters: Option<Counters>) {
        self.tcp.open = true;
        self.tcp.open_at.set_once(moment);
        if let Some(counters) = counters {
            self.tcp.egress.set_base(counters.snd_nxt);
            self.tcp.ingress.set_base(counters.rcv_nxt);
        }
    }

    pub(super) fn existing(&mut self, socket: &Socket, opened_by: Option<End>, names: &mut Names) {
        self.socket(socket);
        if self.tcp.opened_by.is_none() {
            self.tcp.opened_by = opened_by;
        }
        self.tcp.open = true;
        self.tcp.state = TcpState::ESTABLISHED;
        self.found_process(ProcessSource::Connected, &socket.task, names);
    }

    pub(super) fn destroyed(&mut self, socket: &Socket) {
        self.socket(socket);
        let ending = self.ending_mut();
        ending.destroyed = true;
        if ending.counters.is_none() {
            ending.counters = socket.counters;
        }
    }

    pub(super) fn reset_sent(&mut self, at: Timestamp, reason: Option<ResetReason>) {
        self.tcp.kernel = true;
        let sent = &mut self.ending_mut().reset_sent;
        match sent {
            // A kprobe and a tracepoint may tell of the same RST; only the latter knows why.
            Some((_, known)) => *known = known.or(reason),
            None => *sent = Some((at, reason)),
        }
    }

    /// As [`Self::reset_sent`], by the tracepoint. Of close(2) and its like it knows that they are why, and then the
    /// current task is whose socket it is (`__tcp_close`, net/ipv4/tcp.c).
    pub(super) fn reset_explained(
        &mut self,
        at: Timestamp,
        reason: Option<ResetReason>,
        task: &Task,
        names: &mut Names,
    ) {
        const BY_ITSELF: [ResetReason; 2] = [
            ResetReason::TCP_ABORT_ON_CLOSE,
            ResetReason::TCP_ABORT_ON_LINGER,
        ];
        if reason.is_some_and(|reason| BY_ITSELF.contains(&reason)) {
            self.found_process(ProcessSource::Closed, task, names);
        }
        self.reset_sent(at, reason);
    }

    pub(super) fn reset_received(&mut self, at: Timestamp) {
        self.tcp.kernel = true;
        self.ending_mut().reset_received.get_or_insert(at);
    }

    pub(super) fn error(&mut self, at: Timestamp, errno: u32) {
        self.tcp.kernel = true;
        if errno != 0 {
            self.ending_mut().error.get_or_insert((at, errno));
        }
    }

    pub(super) fn retransmit(&mut self, state: TcpState, seq: u32, end_seq: u32) {
        self.tcp.kernel = true;
        self.tcp.retransmits = self.tcp.retransmits.saturating_add(1);
        if state == TcpState::SYN_SENT {
            self.tcp.syn_retransmits = self.tcp.syn_retransmits.saturating_add(1);
        } else if self.is_hello(Direction::Egress, seq, end_seq) {
            self.tcp.hello_retransmits = self.tcp.hello_retransmits.saturating_add(1);
        }
    }

    /// Whether a range of sequence numbers holds bytes of the ClientHello.
    pub(super) fn is_hello(&self, direction: Direction, seq: u32, end_seq: u32) -> bool {
        let Some(tls) = self.tls.as_ref().filter(|tls| tls.is_client(direction)) else {
            return false;
        };
        let stream = self.tcp.stream(direction);
        let end = match tls.hello_end {
            Some(end) => end,
            None if tls.hello_length == 0 => stream.next(),
            None => return false,
        };
        stream.base().is_some_and(|base| {
            super::transport::after(end_seq, base) && super::transport::after(end, seq)
        })
    }

    pub(super) fn function(
        &mut self,
        at: Timestamp,
        function: Function,
        task: &Task,
        names: &mut Names,
    ) {
        self.tcp.kernel = true;
        match function {
            Function::SendFin => {
                let state = self.tcp.state;
                let close = LocalClose::new(at, state, task, names, None);
                self.ending_mut().local_fin.get_or_insert(close);
            }
            Function::ReceiveFin => {
                self.ending_mut().remote_fin.get_or_insert(at);
            }
            Function::ReceiveReset => self.reset_received(at),
            Function::SendActiveReset | Function::SendReset => self.reset_sent(at, None),
            Function::Accept => {
                self.tcp.accepted = true;
                self.found_process(ProcessSource::Accepted, task, names);
            }
        }
    }
}
