//! BoringSSL, where its symbols were left in: it is always linked into a program.

use super::{
    Elf, Error, Family, Hook, Library,
    accessor::{Accessor, Does},
    functions,
    layout::{self, Layouts},
    symbols::Symbols,
};

/// Functions worth a probe, and their symbols: those of C++ by how their mangled names begin. Alerts
/// are sent through either of two, which compilers merge one into the other as they like.
/// `tls_free` ends a connection where inlining removed `SSL_free`.
const HOOKS: [(&str, &str); 7] = [
    ("SSL_do_handshake", "SSL_do_handshake"),
    ("SSL_free", "SSL_free"),
    ("ERR_put_error", "ERR_put_error"),
    ("ssl_send_alert", "_ZN4bssl14ssl_send_alertE*"),
    ("ssl_send_alert_impl", "_ZN4bssl19ssl_send_alert_implE*"),
    ("ssl_process_alert", "_ZN4bssl17ssl_process_alertE*"),
    ("tls_free", "_ZN4bssl8tls_freeE*"),
];

/// In no OpenSSL.
const SIGNS: [&str; 3] = [
    "SSL_get_early_data_reason",
    "_ZN4bssl14ssl_send_alertE*",
    "_ZN4bssl19ssl_send_alert_implE*",
];

/// ssl/ssl_lib.cc, ssl/ssl_x509.cc.
const ACCESSORS: &[Accessor] = &[
    Accessor::returns("ssl.rbio", "SSL_get_rbio"),
    Accessor::returns("ssl.server", "SSL_is_server"),
    Accessor::returns("ssl.early_data_accepted", "SSL_early_data_accepted"),
    Accessor::returns("ssl.early_data_reason", "SSL_get_early_data_reason"),
    Accessor::new(
        "ssl.alpn_selected",
        "SSL_get0_alpn_selected",
        Does::WritesNearest(1),
    ),
    Accessor::new(
        "ssl.alpn_selected_len",
        "SSL_get0_alpn_selected",
        Does::WritesNearest(2),
    ),
    Accessor::new(
        "ssl.client_random",
        "SSL_get_client_random",
        Does::Copies(1),
    ),
];

/// There are no releases, and any commit may move everything.
const MEMBERS: Layouts = Layouts {
    members: &[
        ("ssl.rbio", 8),
        ("ssl.server", 1),
        ("ssl.early_data_accepted", 4),
        ("ssl.early_data_reason", 4),
        ("ssl.alpn_selected", 8),
        ("ssl.alpn_selected_len", 8),
        ("ssl.client_random", 1),
    ],
    versions: &[],
    witnesses: 1,
};

/// Names to look for in symbol tables.
pub fn names() -> impl Iterator<Item = &'static str> {
    let hooks = HOOKS.into_iter().map(|(_, symbol)| symbol);
    let accessors = ACCESSORS.iter().map(|accessor| accessor.function);
    hooks.chain(SIGNS).chain(accessors)
}

/// The library.
///
/// # Errors
/// The file cannot be read.
pub fn find(elf: &Elf, symbols: &Symbols) -> Result<Option<Library>, Error> {
    if !SIGNS.iter().any(|sign| symbols.has(sign)) || !symbols.has("SSL_do_handshake") {
        return Ok(None);
    }
    let hooks = HOOKS.into_iter();
    let hooks = hooks.map(|(name, symbol)| functions::hook(elf, symbols, name, symbol));
    let hooks: Vec<Hook> = hooks.collect::<Result<_, _>>()?;
    let code = layout::ask(elf, symbols, ACCESSORS)?;
    let (_, members) = MEMBERS.members(&code);
    Ok(Some(Library {
        family: Family::Boringssl,
        version: None,
        hooks,
        members,
        itabs: Vec::new(),
    }))
}
