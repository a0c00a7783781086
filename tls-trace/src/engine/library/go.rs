//! What errors of Go's crypto/tls mean. They have no numbers: types and texts have to tell.

use super::Explanation;
use crate::{
    engine::alert,
    event::{GoError, GoErrorKind},
    report::Cause,
    wire::{escape, names},
};

/// Beginnings of texts in crypto/tls, Go 1.17 to 1.27 (handshake_server.go, handshake_server_tls13.go,
/// handshake_client.go). A text that is not here is as good as the alert sent with it.
const TEXTS: &[(&str, Cause)] = &[
    (
        "tls: client didn't provide a certificate",
        Cause::CertificateRequired,
    ),
    (
        "tls: client requested unsupported application protocols",
        Cause::NoApplicationProtocol,
    ),
    (
        "tls: client offered only unsupported versions",
        Cause::ProtocolVersion,
    ),
    (
        "tls: server selected unsupported protocol version",
        Cause::ProtocolVersion,
    ),
    (
        "tls: no cipher suite supported by both client and server",
        Cause::NoSharedCipher,
    ),
    // Until 1.23.
    (
        "tls: no ECDHE curve supported by both client and server",
        Cause::NoSharedGroup,
    ),
    (
        "tls: no key exchanges supported by both client and server",
        Cause::NoSharedGroup,
    ),
];

/// Names of `x509.InvalidReason` (crypto/x509/verify.go).
const INVALID: [&str; 11] = [
    "NotAuthorizedToSign",
    "Expired",
    "CANotAuthorizedForThisName",
    "TooManyIntermediates",
    "IncompatibleUsage",
    "NameMismatch",
    "NameConstraintsWithoutSANs",
    "UnconstrainedName",
    "TooManyConstraints",
    "CANotAuthorizedForExtKeyUsage",
    "NoValidChains",
];
const EXPIRED: u32 = 1;

/// What an error means; `None` of one that is none of TLS.
pub(super) fn explanation(error: &GoError) -> Option<Explanation> {
    let cause = match error.kind {
        GoErrorKind::Alert(description) => return Some(Explanation::of_alert(description)),
        GoErrorKind::UnknownAuthority => Cause::CertificateUnknownCa,
        GoErrorKind::Hostname => Cause::CertificateHostnameMismatch,
        GoErrorKind::CertificateInvalid(EXPIRED) => Cause::CertificateExpired,
        GoErrorKind::CertificateInvalid(_) => Cause::CertificateUnknown,
        GoErrorKind::Message | GoErrorKind::Other => {
            let text = error.text.as_deref().unwrap_or_default();
            let cause = beginning(text).map(|(_, cause)| *cause);
            cause.or_else(|| error.alert_sent.map(alert::cause))?
        }
        GoErrorKind::Io => return None,
    };
    Some(Explanation {
        by_peer: false,
        cause,
    })
}

fn beginning(text: &str) -> Option<&'static (&'static str, Cause)> {
    TEXTS.iter().find(|(start, _)| text.starts_with(start))
}

/// As much of the text of an error of Go as says its cause.
#[must_use]
pub fn known(text: &str) -> Option<&'static str> {
    beginning(text).map(|(start, _)| *start)
}

/// The alert that it received.
pub(super) fn alert_received(error: &GoError) -> Option<u8> {
    match error.kind {
        GoErrorKind::Alert(description) => Some(description),
        _ => None,
    }
}

/// The type of the error, or the alert that it is.
pub(super) fn name(error: &GoError) -> String {
    match error.kind {
        GoErrorKind::Alert(description) => format!("alert_{}", names::alert(description)),
        GoErrorKind::UnknownAuthority => "x509.UnknownAuthorityError".to_owned(),
        GoErrorKind::Hostname => "x509.HostnameError".to_owned(),
        GoErrorKind::CertificateInvalid(reason) => {
            let index = usize::try_from(reason).unwrap_or(usize::MAX);
            let reason = INVALID.get(index).unwrap_or(&"unknown");
            format!("x509.CertificateInvalidError {reason}")
        }
        GoErrorKind::Io => "net.OpError".to_owned(),
        GoErrorKind::Message | GoErrorKind::Other => "error".to_owned(),
    }
}

/// The error in a few words, safe to print.
pub(super) fn words(error: &GoError) -> String {
    let text = error.text.as_deref().filter(|text| !text.is_empty());
    let text = text.map(|text| escape(text.as_bytes()));
    let words = match (error.kind, text) {
        (GoErrorKind::Message, Some(text)) => text,
        (_, Some(text)) => format!("{}, {text}", name(error)),
        (_, None) => name(error),
    };
    match error.alert_sent {
        Some(sent) => format!("{words}, sent alert {sent} {}", names::alert(sent)),
        None => words,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn message(text: &str, alert_sent: Option<u8>) -> GoError {
        GoError {
            kind: GoErrorKind::Message,
            text: Some(text.to_owned()),
            alert_sent,
        }
    }

    #[rstest]
    #[case(
        "tls: client offered only unsupported versions: [303]",
        Some(70),
        Some(Cause::ProtocolVersion)
    )]
    // TLS 1.2 sends bad_certificate.
    #[case(
        "tls: client didn't provide a certificate",
        Some(42),
        Some(Cause::CertificateRequired)
    )]
    #[case(
        "tls: no cipher suite supported by both client and server; client offered: []",
        Some(40),
        Some(Cause::NoSharedCipher)
    )]
    #[case("something else", Some(80), Some(Cause::InternalError))]
    #[case("EOF", None, None)]
    fn texts_are_better_than_alerts(
        #[case] text: &str,
        #[case] alert_sent: Option<u8>,
        #[case] cause: Option<Cause>,
    ) {
        let explained = explanation(&message(text, alert_sent));
        assert_eq!(explained.map(|explained| explained.cause), cause);
        assert!(explained.is_none_or(|explained| !explained.by_peer));
    }

    #[test]
    fn words_of_strangers_are_escaped() {
        let error = message("tls: \"\u{1b}[2J\"", Some(120));
        assert_eq!(
            words(&error),
            r#"tls: \"\u{1b}[2J\", sent alert 120 no_application_protocol"#
        );
    }

    #[test]
    fn an_invalid_certificate_says_how() {
        for (reason, name_of_reason, cause) in [
            (1, "Expired", Cause::CertificateExpired),
            (4, "IncompatibleUsage", Cause::CertificateUnknown),
            (99, "unknown", Cause::CertificateUnknown),
        ] {
            let error = GoError {
                kind: GoErrorKind::CertificateInvalid(reason),
                text: None,
                alert_sent: Some(42),
            };
            assert!(name(&error).ends_with(name_of_reason));
            assert_eq!(explanation(&error).map(|why| why.cause), Some(cause));
        }
    }
}
