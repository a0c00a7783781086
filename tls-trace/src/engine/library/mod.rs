//! What the TLS library of one end said, and what that means.

mod boringssl;
mod gnutls;
mod go;
mod http2;
mod join;
mod reasons;
mod verify;

use super::{alert, handshake::Handshake, moment::Moment};
use crate::{
    event::{Direction, GoError, LibraryEvent, LibraryMoment, LibraryName, Statement},
    report::{Cause, EarlyData, EarlyDataOutcome, EarlyDataReason, JoinKey, Library},
};

pub(super) use self::http2::{Http2Said, SaidGoaway};
pub use self::{go::known as known_go_error, http2::known as known_http2_text, join::Joins};

/// `SSL_AD_REASON_OFFSET`: this much more than the description of an alert that was received.
const ALERT_OFFSET: u32 = 1000;
/// `SSL_R_TOO_MUCH_EARLY_DATA`; its alert is `unexpected_message`.
const TOO_MUCH_EARLY_DATA: u32 = 164;
/// `SSL_R_CERTIFICATE_VERIFY_FAILED`.
const CERTIFICATE_VERIFY_FAILED: u32 = 134;

/// Facts from the library of one end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Said {
    name: LibraryName,
    joined_by: JoinKey,
    /// Its first error, unless the handshake went on to complete.
    failure: Option<Failure>,
    /// The first fatal alert that it sent, of GnuTLS, BoringSSL, and OpenSSL without symbols.
    alert_sent: Option<(Moment, u8)>,
    /// Its state machine reached the end of the handshake.
    done: bool,
    version: Option<u16>,
    /// Protocol selected, empty for none; known when done.
    alpn: Option<Box<str>>,
    resumed: Option<bool>,
    early_data: Option<EarlyData>,
    verify_result: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Failure {
    at: Moment,
    why: Why,
}

/// A reason, as the library has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Why {
    /// `ERR_GET_REASON`.
    Openssl(u32),
    Go(GoError),
    /// Its error without the sign, and the alert if it is about one from the peer.
    Gnutls(u32, Option<u8>),
    /// `ERR_GET_REASON`.
    Boringssl(u32),
}

/// Whose decision a failure was, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Explanation {
    /// The library only tells of an alert from the peer.
    pub(super) by_peer: bool,
    pub(super) cause: Cause,
}

impl Said {
    pub(super) fn new(name: LibraryName, joined_by: JoinKey) -> Self {
        Self {
            name,
            joined_by,
            failure: None,
            alert_sent: None,
            done: false,
            version: None,
            alpn: None,
            resumed: None,
            early_data: None,
            verify_result: None,
        }
    }

    /// Takes one event.
    pub(super) fn take(&mut self, event: &LibraryEvent, at: Moment) {
        let mut failed = |why| {
            self.failure.get_or_insert(Failure { at, why });
        };
        match &event.moment {
            LibraryMoment::Failed { reason } => failed(Why::Openssl(*reason)),
            LibraryMoment::Returned(error) => failed(Why::Go(error.clone())),
            // What had gone wrong on the way was not the end.
            LibraryMoment::HandshakeReturned if event.done == Some(true) => self.failure = None,
            LibraryMoment::HandshakeReturned | LibraryMoment::Freed => {}
            LibraryMoment::Stated(statement) => self.stated(event, statement, at),
        }
        if self.failure.is_none() || self.verify_result.is_none() {
            self.verify_result = event.verify_result.or(self.verify_result);
        }
        if event.done == Some(true) {
            self.done = true;
            self.version = event.version.or(self.version);
            self.alpn = event.alpn.as_deref().map(Into::into).or(self.alpn.take());
            self.resumed = event.resumed.or(self.resumed);
        }
        // A client's library says "rejected" until the answer is there; a server's decides before it
        // returns. The first word counts: the session is another one once new tickets were made.
        let returned = event.moment == LibraryMoment::HandshakeReturned;
        if event.done == Some(true) || (returned && event.server == Some(true)) {
            self.early_data = self.early_data.or(early_data(event));
        }
    }

    fn stated(&mut self, event: &LibraryEvent, statement: &Statement, at: Moment) {
        if statement.completed {
            self.failure = None;
        }
        if let Some(reason) = statement.reason {
            let why = match event.library {
                LibraryName::Gnutls => Why::Gnutls(reason, statement.alert_received),
                LibraryName::Openssl => Why::Openssl(reason),
                _ => Why::Boringssl(reason),
            };
            self.failure.get_or_insert(Failure { at, why });
        }
        if let Some(alert) = statement.alert_sent {
            self.alert_sent.get_or_insert((at, alert));
        }
        if let Some(reason) = statement.early_data_reason {
            let stated = || boringssl::early_data(reason, event.server);
            self.early_data = self.early_data.or_else(stated);
        }
    }

    pub(super) fn name(&self) -> LibraryName {
        self.name
    }

    /// What its failure means, where that is known.
    pub(super) fn explanation(&self) -> Option<Explanation> {
        let own = |cause| Explanation {
            by_peer: false,
            cause,
        };
        // An alert says less than a reason that is known.
        let alert_sent = self.alert_sent.map(|(_, description)| description);
        let by_alert = || alert_sent.map(alert::cause);
        let Some(failure) = &self.failure else {
            return by_alert().map(own);
        };
        if let Some(description) = self.received_alert() {
            return Some(Explanation::of_alert(description));
        }
        match &failure.why {
            Why::Openssl(reason) => self.openssl(*reason).map(own),
            Why::Go(error) => go::explanation(error),
            Why::Gnutls(reason, _) if gnutls::is_of_transport(*reason) => None,
            Why::Gnutls(reason, _) => gnutls::cause(*reason, self.verify_result)
                .or_else(by_alert)
                .map(own),
            Why::Boringssl(reason) => boringssl::cause(*reason, alert_sent)
                .or_else(by_alert)
                .map(own),
        }
    }

    fn openssl(&self, reason: u32) -> Option<Cause> {
        Some(match reason {
            CERTIFICATE_VERIFY_FAILED => match (self.verify_result, self.alert_sent) {
                // Without symbols the result cannot be read.
                (None, Some((_, description))) => alert::cause(description),
                (result, _) => verify::cause(result.unwrap_or(verify::OK)),
            },
            101 => Cause::NoSharedGroup,
            193 => Cause::NoSharedCipher,
            TOO_MUCH_EARLY_DATA => Cause::UnexpectedMessage,
            199 => Cause::CertificateRequired,
            235 => Cause::NoApplicationProtocol,
            // unknown_protocol, unsupported_protocol, unsupported_ssl_version, wrong_ssl_version
            252 | 258 | 259 | 266 => Cause::ProtocolVersion,
            _ => return None,
        })
    }

    /// The alert that it says it received.
    pub(super) fn received_alert(&self) -> Option<u8> {
        match &self.failure.as_ref()?.why {
            Why::Openssl(reason) | Why::Boringssl(reason) => alert_received(*reason),
            Why::Go(error) => go::alert_received(error),
            Why::Gnutls(_, alert) => *alert,
        }
    }

    /// When it failed.
    pub(super) fn failed_at(&self) -> Option<Moment> {
        let failed = self.failure.as_ref().map(|failure| failure.at);
        failed.or(self.alert_sent.map(|(at, _)| at))
    }

    /// When it failed, and its words for it.
    pub(super) fn failure_fact(&self) -> Option<(Moment, String)> {
        let name = self.name.label();
        let sent = self.alert_sent.map(|(at, description)| {
            let alert = crate::wire::names::alert(description);
            (at, format!("sent alert {description} {alert}"))
        });
        let Some(failure) = &self.failure else {
            return sent.map(|(at, words)| (at, format!("{name} {words}")));
        };
        if let Some(description) = self.received_alert() {
            let alert = crate::wire::names::alert(description);
            let fact = format!("{name} received alert {description} {alert}");
            return Some((failure.at, fact));
        }
        let mut words = match &failure.why {
            Why::Openssl(reason) => self.openssl_words(*reason),
            Why::Go(error) => go::words(error),
            Why::Gnutls(reason, _) => self.gnutls_words(*reason),
            Why::Boringssl(reason) => format!("{reason} {}", boringssl_name(*reason)),
        };
        if let Some((_, sent)) = sent {
            words = format!("{words}, {sent}");
        }
        Some((failure.at, format!("{name} failed: {words}")))
    }

    fn gnutls_words(&self, reason: u32) -> String {
        let mut words = format!("-{reason} {}", gnutls_name(reason, None));
        if gnutls::is_of_certificate(reason)
            && let Some(name) = self.verify_result.and_then(gnutls::verify_name)
        {
            words = format!("{words}, {name}");
        }
        words
    }

    fn openssl_words(&self, reason: u32) -> String {
        let mut words = format!("{reason} {}", reason_name(reason));
        if reason == CERTIFICATE_VERIFY_FAILED
            && let Some(result) = self.verify_result
        {
            let name = verify::name(result).unwrap_or("unknown");
            words = format!("{words}, {result} {name}");
        }
        words
    }

    /// The application protocol selected, empty for none; absent before the end of the handshake.
    pub(super) fn alpn(&self) -> Option<&str> {
        self.alpn.as_deref()
    }

    pub(super) fn resumed(&self) -> Option<bool> {
        self.resumed
    }

    /// What became of early data that was offered, and why.
    pub(super) fn early_data(&self) -> Option<EarlyData> {
        let aborted = match self.failure.as_ref().map(|failure| &failure.why) {
            Some(Why::Openssl(TOO_MUCH_EARLY_DATA)) => Some(EarlyDataReason::TooMuchData),
            Some(Why::Boringssl(reason)) => boringssl::early_data_aborted(*reason),
            _ => None,
        };
        let aborted = aborted.map(|reason| EarlyData {
            outcome: EarlyDataOutcome::Aborted,
            reason: Some(reason),
        });
        aborted.or(self.early_data)
    }

    /// Whether the wire says otherwise.
    pub(super) fn contradicts(&self, tls: &Handshake) -> bool {
        let version = self
            .version
            .is_some_and(|version| tls.times.server_hello_at.happened() && version != tls.version);
        let alert = self.received_alert().is_some_and(|description| {
            let from_peer = |direction| direction == Direction::Ingress;
            let seen = tls.fatal_alert().filter(|seen| from_peer(seen.direction));
            seen.is_some_and(|seen| seen.description != description)
        });
        // Not the other way round: of what was accepted the wire shows only a record of EndOfEarlyData's
        // size, which four bytes of rejected data have, too.
        let early_data = match (self.early_data(), tls.early_data_on_wire()) {
            (Some(said), Some(seen)) => matches!(
                (said.outcome, seen.outcome),
                (EarlyDataOutcome::Accepted, EarlyDataOutcome::Rejected)
            ),
            _ => false,
        };
        version || alert || early_data
    }

    /// For the report.
    pub(super) fn report(&self) -> Library {
        let why = self.failure.as_ref().map(|failure| &failure.why);
        let (reason, reason_name, message) = match why {
            Some(Why::Openssl(reason)) => (Some(*reason), Some(reason_name(*reason)), None),
            Some(Why::Go(error)) => (None, Some(go::name(error)), error.text.clone()),
            Some(Why::Gnutls(reason, alert)) => {
                (Some(*reason), Some(gnutls_name(*reason, *alert)), None)
            }
            Some(Why::Boringssl(reason)) => (Some(*reason), Some(boringssl_name(*reason)), None),
            None => (None, None, None),
        };
        let verify_result = self.verify_result.filter(|result| *result != verify::OK);
        let verify_name = match self.name {
            LibraryName::Gnutls => verify_result.and_then(gnutls::verify_name),
            _ => verify_result.and_then(verify::name).map(str::to_owned),
        };
        Library {
            name: self.name,
            reason,
            reason_name,
            message,
            verify_result,
            verify_name,
            joined_by: self.joined_by,
        }
    }
}

impl Explanation {
    /// The peer's alert says why, as far as alerts do.
    fn of_alert(description: u8) -> Self {
        Self {
            by_peer: true,
            cause: alert::cause(description),
        }
    }
}

/// What an event says of early data, once it is decided.
fn early_data(event: &LibraryEvent) -> Option<EarlyData> {
    if event.early_data_accepted? {
        return Some(EarlyData {
            outcome: EarlyDataOutcome::Accepted,
            reason: None,
        });
    }
    let server = event.server?;
    let other_alpn = event
        .session_alpn
        .as_ref()
        .zip(event.alpn.as_ref())
        .map(|(before, now)| before != now);
    let reason = match (event.resumed, event.early_data_consistent) {
        (Some(false), _) => Some(EarlyDataReason::PskNotAccepted),
        // A client finds only the application protocol to contradict the session (final_alpn() and
        // tls_parse_stoc_alpn() of OpenSSL), a server the ticket's age, too (tls_parse_ctos_psk()).
        (Some(true), Some(false)) if !server => Some(EarlyDataReason::AlpnMismatch),
        (Some(true), Some(false)) => other_alpn.map(|other| {
            if other {
                EarlyDataReason::AlpnMismatch
            } else {
                EarlyDataReason::TicketAge
            }
        }),
        // Nothing but what the application allows is left (final_early_data()).
        (Some(true), Some(true)) if server => Some(EarlyDataReason::ServerPolicy),
        _ => None,
    };
    Some(EarlyData {
        outcome: EarlyDataOutcome::Rejected,
        reason,
    })
}

fn alert_received(reason: u32) -> Option<u8> {
    u8::try_from(reason.checked_sub(ALERT_OFFSET)?).ok()
}

fn reason_name(reason: u32) -> String {
    named(alert_received(reason), reasons::name(reason))
}

fn boringssl_name(reason: u32) -> String {
    named(alert_received(reason), boringssl::name(reason))
}

fn gnutls_name(reason: u32, alert: Option<u8>) -> String {
    named(alert, gnutls::name(reason))
}

/// The alert that was received, else the name.
fn named(alert: Option<u8>, name: Option<&str>) -> String {
    match alert {
        Some(description) => format!("alert_{}", crate::wire::names::alert(description)),
        None => name.unwrap_or("unknown").to_owned(),
    }
}
