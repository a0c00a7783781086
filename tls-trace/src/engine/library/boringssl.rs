//! What errors of BoringSSL mean. Its numbers are not those of OpenSSL.

use crate::{
    engine::alert,
    report::{Cause, EarlyData, EarlyDataOutcome, EarlyDataReason},
};

/// `SSL_R_CERTIFICATE_VERIFY_FAILED`.
const CERTIFICATE_VERIFY_FAILED: u32 = 125;

/// What went wrong, as far as the number tells, and of certificates the alert that is sent for it.
pub(super) fn cause(reason: u32, alert_sent: Option<u8>) -> Option<Cause> {
    Some(match reason {
        CERTIFICATE_VERIFY_FAILED => alert_sent.map_or(Cause::CertificateUnknown, alert::cause),
        157 => Cause::InappropriateFallback,
        184 => Cause::NoSharedCipher,
        // no_certificates_returned, peer_did_not_return_a_certificate
        172 | 192 => Cause::CertificateRequired,
        // unknown_protocol, unsupported_protocol, wrong_ssl_version
        233 | 240 | 246 => Cause::ProtocolVersion,
        266 => Cause::NoSharedGroup,
        307 => Cause::NoApplicationProtocol,
        // too_much_skipped_early_data, too_much_read_early_data
        TOO_MUCH_SKIPPED | TOO_MUCH_READ => Cause::UnexpectedMessage,
        _ => return None,
    })
}

const TOO_MUCH_SKIPPED: u32 = 270;
const TOO_MUCH_READ: u32 = 300;

/// Early data that ended the connection.
pub(super) fn early_data_aborted(reason: u32) -> Option<EarlyDataReason> {
    matches!(reason, TOO_MUCH_SKIPPED | TOO_MUCH_READ).then_some(EarlyDataReason::TooMuchData)
}

/// What became of early data that was offered; `None` before that is decided. `ssl_early_data_reason_t` of
/// include/openssl/ssl.h.
pub(super) fn early_data(stated: u32, server: Option<bool>) -> Option<EarlyData> {
    let reason = match stated {
        0 => return None,
        2 => {
            return Some(EarlyData {
                outcome: EarlyDataOutcome::Accepted,
                reason: None,
            });
        }
        // disabled; a client that does not want it does not offer it.
        1 => server
            .filter(|server| *server)
            .map(|_| EarlyDataReason::ServerPolicy),
        3 => Some(EarlyDataReason::ProtocolVersion),
        // no_session_offered (that the server can read), session_not_resumed
        5 | 6 => Some(EarlyDataReason::PskNotAccepted),
        7 => Some(EarlyDataReason::UnsuitableSession),
        8 => Some(EarlyDataReason::HelloRetryRequest),
        9 => Some(EarlyDataReason::AlpnMismatch),
        12 => Some(EarlyDataReason::TicketAge),
        // peer_declined says no more than that; channel_id, quic_parameter_mismatch, alps_mismatch.
        _ => None,
    };
    Some(EarlyData {
        outcome: EarlyDataOutcome::Rejected,
        reason,
    })
}

/// Name of a reason without its prefix `SSL_R_`, in lower case: `certificate_verify_failed`.
pub(super) fn name(reason: u32) -> Option<&'static str> {
    let index = REASONS.binary_search_by_key(&reason, |(number, _)| u32::from(*number));
    Some(REASONS[index.ok()?].1)
}

/// include/openssl/ssl.h. Sorted by number.
const REASONS: &[(u16, &str)] = &[
    (100, "app_data_in_handshake"),
    (101, "attempt_to_reuse_session_in_different_context"),
    (102, "bad_alert"),
    (103, "bad_change_cipher_spec"),
    (104, "bad_data_returned_by_callback"),
    (105, "bad_dh_p_length"),
    (106, "bad_digest_length"),
    (107, "bad_ecc_cert"),
    (108, "bad_ecpoint"),
    (109, "bad_handshake_record"),
    (110, "bad_hello_request"),
    (111, "bad_length"),
    (112, "bad_packet_length"),
    (113, "bad_rsa_encrypt"),
    (114, "bad_signature"),
    (115, "bad_srtp_mki_value"),
    (116, "bad_srtp_protection_profile_list"),
    (117, "bad_ssl_filetype"),
    (118, "bad_write_retry"),
    (119, "bio_not_set"),
    (120, "bn_lib"),
    (121, "buffer_too_small"),
    (122, "ca_dn_length_mismatch"),
    (123, "ca_dn_too_long"),
    (124, "ccs_received_early"),
    (125, "certificate_verify_failed"),
    (126, "cert_cb_error"),
    (127, "cert_length_mismatch"),
    (128, "channel_id_not_p256"),
    (129, "channel_id_signature_invalid"),
    (130, "cipher_or_hash_unavailable"),
    (131, "clienthello_parse_failed"),
    (132, "clienthello_tlsext"),
    (133, "connection_rejected"),
    (134, "connection_type_not_set"),
    (135, "custom_extension_error"),
    (136, "data_length_too_long"),
    (137, "decode_error"),
    (138, "decryption_failed"),
    (139, "decryption_failed_or_bad_record_mac"),
    (140, "dh_public_value_length_is_wrong"),
    (141, "dh_p_too_long"),
    (142, "digest_check_failed"),
    (143, "dtls_message_too_big"),
    (144, "ecc_cert_not_for_signing"),
    (145, "ems_state_inconsistent"),
    (146, "encrypted_length_too_long"),
    (147, "error_adding_extension"),
    (148, "error_in_received_cipher_list"),
    (149, "error_parsing_extension"),
    (150, "excessive_message_size"),
    (151, "extra_data_in_message"),
    (152, "fragment_mismatch"),
    (153, "got_next_proto_without_extension"),
    (154, "handshake_failure_on_client_hello"),
    (155, "https_proxy_request"),
    (156, "http_request"),
    (157, "inappropriate_fallback"),
    (158, "invalid_command"),
    (159, "invalid_message"),
    (160, "invalid_ssl_session"),
    (161, "invalid_ticket_keys_length"),
    (162, "length_mismatch"),
    (164, "missing_extension"),
    (165, "missing_rsa_certificate"),
    (166, "missing_tmp_dh_key"),
    (167, "missing_tmp_ecdh_key"),
    (168, "mixed_special_operator_with_groups"),
    (169, "mtu_too_small"),
    (170, "negotiated_both_npn_and_alpn"),
    (171, "nested_group"),
    (172, "no_certificates_returned"),
    (173, "no_certificate_assigned"),
    (174, "no_certificate_set"),
    (175, "no_ciphers_available"),
    (176, "no_ciphers_passed"),
    (177, "no_cipher_match"),
    (178, "no_compression_specified"),
    (179, "no_method_specified"),
    (181, "no_private_key_assigned"),
    (182, "no_renegotiation"),
    (183, "no_required_digest"),
    (184, "no_shared_cipher"),
    (185, "null_ssl_ctx"),
    (186, "null_ssl_method_passed"),
    (187, "old_session_cipher_not_returned"),
    (188, "old_session_version_not_returned"),
    (189, "output_aliases_input"),
    (190, "parse_tlsext"),
    (191, "path_too_long"),
    (192, "peer_did_not_return_a_certificate"),
    (193, "peer_error_unsupported_certificate_type"),
    (194, "protocol_is_shutdown"),
    (195, "psk_identity_not_found"),
    (196, "psk_no_client_cb"),
    (197, "psk_no_server_cb"),
    (198, "read_timeout_expired"),
    (199, "record_length_mismatch"),
    (200, "record_too_large"),
    (201, "renegotiation_encoding_err"),
    (202, "renegotiation_mismatch"),
    (203, "required_cipher_missing"),
    (204, "resumed_ems_session_without_ems_extension"),
    (205, "resumed_non_ems_session_with_ems_extension"),
    (206, "scsv_received_when_renegotiating"),
    (207, "serverhello_tlsext"),
    (208, "session_id_context_uninitialized"),
    (209, "session_may_not_be_created"),
    (210, "signature_algorithms_extension_sent_by_server"),
    (211, "srtp_could_not_allocate_profiles"),
    (212, "srtp_unknown_protection_profile"),
    (213, "ssl3_ext_invalid_servername"),
    (214, "ssl_ctx_has_no_default_ssl_version"),
    (215, "ssl_handshake_failure"),
    (216, "ssl_session_id_context_too_long"),
    (217, "tls_peer_did_not_respond_with_certificate_list"),
    (218, "tls_rsa_encrypted_value_length_is_wrong"),
    (219, "too_many_empty_fragments"),
    (220, "too_many_warning_alerts"),
    (221, "unable_to_find_ecdh_parameters"),
    (222, "unexpected_extension"),
    (223, "unexpected_message"),
    (224, "unexpected_operator_in_group"),
    (225, "unexpected_record"),
    (226, "uninitialized"),
    (227, "unknown_alert_type"),
    (228, "unknown_certificate_type"),
    (229, "unknown_cipher_returned"),
    (230, "unknown_cipher_type"),
    (231, "unknown_digest"),
    (232, "unknown_key_exchange_type"),
    (233, "unknown_protocol"),
    (234, "unknown_ssl_version"),
    (235, "unknown_state"),
    (236, "unsafe_legacy_renegotiation_disabled"),
    (237, "unsupported_cipher"),
    (238, "unsupported_compression_algorithm"),
    (239, "unsupported_elliptic_curve"),
    (240, "unsupported_protocol"),
    (241, "wrong_certificate_type"),
    (242, "wrong_cipher_returned"),
    (243, "wrong_curve"),
    (244, "wrong_message_type"),
    (245, "wrong_signature_type"),
    (246, "wrong_ssl_version"),
    (247, "wrong_version_number"),
    (248, "x509_lib"),
    (249, "x509_verification_setup_problems"),
    (250, "shutdown_while_in_init"),
    (251, "invalid_outer_record_type"),
    (252, "unsupported_protocol_for_custom_key"),
    (253, "no_common_signature_algorithms"),
    (254, "downgrade_detected"),
    (255, "excess_handshake_data"),
    (256, "invalid_compression_list"),
    (257, "duplicate_extension"),
    (258, "missing_key_share"),
    (259, "invalid_alpn_protocol"),
    (260, "too_many_key_updates"),
    (261, "block_cipher_pad_is_wrong"),
    (262, "no_ciphers_specified"),
    (263, "renegotiation_ems_mismatch"),
    (264, "duplicate_key_share"),
    (265, "no_groups_specified"),
    (266, "no_shared_group"),
    (267, "pre_shared_key_must_be_last"),
    (268, "old_session_prf_hash_mismatch"),
    (269, "invalid_sct_list"),
    (270, "too_much_skipped_early_data"),
    (271, "psk_identity_binder_count_mismatch"),
    (272, "cannot_parse_leaf_cert"),
    (273, "server_cert_changed"),
    (274, "certificate_and_private_key_mismatch"),
    (275, "cannot_have_both_privkey_and_method"),
    (276, "ticket_encryption_failed"),
    (277, "alpn_mismatch_on_early_data"),
    (278, "wrong_version_on_early_data"),
    (279, "unexpected_extension_on_early_data"),
    (280, "no_supported_versions_enabled"),
    (282, "empty_hello_retry_request"),
    (283, "early_data_not_in_use"),
    (284, "handshake_not_complete"),
    (285, "negotiated_tb_without_ems_or_ri"),
    (286, "server_echoed_invalid_session_id"),
    (287, "private_key_operation_failed"),
    (288, "second_serverhello_version_mismatch"),
    (289, "ocsp_cb_error"),
    (290, "ssl_session_id_too_long"),
    (291, "application_data_on_shutdown"),
    (292, "cert_decompression_failed"),
    (293, "uncompressed_cert_too_large"),
    (294, "unknown_cert_compression_alg"),
    (295, "invalid_signature_algorithm"),
    (296, "duplicate_signature_algorithm"),
    (297, "tls13_downgrade"),
    (298, "quic_internal_error"),
    (299, "wrong_encryption_level_received"),
    (300, "too_much_read_early_data"),
    (301, "invalid_delegated_credential"),
    (302, "key_usage_bit_incorrect"),
    (303, "inconsistent_client_hello"),
    (304, "cipher_mismatch_on_early_data"),
    (305, "quic_transport_parameters_misconfigured"),
    (306, "unexpected_compatibility_mode"),
    (307, "no_application_protocol"),
    (308, "negotiated_alps_without_alpn"),
    (309, "alps_mismatch_on_early_data"),
    (310, "ech_server_config_and_private_key_mismatch"),
    (311, "ech_server_config_unsupported_extension"),
    (312, "unsupported_ech_server_config"),
    (313, "ech_server_would_have_no_retry_configs"),
    (314, "invalid_client_hello_inner"),
    (315, "invalid_alpn_protocol_list"),
    (316, "could_not_parse_hints"),
    (317, "invalid_ech_public_name"),
    (318, "invalid_ech_config_list"),
    (319, "ech_rejected"),
    (320, "invalid_outer_extension"),
    (321, "inconsistent_ech_negotiation"),
    (322, "invalid_alps_codepoint"),
    (323, "no_matching_issuer"),
    (324, "invalid_spake2plusv1_value"),
    (325, "pake_exhausted"),
    (326, "peer_pake_mismatch"),
    (327, "unsupported_credential_list"),
    (328, "invalid_trust_anchor_list"),
    (329, "invalid_certificate_property_list"),
    (330, "duplicate_group"),
    (331, "invalid_psk_for_connection"),
    (332, "no_supported_psk_mode"),
    (333, "invalid_cert_types_list"),
    (334, "unsupported_certificate"),
    (335, "missing_key"),
    (336, "invalid_raw_public_key"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sorted_and_found() {
        assert!(REASONS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(name(125), Some("certificate_verify_failed"));
        assert_eq!(name(307), Some("no_application_protocol"));
        assert_eq!(name(99), None);
    }

    #[test]
    fn early_data_is_pending_until_a_reason_is_stated() {
        assert_eq!(early_data(0, Some(false)), None);
        let accepted = early_data(2, None).expect("decided");
        assert_eq!(accepted.outcome, EarlyDataOutcome::Accepted);
        let disabled = early_data(1, Some(true)).expect("decided");
        assert_eq!(disabled.reason, Some(EarlyDataReason::ServerPolicy));
        let unknown = early_data(99, Some(true)).expect("decided");
        assert_eq!(unknown.outcome, EarlyDataOutcome::Rejected);
        assert_eq!(unknown.reason, None);
    }
}
