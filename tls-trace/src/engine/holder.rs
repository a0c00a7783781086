//! Asks the source whose socket it is, where nothing its process did has told: a server that accepted, and then
//! neither sent nor closed.

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

/// What to look for, where the process is unknown and the socket still in its hands.
pub(super) fn wanted(id: ConnectionId, connection: &Connection) -> Option<Box<HolderWanted>> {
    let ending = connection.ending.as_deref();
    let closed = ending.is_some_and(|ending| {
        ending.local_fin.is_some() || ending.closed.is_some() || ending.destroyed || ending.ended
    });
    let unknown = connection.process.is_none() && connection.tcp.kernel && connection.tcp.open;
    (unknown && !closed).then(|| {
        Box::new(HolderWanted {
            connection: id,
            local: connection.local.into(),
            remote: connection.remote.into(),
            netns: connection.netns,
        })
    })
}

impl Tracker {
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
