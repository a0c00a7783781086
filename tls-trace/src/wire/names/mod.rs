//! Names of the numbers of TLS as the IANA registries write them; an unknown number is shown in hex.

mod cipher_suites;

use std::borrow::Cow;

use cipher_suites::CIPHER_SUITES;

/// Name of a `ProtocolVersion`: `TLS 1.3`.
#[must_use]
pub fn version(number: u16) -> Cow<'static, str> {
    match number {
        0x0002 => "SSL 2.0".into(),
        0x0300 => "SSL 3.0".into(),
        0x0301 => "TLS 1.0".into(),
        0x0302 => "TLS 1.1".into(),
        0x0303 => "TLS 1.2".into(),
        0x0304 => "TLS 1.3".into(),
        0x7f0e..=0x7f1c => format!("TLS 1.3 draft {}", number & 0xff).into(),
        _ => hex16(number),
    }
}

/// Whether an application protocol is HTTP/2; `grpc-exp` is what gRPC called its own before.
#[must_use]
pub fn is_http2(protocol: &str) -> bool {
    matches!(protocol, "h2" | "grpc-exp")
}

/// Name of a `CipherSuite`: `TLS_AES_128_GCM_SHA256`.
#[must_use]
pub fn cipher_suite(number: u16) -> Cow<'static, str> {
    match CIPHER_SUITES.binary_search_by_key(&number, |(number, _)| *number) {
        Ok(index) => CIPHER_SUITES[index].1.into(),
        Err(_) => hex16(number),
    }
}

/// Name of a `NamedGroup`: `x25519`.
#[must_use]
pub fn group(number: u16) -> Cow<'static, str> {
    let name = match number {
        1 => "sect163k1",
        2 => "sect163r1",
        3 => "sect163r2",
        4 => "sect193r1",
        5 => "sect193r2",
        6 => "sect233k1",
        7 => "sect233r1",
        8 => "sect239k1",
        9 => "sect283k1",
        10 => "sect283r1",
        11 => "sect409k1",
        12 => "sect409r1",
        13 => "sect571k1",
        14 => "sect571r1",
        15 => "secp160k1",
        16 => "secp160r1",
        17 => "secp160r2",
        18 => "secp192k1",
        19 => "secp192r1",
        20 => "secp224k1",
        21 => "secp224r1",
        22 => "secp256k1",
        23 => "secp256r1",
        24 => "secp384r1",
        25 => "secp521r1",
        26 => "brainpoolP256r1",
        27 => "brainpoolP384r1",
        28 => "brainpoolP512r1",
        29 => "x25519",
        30 => "x448",
        31 => "brainpoolP256r1tls13",
        32 => "brainpoolP384r1tls13",
        33 => "brainpoolP512r1tls13",
        34 => "GC256A",
        35 => "GC256B",
        36 => "GC256C",
        37 => "GC256D",
        38 => "GC512A",
        39 => "GC512B",
        40 => "GC512C",
        41 => "curveSM2",
        0x0100 => "ffdhe2048",
        0x0101 => "ffdhe3072",
        0x0102 => "ffdhe4096",
        0x0103 => "ffdhe6144",
        0x0104 => "ffdhe8192",
        0x0200 => "MLKEM512",
        0x0201 => "MLKEM768",
        0x0202 => "MLKEM1024",
        0x11eb => "SecP256r1MLKEM768",
        0x11ec => "X25519MLKEM768",
        0x11ed => "SecP384r1MLKEM1024",
        0x11ee => "curveSM2MLKEM768",
        0x6399 => "X25519Kyber768Draft00",
        0x639a => "SecP256r1Kyber768Draft00",
        _ => return hex16(number),
    };
    name.into()
}

/// Name of an AlertDescription: `handshake_failure`.
#[must_use]
pub fn alert(number: u8) -> Cow<'static, str> {
    let name = match number {
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
        _ => return hex8(number),
    };
    name.into()
}

/// Name of a HandshakeType: `client_hello`.
#[must_use]
pub fn handshake(number: u8) -> Cow<'static, str> {
    let name = match number {
        0 => "hello_request",
        1 => "client_hello",
        2 => "server_hello",
        3 => "hello_verify_request",
        4 => "new_session_ticket",
        5 => "end_of_early_data",
        8 => "encrypted_extensions",
        11 => "certificate",
        12 => "server_key_exchange",
        13 => "certificate_request",
        14 => "server_hello_done",
        15 => "certificate_verify",
        16 => "client_key_exchange",
        20 => "finished",
        21 => "certificate_url",
        22 => "certificate_status",
        23 => "supplemental_data",
        24 => "key_update",
        25 => "compressed_certificate",
        254 => "message_hash",
        _ => return hex8(number),
    };
    name.into()
}

fn hex8(number: u8) -> Cow<'static, str> {
    format!("{number:#04x}").into()
}

fn hex16(number: u16) -> Cow<'static, str> {
    format!("{number:#06x}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cipher_suites_are_sorted_and_unique() {
        assert!(
            CIPHER_SUITES
                .iter()
                .map(|(number, _)| number)
                .is_sorted_by(|a, b| a < b)
        );
        assert_eq!(cipher_suite(0x1301), "TLS_AES_128_GCM_SHA256");
        assert_eq!(
            cipher_suite(0xc02f),
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
        );
        assert_eq!(cipher_suite(0x000a), "TLS_RSA_WITH_3DES_EDE_CBC_SHA");
    }

    #[test]
    fn unknown_numbers_are_shown_in_hex() {
        assert_eq!(version(0x0a0a), "0x0a0a");
        assert_eq!(cipher_suite(0x00fe), "0x00fe");
        assert_eq!(group(0x0000), "0x0000");
        assert_eq!(alert(255), "0xff");
        assert_eq!(handshake(9), "0x09");
    }

    #[test]
    fn common_numbers_have_names() {
        assert_eq!(version(0x0304), "TLS 1.3");
        assert_eq!(version(0x7f1c), "TLS 1.3 draft 28");
        assert_eq!(group(0x11ec), "X25519MLKEM768");
        assert_eq!(group(29), "x25519");
        assert_eq!(alert(48), "unknown_ca");
        assert_eq!(handshake(11), "certificate");
    }
}
