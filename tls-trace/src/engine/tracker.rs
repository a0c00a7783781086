//! The connection table: takes events apart and puts each fact where it belongs.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use hashlink::LruCache;

use super::{
    Config, Output, Stats,
    connection::{Connection, Names},
    endpoints::Endpoints,
    handshake::Hello,
    history::History,
    interner::Interner,
    moment::Endpoint,
    peers::{Addresses, Peers},
    table::Table,
    told,
};
use crate::{
    event::{
        ConnectionId, Direction, Event, EventKind, Function, Segment, StateChange, TcpState,
        Timestamp,
    },
    wire::{ClientHello, Observation, ObservationKind},
};

/// Ids of connections that are gone, remembered so that a straggler does not bring one back.
const REMEMBERED: usize = 8192;
/// Address pairs for which segments that reached the listener are held.
const HELD_PAIRS: usize = 256;
/// Segments held for each of them.
const HELD_SEGMENTS: usize = 4;
/// Address pairs remembered whose listener's accept queue was full.
const OVERFLOWS: usize = 4096;
/// Bytes that all conversations together may hold; one that asks for more is not read any further.
const CONVERSATION_BYTES: usize = 64 << 20;

/// Table, indexes and timers.
#[derive(Debug)]
pub(super) struct Tracker {
    pub(super) config: Config,
    pub(super) stats: Stats,
    /// What nobody looks at who wants failures only is left out.
    pub(super) failures_only: bool,
    pub(super) connections: Table,
    pub(super) gone: LruCache<ConnectionId, ()>,
    pub(super) endpoints: Endpoints,
    pub(super) timers: BinaryHeap<Reverse<(Timestamp, ConnectionId)>>,
    /// A segment was seen: payload is being captured.
    pub(super) wire: bool,
    /// Bytes held by all conversations.
    pub(super) held_bytes: usize,
    /// An accept was seen: its hook works.
    accepts_visible: bool,
    observations: Vec<Observation>,
    pub(super) peers: Peers,
    pub(super) names: Names,
    hellos: Interner<Hello>,
    /// Attempts to connect that listeners dropped, by addresses as the server has them.
    overflows: LruCache<Addresses, ()>,
    /// Segments that reached a listener before the connection had its own socket.
    held: LruCache<(Endpoint, Endpoint), Vec<(Timestamp, Segment)>>,
}

impl Tracker {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            stats: Stats::default(),
            failures_only: false,
            connections: Table::new(),
            gone: LruCache::new(REMEMBERED),
            endpoints: Endpoints::new(),
            timers: BinaryHeap::new(),
            wire: false,
            held_bytes: 0,
            accepts_visible: false,
            observations: Vec::new(),
            peers: Peers::new(),
            names: Names::new(),
            hellos: Interner::new(),
            overflows: LruCache::new(OVERFLOWS),
            held: LruCache::new(HELD_PAIRS),
        }
    }

    pub(super) fn event(&mut self, event: &Event, outputs: &mut Vec<Output>) {
        self.stats.events += 1;
        let id = event.connection;
        match &event.kind {
            EventKind::Segment(segment) if segment.listener => {
                self.hold(event.time, segment);
                return;
            }
            EventKind::ListenOverflow {
                server,
                client,
                netns,
            } => {
                let addresses = Addresses::new(*netns, (*server).into(), (*client).into());
                self.overflows.insert(addresses, ());
                return;
            }
            EventKind::Segment(_) => self.wire = true,
            EventKind::Library(said) => {
                if let Some(id) = self.library(said, event.connection, event.time) {
                    self.settle(id, event.time, outputs);
                }
                return;
            }
            EventKind::Http2(said) => {
                if let Some(id) = self.http2(said, event.connection, event.time) {
                    self.settle(id, event.time, outputs);
                }
                return;
            }
            EventKind::Held(task) => {
                self.held_by(id, task, event.time);
                return;
            }
            EventKind::Function { function, .. } if *function == Function::Accept => {
                self.accepts_visible = true;
            }
            _ => {}
        }
        if !self.connections.touch(id) && !self.begin(event) {
            return;
        }
        match &event.kind {
            EventKind::Segment(segment) => self.segment(id, event.time, segment),
            _ => self.apply(event),
        }
        self.settle(id, event.time, outputs);
    }

    /// Starts tracking a connection, unless the event cannot be its beginning or it is gone already.
    fn begin(&mut self, event: &Event) -> bool {
        let begins = match &event.kind {
            EventKind::State(change) => matches!(
                change.new,
                TcpState::SYN_SENT | TcpState::SYN_RECV | TcpState::ESTABLISHED
            ),
            EventKind::Segment(_) | EventKind::Existing { .. } => true,
            _ => false,
        };
        if !begins || self.gone.peek(&event.connection).is_some() {
            return false;
        }
        while self.connections.len() >= self.config.max_connections.max(1) {
            if let Some((id, connection)) = self.connections.remove_least_recent() {
                self.stats.evicted += 1;
                self.removed(id, &connection);
            }
        }
        let mut connection = Connection::new(event.time);
        connection.tcp.accepts_visible = self.accepts_visible;
        if self.config.history > 0 {
            connection.history = Some(Box::new(History::new(self.config.history)));
        }
        self.connections.insert(event.connection, connection);
        true
    }

    fn apply(&mut self, event: &Event) {
        let (id, at) = (event.connection, event.time);
        let names = &mut self.names;
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.touch(at);
        match &event.kind {
            EventKind::State(change) => {
                connection.state(at, change, names);
                self.opened(id, change);
            }
            EventKind::Destroyed(socket) => connection.destroyed(socket),
            EventKind::ResetSent { reason, task } => {
                connection.reset_explained(at, *reason, task, names);
            }
            EventKind::ResetReceived => connection.reset_received(at),
            EventKind::SocketError { errno } => connection.error(at, *errno),
            EventKind::Retransmit {
                state,
                seq,
                end_seq,
            } => {
                connection.retransmit(*state, *seq, *end_seq);
            }
            EventKind::Function { function, task } => {
                connection.function(at, *function, task, names);
            }
            EventKind::Existing { socket, opened_by } => {
                connection.existing(socket, *opened_by, names);
            }
            EventKind::Tail(tail) => connection.tail(tail),
            EventKind::Ended => connection.ending_mut().ended = true,
            // Most of all there is, of a listener, of a connection that had to be found, of nothing that
            // happened: taken before.
            EventKind::Segment(_)
            | EventKind::ListenOverflow { .. }
            | EventKind::Library(_)
            | EventKind::Http2(_)
            | EventKind::Held(_) => {}
        }
    }

    /// A socket that just opened: looks for its other end, and for what reached the listener before.
    fn opened(&mut self, id: ConnectionId, change: &StateChange) {
        if change.new != TcpState::ESTABLISHED {
            return;
        }
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let (local, remote) = (connection.local, connection.remote);
        if let Some(peer) = self.peers.by_addresses(id, connection) {
            self.pair(id, peer);
        }
        if !self.held.is_empty() {
            for (at, segment) in self.held.remove(&(local, remote)).unwrap_or_default() {
                self.segment(id, at, &segment);
            }
        }
    }

    /// Makes two sockets the ends of one connection, if their sequence numbers agree: a proxy that
    /// passes a ClientHello on has two connections with the same random.
    fn pair(&mut self, a: ConnectionId, b: ConnectionId) {
        let (Some(one), Some(two)) = (self.connections.get(a), self.connections.get(b)) else {
            return;
        };
        if !one.tcp.mirrors(&two.tcp) {
            return;
        }
        for (one, other) in [(a, b), (b, a)] {
            if let Some(connection) = self.connections.get_mut(one) {
                connection.peer.get_or_insert(other);
            }
        }
    }

    /// Whether the listener that a connection was for dropped a segment of it.
    pub(super) fn overflowed(&self, connection: &Connection) -> bool {
        let (client, server) = (connection.local, connection.remote);
        let addresses = Addresses::new(connection.netns, server, client);
        self.overflows.peek(&addresses).is_some()
    }

    /// Keeps a segment for the connection that its ACK is about to open.
    fn hold(&mut self, at: Timestamp, segment: &Segment) {
        self.wire = true;
        let pair = (segment.local.into(), segment.remote.into());
        let segments = self.held.entry(pair).or_insert_with(Vec::new);
        if segments.len() < HELD_SEGMENTS {
            let segment = Segment {
                listener: false,
                ..segment.clone()
            };
            segments.push((at, segment));
        }
    }

    fn segment(&mut self, id: ConnectionId, at: Timestamp, segment: &Segment) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.touch(at);
        let mut observations = std::mem::take(&mut self.observations);
        let room = CONVERSATION_BYTES.saturating_sub(self.held_bytes);
        let before = connection.held();
        connection.segment(at, segment, &mut self.names, &mut observations);
        let after = connection.held();
        if after > before && after - before > room {
            connection.conversation = None;
            connection.tls_mut().lost = true;
        }
        self.held_bytes = (self.held_bytes + connection.held()).saturating_sub(before);
        told::look_for_hint(connection, segment);
        self.observe(id, &observations);
        observations.clear();
        self.observations = observations;
    }

    /// Takes what segments completed.
    pub(super) fn observe(&mut self, id: ConnectionId, observations: &[Observation]) {
        let mut rest = observations.iter();
        while !rest.as_slice().is_empty() {
            let Some(connection) = self.connections.get_mut(id) else {
                return;
            };
            // Only a ClientHello is of interest beyond its connection.
            let hello = rest.by_ref().find_map(|observation| {
                connection.observe(observation);
                match &observation.kind {
                    ObservationKind::ClientHello(message) => Some((observation, message)),
                    _ => None,
                }
            });
            if let Some((observation, message)) = hello {
                self.client_hello(id, observation, message);
            }
        }
    }

    /// A ClientHello may tell which socket of this host is the other end.
    fn client_hello(&mut self, id: ConnectionId, observation: &Observation, message: &ClientHello) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let peer = connection.peer;
        let tls = connection.tls_mut();
        if tls.hello.is_none() {
            let hello = Hello::of(message);
            tls.hello = Some(self.hellos.share(&hello, || Arc::new(hello.clone())));
        }
        let sent = observation.direction == Direction::Egress;
        if let Some(peer) = peer.filter(|_| sent) {
            self.reconsider(peer, observation.time, true);
        }
        self.peers.remember(id, &message.random, sent);
        if peer.is_none() {
            let others = self.peers.by_random(&message.random, !sent);
            for peer in others.filter(|peer| *peer != id).collect::<Vec<_>>() {
                self.pair(id, peer);
            }
        }
    }
}
