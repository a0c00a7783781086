//! The connections, least recently active first. Those that have nothing to do but stay open, most of
//! a busy host's, are kept small.

use hashlink::LruCache;

use super::{
    close::PeerEnd, connection::Connection, handshake::Handshake, http2::Http2, interner::Interner,
    rest::Resting,
};
use crate::event::ConnectionId;

#[derive(Debug)]
pub(super) struct Table {
    slots: LruCache<ConnectionId, Slot>,
    handshakes: Interner<Handshake>,
}

#[derive(Debug)]
enum Slot {
    Awake(Box<Connection>),
    Resting(Box<Resting>),
    /// Rests, but its end may show more than a close.
    Watched(Box<(Resting, Box<Http2>)>),
}

impl Slot {
    fn wake(&mut self) -> &mut Connection {
        let woken = match self {
            Self::Awake(_) => None,
            Self::Resting(resting) => Some(resting.wake()),
            Self::Watched(watched) => Some(Connection {
                http2: Some(watched.1.clone()),
                ..watched.0.wake()
            }),
        };
        if let Some(connection) = woken {
            *self = Self::Awake(Box::new(connection));
        }
        match self {
            Self::Awake(connection) => connection,
            Self::Resting(_) | Self::Watched(_) => unreachable!("it was woken"),
        }
    }
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            slots: LruCache::new_unbounded(),
            handshakes: Interner::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn insert(&mut self, id: ConnectionId, connection: Connection) {
        self.slots.insert(id, Slot::Awake(Box::new(connection)));
    }

    /// Marks a connection as active and wakes it; whether it is there.
    pub(super) fn touch(&mut self, id: ConnectionId) -> bool {
        self.slots.get_mut(&id).map(Slot::wake).is_some()
    }

    /// A connection, woken if it rests.
    pub(super) fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.slots.peek_mut(&id).map(Slot::wake)
    }

    /// A connection that does not rest.
    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        match self.slots.peek(&id)? {
            Slot::Awake(connection) => Some(connection),
            Slot::Resting(_) | Slot::Watched(_) => None,
        }
    }

    /// Those that do not rest.
    pub(super) fn awake(&self) -> impl Iterator<Item = (ConnectionId, &Connection)> {
        self.slots.iter().filter_map(|(id, slot)| match slot {
            Slot::Awake(connection) => Some((*id, &**connection)),
            Slot::Resting(_) | Slot::Watched(_) => None,
        })
    }

    /// What a connection did, for the judgement of its other end.
    pub(super) fn as_peer(&self, id: ConnectionId) -> Option<PeerEnd> {
        Some(match self.slots.peek(&id)? {
            Slot::Awake(connection) => connection.as_peer(),
            Slot::Resting(resting) => resting.as_peer(),
            Slot::Watched(watched) => watched.0.as_peer(),
        })
    }

    /// Keeps a connection small, if it has nothing to do.
    pub(super) fn rest(&mut self, id: ConnectionId) {
        if let Some(slot) = self.slots.peek_mut(&id)
            && let Slot::Awake(connection) = slot
            && let Some(resting) = Resting::new(connection, &mut self.handshakes)
        {
            *slot = match connection.http2.take() {
                None => Slot::Resting(Box::new(resting)),
                Some(http2) => Slot::Watched(Box::new((resting, http2))),
            };
        }
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Box<Connection>> {
        self.slots.remove(&id).map(Slot::into_connection)
    }

    pub(super) fn remove_least_recent(&mut self) -> Option<(ConnectionId, Box<Connection>)> {
        let (id, slot) = self.slots.remove_lru()?;
        Some((id, slot.into_connection()))
    }

    /// The least recently active one.
    pub(super) fn least_recent(&self) -> Option<ConnectionId> {
        self.slots.iter().next().map(|(id, _)| *id)
    }
}

impl Slot {
    fn into_connection(mut self) -> Box<Connection> {
        self.wake();
        match self {
            Self::Awake(connection) => connection,
            Self::Resting(_) | Self::Watched(_) => unreachable!("it was woken"),
        }
    }
}
