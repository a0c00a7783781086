//! The finished account of one end of one connection. Plain data; field names are the JSON schema
//! (docs/json.md). Enums are closed and their labels stable.

mod cause;
mod grpc;
mod http2;
pub(crate) mod label;
mod notice;
mod session;
mod verdict;

use std::{net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::event::{ConnectionId, Direction, End, LibraryName, ResetReason, Timestamp};
use crate::wire::Preface;
use label::labels;

pub use cause::Cause;
pub use grpc::GrpcResult;
pub use http2::{GoAway, GoAwayDebug, H2Error, Http2, Sender};
pub use label::{Explanation, UnknownLabel};
pub use notice::Notice;
pub use session::{ClientCertificate, Resumption, ServerCertificate};
pub use verdict::{Confidence, EarlyDataOutcome, EarlyDataReason, Initiator, Outcome, Phase};

/// Version of the JSON schema; grows when a field changes its meaning or goes away.
pub const SCHEMA: u32 = 1;

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
    /// What came before TLS, in this order; empty where TLS began at once.
    #[serde(default)]
    pub preface: Vec<Preface>,
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
    /// How it did.
    #[serde(default)]
    pub resumption: Option<Resumption>,
    /// The ClientHello has an encrypted one inside: `sni` is the outer name.
    #[serde(default)]
    pub encrypted_client_hello: Option<bool>,
    /// Up to TLS 1.2, in full handshakes.
    #[serde(default)]
    pub server_certificate: Option<ServerCertificate>,
    /// Where that was seen.
    #[serde(default)]
    pub client_certificate: Option<ClientCertificate>,
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
    /// What this end's TLS library said; absent where none was hooked or none was found to belong to
    /// this connection.
    pub library: Option<Library>,
    /// HTTP/2; absent where nothing of it was seen.
    #[serde(default)]
    pub http2: Option<Http2>,
    /// What passed, oldest first; only where it was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Passed>,
}

/// What a TLS library said of its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Library {
    /// Which library.
    pub name: LibraryName,
    /// Its number for why the handshake failed: `ERR_GET_REASON` of OpenSSL and BoringSSL, where 1000 and
    /// more are alerts that were received; of GnuTLS its error without the sign.
    pub reason: Option<u32>,
    /// Name of that number, `certificate_verify_failed`; of Go, which has no numbers, the type of the
    /// error, `x509.HostnameError`, or the name of an alert received.
    pub reason_name: Option<String>,
    /// Text of the error, where the library has one; any characters.
    #[serde(default)]
    pub message: Option<String>,
    /// Why a certificate was not accepted: `X509_V_ERR_` of OpenSSL, `gnutls_certificate_status_t` of GnuTLS;
    /// absent where it was, or where none was verified.
    pub verify_result: Option<u32>,
    /// Name of that number, `cert_has_expired`.
    pub verify_name: Option<String>,
    /// How the library's session was found to belong to this connection.
    pub joined_by: JoinKey,
}

/// What a library's session and a connection have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinKey {
    /// ClientHello.random and the role.
    ClientRandom,
    /// The socket that the library's session is over.
    Socket,
}

impl Report {
    /// States when the connection ended, RFC 3339 in UTC, and so whether the certificate was valid then.
    pub fn set_time(&mut self, time: Option<String>) {
        self.time = time;
        let (Some(time), Some(certificate)) = (&self.time, &mut self.server_certificate) else {
            return;
        };
        certificate.judge(time);
        let evidence = &mut self.verdict.evidence;
        let decisive = evidence.iter().position(|evidence| evidence.decisive);
        if let (Some(false), Some(at), Some(until)) =
            (certificate.valid, decisive, &certificate.not_after)
        {
            let from = certificate.not_before.as_deref().unwrap_or_default();
            let fact = Evidence {
                at_ms: evidence[at].at_ms,
                fact: format!("certificate not valid: only from {from} to {until}"),
                decisive: false,
            };
            evidence.insert(at, fact);
        }
    }
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

impl Report {
    /// When the connection began, by the clock of [`Report::ended`].
    #[must_use]
    pub fn began(&self) -> Timestamp {
        let duration = Duration::try_from_secs_f64(self.duration_ms / 1e3).unwrap_or_default();
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Timestamp(self.ended.0.saturating_sub(nanos))
    }
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
