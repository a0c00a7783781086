//! When something is to be said of a connection, and what.

use std::{cmp::Reverse, time::Duration};

use super::{
    Output, account,
    close::{self, PeerEnd},
    connection::Connection,
    endpoints::Endpoints,
    handshake::Handshake,
    tracker::Tracker,
    transport::Ending,
    verdict::{self, Case},
};
use crate::{
    event::{ConnectionId, Timestamp},
    report::{Outcome, Phase},
    wire::{Observation, ObservationKind},
};

/// After the source was told to stop, what is on its way is still read for this long: a short
/// connection's close_notify.
const LINGER: Duration = Duration::from_secs(1);
/// ALPN offered and not selected: a client that minds leaves within this.
const ALPN_WAIT: Duration = Duration::from_millis(100);

impl Tracker {
    /// After an event: says what is known now, concludes what is over, sets timers.
    pub(super) fn settle(&mut self, id: ConnectionId, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(connection) = self.connections.peek_mut(&id) else {
            return;
        };
        let over = connection
            .ending
            .as_ref()
            .is_some_and(|ending| ending.destroyed || ending.ended);
        if over && !waits_for_peer(connection) {
            self.conclude(id, outputs);
            self.remove(id);
            return;
        }
        if connection.settles.is_none() && !connection.told.closed && (over || decided(connection))
        {
            connection.settles = Some(later(now, self.config.settle));
        }
        self.progress(id, now, outputs);
        self.schedule(id, now);
    }

    /// Fires the timers that are due.
    pub(super) fn tick(&mut self, now: Timestamp, outputs: &mut Vec<Output>) {
        while let Some(Reverse((at, id))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            let Some(connection) = self.connections.peek_mut(&id) else {
                continue;
            };
            if connection.wake != Some(at) {
                continue;
            }
            connection.wake = None;
            if connection.told.payload_done {
                self.held_bytes = self.held_bytes.saturating_sub(connection.held());
                connection.conversation = None;
            }
            if connection.settles.is_some_and(|at| at <= now) {
                connection.settles = None;
                let over = connection
                    .ending
                    .as_ref()
                    .is_some_and(|ending| ending.destroyed);
                self.conclude(id, outputs);
                if over {
                    self.remove(id);
                    continue;
                }
            }
            self.progress(id, now, outputs);
            self.schedule(id, now);
        }
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
        let slow = self.config.slow_handshake;
        let report = account::report(id, &case, &judgement, slow);
        let attempted = judgement.outcome != Outcome::Incomplete
            || connection
                .tls
                .as_ref()
                .is_some_and(|tls| tls.started.happened());
        if attempted && !connection.told.handshake {
            let result = account::handshake_result(connection, Some(&judgement));
            outputs.push(Output::Handshake(result));
        }
        let open = connection
            .ending
            .as_ref()
            .is_none_or(|e| !e.destroyed && !e.ended);
        let stop = open && !connection.told.payload_done;
        outputs.push(Output::Report(Box::new(report)));
        if stop {
            outputs.push(Output::PayloadDone(id));
        }
        self.close(id);
    }

    /// Only waits for its socket to go from now on.
    fn close(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.peek_mut(&id) {
            self.held_bytes = self.held_bytes.saturating_sub(connection.held());
            connection.conversation = None;
            connection.tls = None;
            connection.settles = None;
            connection.told.closed = true;
            connection.told.handshake = true;
            connection.told.payload_done = true;
        }
    }

    fn remove(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.remove(&id) {
            if !connection.told.closed && connection.tcp.open {
                self.stats.not_tls += 1;
            }
            self.removed(id, &connection);
        }
    }

    /// Tells the other end, if it is on this host, what this one did.
    pub(super) fn removed(&mut self, id: ConnectionId, connection: &Connection) {
        self.held_bytes = self.held_bytes.saturating_sub(connection.held());
        self.gone.insert(id, ());
        let end = peer_end(connection);
        if let Some(peer) = connection
            .peer
            .and_then(|peer| self.connections.peek_mut(&peer))
        {
            peer.peer_end = end;
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
        let peer = connection
            .peer
            .and_then(|peer| self.connections.peek(&peer));
        let peer_end = peer.map_or(connection.peer_end, peer_end);
        let server = connection.server();
        let netns = connection.netns;
        Case {
            connection,
            close: close::classify(&connection.tcp, ending, peer_end),
            peer: peer_end,
            tls_port: server.is_some_and(|s| self.endpoints.completed_tls(netns, s)),
            assigned_port: server.is_some_and(Endpoints::is_assigned),
            wire: self.wire,
        }
    }

    /// Says what is known while the connection goes on.
    fn progress(&mut self, id: ConnectionId, now: Timestamp, outputs: &mut Vec<Output>) {
        let Some(connection) = self.connections.peek_mut(&id).filter(|c| !c.told.closed) else {
            return;
        };
        let Some(tls) = connection.tls.as_deref() else {
            return;
        };
        if !connection.told.handshake && handshake_known(connection, tls, now, &self.config) {
            outputs.push(Output::Handshake(account::handshake_result(
                connection, None,
            )));
            let server = connection
                .server()
                .filter(|_| tls.phase() == Phase::Established);
            if let Some(server) = server {
                self.endpoints.learn(connection.netns, server);
            }
            connection.told.handshake = true;
        }
        let done = connection
            .tls
            .as_deref()
            .is_some_and(|tls| payload_done(connection, tls));
        if done && !connection.told.payload_done {
            connection.told.payload_done = true;
            outputs.push(Output::PayloadDone(id));
            self.wake(id, later(now, LINGER));
        }
    }

    /// Sets the timer for whatever this connection waits for.
    fn schedule(&mut self, id: ConnectionId, now: Timestamp) {
        let Some(connection) = self.connections.peek(&id) else {
            return;
        };
        let waits = (!connection.told.handshake)
            .then(|| {
                connection
                    .tls
                    .as_deref()
                    .and_then(|tls| provisional(connection, tls, &self.config))
            })
            .flatten();
        let next = [connection.settles, waits.filter(|at| *at > now)]
            .into_iter()
            .flatten()
            .min();
        if let Some(next) = next {
            self.wake(id, next);
        }
    }

    fn wake(&mut self, id: ConnectionId, at: Timestamp) {
        if let Some(connection) = self.connections.peek_mut(&id)
            && connection.wake.is_none_or(|wake| at < wake)
        {
            connection.wake = Some(at);
            self.timers.push(Reverse((at, id)));
        }
    }
}

fn later(now: Timestamp, duration: Duration) -> Timestamp {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    Timestamp(now.0.saturating_add(nanos))
}

/// On loopback an RST is taken before the kernel says that it was sent.
fn waits_for_peer(connection: &Connection) -> bool {
    let reset = connection
        .ending
        .as_ref()
        .is_some_and(|ending| ending.reset_received.is_some());
    reset && connection.peer.is_some() && !connection.peer_end.known && !connection.told.closed
}

/// What this end did, for the judgement of the other.
fn peer_end(connection: &Connection) -> PeerEnd {
    let ending = connection.ending.as_deref();
    let closed = |ending: &Ending| {
        ending.local_fin.is_some()
            || (ending.closed.is_some() && close::reset_received(ending).is_none())
    };
    PeerEnd {
        known: connection.tcp.kernel,
        reset_sent: ending.is_some_and(|ending| ending.reset_sent.is_some()),
        closed_locally: ending.is_some_and(closed),
    }
}

/// Nothing that is still to come changes the outcome, it only explains it.
fn decided(connection: &Connection) -> bool {
    let tls = connection.tls.as_deref();
    let ending = connection.ending.as_deref();
    let cut = ending.is_some_and(|ending| {
        let killed = ending
            .local_fin
            .as_ref()
            .is_some_and(|close| close.signal.is_some());
        ending.closed.is_some()
            || ending.reset_received.is_some()
            || ending.error.is_some()
            || killed
    });
    let closing =
        ending.is_some_and(|ending| ending.local_fin.is_some() || ending.remote_fin.is_some());
    let completed =
        tls.is_some_and(|tls| tls.finished_at.happened() && tls.phase() >= Phase::Finished);
    let alerted = tls.is_some_and(|tls| tls.fatal_alert().is_some());
    let in_the_clear = tls.is_some_and(|tls| {
        tls.client
            .is_some_and(|client| tls.plaintext(client.reverse()).is_some())
    });
    let confirmed = tls.is_some_and(|tls| tls.established_at.happened());
    cut || alerted
        || in_the_clear
        || (closing && !confirmed)
            && (!completed || tls.is_some_and(|tls| tls.early_alert.is_some()))
}

/// The time from which a handshake counts as completed if nothing else happens.
fn provisional(
    connection: &Connection,
    tls: &Handshake,
    config: &super::Config,
) -> Option<Timestamp> {
    match tls.phase() {
        Phase::Established if verdict::alpn_not_negotiated(tls) && verdict::is_unused(tls) => Some(
            later(tls.established_at.timestamp(connection.first), ALPN_WAIT),
        ),
        Phase::Established => Some(connection.first),
        Phase::Finished => Some(later(
            tls.finished_at.timestamp(connection.first),
            config.provisional,
        )),
        _ => None,
    }
}

fn handshake_known(
    connection: &Connection,
    tls: &Handshake,
    now: Timestamp,
    config: &super::Config,
) -> bool {
    provisional(connection, tls, config).is_some_and(|at| at <= now)
}

/// Neither verdict nor notices need any more payload.
fn payload_done(connection: &Connection, tls: &Handshake) -> bool {
    let client = connection.client_direction();
    let in_the_clear = client.is_some_and(|client| {
        let server = tls.plaintext(client.reverse()).is_some();
        let refused = tls.http(client) && tls.http(client.reverse()) && !tls.told_to_use_tls;
        server && !(refused && is_bad_request(tls, client.reverse()))
    });
    let begun_before = !connection.tcp.opening_seen
        && !tls.started.happened()
        && (tls.tls[0] || tls.tls[1] || tls.plain.is_some() || tls.lost);
    let used = tls.established_at.happened() && tls.from_server.answered;
    used || in_the_clear || begun_before
}

fn is_bad_request(tls: &Handshake, server: crate::event::Direction) -> bool {
    tls.plaintext(server).is_some_and(|plaintext| {
        plaintext
            .sample
            .get(8..12)
            .is_some_and(|status| status == b" 400")
    })
}

/// A hole that the kernel has, too: the network lost it, not the capture.
fn lost_by_network(connection: &Connection, observation: &Observation) -> bool {
    use crate::event::Direction;
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
    stream.base().is_some_and(|base| {
        let offset = u32::try_from(observation.offset).unwrap_or(u32::MAX);
        !super::transport::after(next, base.wrapping_add(offset).wrapping_add(1))
    })
}
