//! What encrypted records tell by their type, their size and their order.

use super::Handshake;
use crate::{
    engine::moment::Moment,
    event::Direction,
    wire::{EncryptedRecord, names},
};

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// A client's flight is at most Certificate (in two records, if it is long), CertificateVerify and
/// Finished.
const FLIGHT_RECORDS: u8 = 4;

/// What JSSE (Java) adds to every record (RFC 8446 §5.4).
const JSSE_PADDING: u16 = 16;

/// What one side sent behind encryption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::engine) struct Side {
    pub(in crate::engine) change_cipher_spec: bool,
    pub(in crate::engine) finished: bool,
    /// Encrypted records, saturating.
    pub(in crate::engine) records: u8,
    /// Records of application data after the handshake, saturating. From a TLS 1.3 server session
    /// tickets look the same and are counted.
    pub(in crate::engine) application_data: u8,
    /// When the last encrypted record came, if it was an alert or of an alert's size: a `close_notify`
    /// as far as can be seen.
    pub(in crate::engine) goodbye: Moment,
    /// Application data that came after the client's: an answer.
    pub(in crate::engine) answered: bool,
}

/// An encrypted record of an alert's size before the handshake was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::engine) struct EarlyAlert {
    pub(in crate::engine) at: Moment,
    pub(in crate::engine) from_client: bool,
    /// The client's flight had begun.
    pub(in crate::engine) after_flight: bool,
    pub(in crate::engine) length: u16,
}

/// The client's second flight in TLS 1.3 (RFC 8446 §4.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each seen or not"
)]
pub(in crate::engine) struct Flight {
    pub(in crate::engine) records: u8,
    pub(in crate::engine) complete: bool,
    /// Other messages came before a record of the Finished's size: a certificate.
    pub(in crate::engine) certificate: bool,
    /// Nothing but a Finished: the server asked for no certificate.
    pub(in crate::engine) bare: bool,
    /// Came without EndOfEarlyData before, though that was possible.
    pub(super) unannounced: bool,
    /// Began with the size of a Certificate message without certificates.
    pub(in crate::engine) empty_certificate: bool,
}

impl Side {
    /// Counts matter no more, only whether there were any.
    pub(super) fn at_rest(&mut self) {
        self.records = self.records.min(2);
        self.application_data = self.application_data.min(1);
    }
}

impl Handshake {
    pub(super) fn encrypted(&mut self, direction: Direction, record: EncryptedRecord, now: Moment) {
        // Early data.
        if !self.times.server_hello_at.happened() {
            return;
        }
        let tls13 = self.is_tls13();
        let is_client = self.is_client(direction);
        let is_alert = if tls13 {
            let alert = record.length == self.alert_length();
            record.content_type == APPLICATION_DATA
                && (alert || self.is_padded_alert(is_client, record.length))
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
        let padded_alert = self.alert_length() + JSSE_PADDING;
        let side = self.side_mut(direction);
        side.records = side.records.saturating_add(1);
        if is_alert || (tls13 && record.length == padded_alert) {
            side.goodbye.set_once(now);
        } else {
            side.goodbye = Moment::NEVER;
        }
        match (tls13, is_client) {
            (true, true) => self.client_record(record.length, is_alert, now),
            (true, false) => self.server_record(record.length, is_alert, now),
            (false, _) => self.legacy_record(direction, record.content_type, now),
        }
    }

    /// From a client that has not sent its Finished: shorter than that is an alert, padded, or a
    /// Certificate without certificates. JSSE, which pads, offers no early data.
    fn is_padded_alert(&self, is_client: bool, length: u16) -> bool {
        is_client
            && self.flight.records == 0
            && !self.early_data_offered
            && length < self.finished_length()
            && !padded(length, self.empty_certificate_length())
    }

    /// Two bytes of early data have the size of an alert, too.
    fn alert_possible(&self, is_client: bool) -> bool {
        let early_data = is_client && self.early_data_possible();
        !self.times.established_at.happened() && !early_data
    }

    /// TLS 1.3, from the client: early data, EndOfEarlyData, the flight, then application data.
    fn client_record(&mut self, length: u16, is_alert: bool, now: Moment) {
        if self.flight.complete {
            self.after_flight(length);
            let side = &mut self.from_client;
            side.application_data = side.application_data.saturating_add(u8::from(!is_alert));
            return;
        }
        if self.is_early_record(length, is_alert) {
            return;
        }
        let finished = self.finished_length();
        if self.flight.records == 0 {
            let empty = self.empty_certificate_length();
            self.flight.unannounced = self.early_data_possible() && self.psk_selected;
            self.flight.bare = padded(length, finished);
            // Alone, or with the Finished in the same record.
            self.flight.empty_certificate =
                padded(length, empty) || length == empty + finished - self.overhead();
            self.times.finished_at.set_once(now);
            self.from_client.finished = true;
        }
        self.flight.records += 1;
        self.flight.certificate =
            self.flight.records > 1 && padded(length, finished) && !self.flight.empty_certificate;
        self.flight.complete = padded(length, finished) || self.flight.records == FLIGHT_RECORDS;
    }

    /// TLS 1.3, from the server: what follows the client's Finished proves that it was taken.
    fn server_record(&mut self, length: u16, is_alert: bool, now: Moment) {
        if self.flight.records == 0 {
            self.before_flight(is_alert);
            // EncryptedExtensions come first and may have any size.
            self.from_server.finished |=
                self.from_server.records > 1 && padded(length, self.finished_length());
            return;
        }
        if is_alert {
            return;
        }
        self.flight.complete = true;
        let answered = self.from_client.application_data > 0;
        let side = &mut self.from_server;
        side.application_data = side.application_data.saturating_add(1);
        side.answered |= answered;
        self.times.established_at.set_once(now);
    }

    /// TLS 1.2 and before: the first handshake record behind ChangeCipherSpec is the Finished.
    fn legacy_record(&mut self, direction: Direction, content_type: u8, now: Moment) {
        let client_sent = self.from_client.application_data > 0;
        let is_client = self.is_client(direction);
        let done = self.times.established_at.happened();
        self.renegotiation |= done && content_type == HANDSHAKE;
        let side = self.side_mut(direction);
        match content_type {
            HANDSHAKE if side.change_cipher_spec && !side.finished => {
                side.finished = true;
                if is_client {
                    self.times.finished_at.set_once(now);
                }
                if self.from_client.finished && self.from_server.finished {
                    self.times.established_at.set_once(now);
                }
            }
            APPLICATION_DATA => {
                side.application_data = side.application_data.saturating_add(1);
                side.answered |= !is_client && client_sent;
            }
            _ => {}
        }
    }

    /// Whether the suite is one whose sizes are known: those of RFC 8446, and with the same sizes SM4's
    /// of RFC 8998.
    pub(super) fn sizes_known(&self) -> bool {
        matches!(self.cipher, 0x1301..=0x1305 | 0x00c6 | 0x00c7)
    }

    /// AEAD tag, and the byte for the inner content type.
    fn overhead(&self) -> u16 {
        // TLS_AES_128_CCM_8_SHA256 has a tag of 8 bytes, the other suites 16.
        1 + if self.cipher == 0x1305 { 8 } else { 16 }
    }

    /// What protection adds to a record of application data. Absent where that varies.
    pub(in crate::engine) fn record_overhead(&self) -> Option<u16> {
        if self.is_tls13() {
            return self.sizes_known().then(|| self.overhead());
        }
        // RFC 5288 §3, RFC 6655 §3: 8 bytes of nonce, tag of 16 or 8. RFC 7905 §2: no nonce.
        let name = names::cipher_suite(self.cipher);
        match () {
            () if name.ends_with("_CCM_8") || name.contains("_CHACHA20_") => Some(16),
            () if name.contains("_GCM_") || name.contains("_CCM") => Some(24),
            () => None,
        }
    }

    fn alert_length(&self) -> u16 {
        2 + self.overhead()
    }

    pub(super) fn end_of_early_data_length(&self) -> u16 {
        4 + self.overhead()
    }

    fn empty_certificate_length(&self) -> u16 {
        8 + self.overhead()
    }

    pub(super) fn finished_length(&self) -> u16 {
        // TLS_AES_256_GCM_SHA384; the others use a hash of 32 bytes.
        4 + if self.cipher == 0x1302 { 48 } else { 32 } + self.overhead()
    }
}

/// Whether a record has this length, padded or not.
fn padded(length: u16, plain: u16) -> bool {
    length == plain || length == plain + JSSE_PADDING
}
