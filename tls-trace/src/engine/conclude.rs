//! Concludes connections: judges, reports, forgets.

use std::cmp::Reverse;

use super::{
    Output, account,
    close::{self, PeerEnd},
    connection::Connection,
    endpoints::Endpoints,
    evidence, holder,
    moment::Endpoint,
    notices,
    pace::{self, LINGER, later},
    rest::Resting,
    tracker::Tracker,
    transport::{Ending, after},
    verdict::{self, Case},
};
use crate::{
    event::{ConnectionId, Direction, End, Timestamp},
    report::Outcome,
    wire::{Observation, ObservationKind},
};

impl Tracker {
    /// After an event: says what is known now, concludes what is over, sets timers.
    pub(super) fn settle(&mut self, id: ConnectionId, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(connection) = self.connections.get(id) else {
            return;
        };
        let over = is_over(connection);
        if over && !self.waits_for_peer(connection) && !self.waits_for_hello(connection) {
            self.conclude(id, outputs);
            self.remove(id);
            return;
        }
        let told = connection.told.closed || connection.settles.is_some();
        if !told && (over || pace::is_decided(connection)) {
            let wanted = holder::wanted(id, connection);
            let settles = self.settles_at(now, wanted.is_some());
            outputs.extend(wanted.map(Output::HolderWanted));
            self.edit(id, |connection| connection.settles = Some(settles));
        }
        self.progress(id, now, outputs);
    }

    /// Fires the timers that are due.
    pub(super) fn tick(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        while let Some(Reverse((at, id))) = self.timers.peek().copied().filter(|t| t.0.0 <= now) {
            self.timers.pop();
            let due = self.connections.get(id).is_some_and(|c| c.wake == Some(at));
            if due {
                self.wake(id, now, outputs);
            }
        }
    }

    fn wake(&mut self, id: ConnectionId, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.wake = None;
        let settled = connection.settles.is_some_and(|at| at <= now);
        let over = is_over(connection);
        if connection.told.payload_done {
            self.drop_conversation(id);
        }
        if settled {
            self.edit(id, |connection| connection.settles = None);
            self.conclude(id, outputs);
            let connection = self.connections.get(id);
            if over && !connection.is_some_and(|c| self.waits_for_hello(c)) {
                self.remove(id);
                return;
            }
        }
        self.progress(id, now, outputs);
    }

    /// No more events come.
    pub(super) fn finish(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        self.tick(now, outputs);
        while let Some(id) = self.connections.least_recent() {
            self.conclude(id, outputs);
            self.remove(id);
        }
        self.timers.clear();
    }

    /// Judges a connection and reports it, once.
    fn conclude(&mut self, id: ConnectionId, outputs: &mut Vec<Output>) {
        self.read_rest(id);
        let Some(connection) = self.connections.get(id).filter(|c| !c.told.closed) else {
            return;
        };
        let case = self.case(connection);
        let Some(judgement) = verdict::judge(&case) else {
            return;
        };
        let began = connection
            .tls
            .as_ref()
            .is_some_and(|tls| tls.times.started.happened());
        if !connection.told.handshake && (began || judgement.outcome != Outcome::Incomplete) {
            if !self.failures_only {
                let result = account::handshake_result(connection, Some(judgement));
                outputs.push(Output::Handshake(Box::new(result)));
            }
            self.endpoints
                .learn(connection.netns, tls_server(connection));
        }
        let mut report = account::report(id, &case, judgement);
        if judgement.outcome.is_failure() || !self.failures_only {
            report.verdict.evidence = evidence::collect(&case, judgement);
            report.notices = notices::collect(&case, judgement, self.config.slow_handshake);
        }
        outputs.push(Output::Report(Box::new(report)));
        let wanted = !connection.told.payload_done || connection.is_http2_watched();
        if !is_over(connection) && wanted {
            outputs.push(Output::PayloadDone(id));
        }
        self.drop_conversation(id);
        self.edit(id, Connection::close);
    }

    fn remove(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(id) {
            self.stats.not_tls += u64::from(!connection.told.closed && connection.tcp.open);
            self.removed(id, &connection);
        }
    }

    /// Remembers that a connection is gone, and tells its other end what this one did.
    pub(super) fn removed(&mut self, id: ConnectionId, connection: &Connection) {
        self.held_bytes = self.held_bytes.saturating_sub(connection.held());
        self.gone.insert(id, ());
        if let Some(peer) = connection.peer {
            let end = Box::new(connection.as_peer());
            self.edit(peer, |peer| peer.peer_end = Some(end));
            self.reconsider(peer, connection.last, false);
        }
    }

    /// What an end that is over waited for in [`Self::waits_for_hello`] came or comes no more.
    pub(super) fn reconsider(&mut self, id: ConnectionId, now: Timestamp, hello: bool) {
        if let Some(connection) = self.connections.get_mut(id).filter(|c| is_over(c)) {
            connection.hello_came_late |= hello;
            if connection.settles.is_none() {
                connection.settles = Some(now);
                connection.wake = Some(now);
                self.timers.push(Reverse((now, id)));
            }
        }
    }

    fn drop_conversation(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(id) {
            self.held_bytes = self.held_bytes.saturating_sub(connection.held());
            connection.conversation = None;
        }
    }

    /// What a conversation still holds is all there will be.
    fn read_rest(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(mut conversation) = connection.conversation.take() else {
            return;
        };
        self.held_bytes = self.held_bytes.saturating_sub(conversation.held());
        let mut rest = Vec::new();
        conversation.finish(connection.last, &mut rest);
        rest.retain(|observation| !lost_by_network(connection, observation));
        self.observe(id, &rest);
    }

    fn case<'a>(&self, connection: &'a Connection) -> Case<'a> {
        let nothing = Ending::default();
        let ending = connection.ending.as_deref().unwrap_or(&nothing);
        let peer = self.peer_end(connection);
        let server = connection.server();
        let known = |server| self.endpoints.speaks_tls(connection.netns, server);
        Case {
            connection,
            close: close::classify(&connection.tcp, ending, peer),
            peer,
            tls_port: server.is_some_and(known),
            assigned_port: server.is_some_and(Endpoints::is_assigned),
            wire: self.wire,
            overflow: self.overflowed(connection),
        }
    }

    fn peer_end(&self, connection: &Connection) -> PeerEnd {
        let here = connection
            .peer
            .and_then(|peer| self.connections.as_peer(peer));
        let gone = || connection.peer_end.as_deref().copied();
        here.or_else(gone).unwrap_or_default()
    }

    /// On loopback an RST is taken before the kernel says that it was sent.
    fn waits_for_peer(&self, connection: &Connection) -> bool {
        let reset = connection
            .ending
            .as_ref()
            .is_some_and(|e| e.reset_received.is_some());
        let peer = connection.peer.filter(|_| reset && !connection.told.closed);
        let peer = peer.and_then(|peer| self.connections.as_peer(peer));
        peer.is_some_and(|peer| peer.reset_sent.is_none())
    }

    /// A server that left before it got a byte: only what the client says later, to nobody, tells
    /// whether this was to be TLS.
    fn waits_for_hello(&self, connection: &Connection) -> bool {
        let tcp = &connection.tcp;
        let nothing_said = tcp.open && !tcp.ingress.payload && !tcp.egress.payload;
        let server = tcp.opened_by == Some(End::Remote) && !connection.told.closed;
        let peer = connection.peer.filter(|_| nothing_said && server);
        let peer = peer.and_then(|peer| self.connections.as_peer(peer));
        peer.is_some_and(|peer| !peer.hello && !peer.spoke && peer.closed.is_none())
    }

    /// Says what is known while the connection goes on, and sets the timer for what it waits for.
    fn progress(&mut self, id: ConnectionId, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let mut next = connection.settles;
        if let Some(tls) = connection
            .tls
            .as_deref()
            .filter(|_| !connection.told.closed)
        {
            let counts = pace::counts_from(connection, tls, &self.config);
            let counts = counts.filter(|_| !connection.told.handshake);
            let payload_done =
                !connection.told.payload_done && pace::is_payload_done(connection, tls);
            if counts.is_some_and(|at| at <= now) {
                if !self.failures_only {
                    let result = account::handshake_result(connection, None);
                    outputs.push(Output::Handshake(Box::new(result)));
                }
                self.endpoints
                    .learn(connection.netns, tls_server(connection));
                connection.told.handshake = true;
            } else {
                next = next.into_iter().chain(counts).min();
            }
            if payload_done {
                connection.told.payload_done = true;
                next = next.into_iter().chain([later(now, LINGER)]).min();
            }
            if payload_done && !connection.watch_http2() || connection.unwatch_http2() {
                outputs.push(if connection.shows_http2() {
                    Output::TailWanted(id)
                } else {
                    Output::PayloadDone(id)
                });
            }
        }
        if let Some(at) = next.filter(|at| connection.wake.is_none_or(|wake| *at < wake)) {
            connection.wake = Some(at);
            self.timers.push(Reverse((at, id)));
        }
        if Resting::is_possible(connection) {
            self.connections.rest(id);
        }
    }

    fn edit(&mut self, id: ConnectionId, edit: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.connections.get_mut(id) {
            edit(connection);
        }
    }
}

/// The server's address, where it answered a ClientHello as the first thing on the connection.
fn tls_server(connection: &Connection) -> Option<Endpoint> {
    let tls = connection.tls.as_deref()?;
    let answered = tls.times.server_hello_at.happened() && !tls.is_upgraded();
    connection.server().filter(|_| answered)
}

/// Whether nothing follows.
fn is_over(connection: &Connection) -> bool {
    let ending = connection.ending.as_ref();
    ending.is_some_and(|ending| ending.destroyed || ending.ended)
}

/// A hole that the kernel has, too: the network lost it, not the capture.
fn lost_by_network(connection: &Connection, observation: &Observation) -> bool {
    let counters = connection
        .ending
        .as_ref()
        .and_then(|ending| ending.counters);
    let (ObservationKind::Lost(_), Some(counters)) = (&observation.kind, counters) else {
        return false;
    };
    let next = match observation.direction {
        Direction::Egress => counters.snd_nxt,
        Direction::Ingress => counters.rcv_nxt,
    };
    let stream = connection.tcp.stream(observation.direction);
    let offset = u32::try_from(observation.offset).unwrap_or(u32::MAX);
    stream
        .base()
        .is_some_and(|base| !after(next, base.wrapping_add(offset).wrapping_add(1)))
}
