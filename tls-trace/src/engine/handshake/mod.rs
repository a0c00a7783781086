//! What the wire showed of one TLS handshake, as facts; the judgement is elsewhere. Kept compact, as it
//! stays with the connection after its bytes are gone.

mod early_data;
mod records;

use std::sync::Arc;

use early_data::EarlyRecords;
pub(super) use records::{EarlyAlert, Flight, Side};

use super::{alert, library::Said, moment::Moment};
use crate::{
    event::{Direction, End},
    report::{ClientCertificate, Phase, Resumption},
    wire::{
        Certificate, ClientHello, HandshakeMessage, Observation, ObservationKind, Plaintext,
        PlaintextProtocol, Preface, ServerHello, names,
    },
};

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct SeenAlert {
    pub(super) at: Moment,
    pub(super) direction: Direction,
    pub(super) level: u8,
    pub(super) description: u8,
}

/// One of the two parties of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    Client,
    Server,
}

/// When it came how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Times {
    pub(super) started: Moment,
    pub(super) hello_at: Moment,
    pub(super) retry_at: Moment,
    pub(super) server_hello_at: Moment,
    /// The client's Finished; in TLS 1.3 the beginning of the flight it is in.
    pub(super) finished_at: Moment,
    /// Both ends have proven that they completed the handshake.
    pub(super) established_at: Moment,
    pub(super) plain_at: Moment,
}

/// Facts of one handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each seen or not"
)]
pub(super) struct Handshake {
    pub(super) hello: Option<Arc<Hello>>,
    /// What came before TLS.
    pub(super) preface: Vec<Preface>,
    /// Direction in which the ClientHello went.
    pub(super) client: Option<Direction>,
    pub(super) version: u16,
    pub(super) cipher: u16,
    pub(super) group: u16,
    /// Bytes of the first ClientHello, header included; 0 while it is not complete.
    pub(super) hello_length: u32,
    /// Sequence number after the first ClientHello.
    pub(super) hello_end: Option<u32>,
    pub(super) times: Times,
    /// The first encrypted alert, or record of its size, before both ends were done.
    pub(super) early_alert: Option<EarlyAlert>,
    pub(super) alpn_selected: Option<Box<str>>,
    /// What the server showed, up to TLS 1.2.
    pub(super) certificate: Option<Arc<Certificate>>,
    /// Alerts in the clear, the first few.
    pub(super) alerts: Vec<SeenAlert>,
    /// What each direction spoke instead of TLS.
    plain: Option<Box<[Option<Plaintext>; 2]>>,
    pub(super) from_client: Side,
    pub(super) from_server: Side,
    /// The client's second flight in TLS 1.3.
    pub(super) flight: Flight,
    /// A TLS record was seen, by direction.
    pub(super) tls: [bool; 2],
    pub(super) resumed: Option<bool>,
    /// The ClientHello after a HelloRetryRequest.
    second_hello: bool,
    pub(super) early_data_offered: bool,
    early: EarlyRecords,
    pub(super) psk_selected: bool,
    pub(super) certificate_requested: bool,
    pub(super) empty_certificate: bool,
    certificate_sent: bool,
    ticket_offered: bool,
    pub(super) encrypted_client_hello: bool,
    /// A handshake message came after the handshake, before TLS 1.3.
    pub(super) renegotiation: bool,
    full: bool,
    server_hello_done: bool,
    /// The server's plaintext says that this port wants TLS.
    pub(super) told_to_use_tls: bool,
    /// Bytes are missing for good.
    pub(super) lost: bool,
    /// TLS until here, then something else.
    pub(super) malformed: bool,
    /// What this end's TLS library said.
    pub(super) library: Option<Box<Said>>,
}

/// Alerts kept; more of them, in the clear, are an attack at most.
const ALERTS: usize = 8;

impl Handshake {
    /// Takes one observation.
    pub(super) fn observe(&mut self, observation: &Observation, now: Moment) {
        let direction = observation.direction;
        match &observation.kind {
            ObservationKind::NotTls(plaintext) => {
                self.plain.get_or_insert_default()[direction as usize] = Some(plaintext.clone());
                self.times.plain_at.set_once(now);
                return;
            }
            ObservationKind::Preface(preface) => {
                self.preface.push(*preface);
                return;
            }
            ObservationKind::Lost(_) => {
                self.lost = true;
                return;
            }
            ObservationKind::Malformed { .. } => {
                self.malformed = true;
                return;
            }
            _ => self.tls[direction as usize] = true,
        }
        match &observation.kind {
            ObservationKind::ClientHelloStarted => self.client_started(direction, now),
            ObservationKind::ClientHello(message) => self.client_hello(direction, message, now),
            ObservationKind::ServerHello(message) => self.server_hello(direction, message, now),
            ObservationKind::Handshake(message) => self.handshake_message(direction, message),
            ObservationKind::ChangeCipherSpec => self.change_cipher_spec(direction),
            ObservationKind::Encrypted(record) => self.encrypted(direction, *record, now),
            ObservationKind::Alert(message) if self.alerts.len() < ALERTS => {
                self.alerts.push(SeenAlert {
                    at: now,
                    direction,
                    level: message.level,
                    description: message.description,
                });
            }
            _ => {}
        }
    }

    fn client_started(&mut self, direction: Direction, now: Moment) {
        self.client.get_or_insert(direction);
        self.times.started.set_once(now);
    }

    fn client_hello(&mut self, direction: Direction, message: &ClientHello, now: Moment) {
        self.client_started(direction, now);
        if self.hello_length == 0 {
            self.hello_length = message.length;
            self.times.hello_at = now;
            self.early_data_offered = message.early_data;
            self.ticket_offered = message.session_ticket;
            self.encrypted_client_hello = message.encrypted_client_hello;
        } else {
            self.second_hello = self.times.retry_at.happened();
        }
    }

    fn server_hello(&mut self, direction: Direction, message: &ServerHello, now: Moment) {
        self.client.get_or_insert(direction.reverse());
        if let Some(group) = message.group {
            self.group = group;
        }
        if message.hello_retry_request {
            self.times.retry_at.set_once(now);
            return;
        }
        self.times.server_hello_at.set_once(now);
        self.version = message.version;
        self.cipher = message.cipher_suite;
        self.psk_selected = message.selected_psk.is_some();
        if self.is_tls13() {
            self.resumed = Some(self.psk_selected);
        }
        self.alpn_selected = message
            .alpn
            .as_ref()
            .map(|protocol| String::from_utf8_lossy(protocol).into());
    }

    fn handshake_message(&mut self, direction: Direction, message: &HandshakeMessage) {
        let client = self.is_client(direction);
        match message.message_type {
            // Certificate; without certificates its body is only the length of an empty list.
            11 if client => {
                self.empty_certificate = message.length == 3;
                self.certificate_sent = !self.empty_certificate;
            }
            11 => {
                self.is_full();
                let hello = self.hello.as_ref();
                let name = hello.and_then(|hello| hello.server_name.as_deref());
                self.certificate =
                    Certificate::parse(&message.body, name.map(str::as_bytes)).map(Arc::new);
            }
            // ServerKeyExchange: not in an abbreviated handshake.
            12 => {
                self.is_full();
                if let Some(group) = named_curve(self.cipher, &message.body) {
                    self.group = group;
                }
            }
            13 => self.certificate_requested = true,
            14 => {
                self.is_full();
                self.server_hello_done = true;
            }
            _ => {}
        }
    }

    /// TLS 1.2 and before: the server sent what it does not send when it resumes a session.
    fn is_full(&mut self) {
        self.full = true;
        self.resumed.get_or_insert(false);
    }

    fn change_cipher_spec(&mut self, direction: Direction) {
        self.side_mut(direction).change_cipher_spec = true;
        let from_server = !self.is_client(direction) && self.times.server_hello_at.happened();
        if from_server && !self.is_tls13() {
            self.resumed.get_or_insert(!self.full);
        }
    }

    /// Splits the facts into what other connections have in common with this one, as far as it matters
    /// once the payload is not read any more, and the times.
    pub(super) fn at_rest(&self) -> (Self, Times) {
        let mut common = self.clone();
        common.times = Times::default();
        common.hello_end = None;
        common.early_alert = self
            .early_alert
            .filter(|_| !self.times.established_at.happened());
        common.from_client.at_rest();
        common.from_server.at_rest();
        for plaintext in common
            .plain
            .iter_mut()
            .flat_map(|plain| plain.iter_mut())
            .flatten()
        {
            plaintext.sample.clear();
        }
        (common, self.times)
    }

    /// The opposite of [`Self::at_rest`].
    pub(super) fn awake(&self, times: Times) -> Self {
        Self {
            times,
            ..self.clone()
        }
    }

    /// Whether something else was spoken on this port before TLS: it wants no ClientHello at once.
    pub(super) fn is_upgraded(&self) -> bool {
        let header = |preface| matches!(preface, Preface::ProxyV1 | Preface::ProxyV2);
        !self.preface.iter().copied().all(header)
    }

    /// Whether the negotiated version is TLS 1.3 or a draft of it.
    pub(super) fn is_tls13(&self) -> bool {
        matches!(self.version, 0x0304 | 0x7f00..=0x7fff)
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

    /// The furthest phase reached.
    pub(super) fn phase(&self) -> Phase {
        let encrypted = self.from_server.records > 0
            || self.from_server.change_cipher_spec
            || (self.from_client.change_cipher_spec && !self.is_tls13());
        if self.times.established_at.happened() || self.is_flight_hidden() {
            Phase::Established
        } else if self.times.finished_at.happened() && self.is_tls13() {
            Phase::Finished
        } else if self.times.server_hello_at.happened() && encrypted {
            Phase::EncryptedHandshake
        } else if self.times.server_hello_at.happened() {
            Phase::ServerHello
        } else if self.times.started.happened() {
            Phase::ClientHello
        } else {
            Phase::Connected
        }
    }

    /// Who has to say something next; `None` where encryption hides it.
    pub(super) fn turn(&self) -> Option<Party> {
        let client_if = |client| Some(if client { Party::Client } else { Party::Server });
        if !self.times.server_hello_at.happened() {
            let retried = self.times.retry_at.happened() && !self.second_hello;
            client_if(self.hello_length == 0 || retried)
        } else if self.is_tls13() {
            match (self.from_server.finished, self.from_server.records) {
                (true, _) => Some(Party::Client),
                (false, 0) => Some(Party::Server),
                (false, _) => None,
            }
        } else if self.resumed == Some(true) {
            client_if(self.from_server.finished)
        } else {
            client_if(self.server_hello_done && !self.from_client.finished)
        }
    }

    /// Who said goodbye first, behind encryption.
    pub(super) fn first_goodbye(&self) -> Option<(Party, Moment)> {
        let client = (Party::Client, self.from_client.goodbye);
        let server = (Party::Server, self.from_server.goodbye);
        let said = [client, server].into_iter().filter(|(_, at)| at.happened());
        said.min_by_key(|(_, at)| *at)
    }

    /// The first alert that ends a handshake: fatal, or in TLS 1.3 any but two (RFC 8446 §6).
    pub(super) fn fatal_alert(&self) -> Option<SeenAlert> {
        self.alerts.iter().copied().find(|seen| {
            let closing = matches!(seen.description, alert::CLOSE_NOTIFY | alert::USER_CANCELED);
            seen.level == 2 || (self.is_tls13() && !closing)
        })
    }

    /// Who sent `user_canceled`.
    pub(super) fn canceled(&self) -> Option<Direction> {
        let mut alerts = self.alerts.iter();
        let canceled = alerts.find(|seen| seen.description == alert::USER_CANCELED)?;
        Some(canceled.direction)
    }

    /// What `direction` spoke instead of TLS.
    pub(super) fn plaintext(&self, direction: Direction) -> Option<&Plaintext> {
        self.plain.as_ref()?[direction as usize].as_ref()
    }

    /// Whether any direction spoke something else than TLS.
    pub(super) fn any_plaintext(&self) -> bool {
        self.plain.is_some()
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

    /// The client offered application protocols, and only such.
    pub(super) fn offers_only(&self, such: impl Fn(&str) -> bool) -> bool {
        let offered = self.hello.as_ref().map(|hello| &hello.alpn);
        offered.is_some_and(|names| !names.is_empty() && names.iter().all(|name| such(name)))
    }

    /// ALPN was offered, and provably nothing was selected.
    pub(super) fn alpn_not_negotiated(&self) -> bool {
        let offered = self
            .hello
            .as_ref()
            .is_some_and(|hello| !hello.alpn.is_empty());
        let answered = self.times.server_hello_at.happened();
        let none = if self.is_tls13() {
            // Encrypted: only the library knows.
            self.library.as_ref().and_then(|said| said.alpn()) == Some("")
        } else {
            self.alpn_selected.is_none()
        };
        offered && answered && none
    }

    /// The client sent no application data; before TLS 1.3, the server neither.
    pub(super) fn is_unused(&self) -> bool {
        let server_data = !self.is_tls13() && self.from_server.application_data > 0;
        self.from_client.application_data == 0 && !server_data
    }

    /// Whether a session was resumed.
    pub(super) fn resumed(&self) -> Option<bool> {
        let said = self.library.as_ref().and_then(|said| said.resumed());
        self.resumed.or(said)
    }

    /// How a session was resumed; absent where none was.
    pub(super) fn resumption(&self) -> Option<Resumption> {
        let kind = match (self.is_tls13(), self.ticket_offered) {
            (true, _) => Resumption::Psk,
            (false, true) => Resumption::Ticket,
            (false, false) => Resumption::SessionId,
        };
        (self.resumed() == Some(true)).then_some(kind)
    }

    /// Whether the client showed a certificate; absent where that was not seen.
    pub(super) fn client_certificate(&self) -> Option<ClientCertificate> {
        use ClientCertificate as Shown;
        let flight = &self.flight;
        match () {
            () if self.certificate_sent => Some(Shown::Sent),
            () if self.empty_certificate || flight.empty_certificate => Some(Shown::Empty),
            () if self.certificate_requested => Some(Shown::Requested),
            () if self.server_hello_done || flight.bare => Some(Shown::NotRequested),
            () if flight.certificate => Some(Shown::Sent),
            () => None,
        }
    }
}

/// The group in a ServerKeyExchange (RFC 8422 §5.4): only that of ECDHE begins with it.
fn named_curve(cipher: u16, body: &[u8]) -> Option<u16> {
    const NAMED_CURVE: u8 = 3;
    let name = names::cipher_suite(cipher);
    let ephemeral = name.contains("_ECDHE_") && !name.contains("_PSK_");
    match body {
        [NAMED_CURVE, high, low, ..] if ephemeral => Some(u16::from_be_bytes([*high, *low])),
        _ => None,
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
