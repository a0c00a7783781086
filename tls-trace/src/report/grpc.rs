//! What gRPC would say of a handshake: `grpc.tls.handshake.result` of gRFC A118, as of 2026-06-03.

use super::{Cause, Initiator, Outcome, Phase, Role, label::labels};

labels! {
    /// Value of `grpc.tls.handshake.result`. Values that only a library can know are not listed.
    pub enum GrpcResult {
        /// Everything that has no value of its own.
        UnknownFailure = "UNKNOWN_FAILURE",
        /// It completed.
        Success = "SUCCESS",
        /// The peer's certificate was not accepted, or there was none.
        CertificateVerificationFailed = "CERTIFICATE_VERIFICATION_FAILED",
        /// It was revoked.
        CertificateRevoked = "CERTIFICATE_REVOKED",
        /// It is expired.
        CertificateExpired = "CERTIFICATE_EXPIRED",
        /// Its issuer is not trusted.
        CertificateAuthorityInvalid = "CERTIFICATE_AUTHORITY_INVALID",
        /// It is for another name.
        CertificateHostnameMismatch = "CERTIFICATE_HOSTNAME_MISMATCH",
        /// No key could be agreed on.
        KeyExchangeFailure = "KEY_EXCHANGE_FAILURE",
        /// No cipher suite in common.
        CipherSuiteMismatch = "CIPHER_SUITE_MISMATCH",
        /// No version in common.
        ProtocolVersionUnsupported = "PROTOCOL_VERSION_UNSUPPORTED",
        /// TLS_FALLBACK_SCSV (RFC 7507).
        InappropriateFallback = "INAPPROPRIATE_FALLBACK",
        /// No application protocol in common.
        NoApplicationProtocol = "NO_APPLICATION_PROTOCOL",
        /// A signature did not verify.
        SignatureVerificationFailed = "SIGNATURE_VERIFICATION_FAILED",
        /// A record did not decrypt.
        DecryptionFailed = "DECRYPTION_FAILED",
        /// A message in the wrong place.
        UnexpectedMessage = "UNEXPECTED_MESSAGE",
        /// Somebody waited in vain.
        HandshakeTimeout = "HANDSHAKE_TIMEOUT",
        /// The other end closed.
        PeerConnectionClosed = "PEER_CONNECTION_CLOSED",
    }
}

impl GrpcResult {
    /// The value for a handshake as seen from the end with `role`. Absent where gRPC would count none:
    /// TCP did not open; and where it is not known: the handshake was not seen whole.
    #[must_use]
    pub fn of(
        role: Role,
        outcome: Outcome,
        phase: Phase,
        cause: Cause,
        initiator: Initiator,
    ) -> Option<Self> {
        match outcome {
            Outcome::Incomplete => None,
            Outcome::Established | Outcome::Broken => Some(Self::Success),
            Outcome::Failed | Outcome::Aborted if phase == Phase::Connect => None,
            Outcome::Failed | Outcome::Aborted => Some(match Self::of_failure(cause) {
                Self::UnknownFailure if closed(cause) && by_peer(role, initiator) => {
                    Self::PeerConnectionClosed
                }
                result => result,
            }),
        }
    }

    fn of_failure(cause: Cause) -> Self {
        match cause {
            Cause::CertificateBad
            | Cause::CertificateUnsupported
            | Cause::CertificateUnknown
            | Cause::CertificateRequired
            | Cause::CertificateStatusBad => Self::CertificateVerificationFailed,
            Cause::CertificateRevoked => Self::CertificateRevoked,
            Cause::CertificateExpired => Self::CertificateExpired,
            Cause::CertificateHostnameMismatch => Self::CertificateHostnameMismatch,
            Cause::NoSharedGroup => Self::KeyExchangeFailure,
            Cause::CertificateUnknownCa => Self::CertificateAuthorityInvalid,
            Cause::InsufficientSecurity | Cause::NoSharedCipher => Self::CipherSuiteMismatch,
            Cause::ProtocolVersion => Self::ProtocolVersionUnsupported,
            Cause::InappropriateFallback => Self::InappropriateFallback,
            Cause::NoApplicationProtocol | Cause::AlpnRejectedByApp => Self::NoApplicationProtocol,
            Cause::DecryptError => Self::SignatureVerificationFailed,
            Cause::BadRecordMac => Self::DecryptionFailed,
            Cause::UnexpectedMessage => Self::UnexpectedMessage,
            Cause::ClientSilent
            | Cause::ClientHelloLost
            | Cause::ServerSilent
            | Cause::ListenOverflow
            | Cause::HandshakeStalled
            | Cause::KeepaliveTimeout
            | Cause::RetransmitTimeout => Self::HandshakeTimeout,
            _ => Self::UnknownFailure,
        }
    }
}

/// Whether a cause says only that, and how, an end closed. `none`: before a byte was sent.
fn closed(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::None
            | Cause::ListenerClosed
            | Cause::ResetByPeer
            | Cause::ResetLinger
            | Cause::ResetUnreadData
            | Cause::ClosedByPeer
            | Cause::ClosedByApp
            | Cause::ProcessKilled
            | Cause::AbortedByAdmin
    )
}

fn by_peer(role: Role, initiator: Initiator) -> bool {
    match role {
        Role::Client => matches!(initiator, Initiator::ServerApp | Initiator::ServerKernel),
        Role::Server => matches!(initiator, Initiator::ClientApp | Initiator::ClientKernel),
        Role::Observer => false,
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn failed(role: Role, cause: Cause, initiator: Initiator) -> Option<GrpcResult> {
        let phase = Phase::ClientHello;
        GrpcResult::of(role, Outcome::Failed, phase, cause, initiator)
    }

    #[rstest]
    #[case(
        Role::Client,
        Cause::ResetByPeer,
        Initiator::ServerApp,
        GrpcResult::PeerConnectionClosed
    )]
    #[case(
        Role::Client,
        Cause::ProcessKilled,
        Initiator::ServerApp,
        GrpcResult::PeerConnectionClosed
    )]
    #[case(
        Role::Server,
        Cause::ClosedByPeer,
        Initiator::ClientApp,
        GrpcResult::PeerConnectionClosed
    )]
    #[case(
        Role::Client,
        Cause::ClosedByApp,
        Initiator::ClientApp,
        GrpcResult::UnknownFailure
    )]
    #[case(
        Role::Observer,
        Cause::ResetByPeer,
        Initiator::ServerApp,
        GrpcResult::UnknownFailure
    )]
    #[case(
        Role::Client,
        Cause::ResetInjected,
        Initiator::Network,
        GrpcResult::UnknownFailure
    )]
    #[case(
        Role::Client,
        Cause::ServerSilent,
        Initiator::ClientApp,
        GrpcResult::HandshakeTimeout
    )]
    #[case(
        Role::Server,
        Cause::CertificateExpired,
        Initiator::ClientApp,
        GrpcResult::CertificateExpired
    )]
    fn depends_on_who_ended_it(
        #[case] role: Role,
        #[case] cause: Cause,
        #[case] initiator: Initiator,
        #[case] expected: GrpcResult,
    ) {
        assert_eq!(failed(role, cause, initiator), Some(expected));
    }

    #[test]
    fn a_health_check_is_a_closed_connection_to_the_server() {
        let of = |outcome, phase| {
            GrpcResult::of(
                Role::Server,
                outcome,
                phase,
                Cause::None,
                Initiator::ClientApp,
            )
        };
        assert_eq!(
            of(Outcome::Aborted, Phase::Connected),
            Some(GrpcResult::PeerConnectionClosed)
        );
        assert_eq!(
            of(Outcome::Established, Phase::Established),
            Some(GrpcResult::Success)
        );
        assert_eq!(of(Outcome::Incomplete, Phase::ClientHello), None);
        assert_eq!(of(Outcome::Failed, Phase::Connect), None);
    }
}
