//! The finished account of one end of one connection. Plain data; field names are the JSON schema
//! (docs/json.md). Enums are closed and their labels stable.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::event::{ConnectionId, Direction, End, ResetReason, Timestamp};

/// Version of the JSON schema; grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

/// A closed set of labels: `label()` for people, metrics and JSON alike, `ALL` for documentation.
macro_rules! labels {
    ($(#[$doc:meta])* pub enum $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $label)] $variant,)* }

        impl $name {
            /// Every value, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable label.
            #[must_use]
            pub fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.label())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownLabel;

            fn from_str(label: &str) -> Result<Self, UnknownLabel> {
                match label {
                    $($label => Ok(Self::$variant),)*
                    _ => Err(UnknownLabel { label: label.to_owned(), known: &[$($label,)*] }),
                }
            }
        }
    };
}

/// A label that is not in its set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{label}' is not one of: {}", known.join(", "))]
pub struct UnknownLabel {
    label: String,
    known: &'static [&'static str],
}

labels! {
    /// How it went.
    pub enum Outcome {
        /// The handshake completed; the connection ended gracefully or is still open.
        Established = "established",
        /// The handshake did not complete, or was rejected right after it seemed to.
        Failed = "failed",
        /// The handshake completed; later a reset, a timeout or a kill ended the connection.
        Broken = "broken",
        /// The client left before it sent anything: a health check, nobody's fault.
        Aborted = "aborted",
        /// The trace began late or events were lost: the handshake was not seen whole.
        Incomplete = "incomplete",
    }
}

labels! {
    /// The furthest point the connection reached.
    pub enum Phase {
        /// TCP is not open yet.
        Connect = "connect",
        /// TCP is open, nothing was sent.
        Connected = "connected",
        /// A ClientHello (or its beginning) was sent.
        ClientHello = "client_hello",
        /// A ServerHello was sent; what follows is not complete.
        ServerHello = "server_hello",
        /// Handshake messages behind encryption are under way.
        EncryptedHandshake = "encrypted_handshake",
        /// This handshake is done for the client; nothing came from the server since.
        Finished = "finished",
        /// Both ends completed the handshake.
        Established = "established",
    }
}

labels! {
    /// Who ended it. A process that was killed is `…_app`.
    pub enum Initiator {
        /// The client's program or its TLS library.
        ClientApp = "client_app",
        /// The client's kernel: a timer, a missing listener, an administrator.
        ClientKernel = "client_kernel",
        /// The server's program or its TLS library.
        ServerApp = "server_app",
        /// The server's kernel.
        ServerKernel = "server_kernel",
        /// Neither end: a router, a firewall, a cut cable.
        Network = "network",
        /// Not provable from here.
        Unknown = "unknown",
    }
}

labels! {
    /// How far the verdict is proven.
    pub enum Confidence {
        /// The kernel, a plaintext alert or the TLS library said so.
        Certain = "certain",
        /// The shape of encrypted records or timing says so.
        Likely = "likely",
        /// No proof.
        Unknown = "unknown",
    }
}

labels! {
    /// Why it ended: the most specific cause that is proven.
    pub enum Cause {
        /// Nothing went wrong.
        None = "none",
        /// Not provable from here.
        Unknown = "unknown",

        /// SYN was answered with RST: nobody listens there.
        ConnectRefused = "connect_refused",
        /// SYN was never answered.
        ConnectTimeout = "connect_timeout",
        /// The network answered that the destination cannot be reached (ICMP or no route).
        Unreachable = "unreachable",
        /// The client gave up connecting before TCP was open.
        ConnectCancelled = "connect_cancelled",
        /// The listener's queue was full.
        ListenOverflow = "listen_overflow",
        /// The listening socket was closed with this connection still in its queue.
        ListenerClosed = "listener_closed",
        /// The peer sent RST; why is not visible from here.
        ResetByPeer = "reset_by_peer",
        /// The application closed with `SO_LINGER` 0.
        ResetLinger = "reset_linger",
        /// The application closed with data it had not read, so its kernel sent RST.
        ResetUnreadData = "reset_unread_data",
        /// An RST that the peer's kernel did not send.
        ResetInjected = "reset_injected",
        /// The peer sent FIN.
        ClosedByPeer = "closed_by_peer",
        /// The application on this end closed the connection.
        ClosedByApp = "closed_by_app",
        /// The process was killed by a signal.
        ProcessKilled = "process_killed",
        /// TCP keepalive probes were not answered.
        KeepaliveTimeout = "keepalive_timeout",
        /// Retransmissions were not acknowledged.
        RetransmitTimeout = "retransmit_timeout",
        /// The socket was destroyed by an administrator (`ss -K`).
        AbortedByAdmin = "aborted_by_admin",

        /// The client opened TCP and sent nothing.
        ClientSilent = "client_silent",
        /// The ClientHello was sent again and again and never acknowledged.
        ClientHelloLost = "client_hello_lost",
        /// The server's kernel acknowledged the ClientHello, its application never answered.
        ServerSilent = "server_silent",
        /// Both ends spoke, then the handshake stopped.
        HandshakeStalled = "handshake_stalled",

        /// The client spoke HTTP in the clear to a TLS port.
        PlainHttpToTlsPort = "plain_http_to_tls_port",
        /// The client spoke TLS to a server that answered with HTTP in the clear.
        TlsToPlainHttp = "tls_to_plain_http",
        /// One end spoke TLS, the other something else.
        NotTls = "not_tls",

        /// Alert 10.
        UnexpectedMessage = "unexpected_message",
        /// Alert 20.
        BadRecordMac = "bad_record_mac",
        /// Alert 22.
        RecordOverflow = "record_overflow",
        /// Alert 40: no acceptable set of parameters; which one only the library knows.
        HandshakeFailure = "handshake_failure",
        /// Alert 47.
        IllegalParameter = "illegal_parameter",
        /// Alert 49.
        AccessDenied = "access_denied",
        /// Alert 50.
        DecodeError = "decode_error",
        /// Alert 51.
        DecryptError = "decrypt_error",
        /// Alert 71.
        InsufficientSecurity = "insufficient_security",
        /// Alert 80.
        InternalError = "internal_error",
        /// Alert 86.
        InappropriateFallback = "inappropriate_fallback",
        /// Alert 90.
        UserCanceled = "user_canceled",
        /// Alert 109.
        MissingExtension = "missing_extension",
        /// Alert 110.
        UnsupportedExtension = "unsupported_extension",
        /// Alert 115.
        UnknownPskIdentity = "unknown_psk_identity",
        /// A fatal alert without a name of its own here; the report's alerts carry its number.
        OtherAlert = "other_alert",
        /// A record of an alert's size behind encryption ended the handshake.
        EncryptedAlert = "encrypted_alert",

        /// Alert 42: the certificate is corrupt, or its name does not match (OpenSSL).
        CertificateBad = "certificate_bad",
        /// Alert 43.
        CertificateUnsupported = "certificate_unsupported",
        /// Alert 44.
        CertificateRevoked = "certificate_revoked",
        /// Alert 45.
        CertificateExpired = "certificate_expired",
        /// Alert 46: some other objection to the certificate.
        CertificateUnknown = "certificate_unknown",
        /// Alert 48: the issuer is not trusted.
        CertificateUnknownCa = "certificate_unknown_ca",
        /// The certificate is for another name; stated by the library.
        CertificateHostnameMismatch = "certificate_hostname_mismatch",
        /// Alert 116, or its shape: the client sent no certificate and the server insists on one.
        CertificateRequired = "certificate_required",
        /// Alert 113.
        CertificateStatusBad = "certificate_status_bad",

        /// Alert 70: no TLS version in common.
        ProtocolVersion = "protocol_version",
        /// No cipher suite in common; stated by the library.
        NoSharedCipher = "no_shared_cipher",
        /// No key-exchange group in common; stated by the library.
        NoSharedGroup = "no_shared_group",
        /// Alert 112: no certificate for this server name.
        UnrecognizedName = "unrecognized_name",

        /// Alert 120: no application protocol in common.
        NoApplicationProtocol = "no_application_protocol",
        /// ALPN was offered, none was selected, and the client left at once.
        AlpnRejectedByApp = "alpn_rejected_by_app",

        /// The server rejected the connection after the client's Finished.
        RejectedAfterFinished = "rejected_after_finished",
    }
}

labels! {
    /// True and worth counting, not a failure by itself.
    pub enum Notice {
        /// The client offered ALPN, the server selected nothing.
        AlpnNotNegotiated = "alpn_not_negotiated",
        /// The server asked for another ClientHello (RFC 8446 §4.1.4).
        HelloRetryRequest = "hello_retry_request",
        /// The ClientHello had to be sent again.
        ClientHelloRetransmitted = "client_hello_retransmitted",
        /// The handshake took longer than the threshold.
        SlowHandshake = "slow_handshake",
        /// The connection carried no application data.
        Unused = "unused",
        /// The connection ended without close_notify (RFC 8446 §6.1).
        NoCloseNotify = "no_close_notify",
        /// The client closed with session tickets unread, so its kernel sent RST.
        ClosedWithUnreadTickets = "closed_with_unread_tickets",
        /// Early data was offered and rejected.
        EarlyDataRejected = "early_data_rejected",
        /// Two sources of evidence disagree.
        Contradiction = "contradiction",
    }
}

labels! {
    /// What became of early data (RFC 8446 §4.2.10).
    pub enum EarlyDataOutcome {
        /// The ClientHello had no early_data extension.
        NotOffered = "not_offered",
        /// The server took it.
        Accepted = "accepted",
        /// The server went on without it.
        Rejected = "rejected",
        /// The handshake failed before the answer.
        Aborted = "aborted",
        /// Not provable from here.
        Unknown = "unknown",
    }
}

labels! {
    /// Why early data was rejected.
    pub enum EarlyDataReason {
        /// The server sent HelloRetryRequest.
        HelloRetryRequest = "hello_retry_request",
        /// The server did not take the PSK: unknown, expired or replayed ticket.
        PskNotAccepted = "psk_not_accepted",
        /// Another application protocol than in the session.
        AlpnMismatch = "alpn_mismatch",
        /// Another server name than in the session.
        SniMismatch = "sni_mismatch",
        /// The ticket's age is off.
        TicketAge = "ticket_age",
        /// The server does not want it.
        ServerPolicy = "server_policy",
        /// The server aborts when it is offered (alert 110).
        Unsupported = "unsupported",
        /// More than the server allows.
        TooMuchData = "too_much_data",
    }
}

labels! {
    /// Which role the local end plays in TLS (the sender of the ClientHello is the client); in TCP
    /// when no ClientHello was sent.
    pub enum Role {
        /// Sends the ClientHello, opened TCP.
        Client = "client",
        /// Receives the ClientHello, accepted TCP.
        Server = "server",
        /// Seen from between the two (a capture).
        Observer = "observer",
    }
}

labels! {
    /// How TCP ended on this socket.
    pub enum CloseKind {
        /// FIN in both directions, or FIN sent and acknowledged.
        Fin = "fin",
        /// RST, either way.
        Reset = "reset",
        /// A timer of the kernel ran out.
        Timeout = "timeout",
        /// TCP never opened.
        NeverOpened = "never_opened",
        /// Not ended when the report was made.
        Open = "open",
    }
}

/// The judgement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How it went.
    pub outcome: Outcome,
    /// The furthest phase reached.
    pub phase: Phase,
    /// Who ended it.
    pub initiator: Initiator,
    /// Why.
    pub cause: Cause,
    /// How far that is proven.
    pub confidence: Confidence,
    /// What it rests on, oldest first, for people.
    pub evidence: Vec<Evidence>,
}

/// One fact a verdict rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Milliseconds since the first event of the connection.
    pub at_ms: f64,
    /// The fact, in one short sentence; already escaped.
    pub fact: String,
    /// The fact that shows most plainly why it ended; at most one of a report.
    #[serde(default)]
    pub decisive: bool,
}

/// Everything known of one end of one connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Name of this end: the socket cookie live.
    pub id: ConnectionId,
    /// When the connection ended, `CLOCK_MONOTONIC`; sinks that know the wall clock print that.
    #[serde(skip)]
    pub ended: Timestamp,
    /// Wall-clock time of the end, RFC 3339 in UTC; set by whoever knows the wall clock.
    pub time: Option<String>,
    /// First to last event, milliseconds.
    pub duration_ms: f64,
    /// Role of the local end.
    pub role: Role,
    /// This end.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// Network namespace of this end.
    pub netns: Option<u32>,
    /// Process that holds this end.
    pub pid: Option<u32>,
    /// Its name, unescaped: any bytes.
    pub comm: Option<String>,
    /// Its cgroup v2 path, or the cgroup's id where the path is not known.
    pub cgroup: Option<String>,
    /// server_name of the ClientHello, escaped by sinks.
    pub sni: Option<String>,
    /// Negotiated version, "TLS 1.3"; the highest offered where none was negotiated is not shown here.
    pub version: Option<String>,
    /// Negotiated cipher suite by IANA name or 0x number.
    pub cipher: Option<String>,
    /// Key-exchange group by name or 0x number.
    pub group: Option<String>,
    /// Application protocols.
    pub alpn: Alpn,
    /// The handshake resumed a session.
    pub resumed: Option<bool>,
    /// The judgement.
    pub verdict: Verdict,
    /// Worth knowing.
    pub notices: Vec<Notice>,
    /// Early data; absent where no ClientHello was seen.
    pub early_data: Option<EarlyData>,
    /// Alerts in the clear, or known from the library.
    pub alerts: Vec<Alert>,
    /// What TCP did.
    pub tcp: Tcp,
    /// Duration of phases by name, milliseconds.
    pub phases_ms: PhasesMs,
    /// Id of the report of the other end, when it is on this host.
    pub peer_report: Option<ConnectionId>,
    /// What passed, oldest first; only where it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Passed>,
}

/// A message, or several alike in a row, that passed on the connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Passed {
    /// Milliseconds since the first event of the connection.
    pub at_ms: f64,
    /// `egress`: sent by the local end.
    pub direction: Direction,
    /// What it was; already escaped.
    pub what: String,
    /// Its bytes on the wire.
    pub bytes: u64,
    /// So many entries before this one were left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out_before: usize,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature serde asks for"
)]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Application-layer protocol negotiation (RFC 7301).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alpn {
    /// What the client offered; absent where no ClientHello was seen, empty where it had no ALPN.
    pub offered: Option<Vec<String>>,
    /// What the server selected; absent where it is encrypted or nothing was selected.
    pub selected: Option<String>,
}

/// Early data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EarlyData {
    /// What became of it.
    pub outcome: EarlyDataOutcome,
    /// Why it was rejected.
    pub reason: Option<EarlyDataReason>,
}

/// An alert (RFC 8446 §6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// `egress`: sent by the local end.
    pub direction: Direction,
    /// 1 warning, 2 fatal.
    pub level: u8,
    /// AlertDescription.
    pub code: u8,
    /// Its name, "unknown_ca".
    pub name: String,
}

/// What TCP did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tcp {
    /// Who sent the SYN.
    pub opened_by: Option<End>,
    /// Who closed first.
    pub closed_by: Option<End>,
    /// How it ended.
    pub close_kind: CloseKind,
    /// The kernel's reason for an RST it sent.
    pub reset_reason: Option<ResetReason>,
    /// Error the application saw.
    pub errno: Option<u32>,
    /// Segments sent again.
    pub retransmits: u32,
    /// Of these, the ones that carried ClientHello bytes.
    pub client_hello_retransmits: u32,
}

/// Milliseconds spent in each phase; absent where a boundary was not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhasesMs {
    /// SYN to TCP established.
    pub connect: Option<f64>,
    /// TCP established to the ClientHello's first byte.
    pub client_hello: Option<f64>,
    /// ClientHello complete to ServerHello.
    pub server_hello: Option<f64>,
    /// ServerHello to the client's Finished.
    pub rest: Option<f64>,
}
