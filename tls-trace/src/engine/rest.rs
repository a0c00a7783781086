//! A connection that has nothing to do but stay open, kept small: what many connections have in
//! common of their handshakes is shared.

use std::sync::Arc;

use super::{
    close::{self, PeerEnd},
    connection::{Connection, Process, Told},
    handshake::{Handshake, Times},
    interner::Interner,
    moment::Endpoint,
    transport::Transport,
};
use crate::event::{ConnectionId, Direction, Timestamp};

/// Most of a [`Connection`].
#[derive(Debug)]
pub(super) struct Resting {
    local: Endpoint,
    remote: Endpoint,
    netns: u32,
    first: Timestamp,
    last: Timestamp,
    process: Option<Arc<Process>>,
    tcp: Transport,
    handshake: Option<Arc<Handshake>>,
    times: Times,
    /// Means something when `paired`; an `Option` would take 8 bytes more.
    peer: ConnectionId,
    paired: bool,
    told: Told,
}

impl Resting {
    /// Whether there is nothing to do.
    pub(super) fn is_possible(connection: &Connection) -> bool {
        connection.ending.is_none()
            && connection.conversation.is_none()
            && connection.peer_end.is_none()
            && connection.settles.is_none()
            && connection.wake.is_none()
            && connection.history.is_none()
            && connection.told.payload_done
    }

    /// Absent when there is something to do.
    pub(super) fn new(
        connection: &Connection,
        handshakes: &mut Interner<Handshake>,
    ) -> Option<Self> {
        let at_rest = Self::is_possible(connection)
            .then(|| connection.tls.as_deref().map(Handshake::at_rest))?;
        let (handshake, times) = at_rest.unzip();
        Some(Self {
            local: connection.local,
            remote: connection.remote,
            netns: connection.netns,
            first: connection.first,
            last: connection.last,
            process: connection.process.clone(),
            tcp: connection.tcp,
            handshake: handshake
                .map(|handshake| handshakes.share(&handshake, || Arc::new(handshake.clone()))),
            times: times.unwrap_or_default(),
            peer: connection.peer.unwrap_or_default(),
            paired: connection.peer.is_some(),
            told: connection.told,
        })
    }

    pub(super) fn wake(&self) -> Connection {
        Connection {
            local: self.local,
            remote: self.remote,
            netns: self.netns,
            last: self.last,
            process: self.process.clone(),
            tcp: self.tcp,
            tls: self
                .handshake
                .as_ref()
                .map(|handshake| Box::new(handshake.awake(self.times))),
            peer: self.paired.then_some(self.peer),
            told: self.told,
            ..Connection::new(self.first)
        }
    }

    /// What this end did: nothing yet.
    pub(super) fn as_peer(&self) -> PeerEnd {
        let client = self
            .handshake
            .as_ref()
            .and_then(|handshake| handshake.client);
        close::as_peer(&self.tcp, None, client == Some(Direction::Egress))
    }
}
