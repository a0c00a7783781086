//! What a program says of its handshake, against what tls-trace says.

use tls_trace::report::{Cause, Outcome, Report, Role};

use crate::clients::Told;

/// What a message says, and which causes go with it; none: any.
struct Message {
    /// In lower case; the first that a program's output contains counts.
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
            "no_application_protocol",
            "noapplicationprotocol",
            "no common application protocol",
            "no supported application protocol",
            "alert number 120",
        ],
        means: "no application protocol",
        causes: &[Cause::NoApplicationProtocol, Cause::EncryptedAlert],
    },
    Message {
        patterns: &[
            "protocol version",
            "protocol_version",
            "protocolversion",
            "unsupported protocol",
        ],
        means: "protocol version",
        causes: &[Cause::ProtocolVersion],
    },
    Message {
        patterns: &[
            "unknown authority",
            "unable to get local issuer",
            "unable to verify",
            "unable_to_verify",
            "certificate verify failed",
            "certificate_verify_failed",
            "pkix path",
            "issuer is unknown",
            "unknownissuer",
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
            "certificate required",
            "certificate_required",
            "certificaterequired",
            "certificate is required",
        ],
        means: "certificate required",
        causes: &[Cause::CertificateRequired],
    },
    Message {
        patterns: &["bad certificate", "bad_certificate", "badcertificate"],
        means: "bad certificate",
        causes: &[Cause::CertificateBad, Cause::CertificateRequired],
    },
    Message {
        patterns: &["handshake failure", "handshake_failure", "handshakefailure"],
        means: "handshake failure",
        causes: &[Cause::HandshakeFailure, Cause::CertificateRequired],
    },
];

/// What a failing program says, in a few words.
pub fn meaning(told: &Told) -> &'static str {
    message(told).map_or("something else", |message| message.means)
}

fn message(told: &Told) -> Option<&'static Message> {
    let output = told.output.to_lowercase();
    let says = |message: &&Message| message.patterns.iter().any(|text| output.contains(text));
    MESSAGES.iter().find(says)
}

/// Why the client's words and the reports do not agree, if they do not.
pub fn disagreement(told: &Told, client: &Report, server: &Report) -> Option<String> {
    let verdict = &client.verdict;
    let failed = match verdict.outcome {
        Outcome::Established | Outcome::Broken => false,
        Outcome::Failed => true,
        other => return Some(format!("the verdict is {other}")),
    };
    if told.good == failed {
        return if told.good || left_later(told) {
            told.good
                .then(|| format!("it succeeded, the verdict is {}", verdict.cause))
        } else {
            Some(format!(
                "it failed ({}), the verdict is {}",
                meaning(told),
                verdict.outcome
            ))
        };
    }
    if told.good {
        return None;
    }
    if server.verdict.outcome != Outcome::Failed {
        return Some(format!("at the server it is {}", server.verdict.outcome));
    }
    let Some(message) = message(told) else {
        return (!left_later(told)).then(|| format!("not understood: {}", told.output));
    };
    (!message.causes.contains(&verdict.cause)).then(|| {
        format!(
            "it says {}, the verdict is {}",
            message.means, verdict.cause
        )
    })
}

/// The program only knows that the server left or reset, which it may do after the handshake.
fn left_later(told: &Told) -> bool {
    let output = told.output.to_lowercase();
    [
        "the server left",
        "eof",
        "reset",
        "broken pipe",
        "econnreset",
    ]
    .iter()
    .any(|text| output.contains(text))
        && message(told).is_none()
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
