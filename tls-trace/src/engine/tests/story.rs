//! Tells the engine what happens on one socket, step by step.

use std::net::SocketAddr;

use crate::{
    engine::{Config, Engine, Output},
    event::{
        ConnectionId, Counters, Direction, Event, EventKind, LibraryEvent, ResetReason, Segment,
        Socket, StateChange, Task, TcpFlags, TcpState, Timestamp,
    },
    report::Report,
};

const LOCAL_BASE: u32 = 1001;
const REMOTE_BASE: u32 = 0xffff_fff0;

/// Sockets and their lives, told one step at a time for the one whose turn it is.
pub(super) struct Story {
    pub(super) engine: Engine,
    pub(super) outputs: Vec<Output>,
    pub(super) now: u64,
    side: Side,
    other: Side,
}

/// One socket.
#[derive(Clone)]
pub(super) struct Side {
    pub(super) id: ConnectionId,
    pub(super) local: SocketAddr,
    pub(super) remote: SocketAddr,
    pub(super) state: TcpState,
    pub(super) task: Task,
    pub(super) counters: Counters,
    /// The peer acknowledges at once.
    pub(super) acknowledge: bool,
    pub(super) peer_ttl: u8,
}

impl std::ops::Deref for Story {
    type Target = Side;

    fn deref(&self) -> &Side {
        &self.side
    }
}

impl std::ops::DerefMut for Story {
    fn deref_mut(&mut self) -> &mut Side {
        &mut self.side
    }
}

pub(super) fn task(pid: u32, comm: &str) -> Task {
    Task {
        pid,
        tid: pid,
        cgroup: 77,
        comm: comm.to_owned(),
        ..Task::default()
    }
}

impl Side {
    fn new(id: u64, local: &str, remote: &str, task: Task, bases: [u32; 2]) -> Self {
        Self {
            id: ConnectionId(id),
            local: local.parse().unwrap(),
            remote: remote.parse().unwrap(),
            state: TcpState::CLOSE,
            task,
            counters: Counters {
                bytes_acked: 1,
                snd_nxt: bases[0],
                snd_una: bases[0],
                rcv_nxt: bases[1],
                copied_seq: bases[1],
                ..Counters::default()
            },
            acknowledge: true,
            peer_ttl: 61,
        }
    }
}

impl Story {
    fn new() -> Self {
        let (client, server) = ("10.0.0.1:40000", "10.0.0.2:8443");
        let bases = [LOCAL_BASE, REMOTE_BASE];
        let server_bases = [REMOTE_BASE, LOCAL_BASE];
        Self {
            engine: Engine::new(Config::default()),
            outputs: Vec::new(),
            now: 1_000_000_000,
            side: Side::new(1, client, server, task(100, "curl"), bases),
            other: Side::new(2, server, client, task(200, "nginx"), server_bases),
        }
    }

    /// Tells of the other socket from now on.
    pub(super) fn switch(&mut self) -> &mut Self {
        std::mem::swap(&mut self.side, &mut self.other);
        self
    }

    /// A client that sent its SYN.
    pub(super) fn connecting() -> Self {
        let mut story = Self::new();
        story.turn(TcpState::SYN_SENT);
        story
    }

    /// A client whose connection is open.
    pub(super) fn client() -> Self {
        let mut story = Self::connecting();
        story.wait(1);
        story.turn(TcpState::ESTABLISHED);
        story
    }

    /// The socket of a server for a connection that just opened.
    pub(super) fn server() -> Self {
        let mut story = Self::new();
        story.switch().accepts();
        story
    }

    /// Both sockets of a connection on this host, the client's first.
    pub(super) fn pair() -> Self {
        let mut story = Self::client();
        story.switch().accepts().switch();
        story
    }

    /// A connection that was open when the source started.
    pub(super) fn existing() -> Self {
        let mut story = Self::new();
        story.state = TcpState::ESTABLISHED;
        let (socket, opened_by) = (story.socket(), None);
        story.event(EventKind::Existing { socket, opened_by });
        story
    }

    /// A new connection to a listener.
    pub(super) fn accepts(&mut self) -> &mut Self {
        self.state = TcpState::SYN_RECV;
        self.turn(TcpState::ESTABLISHED)
    }

    /// One more connection to the listener, after the end of the last.
    pub(super) fn again(&mut self) -> &mut Self {
        self.id.0 += 1;
        self.counters.bytes_acked = 0;
        self.counters.bytes_received = 0;
        self.counters.snd_una = self.counters.snd_nxt;
        self.counters.copied_seq = self.counters.rcv_nxt;
        self.accepts()
    }

    /// Lets milliseconds pass.
    pub(super) fn wait(&mut self, ms: u64) -> &mut Self {
        self.now += ms * 1_000_000;
        self.engine.tick(Timestamp(self.now), &mut self.outputs);
        self
    }

    pub(super) fn event(&mut self, kind: EventKind) -> &mut Self {
        self.event_of(self.id, kind)
    }

    fn event_of(&mut self, connection: ConnectionId, kind: EventKind) -> &mut Self {
        self.now += 10_000;
        let event = Event {
            time: Timestamp(self.now),
            connection,
            kind,
        };
        self.engine.event(&event, &mut self.outputs);
        self
    }

    /// The library speaks, and shows its socket or not.
    pub(super) fn library(&mut self, said: LibraryEvent, shows_socket: bool) -> &mut Self {
        let connection = if shows_socket {
            self.id
        } else {
            ConnectionId(0)
        };
        self.event_of(connection, EventKind::Library(said))
    }

    fn socket(&self) -> Socket {
        Socket {
            local: self.local,
            remote: self.remote,
            netns: 4_026_531_840,
            task: self.task.clone(),
            counters: Some(self.counters),
        }
    }

    /// Changes the TCP state.
    pub(super) fn turn(&mut self, new: TcpState) -> &mut Self {
        let old = std::mem::replace(&mut self.side.state, new);
        let socket = self.socket();
        self.event(EventKind::State(StateChange { old, new, socket }))
    }

    fn segment(&mut self, direction: Direction, flags: u8, payload: &[u8]) -> &mut Self {
        let (seq, ack, ttl, task) = match direction {
            Direction::Egress => (
                self.counters.snd_nxt,
                self.counters.rcv_nxt,
                64,
                self.task.clone(),
            ),
            Direction::Ingress => (
                self.counters.rcv_nxt,
                self.counters.snd_una,
                self.peer_ttl,
                Task::default(),
            ),
        };
        self.event(EventKind::Segment(Segment {
            direction,
            local: self.local,
            remote: self.remote,
            seq,
            ack,
            flags: TcpFlags(flags | TcpFlags::ACK),
            ttl,
            length: u32::try_from(payload.len()).unwrap(),
            payload: payload.to_vec().into(),
            task,
            last: false,
            listener: false,
        }))
    }

    /// This end sends bytes.
    pub(super) fn sends(&mut self, payload: impl AsRef<[u8]>) -> &mut Self {
        let payload = payload.as_ref();
        let length = u32::try_from(payload.len()).unwrap();
        self.segment(Direction::Egress, 0, payload);
        self.counters.snd_nxt = self.counters.snd_nxt.wrapping_add(length);
        if self.acknowledge {
            self.counters.snd_una = self.counters.snd_nxt;
            self.counters.bytes_acked += u64::from(length);
        }
        self
    }

    /// This end gets bytes, and its application reads them.
    pub(super) fn gets(&mut self, payload: impl AsRef<[u8]>) -> &mut Self {
        self.gets_unread(payload);
        self.counters.copied_seq = self.counters.rcv_nxt;
        self
    }

    /// This end gets bytes that stay in its receive queue.
    pub(super) fn gets_unread(&mut self, payload: impl AsRef<[u8]>) -> &mut Self {
        let payload = payload.as_ref();
        let length = u32::try_from(payload.len()).unwrap();
        self.segment(Direction::Ingress, 0, payload);
        self.counters.rcv_nxt = self.counters.rcv_nxt.wrapping_add(length);
        self.counters.bytes_received += u64::from(length);
        self
    }

    /// The last segment goes out again.
    pub(super) fn retransmits(&mut self, length: usize) -> &mut Self {
        let end_seq = self.counters.snd_nxt;
        let seq = end_seq.wrapping_sub(u32::try_from(length).unwrap());
        let state = self.state;
        self.counters.total_retrans += 1;
        self.event(EventKind::Retransmit {
            state,
            seq,
            end_seq,
        })
    }

    /// `close()` or `shutdown()` without unread data.
    pub(super) fn closes(&mut self) -> &mut Self {
        let next = match self.state {
            TcpState::CLOSE_WAIT => TcpState::LAST_ACK,
            _ => TcpState::FIN_WAIT1,
        };
        self.turn(next);
        self.counters.snd_nxt = self.counters.snd_nxt.wrapping_add(1);
        self
    }

    /// The peer's FIN is taken.
    pub(super) fn gets_fin(&mut self) -> &mut Self {
        self.counters.rcv_nxt = self.counters.rcv_nxt.wrapping_add(1);
        self.counters.bytes_received += 1;
        match self.state {
            TcpState::FIN_WAIT1 => self.turn(TcpState::CLOSING),
            TcpState::FIN_WAIT2 => self.turn(TcpState::CLOSE),
            _ => self.turn(TcpState::CLOSE_WAIT),
        }
    }

    /// The kernel resets because of this end.
    pub(super) fn resets(&mut self, reason: Option<ResetReason>) -> &mut Self {
        self.turn(TcpState::CLOSE);
        let task = self.task.clone();
        self.event(EventKind::ResetSent { reason, task })
    }

    /// The peer's RST is taken.
    pub(super) fn gets_reset(&mut self) -> &mut Self {
        let errno = match self.state {
            TcpState::SYN_SENT => 111,
            TcpState::CLOSE_WAIT => 32,
            _ => 104,
        };
        self.event(EventKind::ResetReceived);
        self.turn(TcpState::CLOSE);
        self.error(errno)
    }

    /// An RST segment arrives.
    pub(super) fn reset_segment(&mut self, ttl: u8) -> &mut Self {
        let before = std::mem::replace(&mut self.side.peer_ttl, ttl);
        self.segment(Direction::Ingress, TcpFlags::RST, &[]);
        self.peer_ttl = before;
        self
    }

    pub(super) fn error(&mut self, errno: u32) -> &mut Self {
        self.event(EventKind::SocketError { errno })
    }

    pub(super) fn destroyed(&mut self) -> &mut Self {
        let socket = self.socket();
        self.event(EventKind::Destroyed(socket))
    }

    /// Both FINs, then the socket goes.
    pub(super) fn ends(&mut self) -> &mut Self {
        if self.state != TcpState::CLOSE {
            self.turn(TcpState::CLOSE);
        }
        self.destroyed()
    }

    /// How many connections the engine asks for, after silence of so many milliseconds more.
    pub(super) fn lingering_after(&mut self, ms: u64) -> usize {
        self.wait(ms);
        self.engine.lingering(Timestamp(self.now)).len()
    }

    pub(super) fn reports(&self) -> Vec<&Report> {
        self.outputs
            .iter()
            .filter_map(|output| match output {
                Output::Report(report) => Some(&**report),
                _ => None,
            })
            .collect()
    }

    /// The one report that there must be.
    pub(super) fn report(&self) -> &Report {
        let reports = self.reports();
        assert_eq!(reports.len(), 1, "{:#?}", self.outputs);
        reports[0]
    }
}
