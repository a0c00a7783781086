//! Finds the connection that a library talks about.

use crate::{
    engine::{
        connection::{Connection, ProcessSource},
        peers::Peers,
        table::Table,
        tracker::Tracker,
    },
    event::{ConnectionId, Http2Event, LibraryEvent, LibraryMoment, Task, Timestamp},
    report::{JoinKey, Phase},
};

use super::Said;

/// How often a library's words found their connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Joins {
    /// By ClientHello.random and role.
    pub client_random: u64,
    /// By the socket.
    pub socket: u64,
    /// Not found: its bytes were not captured, it is gone already, or it is not over TCP.
    pub none: u64,
    /// Several found, and nothing told them apart: a proxy passed the ClientHello on.
    pub ambiguous: u64,
    /// Found, but not believed: an error that the thread may have made elsewhere.
    pub doubtful: u64,
}

/// Why the words of a library belong nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotFound {
    None,
    Ambiguous,
}

/// What of a library's words says whose they are.
#[derive(Clone, Copy)]
struct Speaker<'a> {
    random: &'a [u8; 32],
    /// Bytes that the random is among, where its place is not known.
    sample: &'a [u8],
    server: Option<bool>,
    task: &'a Task,
}

impl<'a> From<&'a LibraryEvent> for Speaker<'a> {
    fn from(event: &'a LibraryEvent) -> Self {
        let sample = match &event.moment {
            LibraryMoment::Stated(statement) => statement.sample.as_slice(),
            _ => &[],
        };
        Self {
            random: &event.random,
            sample,
            server: event.server,
            task: &event.task,
        }
    }
}

impl<'a> From<&'a Http2Event> for Speaker<'a> {
    fn from(event: &'a Http2Event) -> Self {
        Self {
            random: &event.random,
            sample: &[],
            server: event.server,
            task: &event.task,
        }
    }
}

impl Tracker {
    /// Takes what a library said; the connection that it is about.
    pub(in crate::engine) fn library(
        &mut self,
        event: &LibraryEvent,
        socket: ConnectionId,
        at: Timestamp,
    ) -> Option<ConnectionId> {
        let (id, key) = self.find(event.into(), socket)?;
        let joins = &mut self.stats.joins;
        let connection = self.connections.get_mut(id)?;
        if event.loose && !is_plausible(connection, event) {
            joins.doubtful += 1;
            return None;
        }
        joins.count(key);
        connection.touch(at);
        connection.found_process(ProcessSource::Library, &event.task, &mut self.names);
        let moment = connection.moment(at);
        let said = &mut connection.tls_mut().library;
        said.get_or_insert_with(|| Box::new(Said::new(event.library, key)))
            .take(event, moment);
        Some(id)
    }

    /// Takes what a library of HTTP/2 said; the connection that it is about.
    pub(in crate::engine) fn http2(
        &mut self,
        event: &Http2Event,
        socket: ConnectionId,
        at: Timestamp,
    ) -> Option<ConnectionId> {
        let (id, key) = self.find(event.into(), socket)?;
        self.stats.joins.count(key);
        let connection = self.connections.get_mut(id)?;
        connection.touch(at);
        connection.found_process(ProcessSource::Library, &event.task, &mut self.names);
        let moment = connection.moment(at);
        let said = &mut connection.http2.get_or_insert_default().said;
        said.get_or_insert_default().take(&event.moment, moment);
        Some(id)
    }

    /// Finds a speaker's connection, or counts why not.
    fn find(
        &mut self,
        speaker: Speaker<'_>,
        socket: ConnectionId,
    ) -> Option<(ConnectionId, JoinKey)> {
        let joins = &mut self.stats.joins;
        match find(&self.peers, &mut self.connections, speaker, socket) {
            Ok(found) => return Some(found),
            Err(NotFound::None) => joins.none += 1,
            Err(NotFound::Ambiguous) => joins.ambiguous += 1,
        }
        None
    }
}

impl Joins {
    fn count(&mut self, key: JoinKey) {
        match key {
            JoinKey::ClientRandom => self.client_random += 1,
            JoinKey::Socket => self.socket += 1,
        }
    }
}

/// By the random and the role; where that tells nothing, or not enough, by the socket.
fn find(
    peers: &Peers,
    connections: &mut Table,
    speaker: Speaker<'_>,
    socket: ConnectionId,
) -> Result<(ConnectionId, JoinKey), NotFound> {
    let by_random = if *speaker.random == [0; 32] {
        find_by_sample(peers, connections, speaker)
    } else {
        find_by_random(peers, connections, speaker)
    };
    by_random
        .map(|id| (id, JoinKey::ClientRandom))
        .or_else(|error| {
            let connection = connections.get_mut(socket);
            // Without a sign of TLS on the wire there is no handshake to speak of.
            match connection.filter(|connection| connection.tls.is_some()) {
                Some(_) => Ok((socket, JoinKey::Socket)),
                None => Err(error),
            }
        })
}

/// Some bytes have ClientHello.random somewhere among them: 16 of them that a ClientHello on the wire had,
/// too, are no accident.
fn find_by_sample(
    peers: &Peers,
    connections: &mut Table,
    speaker: Speaker<'_>,
) -> Result<ConnectionId, NotFound> {
    /// Alignment of what is around it.
    const STEP: usize = 4;
    let places = speaker.sample.windows(32).step_by(STEP);
    let randoms = places.filter_map(|place| <&[u8; 32]>::try_from(place).ok());
    let randoms = randoms.filter(|random| **random != [0; 32]);
    let mut found =
        randoms.map(|random| find_by_random(peers, connections, Speaker { random, ..speaker }));
    found
        .find(|found| *found != Err(NotFound::None))
        .unwrap_or(Err(NotFound::None))
}

/// Both ends of a connection on this host share the random, and a proxy that passes a ClientHello on
/// has it twice more: the role tells the ends apart, the process the rest.
fn find_by_random(
    peers: &Peers,
    connections: &mut Table,
    speaker: Speaker<'_>,
) -> Result<ConnectionId, NotFound> {
    let roles = [true, false].into_iter();
    let candidates = roles.filter(|sent| speaker.server != Some(*sent));
    let candidates = candidates.flat_map(|sent| peers.by_random(speaker.random, sent));
    // What the process of each is; where it is not known yet, it may be this one.
    let mut here = Vec::new();
    for id in candidates {
        let connection = connections.get_mut(id);
        if let Some(connection) = connection.filter(|connection| connection.tls.is_some()) {
            let pid = connection.process.as_ref().map(|process| process.pid);
            here.push((id, pid.map(|pid| pid == speaker.task.pid)));
        }
    }
    let only = |mut ids: Vec<ConnectionId>| match ids.pop() {
        Some(id) if ids.is_empty() => Some(id),
        _ => None,
    };
    let with = |wanted: &[Option<bool>]| {
        let ids = here.iter().filter(|(_, same)| wanted.contains(same));
        ids.map(|(id, _)| *id).collect::<Vec<_>>()
    };
    match here[..] {
        [] => Err(NotFound::None),
        // Which process it is need not agree: a parent may have accepted for it.
        [(id, _)] => Ok(id),
        _ => only(with(&[Some(true)]))
            .or_else(|| only(with(&[Some(true), None])))
            .ok_or(NotFound::Ambiguous),
    }
}

/// Whether an error that is known only by its thread belongs here: the process is the same, and the
/// connection is in a state in which errors happen. A server reads early data outside of the handshake's
/// function, and the client's Finished may have come long before; the session's own state knows better.
fn is_plausible(connection: &Connection, event: &LibraryEvent) -> bool {
    let process = connection.process.as_ref();
    let same = process.is_some_and(|process| process.pid == event.task.pid);
    let failing = connection.tls.as_deref().is_some_and(|tls| {
        let alerted = tls.fatal_alert().is_some() || tls.early_alert.is_some();
        let unfinished = event.done == Some(false) || tls.phase() < Phase::Finished;
        (unfinished || alerted) && !tls.times.established_at.happened()
    });
    same && failing
}
