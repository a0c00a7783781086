//! HTTP/2 behind encryption, by the sizes of records and by time: every frame that opens or ends a
//! connection has a size of its own (RFC 9113 §6), and so has the record it is in, as it is sent alone.
//!
//! Looked at only where the client offers nothing but HTTP/2, as gRPC does: elsewhere TLS 1.3 hides
//! what is spoken.

mod find;
mod goaway;
mod sizes;
mod told;

use super::{connection::Connection, handshake::Handshake, library::Http2Said, moment::Moment};
use crate::{
    event::{End, Segment, Timestamp},
    report::Phase,
    wire::{EncryptedRecord, Observation, ObservationKind},
};

pub(super) use self::{
    find::{find, report},
    told::told,
};

/// Records of control frames that are remembered: four PINGs with their answers, and what ends it.
const RING: usize = 12;
/// Frames of more bytes carry data, or are many.
const CONTROL: u16 = 140;
/// Segments after which a connection is in use, and its end worth no more attention.
const WATCHED: u16 = 96;

/// A record of control frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Frames {
    at: Moment,
    from_client: bool,
    /// Bytes of frames.
    bytes: u16,
}

/// What records show of HTTP/2.
#[derive(Clone, Debug, Default)]
pub(super) struct Http2 {
    /// What protection adds to a record.
    overhead: u16,
    preface_at: Moment,
    /// The server's SETTINGS.
    settings_at: Moment,
    /// When the client acknowledged them.
    acknowledged_at: Moment,
    /// The last record of more than control frames.
    data_at: Moment,
    /// Length of the first record of the server that is not SETTINGS: a session ticket, or no HTTP/2.
    other: u16,
    /// One of another length followed.
    odd: bool,
    /// The client's first record is too short for a preface.
    contradicted: bool,
    /// The latest last; unused places before.
    ring: [Frames; RING],
    /// Segments since the conversation is not read any more.
    segments: u16,
    /// The source goes on only for this.
    watched: bool,
    /// What this end's library said.
    pub(super) said: Option<Box<Http2Said>>,
}

impl Connection {
    /// Takes a record that its conversation made out.
    pub(super) fn http2_record(&mut self, observation: &Observation) {
        let ObservationKind::Encrypted(record) = &observation.kind else {
            return;
        };
        let at = self.moment(observation.time);
        let Some(tls) = self.tls.as_deref() else {
            return;
        };
        let from_client = tls.is_client(observation.direction);
        let in_flight = from_client && tls.is_tls13() && tls.from_client.application_data == 0;
        if tls.phase() < Phase::Finished || in_flight {
            return;
        }
        let tls13 = tls.is_tls13();
        let nothing_before = tls.from_client.application_data == u8::from(from_client);
        let shows = self.http2.as_deref().is_some_and(Http2::shows);
        if !shows
            && is_http2(tls)
            && nothing_before
            && let Some(overhead) = tls.record_overhead()
        {
            self.http2.get_or_insert_default().overhead = overhead;
        }
        if let Some(http2) = &mut self.http2 {
            http2.record(at, from_client, *record, tls13);
            if http2.contradicted {
                self.http2 = None;
            }
        }
    }

    /// Takes a segment whose conversation is not read any more; `again`: it was seen before.
    pub(super) fn http2_segment(&mut self, at: Timestamp, segment: &Segment, again: bool) {
        let at = self.moment(at);
        let Some((http2, tls)) = self.http2.as_deref_mut().zip(self.tls.as_deref()) else {
            return;
        };
        if segment.last {
            http2.segments = WATCHED;
        }
        if segment.length == 0 || again {
            return;
        }
        if !http2.shows() {
            return;
        }
        http2.segments = http2.segments.saturating_add(1);
        let from_client = tls.is_client(segment.direction);
        for record in records(&segment.payload, segment.length) {
            match record {
                Some(record) => http2.record(at, from_client, record, tls.is_tls13()),
                None => http2.data_at = at,
            }
        }
    }

    /// The conversation is not read any more. Whether the source goes on, for the connection's end.
    pub(super) fn watch_http2(&mut self) -> bool {
        self.http2.as_deref_mut().is_some_and(|http2| {
            http2.watched = http2.shows() && http2.segments < WATCHED;
            http2.watched
        })
    }

    /// What this end's HTTP/2 library said.
    pub(super) fn http2_said(&self) -> Option<&Http2Said> {
        self.http2.as_deref()?.said.as_deref()
    }

    /// Whether the source goes on only for HTTP/2.
    pub(super) fn is_http2_watched(&self) -> bool {
        self.http2.as_deref().is_some_and(|http2| http2.watched)
    }

    /// Whether it need not any more, from now on.
    pub(super) fn unwatch_http2(&mut self) -> bool {
        let enough = |http2: &&mut Http2| http2.watched && http2.segments >= WATCHED;
        let http2 = self.http2.as_deref_mut().filter(enough);
        http2.map(|http2| http2.watched = false).is_some()
    }
}

/// The client offers nothing else, and nothing says that the server did not select it.
fn is_http2(tls: &Handshake) -> bool {
    let only = tls.hello.as_ref().is_some_and(|hello| {
        let h2 = |name: &String| matches!(name.as_str(), "h2" | "grpc-exp");
        !hello.alpn.is_empty() && hello.alpn.iter().all(h2)
    });
    only && !tls.alpn_not_negotiated()
}

/// Records that begin in a segment; `None` for bytes that begin none.
fn records(payload: &[u8], length: u32) -> impl Iterator<Item = Option<EncryptedRecord>> + '_ {
    const MOST: usize = 8;
    let mut offset = 0;
    let records = std::iter::from_fn(move || {
        if offset >= length as usize {
            return None;
        }
        let Some(&[content_type @ 20..=23, 3, _, high, low]) = payload.get(offset..offset + 5)
        else {
            offset = length as usize;
            return Some(None);
        };
        let length = u16::from_be_bytes([high, low]);
        offset += 5 + usize::from(length);
        Some(Some(EncryptedRecord {
            content_type,
            length,
        }))
    });
    records.take(MOST)
}

impl Http2 {
    /// Its records are looked at: the client offers nothing else. A library may speak without.
    fn shows(&self) -> bool {
        self.overhead != 0
    }

    fn record(&mut self, at: Moment, from_client: bool, record: EncryptedRecord, tls13: bool) {
        if !self.shows() {
            return;
        }
        let Some(bytes) = record.length.checked_sub(self.overhead) else {
            return;
        };
        if bytes > CONTROL {
            self.data_at = at;
        } else {
            self.ring.rotate_left(1);
            self.ring[RING - 1] = Frames {
                at,
                from_client,
                bytes,
            };
        }
        if bytes == sizes::ALERT {
            return;
        }
        match from_client {
            true if !self.preface_at.happened() => {
                self.preface_at = at;
                self.contradicted = bytes < sizes::PREFACE;
            }
            true if bytes == sizes::SETTINGS && self.settings_at.happened() => {
                self.acknowledged_at.set_once(at);
            }
            true => {}
            false if self.settings_at.happened() => {}
            false if sizes::is_settings(bytes) => self.settings_at = at,
            // TLS 1.2 sends tickets in the handshake.
            false if !tls13 => self.odd = true,
            false if self.other == 0 => self.other = bytes,
            false => self.odd |= bytes != self.other,
        }
    }

    /// The furthest phase that it shows.
    fn phase(&self) -> Option<Phase> {
        if self.settings_at.happened() {
            Some(Phase::H2Ready)
        } else if self.preface_at.happened() {
            Some(Phase::H2PrefaceSent)
        } else {
            None
        }
    }

    /// Records of control frames, oldest first.
    fn frames(&self) -> impl DoubleEndedIterator<Item = &Frames> {
        self.ring.iter().filter(|frames| frames.at.happened())
    }

    /// When anything was said last.
    fn last_at(&self) -> Moment {
        let last = self.frames().next_back().map(|frames| frames.at);
        match last {
            Some(at) if self.data_at.happened() => at.max(self.data_at),
            Some(at) => at,
            None => self.data_at,
        }
    }

    /// Milliseconds between the server's SETTINGS and their acknowledgement.
    pub(super) fn acknowledged_after(&self) -> Option<f64> {
        self.acknowledged_at.ms_since(self.settings_at)
    }
}

/// The furthest phase of a connection whose handshake is done.
pub(super) fn phase(connection: &Connection, tls: &Handshake) -> Phase {
    let phase = tls.phase();
    let shown = connection.http2.as_deref().and_then(Http2::phase);
    let shown = shown.filter(|_| phase == Phase::Established);
    let client = connection.client() == Some(End::Local);
    let said = connection.http2_said().and_then(|said| said.phase(client));
    [shown, said].into_iter().flatten().fold(phase, Phase::max)
}
