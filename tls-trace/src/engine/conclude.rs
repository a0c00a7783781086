//! Concludes connections: judges, reports, forgets.

use std::cmp::Reverse;

use super::{
    Output, account,
    close::{self, PeerEnd},
    connection::Connection,
    endpoints::Endpoints,
    pace::{self, LINGER, later},
    tracker::Tracker,
    transport::{Ending, after},
    verdict::{self, Case},
};
use crate::{
    event::{ConnectionId, Direction, Timestamp},
    report::{Outcome, Phase},
    wire::{Observation, ObservationKind},
};

impl Tracker {
    /// After an event: says what is known now, concludes what is over, sets timers.
    pub(super) fn settle(&mut self, id: ConnectionId, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(connection) = self.connections.peek(&id) else {
            return;
        };
        let over = is_over(connection);
        if over && !self.waits_for_peer(connection) {
            self.conclude(id, outputs);
            self.remove(id);
            return;
        }
        let told = connection.told.closed || connection.settles.is_some();
        if !told && (over || pace::is_decided(connection)) {
            let settles = later(now, self.config.settle);
            self.edit(id, |connection| connection.settles = Some(settles));
        }
        self.progress(id, now, outputs);
        self.schedule(id, now);
    }

    /// Fires the timers that are due.
    pub(super) fn tick(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        while let Some(Reverse((at, id))) = self.timers.peek().copied().filter(|t| t.0.0 <= now) {
            self.timers.pop();
            let due = self
                .connections
                .peek(&id)
                .is_some_and(|c| c.wake == Some(at));
            if due {
                self.wake(id, now, outputs);
            }
        }
    }

    fn wake(&mut self, id: ConnectionId, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(connection) = self.connections.peek_mut(&id) else {
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
            if over {
                self.remove(id);
                return;
            }
        }
        self.progress(id, now, outputs);
        self.schedule(id, now);
    }

    /// No more events come.
    pub(super) fn finish(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        self.tick(now, outputs);
        while let Some(id) = self.connections.iter().next().map(|(id, _)| *id) {
            self.conclude(id, outputs);
            self.remove(id);
        }
        self.timers.clear();
    }

    /// Judges a connection and reports it, once.
    fn conclude(&mut self, id: ConnectionId, outputs: &mut Vec<Output>) {
        self.read_rest(id);
        let Some(connection) = self.connections.peek(&id).filter(|c| !c.told.closed) else {
            return;
        };
        let case = self.case(connection);
        let Some(judgement) = verdict::judge(&case) else {
            return;
        };
        let began = connection
            .tls
            .as_ref()
            .is_some_and(|tls| tls.started.happened());
        if !connection.told.handshake && (began || judgement.outcome != Outcome::Incomplete) {
            let result = account::handshake_result(connection, Some(judgement));
            outputs.push(Output::Handshake(result));
        }
        let report = account::report(id, &case, judgement, self.config.slow_handshake);
        outputs.push(Output::Report(Box::new(report)));
        if !is_over(connection) && !connection.told.payload_done {
            outputs.push(Output::PayloadDone(id));
        }
        self.drop_conversation(id);
        self.edit(id, Connection::close);
    }

    fn remove(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(&id) {
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
        }
    }

    fn drop_conversation(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.peek_mut(&id) {
            self.held_bytes = self.held_bytes.saturating_sub(connection.held());
            connection.conversation = None;
        }
    }

    /// What a conversation still holds is all there will be.
    fn read_rest(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.peek_mut(&id) else {
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
        let known = |server| self.endpoints.completed_tls(connection.netns, server);
        Case {
            connection,
            close: close::classify(&connection.tcp, ending, peer),
            peer,
            tls_port: server.is_some_and(known),
            assigned_port: server.is_some_and(Endpoints::is_assigned),
            wire: self.wire,
        }
    }

    fn peer_end(&self, connection: &Connection) -> PeerEnd {
        let here = connection
            .peer
            .and_then(|peer| self.connections.peek(&peer));
        match here {
            Some(peer) => peer.as_peer(),
            None => connection.peer_end.as_deref().copied().unwrap_or_default(),
        }
    }

    /// On loopback an RST is taken before the kernel says that it was sent.
    fn waits_for_peer(&self, connection: &Connection) -> bool {
        let reset = connection
            .ending
            .as_ref()
            .is_some_and(|e| e.reset_received.is_some());
        let peer = connection.peer.filter(|_| reset && !connection.told.closed);
        let peer = peer.and_then(|peer| self.connections.peek(&peer));
        peer.is_some_and(|peer| peer.as_peer().reset_sent.is_none())
    }

    /// Says what is known while the connection goes on.
    fn progress(&mut self, id: ConnectionId, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(connection) = self.connections.peek_mut(&id).filter(|c| !c.told.closed) else {
            return;
        };
        let Some(tls) = connection.tls.as_deref() else {
            return;
        };
        let counts = pace::counts_from(connection, tls, &self.config);
        let handshake = !connection.told.handshake && counts.is_some_and(|at| at <= now);
        let payload = !connection.told.payload_done && pace::is_payload_done(connection, tls);
        if handshake {
            outputs.push(Output::Handshake(account::handshake_result(
                connection, None,
            )));
            if let Some(server) = connection
                .server()
                .filter(|_| tls.phase() == Phase::Established)
            {
                self.endpoints.learn(connection.netns, server);
            }
            connection.told.handshake = true;
        }
        if payload {
            connection.told.payload_done = true;
            outputs.push(Output::PayloadDone(id));
            self.wake_at(id, later(now, LINGER));
        }
    }

    /// Sets the timer for whatever this connection waits for.
    fn schedule(&mut self, id: ConnectionId, now: Timestamp) {
        let Some(connection) = self.connections.peek(&id) else {
            return;
        };
        let tls = connection
            .tls
            .as_deref()
            .filter(|_| !connection.told.handshake);
        let counts = tls.and_then(|tls| pace::counts_from(connection, tls, &self.config));
        let waits = [connection.settles, counts.filter(|at| *at > now)];
        if let Some(next) = waits.into_iter().flatten().min() {
            self.wake_at(id, next);
        }
    }

    fn wake_at(&mut self, id: ConnectionId, at: Timestamp) {
        if let Some(connection) = self.connections.peek_mut(&id)
            && connection.wake.is_none_or(|wake| at < wake)
        {
            connection.wake = Some(at);
            self.timers.push(Reverse((at, id)));
        }
    }

    fn edit(&mut self, id: ConnectionId, edit: impl FnOnce(&mut Connection)) {
        if let Some(connection) = self.connections.peek_mut(&id) {
            edit(connection);
        }
    }
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
