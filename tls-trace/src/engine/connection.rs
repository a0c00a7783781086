//! All facts of one end of one connection, collected event by event.

use std::sync::Arc;

use super::{
    close::PeerEnd,
    handshake::{Handshake, other, sender},
    interner::Interner,
    moment::{Endpoint, Moment},
    transport::{Ending, LocalClose, Transport},
};
use crate::{
    event::{
        ConnectionId, Counters, Direction, End, Function, ResetReason, Segment, Socket,
        StateChange, Task, TcpFlags, TcpState, Timestamp,
    },
    wire::{Conversation, Observation, ObservationKind},
};

/// Process names.
pub(super) type Names = Interner<str>;

/// Facts of one end of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
    pub(super) netns: u32,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) process: Option<Process>,
    pub(super) tcp: Transport,
    pub(super) ending: Option<Box<Ending>>,
    pub(super) tls: Option<Box<Handshake>>,
    pub(super) conversation: Option<Box<Conversation>>,
    /// The other end's socket, when it is on this host.
    pub(super) peer: Option<ConnectionId>,
    pub(super) peer_end: PeerEnd,
    /// The report waits until then.
    pub(super) settles: Option<Timestamp>,
    /// Earliest time this connection is in the queue of timers.
    pub(super) wake: Option<Timestamp>,
    pub(super) told: Told,
}

/// What was put out about a connection already.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Told {
    pub(super) handshake: bool,
    pub(super) payload_done: bool,
    /// Reported, or found to be nothing to report: only waits for its socket to go.
    pub(super) closed: bool,
}

/// The process that holds this end.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) cgroup: u64,
    pub(super) comm: Arc<str>,
    source: ProcessSource,
}

/// How a process was found, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ProcessSource {
    Closed,
    Accepted,
    Sent,
    Connected,
}

impl Connection {
    pub(super) fn new(first: Timestamp) -> Self {
        Self {
            local: Endpoint::UNKNOWN,
            remote: Endpoint::UNKNOWN,
            netns: 0,
            first,
            last: first,
            process: None,
            tcp: Transport::default(),
            ending: None,
            tls: None,
            conversation: None,
            peer: None,
            peer_end: PeerEnd::default(),
            settles: None,
            wake: None,
            told: Told::default(),
        }
    }

    /// Bytes its conversation holds.
    pub(super) fn held(&self) -> usize {
        self.conversation
            .as_ref()
            .map_or(0, |conversation| conversation.held())
    }

    pub(super) fn moment(&self, at: Timestamp) -> Moment {
        Moment::new(self.first, at)
    }

    pub(super) fn touch(&mut self, at: Timestamp) {
        self.last = self.last.max(at);
    }

    pub(super) fn ending_mut(&mut self) -> &mut Ending {
        self.ending.get_or_insert_default()
    }

    pub(super) fn tls_mut(&mut self) -> &mut Handshake {
        self.tls.get_or_insert_default()
    }

    /// The end that is the client in TLS; in TCP while no ClientHello was seen.
    pub(super) fn client(&self) -> Option<End> {
        self.tls
            .as_ref()
            .and_then(|tls| tls.client)
            .map(sender)
            .or(self.tcp.opened_by)
    }

    /// Address of the server's end.
    pub(super) fn server(&self) -> Option<Endpoint> {
        let server = match self.client()? {
            End::Local => self.remote,
            End::Remote => self.local,
        };
        server.is_known().then_some(server)
    }

    /// Direction in which the client sends.
    pub(super) fn client_direction(&self) -> Option<Direction> {
        self.client().map(|end| match end {
            End::Local => Direction::Egress,
            End::Remote => Direction::Ingress,
        })
    }

    pub(super) fn found_process(&mut self, source: ProcessSource, task: &Task, names: &mut Names) {
        let better = self
            .process
            .as_ref()
            .is_none_or(|known| source > known.source);
        if task.pid != 0 && better {
            self.process = Some(Process {
                pid: task.pid,
                cgroup: task.cgroup,
                comm: names.share(&task.comm, || Arc::from(&*task.comm)),
                source,
            });
        } else if let Some(known) = &mut self.process
            && known.pid == task.pid
        {
            // A segment knows its sender's pid only.
            if known.comm.is_empty() {
                known.comm = names.share(&task.comm, || Arc::from(&*task.comm));
            }
            if known.cgroup == 0 {
                known.cgroup = task.cgroup;
            }
        }
    }

    /// Takes addresses and counters of a socket; the kernel clears addresses on disconnect and has
    /// none before a port is chosen.
    pub(super) fn socket(&mut self, socket: &Socket) {
        self.tcp.kernel = true;
        let (local, remote) = (Endpoint::from(socket.local), Endpoint::from(socket.remote));
        if local.port != 0 && remote.is_known() {
            (self.local, self.remote) = (local, remote);
        } else if !self.remote.is_known() && remote.is_known() {
            (self.local, self.remote) = (local, remote);
        }
        if socket.netns != 0 {
            self.netns = socket.netns;
        }
        if let Some(counters) = &socket.counters {
            self.tcp.retransmits = self.tcp.retransmits.max(counters.total_retrans);
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
        if let Some(counters) = counters.filter(|counters| counters.snd_una != 0) {
            self.tcp.egress.acknowledge(counters.snd_una);
        }
    }

    fn opening(&mut self, by: End) {
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
    fn is_hello(&self, direction: Direction, seq: u32, end_seq: u32) -> bool {
        let Some(tls) = self.tls.as_ref().filter(|tls| tls.is_client(direction)) else {
            return false;
        };
        let stream = self.tcp.stream(direction);
        let end = tls.hello_end.unwrap_or(stream.next());
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
        self.sequence(at, segment);
        if segment.length > 0 && segment.direction == Direction::Egress && segment.task.pid != 0 {
            self.tcp.accepted = true;
            self.found_process(ProcessSource::Sent, &segment.task, names);
        }
        if !self.tcp.kernel {
            self.flags(at, segment, names);
        }
        if segment.length > 0 && !self.told.closed {
            if self.conversation.is_none() && !self.told.payload_done {
                self.begin_conversation();
            }
            if let Some(conversation) = &mut self.conversation {
                conversation.segment(at, segment, observations);
            }
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

    /// Sequence and acknowledgment numbers, TTL.
    fn sequence(&mut self, at: Timestamp, segment: &Segment) {
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
        if flags.has(TcpFlags::SYN) {
            stream.set_base(segment.seq.wrapping_add(1));
        } else if segment.length > 0 {
            if stream.advance(segment.seq, segment.length) {
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
    }

    fn duplicate(&mut self, segment: &Segment) {
        let end = segment.seq.wrapping_add(segment.length);
        if !self.tcp.kernel {
            self.tcp.retransmits = self.tcp.retransmits.saturating_add(1);
        }
        if self.is_hello(segment.direction, segment.seq, end) {
            let stream = self.tcp.stream_mut(segment.direction);
            stream.hello_duplicates = stream.hello_duplicates.saturating_add(1);
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

    /// Takes what a segment completed.
    pub(super) fn observe(&mut self, observation: &Observation) {
        let moment = self.moment(observation.time);
        let base = self.tcp.stream(observation.direction).base();
        let tls = self.tls_mut();
        tls.observe(observation, moment);
        if let ObservationKind::ClientHello(message) = &observation.kind {
            let end = u32::try_from(observation.offset)
                .unwrap_or(u32::MAX)
                .wrapping_add(message.length);
            tls.hello_end = tls.hello_end.or(base.map(|base| base.wrapping_add(end)));
        }
    }

    /// Retransmissions of the ClientHello, by the kernel's own count or by segments seen twice.
    pub(super) fn hello_retransmits(&self) -> u32 {
        let duplicates = self
            .tls
            .as_ref()
            .and_then(|tls| tls.client)
            .map_or(0, |direction| self.tcp.stream(direction).hello_duplicates);
        u32::from(self.tcp.hello_retransmits.max(duplicates))
    }

    /// Milliseconds for which nothing new had been said when it ended.
    pub(super) fn silence_ms(&self, end: Timestamp) -> f64 {
        let since = if self.tcp.last_payload.happened() {
            self.tcp.last_payload
        } else {
            self.tcp.open_at
        };
        super::moment::ms_between(since.timestamp(self.first), end)
    }
}
