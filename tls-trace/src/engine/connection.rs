//! All facts of one end of one connection, collected event by event.

use std::sync::Arc;

use super::{
    close::{self, PeerEnd},
    handshake::{Handshake, sender},
    history::History,
    http2::Http2,
    interner::Interner,
    moment::{Endpoint, Moment},
    transport::{Ending, Transport},
};
use crate::{
    event::{ConnectionId, Direction, End, Task, Timestamp},
    wire::{Conversation, Observation, ObservationKind},
};

/// Processes and their names, shared by their connections.
#[derive(Debug)]
pub(super) struct Names {
    comms: Interner<str>,
    processes: Interner<Process>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self {
            comms: Interner::new(),
            processes: Interner::new(),
        }
    }

    pub(super) fn comm(&mut self, task: &Task) -> Arc<str> {
        let comm = task.comm.as_str();
        self.comms.share(comm, || comm.into())
    }
}

/// Facts of one end of one connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
    pub(super) netns: u32,
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) process: Option<Arc<Process>>,
    pub(super) tcp: Transport,
    pub(super) ending: Option<Box<Ending>>,
    pub(super) tls: Option<Box<Handshake>>,
    pub(super) conversation: Option<Box<Conversation>>,
    /// Only where histories are asked for.
    pub(super) history: Option<Box<History>>,
    /// Only where nothing else is spoken.
    pub(super) http2: Option<Box<Http2>>,
    /// The other end's socket, when it is on this host.
    pub(super) peer: Option<ConnectionId>,
    /// What it did, once it is gone.
    pub(super) peer_end: Option<Box<PeerEnd>>,
    /// The other end said its ClientHello when this one was gone.
    pub(super) hello_came_late: bool,
    /// The report waits until then.
    pub(super) settles: Option<Timestamp>,
    /// Earliest time this connection is in the queue of timers.
    pub(super) wake: Option<Timestamp>,
    pub(super) told: Told,
}

/// What was put out about a connection already.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is told or not")]
pub(super) struct Told {
    pub(super) handshake: bool,
    pub(super) payload_done: bool,
    /// Reported, or found to be nothing to report: only waits for its socket to go.
    pub(super) closed: bool,
    /// Kept of its handshake when it is closed.
    sent_hello: bool,
}

/// The process that holds this end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) cgroup: u64,
    pub(super) comm: Arc<str>,
    source: ProcessSource,
}

/// How a process was found, best last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum ProcessSource {
    /// It has a descriptor of the socket.
    Held,
    Closed,
    Accepted,
    Sent,
    Connected,
    /// It shakes hands.
    Library,
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
            history: None,
            http2: None,
            peer: None,
            peer_end: None,
            hello_came_late: false,
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

    /// What this end did, for the judgement of the other.
    pub(super) fn as_peer(&self) -> PeerEnd {
        close::as_peer(&self.tcp, self.ending.as_deref(), self.sent_hello())
    }

    fn sent_hello(&self) -> bool {
        let tls = self.tls.as_ref();
        self.told.sent_hello || tls.is_some_and(|tls| tls.is_client(Direction::Egress))
    }

    /// Nothing more is to be said of it.
    pub(super) fn close(&mut self) {
        let sent_hello = self.sent_hello();
        self.tls = None;
        self.history = None;
        self.http2 = None;
        self.settles = None;
        self.told = Told {
            sent_hello,
            handshake: true,
            payload_done: true,
            closed: true,
        };
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
            let process = Process {
                pid: task.pid,
                cgroup: task.cgroup,
                comm: names.comm(task),
                source,
            };
            let shared = names
                .processes
                .share(&process, || Arc::new(process.clone()));
            self.process = Some(shared);
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
        self.http2_record(observation);
        if let Some(history) = &mut self.history {
            history.observe(observation);
        }
    }

    /// Retransmissions of the ClientHello, by the kernel's own count or by segments seen twice.
    pub(super) fn hello_retransmits(&self) -> u32 {
        u32::from(self.tcp.hello_retransmits.max(self.tcp.hello_duplicates))
    }

    /// The same, but for what was said last and may have brought about the end.
    pub(super) fn idle_ms(&self, end: Timestamp) -> f64 {
        match self.http2_quiet_since(end) {
            Some(since) => super::moment::ms_between(since, end),
            None => self.silence_ms(end),
        }
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
