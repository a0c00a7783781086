//! What can be seen of a TLS connection from outside.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Preface;
use crate::event::{Direction, Timestamp};

/// Something seen on the wire, in stream order within its direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Time of the segment that completed it; of an encrypted record, its header.
    pub time: Timestamp,
    /// Who sent it.
    pub direction: Direction,
    /// Offset of its first byte in the stream of that direction; of a handshake message, the first
    /// byte of the message itself.
    pub offset: u64,
    /// What.
    pub kind: ObservationKind,
}

/// Kinds of [`Observation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObservationKind {
    /// TLS, or what stands in its place, came after this. Said before everything else of its direction.
    Preface(Preface),
    /// The first ClientHello of this direction began. It is said before every complete one, too.
    ClientHelloStarted,
    /// A complete ClientHello.
    ClientHello(Box<ClientHello>),
    /// A complete ServerHello or HelloRetryRequest.
    ServerHello(Box<ServerHello>),
    /// Another handshake message in the clear.
    Handshake(HandshakeMessage),
    /// ChangeCipherSpec.
    ChangeCipherSpec,
    /// An alert in the clear.
    Alert(AlertMessage),
    /// A record behind encryption, as soon as its header is seen.
    Encrypted(EncryptedRecord),
    /// The first bytes of this direction are not TLS.
    NotTls(Plaintext),
    /// TLS until here, then bytes that break its rules; the direction is not parsed any further.
    Malformed {
        /// Which rule, in a few words.
        rule: std::borrow::Cow<'static, str>,
    },
    /// Bytes of this direction are missing for good; the direction is not parsed any further.
    Lost(StreamLoss),
}

/// ClientHello (RFC 8446 §4.1.2), GREASE values (RFC 8701) left in place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientHello {
    /// `legacy_version`.
    pub legacy_version: u16,
    /// random; equal on both ends of the connection, kept over HelloRetryRequest.
    pub random: [u8; 32],
    /// `legacy_session_id`.
    pub session_id: Bytes,
    /// `cipher_suites`.
    pub cipher_suites: Vec<u16>,
    /// Extension types, in order.
    pub extensions: Vec<u16>,
    /// `host_name` of `server_name` (RFC 6066 §3): any bytes.
    pub server_name: Option<Bytes>,
    /// `protocol_name_list` (RFC 7301): any bytes; absent without the extension.
    pub alpn: Option<Vec<Bytes>>,
    /// `supported_versions`; empty without the extension.
    pub supported_versions: Vec<u16>,
    /// `supported_groups`.
    pub supported_groups: Vec<u16>,
    /// Groups that have a key share.
    pub key_shares: Vec<u16>,
    /// `signature_algorithms`.
    pub signature_algorithms: Vec<u16>,
    /// Number of PSK identities offered (TLS 1.3).
    pub psk_identities: u16,
    /// `early_data` was offered.
    pub early_data: bool,
    /// `session_ticket` with a ticket inside (RFC 5077).
    pub session_ticket: bool,
    /// `encrypted_client_hello` (type 0xfe0d): the `server_name` here is the outer one.
    pub encrypted_client_hello: bool,
    /// Bytes of the message on the wire, header included.
    pub length: u32,
}

/// ServerHello or HelloRetryRequest (RFC 8446 §4.1.3, §4.1.4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerHello {
    /// random.
    pub random: [u8; 32],
    /// The special random of a HelloRetryRequest.
    pub hello_retry_request: bool,
    /// Negotiated version: `supported_versions` where present, else `legacy_version`.
    pub version: u16,
    /// `cipher_suite`.
    pub cipher_suite: u16,
    /// `session_id` echoed or given.
    pub session_id: Bytes,
    /// Extension types, in order.
    pub extensions: Vec<u16>,
    /// ALPN selected; only TLS ≤ 1.2 has it here.
    pub alpn: Option<Bytes>,
    /// Group of the key share (or the one asked for by HelloRetryRequest).
    pub group: Option<u16>,
    /// `pre_shared_key`: the index selected.
    pub selected_psk: Option<u16>,
    /// Bytes of the message on the wire, header included.
    pub length: u32,
}

/// A handshake message in the clear (TLS ≤ 1.2) whose inside is not needed here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakeMessage {
    /// HandshakeType (RFC 5246 §7.4): 0 HelloRequest, 4 NewSessionTicket, 11 Certificate, 12
    /// ServerKeyExchange, 13 CertificateRequest, 14 ServerHelloDone, 15 CertificateVerify, 16
    /// ClientKeyExchange, 22 CertificateStatus.
    pub message_type: u8,
    /// Bytes of the body.
    pub length: u32,
    /// The body, for types Certificate, CertificateRequest and ServerKeyExchange up to
    /// [`Limits::buffered_bytes`](super::Limits::buffered_bytes); else empty.
    pub body: Bytes,
}

/// An alert in the clear (RFC 8446 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertMessage {
    /// AlertLevel: 1 warning, 2 fatal.
    pub level: u8,
    /// AlertDescription.
    pub description: u8,
}

/// A record whose content is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncryptedRecord {
    /// ContentType on the outside: 21, 22, 23, or 24 for a heartbeat.
    pub content_type: u8,
    /// Length field of the record header.
    pub length: u16,
}

/// What the bytes are, when they are not TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plaintext {
    /// The protocol recognised.
    pub protocol: PlaintextProtocol,
    /// First bytes, at most 128: as many as were at hand when the protocol was recognised.
    pub sample: Bytes,
}

/// Protocols recognised by their first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlaintextProtocol {
    /// A method and a target: `GET / HTTP/1.1`.
    HttpRequest,
    /// `HTTP/1.1 400`, or an HTML page without a status line.
    HttpResponse,
    /// `PRI * HTTP/2.0`, or a SETTINGS frame from a server.
    Http2,
    /// `SSH-2.0-`.
    Ssh,
    /// `220 …` (SMTP, FTP).
    SmtpOrFtp,
    /// SSL 2.0 ClientHello.
    Ssl2,
    /// Something else.
    Other,
}

/// A hole that will not be filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamLoss {
    /// Bytes missing at least, or of a hello too long to hold.
    pub bytes: u64,
}
