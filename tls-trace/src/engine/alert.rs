//! What alert descriptions mean for a verdict (RFC 8446 §6, RFC 5246 §7.2).

use crate::report::Cause;

pub(super) const CLOSE_NOTIFY: u8 = 0;
pub(super) const HANDSHAKE_FAILURE: u8 = 40;
pub(super) const USER_CANCELED: u8 = 90;
pub(super) const UNSUPPORTED_EXTENSION: u8 = 110;

/// The cause a fatal alert states.
pub(super) fn cause(description: u8) -> Cause {
    match description {
        10 => Cause::UnexpectedMessage,
        20 => Cause::BadRecordMac,
        22 => Cause::RecordOverflow,
        HANDSHAKE_FAILURE => Cause::HandshakeFailure,
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
        USER_CANCELED => Cause::UserCanceled,
        109 => Cause::MissingExtension,
        UNSUPPORTED_EXTENSION => Cause::UnsupportedExtension,
        112 => Cause::UnrecognizedName,
        113 => Cause::CertificateStatusBad,
        115 => Cause::UnknownPskIdentity,
        116 => Cause::CertificateRequired,
        120 => Cause::NoApplicationProtocol,
        _ => Cause::OtherAlert,
    }
}
