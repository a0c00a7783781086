//! What the wire showed of one TLS handshake, as facts; the judgement is elsewhere. Kept compact, as it
//! stays with the connection after its bytes are gone.

use std::sync::Arc;

use super::{alert, moment::Moment};
use crate::{
    event::{Direction, End},
    report::{EarlyData, EarlyDataOutcome, EarlyDataReason, Phase},
    wire::{
        ClientHello, EncryptedRecord, HandshakeMessage, Observation, ObservationKind, Plaintext,
        PlaintextProtocol, ServerHello,
    },
};

pub(super) const TLS13: u16 = 0x0304;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// A client's flight is at most Certificate, CertificateVerify and Finished, in records of their own.
const FLIGHT_RECORDS: u8 = 4;

/// The parts of a ClientHello that many connections share.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Hello {
    pub(super) server_name: Option<String>,
    pub(super) alpn: Vec<String>,
}

impl Hello {
    pub(super) fn of(message: &ClientHello) -> Self {
        let text = |bytes: &bytes::Bytes| String::from_utf8_lossy(bytes).into_owned();
        Self {
            server_name: message.server_name.as_ref().map(text),
            alpn: message.alpn.iter().flatten().map(text).collect(),
        }
    }
}

/// An alert in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SeenAlert {
    pub(super) at: Moment,
    pub(super) direction: Direction,
    pub(super) level: u8,
    pub(super) description: u8,
}

/// An encrypted record of an alert's size before the handshake was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EarlyAlert {
    pub(super) at: Moment,
    pub(super) from_client: bool,
    /// The client's flight had begun.
    pub(super) after_flight: bool,
    pub(super) length: u16,
}

/// Facts of one handshake.
#[derive(Debug, Default)]
pub(super) struct Handshake {
    pub(super) hello: Option<Arc<Hello>>,
    /// Direction in which the ClientHello went.
    pub(super) client: Option<Direction>,
    pub(super) version: u16,
    pub(super) cipher: u16,
    pub(super) group: u16,
    /// Bytes of the first ClientHello, header included; 0 while it is not complete.
    pub(super) hello_length: u32,
    /// Sequence number after the first ClientHello.
    pub(super) hello_end: Option<u32>,
    pub(super) started: Moment,
    pub(super) hello_at: Moment,
    pub(super) retry_at: Moment,
    pub(super) server_hello_at: Moment,
    pub(super) finished_at: Moment,
    pub(super) established_at: Moment,
    /// The first encrypted alert, or record of its size, before both ends were done.
    pub(super) early_alert: Option<EarlyAlert>,
    pub(super) alpn_selected: Option<Box<str>>,
    pub(super) alerts: Option<Box<Vec<SeenAlert>>>,
    pub(super) plain: Option<Box<[Option<Plaintext>; 2]>>,
    pub(super) plain_at: Moment,
    pub(super) from_client: Side,
    pub(super) from_server: Side,
    pub(super) early_data_offered: bool,
    pub(super) end_of_early_data: bool,
    pub(super) psk_selected: bool,
    pub(super) resumed: Option<bool>,
    pub(super) server_hello_done: bool,
    pub(super) certificate_sent: bool,
    /// Client's flight in TLS 1.3.
    pub(super) flight: Flight,
    /// The server's plaintext says that this port wants TLS.
    pub(super) told_to_use_tls: bool,
    /// Any TLS record at all, in either direction.
    pub(super) tls: [bool; 2],
    /// Bytes are missing for good.
    pub(super) lost: bool,
    /// TLS until here, then something else.
    pub(super) malformed: bool,
}

/// What one side sent behind encryption.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Side {
    pub(super) change_cipher_spec: bool,
    pub(super) finished: bool,
    /// Encrypted records, saturating.
    pub(super) records: u8,
    /// Records of application data after the handshake, saturating. From a TLS 1.3 server session
    /// tickets look the same and are counted.
    pub(super) application_data: u8,
    /// The last encrypted record was an alert, or of an alert's size.
    pub(super) alert_last: bool,
    /// Application data that came after the client's: an answer.
    pub(super) answered: bool,
}

/// The client's second flight in TLS 1.3 (RFC 8446 §4.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flight {
    pub(super) records: u8,
    pub(super) complete: bool,
    /// Nothing but a Finished: the server asked for no certificate.
    pub(super) bare: bool,
    /// Began with the size of a Certificate message without certificates.
    pub(super) empty_certificate: bool,
}

impl Handshake {
    /// Takes one observation.
    pub(super) fn observe(&mut self, observation: &Observation, now: Moment) {
        let direction = observation.direction;
        if !matches!(
            observation.kind,
            ObservationKind::NotTls(_)
                | ObservationKind::Lost(_)
                | ObservationKind::Malformed { .. }
        ) {
            self.tls[direction as usize] = true;
        }
        match &observation.kind {
            ObservationKind::ClientHelloStarted => self.client_started(direction, now),
            ObservationKind::ClientHello(message) => self.client_hello(direction, message, now),
            ObservationKind::ServerHello(message) => self.server_hello(direction, message, now),
            ObservationKind::Handshake(message) => self.handshake_message(message),
            ObservationKind::ChangeCipherSpec => self.change_cipher_spec(direction),
            ObservationKind::Alert(message) => {
                self.alerts.get_or_insert_default().push(SeenAlert {
                    at: now,
                    direction,
                    level: message.level,
                    description: message.description,
                });
            }
            ObservationKind::Encrypted(record) => self.encrypted(direction, *record, now),
            ObservationKind::NotTls(plaintext) => {
                self.plain.get_or_insert_default()[direction as usize] = Some(plaintext.clone());
                self.plain_at.set_once(now);
            }
            ObservationKind::Malformed { .. } => self.malformed = true,
            ObservationKind::Lost(_) => self.lost = true,
        }
    }

    fn client_started(&mut self, direction: Direction, now: Moment) {
        self.client.get_or_insert(direction);
        self.started.set_once(now);
    }

    fn client_hello(&mut self, direction: Direction, message: &ClientHello, now: Moment) {
        self.client_started(direction, now);
        if self.hello_length == 0 {
            self.hello_length = message.length;
            self.hello_at = now;
            self.early_data_offered = message.early_data;
        }
    }

    fn server_hello(&mut self, direction: Direction, message: &ServerHello, now: Moment) {
        self.client.get_or_insert(direction.reverse());
        if let Some(group) = message.group {
            self.group = group;
        }
        if message.hello_retry_request {
            self.retry_at.set_once(now);
            return;
        }
        self.server_hello_at.set_once(now);
        self.version = message.version;
        self.cipher = message.cipher_suite;
        self.psk_selected = message.selected_psk.is_some();
        if self.version == TLS13 {
            self.resumed = Some(self.psk_selected);
        }
        self.alpn_selected = message
            .alpn
            .as_ref()
            .map(|protocol| String::from_utf8_lossy(protocol).into());
    }

    fn handshake_message(&mut self, message: &HandshakeMessage) {
        match message.message_type {
            // Certificate, ServerKeyExchange, ServerHelloDone: not in an abbreviated handshake.
            11 | 12 => self.certificate_sent = true,
            14 => self.server_hello_done = true,
            _ => {}
        }
    }

    fn change_cipher_spec(&mut self, direction: Direction) {
        let full = self.certificate_sent || self.server_hello_done;
        let is_client = self.is_client(direction);
        self.side_mut(direction).change_cipher_spec = true;
        if !is_client && self.server_hello_at.happened() && self.version != TLS13 {
            self.resumed.get_or_insert(!full);
        }
    }

    fn encrypted(&mut self, direction: Direction, record: EncryptedRecord, now: Moment) {
        let tls13 = self.version == TLS13;
        let is_client = self.is_client(direction);
        let is_alert = if tls13 {
            record.content_type == APPLICATION_DATA && record.length == self.alert_length()
        } else {
            record.content_type == ALERT
        };
        if is_alert && self.early_alert.is_none() && self.alert_possible(is_client) {
            self.early_alert = Some(EarlyAlert {
                at: now,
                from_client: is_client,
                after_flight: self.from_client.finished,
                length: record.length,
            });
        }
        let side = self.side_mut(direction);
        side.records = side.records.saturating_add(1);
        side.alert_last = is_alert;
        match (tls13, is_client) {
            (true, true) => self.client_record(record.length, is_alert, now),
            (true, false) => self.server_record(is_alert, now),
            (false, _) => self.legacy_record(direction, record.content_type, now),
        }
    }

    /// Two bytes of early data have the size of an alert, too.
    fn alert_possible(&self, is_client: bool) -> bool {
        !self.established_at.happened()
            && self.server_hello_at.happened()
            && !(is_client && self.early_data_possible())
    }

    fn early_data_possible(&self) -> bool {
        self.early_data_offered
            && !self.retry_at.happened()
            && !self.end_of_early_data
            && self.flight.records == 0
    }

    /// TLS 1.3, from the client: early data, EndOfEarlyData, the flight, then application data.
    fn client_record(&mut self, length: u16, is_alert: bool, now: Moment) {
        if !self.server_hello_at.happened() {
            return;
        }
        let finished = self.finished_length();
        if self.flight.complete {
            if !is_alert {
                self.from_client.application_data =
                    self.from_client.application_data.saturating_add(1);
            }
            return;
        }
        let early_data_possible = self.early_data_possible();
        if early_data_possible && self.psk_selected && length == self.end_of_early_data_length() {
            self.end_of_early_data = true;
            return;
        }
        if is_alert || (early_data_possible && length != finished) {
            return;
        }
        if self.flight.records == 0 {
            let empty = self.empty_certificate_length();
            self.flight.bare = length == finished;
            // Alone, or with the Finished in the same record.
            self.flight.empty_certificate =
                length == empty || length == empty + finished - self.overhead();
            self.finished_at.set_once(now);
            self.from_client.finished = true;
        }
        self.flight.records += 1;
        self.flight.complete = length == finished || self.flight.records == FLIGHT_RECORDS;
    }

    /// TLS 1.3, from the server: what follows the client's Finished proves that it was taken.
    fn server_record(&mut self, is_alert: bool, now: Moment) {
        if self.flight.records == 0 || is_alert {
            return;
        }
        self.flight.complete = true;
        self.from_server.finished = true;
        self.from_server.application_data = self.from_server.application_data.saturating_add(1);
        self.from_server.answered |= self.from_client.application_data > 0;
        self.established_at.set_once(now);
    }

    /// TLS 1.2 and before: the first handshake record behind ChangeCipherSpec is the Finished.
    fn legacy_record(&mut self, direction: Direction, content_type: u8, now: Moment) {
        let client_sent = self.from_client.application_data > 0;
        let is_client = self.is_client(direction);
        let side = self.side_mut(direction);
        match content_type {
            HANDSHAKE if side.change_cipher_spec && !side.finished => {
                side.finished = true;
                if is_client {
                    self.finished_at.set_once(now);
                }
                if self.from_client.finished && self.from_server.finished {
                    self.established_at.set_once(now);
                }
            }
            APPLICATION_DATA => {
                side.application_data = side.application_data.saturating_add(1);
                side.answered |= !is_client && client_sent;
            }
            _ => {}
        }
    }

    /// Whether the side that sends in `direction` is the client.
    pub(super) fn is_client(&self, direction: Direction) -> bool {
        self.client == Some(direction)
    }

    fn side_mut(&mut self, direction: Direction) -> &mut Side {
        if self.is_client(direction) {
            &mut self.from_client
        } else {
            &mut self.from_server
        }
    }

    /// AEAD tag, and the byte for the inner content type.
    fn overhead(&self) -> u16 {
        // TLS_AES_128_CCM_8_SHA256 has a tag of 8 bytes, the other suites 16.
        1 + if self.cipher == 0x1305 { 8 } else { 16 }
    }

    fn alert_length(&self) -> u16 {
        2 + self.overhead()
    }

    fn end_of_early_data_length(&self) -> u16 {
        4 + self.overhead()
    }

    fn empty_certificate_length(&self) -> u16 {
        8 + self.overhead()
    }

    fn finished_length(&self) -> u16 {
        // TLS_AES_256_GCM_SHA384; the others use a hash of 32 bytes.
        4 + if self.cipher == 0x1302 { 48 } else { 32 } + self.overhead()
    }

    /// The furthest phase reached.
    pub(super) fn phase(&self) -> Phase {
        let encrypted = self.from_server.records > 0
            || self.from_server.change_cipher_spec
            || (self.from_client.change_cipher_spec && self.version != TLS13);
        if self.established_at.happened() {
            Phase::Established
        } else if self.finished_at.happened() && self.version == TLS13 {
            Phase::Finished
        } else if self.server_hello_at.happened() && encrypted {
            Phase::EncryptedHandshake
        } else if self.server_hello_at.happened() {
            Phase::ServerHello
        } else if self.started.happened() {
            Phase::ClientHello
        } else {
            Phase::Connected
        }
    }

    /// The first alert that ends a handshake: fatal, or in TLS 1.3 any but two (RFC 8446 §6).
    pub(super) fn fatal_alert(&self) -> Option<SeenAlert> {
        self.alerts.as_ref()?.iter().copied().find(|seen| {
            let closing = matches!(seen.description, alert::CLOSE_NOTIFY | alert::USER_CANCELED);
            seen.level == 2 || (self.version == TLS13 && !closing)
        })
    }

    /// Who sent user_canceled.
    pub(super) fn canceled(&self) -> Option<Direction> {
        let alerts = self.alerts.as_ref()?;
        let canceled = |seen: &&SeenAlert| seen.description == alert::USER_CANCELED;
        alerts.iter().find(canceled).map(|seen| seen.direction)
    }

    /// What `direction` spoke instead of TLS.
    pub(super) fn plaintext(&self, direction: Direction) -> Option<&Plaintext> {
        self.plain.as_ref()?[direction as usize].as_ref()
    }

    /// Whether `direction` spoke HTTP in the clear.
    pub(super) fn http(&self, direction: Direction) -> bool {
        self.plaintext(direction).is_some_and(|plaintext| {
            matches!(
                plaintext.protocol,
                PlaintextProtocol::HttpRequest
                    | PlaintextProtocol::HttpResponse
                    | PlaintextProtocol::Http2
            )
        })
    }

    /// What became of early data; absent without a complete ClientHello.
    pub(super) fn early_data(&self) -> Option<EarlyData> {
        use EarlyDataOutcome as Outcome;
        if self.hello_length == 0 {
            return None;
        }
        let data = |outcome, reason| Some(EarlyData { outcome, reason });
        if !self.early_data_offered {
            data(Outcome::NotOffered, None)
        } else if self.retry_at.happened() {
            data(Outcome::Rejected, Some(EarlyDataReason::HelloRetryRequest))
        } else if !self.server_hello_at.happened() {
            data(Outcome::Aborted, None)
        } else if !self.psk_selected {
            data(Outcome::Rejected, Some(EarlyDataReason::PskNotAccepted))
        } else if self.end_of_early_data {
            data(Outcome::Accepted, None)
        } else if self.flight.records > 0 {
            data(Outcome::Rejected, None)
        } else if self.lost {
            data(Outcome::Unknown, None)
        } else {
            data(Outcome::Aborted, None)
        }
    }
}

/// The end of the connection whose bytes go in `direction`.
pub(super) fn sender(direction: Direction) -> End {
    match direction {
        Direction::Egress => End::Local,
        Direction::Ingress => End::Remote,
    }
}

/// The other end.
pub(super) fn other(end: End) -> End {
    match end {
        End::Local => End::Remote,
        End::Remote => End::Local,
    }
}
