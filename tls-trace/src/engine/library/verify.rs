//! Results of certificate verification (include/openssl/x509_vfy.h).

use crate::report::Cause;

/// `X509_V_OK`.
pub(super) const OK: u32 = 0;

/// Name of an `X509_V_ERR_` code without its prefix, in lower case: `cert_has_expired`.
pub(super) fn name(code: u32) -> Option<&'static str> {
    Some(match code {
        OK => "ok",
        1 => "unspecified",
        2 => "unable_to_get_issuer_cert",
        3 => "unable_to_get_crl",
        4 => "unable_to_decrypt_cert_signature",
        5 => "unable_to_decrypt_crl_signature",
        6 => "unable_to_decode_issuer_public_key",
        7 => "cert_signature_failure",
        8 => "crl_signature_failure",
        9 => "cert_not_yet_valid",
        10 => "cert_has_expired",
        11 => "crl_not_yet_valid",
        12 => "crl_has_expired",
        13 => "error_in_cert_not_before_field",
        14 => "error_in_cert_not_after_field",
        17 => "out_of_mem",
        18 => "depth_zero_self_signed_cert",
        19 => "self_signed_cert_in_chain",
        20 => "unable_to_get_issuer_cert_locally",
        21 => "unable_to_verify_leaf_signature",
        22 => "cert_chain_too_long",
        23 => "cert_revoked",
        24 => "no_issuer_public_key",
        25 => "path_length_exceeded",
        26 => "invalid_purpose",
        27 => "cert_untrusted",
        28 => "cert_rejected",
        29 => "subject_issuer_mismatch",
        30 => "akid_skid_mismatch",
        31 => "akid_issuer_serial_mismatch",
        32 => "keyusage_no_certsign",
        34 => "unhandled_critical_extension",
        50 => "application_verification",
        62 => "hostname_mismatch",
        63 => "email_mismatch",
        64 => "ip_address_mismatch",
        65 => "dane_no_match",
        66 => "ee_key_too_small",
        67 => "ca_key_too_small",
        68 => "ca_md_too_weak",
        _ => return None,
    })
}

/// What a failed verification comes down to.
pub(super) fn cause(code: u32) -> Cause {
    match code {
        // RFC 8446 §6.2, certificate_expired: expired or not currently valid.
        9 | 10 => Cause::CertificateExpired,
        2 | 18..=21 | 24 | 27 => Cause::CertificateUnknownCa,
        23 => Cause::CertificateRevoked,
        62..=64 => Cause::CertificateHostnameMismatch,
        _ => Cause::CertificateUnknown,
    }
}
