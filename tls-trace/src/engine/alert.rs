//! Alert descriptions (RFC 8446 §6, RFC 5246 §7.2, IANA "TLS Alerts").

use crate::report::Cause;

pub(super) const CLOSE_NOTIFY: u8 = 0;
pub(super) const USER_CANCELED: u8 = 90;

/// Name of an AlertDescription.
pub(super) fn name(description: u8) -> &'static str {
    match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        52 => "too_many_cids_requested",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        117 => "general_error",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => "unassigned",
    }
}

/// The cause a fatal alert states.
pub(super) fn cause(description: u8) -> Cause {
    match description {
        10 => Cause::UnexpectedMessage,
        20 => Cause::BadRecordMac,
        22 => Cause::RecordOverflow,
        40 => Cause::HandshakeFailure,
        42 => Cause::CertificateBad,
        43 => Cause::CertificateUnsupported,
        44 => Cause::CertificateRevoked,
        45 => Cause::CertificateExpired,
        46 => Cause::CertificateUnknown,
        47 => Cause::IllegalParameter,
        48 => Cause::CertificateUnknownCa,
        49 => Cause::AccessDenied,
        50 => Cause::DecodeError,
        51 => Cause::DecryptError,
        70 => Cause::ProtocolVersion,
        71 => Cause::InsufficientSecurity,
        80 => Cause::InternalError,
        86 => Cause::InappropriateFallback,
        90 => Cause::UserCanceled,
        109 => Cause::MissingExtension,
        110 => Cause::UnsupportedExtension,
        112 => Cause::UnrecognizedName,
        113 => Cause::CertificateStatusBad,
        115 => Cause::UnknownPskIdentity,
        116 => Cause::CertificateRequired,
        120 => Cause::NoApplicationProtocol,
        _ => Cause::OtherAlert,
    }
}
