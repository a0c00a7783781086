//! Asks the source whose socket it is, where nothing its process did has told: a server that accepted, and then
//! neither sent nor closed; and whether a socket is still there that began to close, when nothing follows.

use std::{cmp::Reverse, time::Duration};

use super::{
    HolderWanted,
    connection::{Connection, ProcessSource},
    pace::later,
    tracker::Tracker,
};
use crate::event::{ConnectionId, Task, Timestamp};

/// The answer is waited for so long, in place of [`Config::settle`](super::Config::settle).
const PATIENCE: Duration = Duration::from_millis(900);

/// How often the source is asked for connections that linger.
pub const LINGERING: Duration = Duration::from_secs(5);
/// Silence after which it is asked, once each: events are late by less; and what the kernel keeps of an orphan in
/// FIN-WAIT-2, which is no socket any more but looks like one, is gone after a minute (`tcp_fin_timeout`).
const SILENCE: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(70)];

/// What to look for, where the process is unknown and the socket still in its hands.
pub(super) fn wanted(id: ConnectionId, connection: &Connection) -> Option<Box<HolderWanted>> {
    let ending = connection.ending.as_deref();
    let closed = ending.is_some_and(|ending| {
        ending.local_fin.is_some() || ending.closed.is_some() || ending.destroyed || ending.ended
    });
    let unknown = connection.process.is_none() && connection.tcp.kernel && connection.tcp.open;
    (unknown && !closed).then(|| Box::new(socket(id, connection)))
}

fn socket(id: ConnectionId, connection: &Connection) -> HolderWanted {
    HolderWanted {
        connection: id,
        local: connection.local.into(),
        remote: connection.remote.into(),
        netns: connection.netns,
    }
}

/// Whether the next event is to be its end, and that may have been missed.
fn lingers(connection: &Connection, now: Timestamp) -> bool {
    let closing = connection.ending.as_deref().is_some_and(|ending| {
        (ending.local_fin.is_some() || ending.remote_fin.is_some())
            && ending.closed.is_none()
            && !ending.destroyed
            && !ending.ended
    });
    let silent = now.since(connection.last);
    closing
        && connection.tcp.kernel
        && SILENCE
            .iter()
            .any(|since| (*since..*since + LINGERING).contains(&silent))
}

impl Tracker {
    /// Connections that linger; each is named once for each of [`SILENCE`], if this is called every [`LINGERING`].
    pub(super) fn lingering(&self, now: Timestamp) -> Vec<HolderWanted> {
        let awake = self.connections.awake();
        let lingering = awake.filter(|(_, connection)| lingers(connection, now));
        lingering
            .map(|(id, connection)| socket(id, connection))
            .collect()
    }

    /// When a connection that is decided now is to be reported.
    pub(super) fn settles_at(&self, now: Timestamp, holder_wanted: bool) -> Timestamp {
        let wait = if holder_wanted {
            PATIENCE.max(self.config.settle)
        } else {
            self.config.settle
        };
        later(now, wait)
    }

    /// Takes the answer. It was found later, so it says nothing of when anything happened.
    pub(super) fn held_by(&mut self, id: ConnectionId, task: &Task, now: Timestamp) {
        let early = PATIENCE.saturating_sub(self.config.settle);
        let early = u64::try_from(early.as_nanos()).unwrap_or(u64::MAX);
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        connection.found_process(ProcessSource::Held, task, &mut self.names);
        if let Some(settles) = connection.settles {
            let at = Timestamp(settles.0.saturating_sub(early)).max(now);
            connection.settles = Some(at);
            connection.wake = Some(at);
            self.timers.push(Reverse((at, id)));
        }
        self.connections.rest(id);
    }
}
