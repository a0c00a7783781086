//! What became of early data, by the sizes of the client's records (RFC 8446 §2.3): EndOfEarlyData comes
//! right before the client's Finished, and only where early data was accepted.

use super::Handshake;
use crate::{
    engine::alert,
    event::Direction,
    report::{EarlyData, EarlyDataOutcome, EarlyDataReason},
};

/// Records of a server's first flight that come one by one: EncryptedExtensions and Finished, with
/// Certificate and CertificateVerify between them where no pre-shared key stands for these.
const SERVER_FLIGHT_PSK: u8 = 2;
const SERVER_FLIGHT: u8 = 4;

/// The client's records from the ServerHello on, while early data may be among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each seen or not"
)]
pub(in crate::engine) struct EarlyRecords {
    /// The last record has the size of EndOfEarlyData.
    end: bool,
    /// One of that size was data: something else than a Finished followed.
    data_like_end: bool,
    /// The first record of a Finished's size may have been data: the sequence came again.
    data_like_finished: bool,
    /// One of no known size came when the server had said all it has to.
    strange: bool,
    /// And the server went on after it.
    answered: bool,
}

impl Handshake {
    /// Whether the client's next record may be early data.
    pub(super) fn early_data_possible(&self) -> bool {
        self.early_data_offered
            && !self.times.retry_at.happened()
            && !self.early.end
            && self.flight.records == 0
    }

    /// Takes a record of the client between ServerHello and Finished. `true`: it is not of the flight.
    pub(super) fn is_early_record(&mut self, length: u16, is_alert: bool) -> bool {
        let finished = self.sizes_known() && length == self.finished_length();
        if self.early.end && !finished && !is_alert {
            self.early.end = false;
            self.early.data_like_end = true;
        }
        if !self.early_data_possible() {
            return is_alert;
        }
        let end = self.sizes_known() && length == self.end_of_early_data_length();
        self.early.end = self.psk_selected && end;
        let flight = if self.psk_selected {
            SERVER_FLIGHT_PSK
        } else {
            SERVER_FLIGHT
        };
        self.early.strange |= !end && !finished && self.from_server.records >= flight;
        is_alert || !finished
    }

    /// Takes a record of the client after its flight.
    pub(super) fn after_flight(&mut self, length: u16) {
        let announced = self.early.end && self.flight.unannounced;
        self.early.data_like_finished |= announced && length == self.finished_length();
        if self.flight.unannounced {
            self.early.end = length == self.end_of_early_data_length();
        }
    }

    /// Takes a record of the server before the client's flight was recognised.
    pub(super) fn before_flight(&mut self, is_alert: bool) {
        self.early.answered |= self.early.strange && !is_alert;
    }

    /// The server goes on after records of the client in which no flight can be recognised: they are
    /// padded (RFC 8446 §5.4), or the suite's sizes are not known.
    pub(in crate::engine) fn is_flight_hidden(&self) -> bool {
        self.early.answered && self.early_data_possible()
    }

    /// What became of early data; absent without a complete ClientHello. The library knows, the wire
    /// shows why.
    pub(in crate::engine) fn early_data(&self) -> Option<EarlyData> {
        let seen = self.early_data_on_wire()?;
        let said = self.library.as_ref().and_then(|said| said.early_data());
        Some(match said.filter(|_| self.early_data_offered) {
            Some(said) if said.outcome == seen.outcome => EarlyData {
                outcome: seen.outcome,
                reason: seen.reason.or(said.reason),
            },
            Some(said) => said,
            None => seen,
        })
    }

    /// What became of early data by the look of the wire.
    pub(in crate::engine) fn early_data_on_wire(&self) -> Option<EarlyData> {
        use EarlyDataOutcome as Outcome;
        if self.hello_length == 0 {
            return None;
        }
        let (outcome, reason) = if !self.early_data_offered {
            (Outcome::NotOffered, None)
        } else if self.times.retry_at.happened() {
            (Outcome::Rejected, Some(EarlyDataReason::HelloRetryRequest))
        } else if self.refused_early_data() {
            (Outcome::Rejected, Some(EarlyDataReason::Unsupported))
        } else if !self.times.server_hello_at.happened() {
            (Outcome::Aborted, None)
        } else if !self.is_tls13() {
            (Outcome::Rejected, Some(EarlyDataReason::ProtocolVersion))
        } else if !self.psk_selected {
            (Outcome::Rejected, Some(EarlyDataReason::PskNotAccepted))
        } else if self.early.data_like_finished || (self.early.end && self.early.data_like_end) {
            (Outcome::Unknown, None)
        } else if self.early.end && !self.flight.unannounced {
            (Outcome::Accepted, None)
        } else if self.flight.records > 0 {
            (Outcome::Rejected, None)
        } else if self.lost || self.is_flight_hidden() {
            (Outcome::Unknown, None)
        } else {
            (Outcome::Aborted, None)
        };
        Some(EarlyData { outcome, reason })
    }

    /// The server's answer to the ClientHello was `unsupported_extension`.
    fn refused_early_data(&self) -> bool {
        let server = self.client.map(Direction::reverse);
        !self.times.server_hello_at.happened()
            && self.fatal_alert().is_some_and(|seen| {
                Some(seen.direction) == server && seen.description == alert::UNSUPPORTED_EXTENSION
            })
    }
}
