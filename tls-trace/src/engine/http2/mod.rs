//! HTTP/2 behind encryption, by the sizes of records and by time: every frame that opens or ends a
//! connection has a size of its own (RFC 9113 §6), and so has the record it is in, as it is sent alone.
//!
//! Looked at only where the client offers nothing but HTTP/2, as gRPC does: elsewhere TLS 1.3 hides
//! what is spoken.

mod bare;
mod find;
mod goaway;
mod quiet;
mod sizes;
mod told;

use super::{
    connection::Connection,
    handshake::{Handshake, Party},
    library::Http2Said,
    moment::Moment,
};
use crate::{
    event::{Direction, End, Segment, Tail, Timestamp},
    report::Phase,
    wire::{EncryptedRecord, Observation, ObservationKind, names},
};

pub(super) use self::{
    find::{find, report},
    quiet::IDLE_MS,
    told::told,
};
use quiet::Quiet;

/// Records of control frames that are remembered: four PINGs with their answers, and what ends it.
const RING: usize = 12;
/// Content type of protected records (RFC 8446 §5.2); earlier versions show an alert's, of which only the
/// size matters here.
const APPLICATION_DATA: u8 = 23;
/// Frames of more bytes carry data, or are many.
const CONTROL: u16 = 140;
/// Segments after which a connection is in use; from then on only its last packets are told.
const WATCHED: u16 = 96;

/// A record of control frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Frames {
    /// A connection may be open for longer than a [`Moment`] lasts.
    at: Timestamp,
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
    /// Bytes of the client's first record.
    preface: u16,
    /// The server's SETTINGS.
    settings_at: Moment,
    /// When the client acknowledged them.
    acknowledged_at: Moment,
    /// The last record of more than control frames.
    data_at: Option<Timestamp>,
    /// Length of the first record of the server that is not SETTINGS: a session ticket, or no HTTP/2.
    other: u16,
    /// One of another length followed.
    odd: bool,
    /// The client's first record is too short for a preface.
    contradicted: bool,
    /// The latest last; unused places before.
    ring: [Option<Frames>; RING],
    /// Segments since the conversation is not read any more.
    segments: u16,
    /// The source goes on only for this.
    watched: bool,
    quiet: Quiet,
    /// When the first of the last packets passed that are known by their sizes alone.
    pub(super) tail_from: Option<Timestamp>,
    /// What this end's library said.
    pub(super) said: Option<Box<Http2Said>>,
}

impl Connection {
    /// Takes a record that its conversation made out.
    pub(super) fn http2_record(&mut self, observation: &Observation) {
        let ObservationKind::Encrypted(record) = &observation.kind else {
            return;
        };
        let at = observation.time;
        let first = self.first;
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
            http2.record(first, at, from_client, *record, tls13);
            if http2.contradicted {
                self.http2 = None;
            }
        }
    }

    /// Takes a segment whose conversation is not read any more; `again`: it was seen before.
    pub(super) fn http2_segment(&mut self, at: Timestamp, segment: &Segment, again: bool) {
        let first = self.first;
        let Some((http2, tls)) = self.http2.as_deref_mut().zip(self.tls.as_deref()) else {
            return;
        };
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
                Some(record) => http2.record(first, at, from_client, record, tls.is_tls13()),
                None => http2.data_at = Some(at),
            }
        }
    }

    /// Takes the last packets of a connection that was not watched to its end.
    pub(super) fn tail(&mut self, tail: &Tail) {
        for (direction, last) in [
            (Direction::Egress, tail.sent),
            (Direction::Ingress, tail.received),
        ] {
            if let Some((at, next)) = last {
                self.tcp.stream_mut(direction).pass(next);
                self.tcp.last_payload = self.moment(at);
            }
        }
        let first = self.first;
        let Some((http2, tls)) = self.http2.as_deref_mut().zip(self.tls.as_deref()) else {
            return;
        };
        // Times are early; what was seen before was before.
        let mut next = http2.last_at().map_or(0, |at| at.0.saturating_add(1));
        for packet in &tail.packets {
            let at = Timestamp(packet.time.0.max(next));
            next = at.0.saturating_add(1);
            http2.tail_from.get_or_insert(at);
            http2.quiet.spoke(at, packet.direction);
            match packet.record {
                Some(length) => {
                    let record = EncryptedRecord {
                        content_type: APPLICATION_DATA,
                        length,
                    };
                    let from_client = tls.is_client(packet.direction);
                    http2.record(first, at, from_client, record, tls.is_tls13());
                }
                None => http2.data_at = Some(at),
            }
        }
    }

    /// Whether its records are looked at.
    pub(super) fn shows_http2(&self) -> bool {
        self.http2.as_deref().is_some_and(Http2::shows)
    }

    /// Notes new payload.
    pub(super) fn http2_spoke(&mut self, at: Timestamp, direction: Direction) {
        if let Some(http2) = &mut self.http2 {
            http2.quiet.spoke(at, direction);
        }
    }

    /// Who said `close_notify` first, and when, by its size: no frame is as short. Of packets that were not watched
    /// only the order is known.
    pub(super) fn http2_goodbye(&self) -> Option<(Party, Moment)> {
        let http2 = self.http2.as_deref()?;
        let exact = http2.tail_from.is_none();
        let goodbye = http2.frames().find(|frames| frames.bytes == sizes::ALERT);
        let goodbye = goodbye.filter(|_| exact)?;
        let party = if goodbye.from_client {
            Party::Client
        } else {
            Party::Server
        };
        Some((party, Moment::new(self.first, goodbye.at)))
    }

    /// Since when nobody had said anything at the end, but for what may have brought it about.
    pub(super) fn http2_quiet_since(&self, end: Timestamp) -> Option<Timestamp> {
        self.http2.as_deref()?.quiet.since(end)
    }

    /// The source stops in one direction, of itself.
    pub(super) fn http2_bound_reached(&mut self) {
        if let Some(http2) = &mut self.http2 {
            http2.segments = WATCHED;
        }
    }

    /// The conversation is not read any more. Whether the source goes on, for the connection's end.
    pub(super) fn watch_http2(&mut self) -> bool {
        let capped = self.tcp.egress.capped || self.tcp.ingress.capped;
        self.http2.as_deref_mut().is_some_and(|http2| {
            http2.watched = http2.shows() && http2.segments < WATCHED && !capped;
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
    tls.offers_only(names::is_http2) && !tls.alpn_not_negotiated()
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

    fn record(
        &mut self,
        first: Timestamp,
        at: Timestamp,
        from_client: bool,
        record: EncryptedRecord,
        tls13: bool,
    ) {
        if !self.shows() {
            return;
        }
        let Some(bytes) = record.length.checked_sub(self.overhead) else {
            return;
        };
        if bytes > CONTROL {
            self.data_at = Some(at);
        } else {
            self.ring.rotate_left(1);
            self.ring[RING - 1] = Some(Frames {
                at,
                from_client,
                bytes,
            });
        }
        let at = Moment::new(first, at);
        if bytes == sizes::ALERT {
            return;
        }
        match from_client {
            true if !self.preface_at.happened() => {
                self.preface_at = at;
                self.preface = bytes;
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
        self.ring.iter().flatten()
    }

    /// When anything was said last.
    fn last_at(&self) -> Option<Timestamp> {
        let last = self.frames().next_back().map(|frames| frames.at);
        last.max(self.data_at)
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
