//! What the two programs say of a handshake, against what tls-trace says.

use tls_trace::report::{Cause, Notice, Outcome, Report, Role};

use crate::clients::Told;

/// What a message says, and which causes go with it.
struct Message {
    /// In lower case, `_` as a space; the first that a program's output contains counts.
    patterns: &'static [&'static str],
    means: &'static str,
    causes: &'static [Cause],
}

/// `closed_by_app` and `encrypted_alert`: less than the program knows, but no contradiction.
const MESSAGES: &[Message] = &[
    Message {
        patterns: &["missing selected alpn"],
        means: "no protocol selected",
        causes: &[Cause::AlpnRejectedByApp],
    },
    Message {
        patterns: &[
            "no application protocol",
            "noapplicationprotocol",
            "no common application protocol",
            "no supported application protocol",
            "unsupported application protocols",
            "support any known protocol",
            "alert number 120",
        ],
        means: "no application protocol",
        causes: &[Cause::NoApplicationProtocol, Cause::EncryptedAlert],
    },
    Message {
        patterns: &[
            "alert protocol version",
            "alert: protocol version",
            "in protocol version",
            "protocol version not supported",
            "protocolversion",
            "unsupported protocol",
            "unsupported versions",
            "supportedversions",
            "tls13requiredbutnotoffered",
            "tls12notoffered",
        ],
        means: "protocol version",
        causes: &[Cause::ProtocolVersion],
    },
    Message {
        patterns: &[
            "unknown authority",
            "unable to get local issuer",
            "unable to verify",
            "certificate verify failed",
            "pkix path",
            "issuer is unknown",
            "unknownissuer",
            "unknown ca",
            "unknown certificate authority",
            "unknownca",
        ],
        means: "unknown authority",
        causes: &[
            Cause::CertificateUnknownCa,
            Cause::CertificateUnknown,
            Cause::EncryptedAlert,
            Cause::ClosedByApp,
        ],
    },
    Message {
        patterns: &[
            "certificate unknown",
            "certificateunknown",
            "unknown certificate",
        ],
        means: "certificate unknown",
        causes: &[
            Cause::CertificateUnknown,
            Cause::CertificateUnknownCa,
            Cause::EncryptedAlert,
        ],
    },
    Message {
        patterns: &[
            "certificate required",
            "certificaterequired",
            "certificate is required",
            "did not return a certificate",
            "didn't provide a certificate",
            "sent no certificates",
        ],
        means: "certificate required",
        causes: &[Cause::CertificateRequired],
    },
    Message {
        patterns: &["bad certificate", "badcertificate"],
        means: "bad certificate",
        causes: &[
            Cause::CertificateBad,
            Cause::CertificateRequired,
            Cause::EncryptedAlert,
        ],
    },
    Message {
        // All that haproxy says.
        patterns: &["ssl handshake failure"],
        means: NOTHING,
        causes: &[Cause::EncryptedAlert],
    },
    Message {
        patterns: &["handshake failure", "handshakefailure"],
        means: "handshake failure",
        causes: &[Cause::HandshakeFailure, Cause::CertificateRequired],
    },
    Message {
        // A server that expects ciphertext, and gets an alert in the clear.
        patterns: &["bad record mac"],
        means: "not decrypted",
        causes: &[
            Cause::CertificateUnknownCa,
            Cause::CertificateUnknown,
            Cause::CertificateBad,
        ],
    },
    Message {
        patterns: &[
            "the server left",
            "empty reply",
            "peer has closed",
            "eof",
            "end of file",
            "unexpected message",
            "connection reset",
            "reset by peer",
            "connection closed",
            "closed connection",
            "connection shutdown",
            "unexpectedly closed",
            "remote close",
            "broken pipe",
            "not connected",
            "econnreset",
            "socket hang up",
        ],
        means: NOTHING,
        causes: &[Cause::ClosedByPeer, Cause::ClosedByApp, Cause::ResetByPeer],
    },
];

/// As good as nothing: the other one left, say.
const NOTHING: &str = "nothing of a reason";

impl Message {
    fn is_silent(&self) -> bool {
        self.means == NOTHING
    }
}

/// Whether a program's output says why a handshake failed.
pub fn is_understood(output: &str) -> bool {
    message(output).is_some()
}

fn message(output: &str) -> Option<&'static Message> {
    let output = output.to_lowercase().replace('_', " ");
    let says = |message: &&Message| message.patterns.iter().any(|text| output.contains(text));
    MESSAGES.iter().find(says)
}

/// Why the programs' words and the reports do not agree, if they do not.
pub fn disagreement(told: &Told, client: &Report, server: &Report) -> Option<String> {
    let objection = client.verdict.cause == Cause::AlpnRejectedByApp;
    if [client, server].map(failed) == [true, false] && !objection {
        return Some(format!("at the server it is {}", server.verdict.outcome));
    }
    client_disagrees(told, client).or_else(|| {
        let why = server_disagrees(told, server)?;
        Some(format!("at the server: {why}"))
    })
}

fn client_disagrees(told: &Told, report: &Report) -> Option<String> {
    let cause = report.verdict.cause;
    match (told.good, failed(report)) {
        (true, false) => strange(report),
        (true, true) => Some(format!("it succeeded, the verdict is {cause}")),
        (false, true) => disproved(&told.output, &told.server, report),
        // It may be done when the server objects.
        (false, false) if left_later(told) => strange(report),
        (false, false) => Some(format!(
            "it failed, the verdict is {cause}: {}",
            told.output
        )),
    }
}

/// The client only knows that it got no answer. One that does not even say that, as `openssl s_client`, is believed if
/// the server says more.
fn left_later(told: &Told) -> bool {
    message(&told.output).map_or_else(|| is_understood(&told.server), Message::is_silent)
}

fn server_disagrees(told: &Told, report: &Report) -> Option<String> {
    let said = message(&told.server).filter(|said| !said.is_silent());
    let cause = report.verdict.cause;
    if failed(report) {
        // To some servers, a client that leaves has done nothing wrong.
        let left = [
            Cause::AlpnRejectedByApp,
            Cause::ClosedByPeer,
            Cause::ResetByPeer,
        ];
        let nothing = said.is_none() && left.contains(&cause);
        return disproved(&told.server, &told.output, report).filter(|_| !nothing);
    }
    let silent = report.notices.contains(&Notice::AlpnNotNegotiated);
    match said {
        // It objects after the handshake.
        Some(said) if silent && said.causes.contains(&Cause::AlpnRejectedByApp) => None,
        Some(said) => Some(format!("it says {}, the verdict is {cause}", said.means)),
        None => strange(report),
    }
}

/// Whether there was a handshake, and it failed.
pub fn failed(report: &Report) -> bool {
    report.verdict.outcome == Outcome::Failed
}

/// A verdict that is neither good nor bad.
fn strange(report: &Report) -> Option<String> {
    let outcome = report.verdict.outcome;
    (!matches!(outcome, Outcome::Established | Outcome::Broken))
        .then(|| format!("the verdict is {outcome}"))
}

/// Why a program did not fail for the cause of its report, as far as it says. Where it says nothing, the other one
/// may.
fn disproved(output: &str, other: &str, report: &Report) -> Option<String> {
    let cause = report.verdict.cause;
    let agrees = |said: &Message| said.causes.contains(&cause);
    match message(output) {
        Some(said) if agrees(said) => None,
        Some(said) if said.is_silent() && message(other).is_some_and(agrees) => None,
        Some(said) => Some(format!(
            "it says {}, the verdict is {cause}: {output}",
            said.means
        )),
        None if message(other).is_some_and(agrees) => None,
        None => Some(format!("the verdict is {cause}, not understood: {output}")),
    }
}

/// The client's and the server's end of the first connection among these.
pub fn ends(reports: &[std::sync::Arc<Report>]) -> Option<(&Report, &Report)> {
    let of = |role| reports.iter().find(|report| report.role == role);
    let client = of(Role::Client)?;
    let pair = |report: &&std::sync::Arc<Report>| {
        report.role == Role::Server && report.remote == client.local
    };
    Some((client, reports.iter().find(pair)?))
}
