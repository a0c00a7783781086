//! What errors of GnuTLS mean, and its verdicts on certificates.

use crate::report::Cause;

/// `GNUTLS_E_CERTIFICATE_ERROR`: the application's check said no.
const CERTIFICATE_ERROR: u32 = 43;
/// `GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR`: the library's own check did.
const CERTIFICATE_VERIFICATION_ERROR: u32 = 348;

/// Bits of `gnutls_certificate_status_t` (lib/includes/gnutls/gnutls.h) from the one that says most to the
/// one that says least, their names and what they come down to.
const STATUS: [(u32, &str, Cause); 17] = [
    (5, "revoked", Cause::CertificateRevoked),
    (10, "expired", Cause::CertificateExpired),
    (9, "not_activated", Cause::CertificateExpired),
    (6, "signer_not_found", Cause::CertificateUnknownCa),
    (7, "signer_not_ca", Cause::CertificateUnknownCa),
    (14, "unexpected_owner", Cause::CertificateHostnameMismatch),
    (11, "signature_failure", Cause::CertificateUnknown),
    (8, "insecure_algorithm", Cause::CertificateUnknown),
    (16, "signer_constraints_failure", Cause::CertificateUnknown),
    (18, "purpose_mismatch", Cause::CertificateUnknown),
    (17, "mismatch", Cause::CertificateUnknown),
    (21, "unknown_crit_extensions", Cause::CertificateUnknown),
    (19, "missing_ocsp_status", Cause::CertificateUnknown),
    (20, "invalid_ocsp_status", Cause::CertificateUnknown),
    (12, "revocation_data_superseded", Cause::CertificateUnknown),
    (
        15,
        "revocation_data_issued_in_future",
        Cause::CertificateUnknown,
    ),
    (1, "invalid", Cause::CertificateUnknown),
];

/// What went wrong, as far as the number tells; `status` is what was found of the certificate.
pub(super) fn cause(reason: u32, status: Option<u32>) -> Option<Cause> {
    Some(match reason {
        8 => Cause::ProtocolVersion,
        CERTIFICATE_ERROR | CERTIFICATE_VERIFICATION_ERROR => {
            verify_cause(status.unwrap_or_default())
        }
        // no_certificate_found: of TLS 1.2, what certificate_required is of 1.3.
        49 | 112 => Cause::CertificateRequired,
        // unknown_cipher_suite, no_cipher_suites
        21 | 87 => Cause::NoSharedCipher,
        // ecc_no_supported_curves, no_common_key_share
        321 | 423 => Cause::NoSharedGroup,
        344 => Cause::NoApplicationProtocol,
        347 => Cause::InappropriateFallback,
        _ => return None,
    })
}

/// Whether the number is about a certificate.
pub(super) fn is_of_certificate(reason: u32) -> bool {
    matches!(reason, CERTIFICATE_ERROR | CERTIFICATE_VERIFICATION_ERROR)
}

/// The peer or the network ended it: an alert that follows is no decision of this end.
pub(super) fn is_of_transport(reason: u32) -> bool {
    // invalid_session, push_error, pull_error, premature_termination, timedout, session_eof
    matches!(reason, 10 | 53 | 54 | 110 | 319 | 328)
}

/// What a status comes down to.
pub(super) fn verify_cause(status: u32) -> Cause {
    set(status)
        .next()
        .map_or(Cause::CertificateUnknown, |(_, cause)| cause)
}

/// Names of the bits of a status that say most: `expired`.
pub(super) fn verify_name(status: u32) -> Option<String> {
    let invalid = "invalid";
    let mut names: Vec<_> = set(status).map(|(name, _)| name).collect();
    if names.len() > 1 {
        names.retain(|name| *name != invalid);
    }
    (!names.is_empty()).then(|| names.join(" "))
}

fn set(status: u32) -> impl Iterator<Item = (&'static str, Cause)> {
    let set = STATUS
        .into_iter()
        .filter(move |(bit, ..)| status & (1 << bit) != 0);
    set.map(|(_, name, cause)| (name, cause))
}

/// Name of an error without its prefix `GNUTLS_E_`, in lower case: `certificate_error`.
pub(super) fn name(reason: u32) -> Option<&'static str> {
    let index = REASONS.binary_search_by_key(&reason, |(number, _)| u32::from(*number));
    Some(REASONS[index.ok()?].1)
}

/// lib/includes/gnutls/gnutls.h, without those of formats and devices. Sorted by number.
const REASONS: &[(u16, &str)] = &[
    (3, "unknown_compression_algorithm"),
    (6, "unknown_cipher_type"),
    (7, "large_packet"),
    (8, "unsupported_version_packet"),
    (9, "unexpected_packet_length"),
    (10, "invalid_session"),
    (12, "fatal_alert_received"),
    (15, "unexpected_packet"),
    (16, "warning_alert_received"),
    (18, "error_in_finished_packet"),
    (19, "unexpected_handshake_packet"),
    (21, "unknown_cipher_suite"),
    (22, "unwanted_algorithm"),
    (23, "mpi_scan_failed"),
    (24, "decryption_failed"),
    (25, "memory_error"),
    (26, "decompression_failed"),
    (27, "compression_failed"),
    (28, "again"),
    (29, "expired"),
    (30, "db_error"),
    (32, "insufficient_credentials"),
    (33, "hash_failed"),
    (34, "base64_decoding_error"),
    (35, "mpi_print_failed"),
    (37, "rehandshake"),
    (38, "got_application_data"),
    (39, "record_limit_reached"),
    (40, "encryption_failed"),
    (43, "certificate_error"),
    (44, "pk_encryption_failed"),
    (45, "pk_decryption_failed"),
    (46, "pk_sign_failed"),
    (47, "x509_unsupported_critical_extension"),
    (48, "key_usage_violation"),
    (49, "no_certificate_found"),
    (50, "invalid_request"),
    (51, "short_memory_buffer"),
    (52, "interrupted"),
    (53, "push_error"),
    (54, "pull_error"),
    (55, "received_illegal_parameter"),
    (56, "requested_data_not_available"),
    (57, "pkcs1_wrong_pad"),
    (58, "received_illegal_extension"),
    (59, "internal_error"),
    (60, "certificate_key_mismatch"),
    (61, "unsupported_certificate_type"),
    (62, "x509_unknown_san"),
    (63, "dh_prime_unacceptable"),
    (64, "file_error"),
    (67, "asn1_element_not_found"),
    (68, "asn1_identifier_not_found"),
    (69, "asn1_der_error"),
    (70, "asn1_value_not_found"),
    (71, "asn1_generic_error"),
    (72, "asn1_value_not_valid"),
    (73, "asn1_tag_error"),
    (74, "asn1_tag_implicit"),
    (75, "asn1_type_any_error"),
    (76, "asn1_syntax_error"),
    (77, "asn1_der_overflow"),
    (78, "too_many_empty_packets"),
    (80, "unknown_pk_algorithm"),
    (81, "too_many_handshake_packets"),
    (82, "received_disallowed_name"),
    (84, "no_temporary_rsa_params"),
    (86, "no_compression_algorithms"),
    (87, "no_cipher_suites"),
    (89, "pk_sig_verify_failed"),
    (90, "illegal_srp_username"),
    (93, "no_temporary_dh_params"),
    (95, "x509_unsupported_attribute"),
    (96, "unknown_hash_algorithm"),
    (97, "unknown_pkcs_content_type"),
    (98, "unknown_pkcs_bag_type"),
    (99, "invalid_password"),
    (100, "mac_verify_failed"),
    (101, "constraint_error"),
    (104, "ia_verify_failed"),
    (105, "unknown_algorithm"),
    (106, "unsupported_signature_algorithm"),
    (107, "safe_renegotiation_failed"),
    (108, "unsafe_renegotiation_denied"),
    (109, "unknown_srp_username"),
    (110, "premature_termination"),
    (111, "malformed_cidr"),
    (112, "certificate_required"),
    (201, "base64_encoding_error"),
    (205, "x509_unsupported_oid"),
    (206, "random_failed"),
    (207, "base64_unexpected_header_error"),
    (209, "crypto_already_registered"),
    (210, "handshake_too_large"),
    (213, "channel_binding_not_available"),
    (214, "bad_cookie"),
    (216, "incompat_dsa_key_with_tls_protocol"),
    (217, "insufficient_security"),
    (292, "heartbeat_pong_received"),
    (293, "heartbeat_ping_received"),
    (294, "unrecognized_name"),
    (302, "parsing_error"),
    (306, "locking_error"),
    (318, "crypto_init_failed"),
    (319, "timedout"),
    (320, "user_error"),
    (321, "ecc_no_supported_curves"),
    (322, "ecc_unsupported_curve"),
    (324, "certificate_list_unsorted"),
    (325, "illegal_parameter"),
    (326, "no_priorities_were_set"),
    (327, "x509_unsupported_extension"),
    (328, "session_eof"),
    (340, "no_certificate_status"),
    (341, "ocsp_response_error"),
    (342, "random_device_error"),
    (343, "auth_error"),
    (344, "no_application_protocol"),
    (345, "sockets_init_error"),
    (346, "key_import_failed"),
    (347, "inappropriate_fallback"),
    (348, "certificate_verification_error"),
    (349, "privkey_verification_error"),
    (350, "unexpected_extensions_length"),
    (351, "asn1_embedded_null_in_string"),
    (400, "self_test_error"),
    (401, "no_self_test"),
    (402, "lib_in_error_state"),
    (403, "pk_generation_error"),
    (404, "idna_error"),
    (406, "session_user_id_changed"),
    (407, "handshake_during_false_start"),
    (408, "unavailable_during_handshake"),
    (409, "pk_invalid_pubkey"),
    (410, "pk_invalid_privkey"),
    (411, "not_yet_activated"),
    (412, "invalid_utf8_string"),
    (413, "no_embedded_data"),
    (414, "invalid_utf8_email"),
    (415, "invalid_password_string"),
    (416, "certificate_time_error"),
    (417, "record_overflow"),
    (418, "asn1_time_error"),
    (420, "pk_invalid_pubkey_params"),
    (421, "pk_no_validation_params"),
    (422, "ocsp_mismatch_with_certs"),
    (423, "no_common_key_share"),
    (424, "reauth_request"),
    (425, "too_many_matches"),
    (426, "crl_verification_error"),
    (427, "missing_extension"),
    (428, "db_entry_exists"),
    (429, "early_data_rejected"),
    (430, "x509_duplicate_extension"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sorted_and_found() {
        assert!(REASONS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(name(43), Some("certificate_error"));
        assert_eq!(name(344), Some("no_application_protocol"));
        assert_eq!(name(1), None);
    }

    #[test]
    fn the_bit_of_a_status_that_says_most_counts() {
        let expired = 1 << 10 | 1 << 1;
        assert_eq!(verify_name(expired).as_deref(), Some("expired"));
        assert_eq!(verify_cause(expired), Cause::CertificateExpired);
        let unknown = 1 << 6 | 1 << 1 | 1 << 14;
        let names = "signer_not_found unexpected_owner";
        assert_eq!(verify_name(unknown).as_deref(), Some(names));
        assert_eq!(cause(43, Some(unknown)), Some(Cause::CertificateUnknownCa));
        assert_eq!(verify_name(1 << 1).as_deref(), Some("invalid"));
        assert_eq!(verify_name(0), None);
        assert_eq!(cause(43, None), Some(Cause::CertificateUnknown));
    }
}
