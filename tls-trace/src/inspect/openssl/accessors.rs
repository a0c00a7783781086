//! Functions of OpenSSL's interface that tell where a member is.

use super::super::accessor::{Accessor, Does};

/// Accessors of libssl (ssl/ssl_lib.c, ssl/statem/statem.c, ssl/ssl_sess.c, ssl/ssl_ciph.c).
pub const SSL: &[Accessor] = &[
    Accessor::returns("ssl.version", "SSL_version"),
    Accessor::returns("ssl.rbio", "SSL_get_rbio"),
    Accessor::returns("ssl.server", "SSL_is_server"),
    Accessor::returns("ssl.shutdown", "SSL_get_shutdown"),
    Accessor::new(
        "ssl.state",
        "SSL_in_before",
        Does::ReadsWith(&["SSL_get_state"]),
    ),
    Accessor::returns("ssl.hand_state", "SSL_get_state"),
    Accessor::returns("ssl.in_init", "SSL_in_init"),
    Accessor::returns("ssl.hit", "SSL_session_reused"),
    Accessor::returns("ssl.session", "SSL_get_session"),
    Accessor::returns("ssl.verify_result", "SSL_get_verify_result"),
    Accessor::returns("ssl.early_data", "SSL_get_early_data_status"),
    Accessor::new("ssl.alpn_len", "SSL_set_alpn_protos", Does::Sets(2)),
    Accessor::new(
        "ssl.alpn_selected",
        "SSL_get0_alpn_selected",
        Does::Writes(1),
    ),
    Accessor::new(
        "ssl.alpn_selected_len",
        "SSL_get0_alpn_selected",
        Does::Writes(2),
    ),
    Accessor::new(
        "ssl.client_random",
        "SSL_get_client_random",
        Does::Copies(1),
    ),
    Accessor::new(
        "ssl.server_random",
        "SSL_get_server_random",
        Does::Copies(1),
    ),
    Accessor::returns("session.version", "SSL_SESSION_get_protocol_version"),
    Accessor::returns("session.cipher", "SSL_SESSION_get0_cipher"),
    Accessor::returns("session.max_early_data", "SSL_SESSION_get_max_early_data"),
    Accessor::returns("cipher.id", "SSL_CIPHER_get_id"),
];

/// Accessors of libcrypto (crypto/bio/bio_lib.c).
pub const CRYPTO: &[Accessor] = &[
    Accessor::returns("bio.type", "BIO_method_type"),
    Accessor::returns("bio.init", "BIO_get_init"),
    Accessor::returns("bio.ptr", "BIO_get_data"),
    Accessor::returns("bio.next", "BIO_next"),
];

/// Names of all accessors.
pub fn names() -> impl Iterator<Item = &'static str> {
    SSL.iter().chain(CRYPTO).map(|accessor| accessor.function)
}
