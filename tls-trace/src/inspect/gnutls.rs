//! GnuTLS 3.7 and later.

use super::{
    Elf, Error, Family, Library,
    accessor::{Accessor, Does},
    functions,
    layout::{self, Layouts},
    symbols::Symbols,
};

/// Functions worth a probe.
const HOOKS: [&str; 4] = [
    "gnutls_handshake",
    "gnutls_alert_send",
    "gnutls_certificate_verify_peers",
    "gnutls_deinit",
];

/// lib/alert.c, lib/auth.c, lib/state.c, lib/session.c, lib/system_override.c.
const ACCESSORS: &[Accessor] = &[
    Accessor::new(
        "session.entity",
        "gnutls_auth_get_type",
        Does::ReadsWith(&[]),
    ),
    Accessor::returns("session.version", "gnutls_protocol_get_version"),
    Accessor::new(
        "session.extensions",
        "gnutls_ext_get_name2",
        Does::ReadsPointer,
    ),
    Accessor::returns("session.resumed", "gnutls_session_is_resumed"),
    Accessor::returns("session.alert", "gnutls_alert_get"),
    Accessor::returns(
        "session.verify_status",
        "gnutls_session_get_verify_cert_status",
    ),
    Accessor::returns("session.recv_descriptor", "gnutls_transport_get_int"),
    Accessor::new(
        "session.client_random",
        "gnutls_session_get_random",
        Does::Points(1),
    ),
    Accessor::new(
        "session.server_random",
        "gnutls_session_get_random",
        Does::Points(2),
    ),
];

/// `gnutls_session_int`. `session.entity` is `GNUTLS_SERVER` (1) or `GNUTLS_CLIENT` (2); `session.version` a
/// `gnutls_protocol_t`; `session.handshake_flags` has `HSK_EARLY_DATA_IN_FLIGHT` and `HSK_EARLY_DATA_ACCEPTED`.
/// What ALPN selected is in the extension's private data, which accessors ask another function for; the table of
/// these follows `session.extensions`, `internals.rexts` and its size.
// A few rows for a layout instead of a line for a member.
#[rustfmt::skip]
const MEMBERS: Layouts = Layouts {
    members: &[
        ("session.entity", 4),
        ("session.version", 4),
        ("session.extensions", 8),
        ("session.resumed", 1),
        ("session.alert", 4),
        ("session.verify_status", 4),
        ("session.recv_descriptor", 4),
        ("session.client_random", 1),
        ("session.server_random", 1),
        ("session.handshake_flags", 4),
        ("session.alpn_selected", 8),
        ("session.alpn_selected_len", 4),
    ],
    versions: &[
        ("3.7.1", &[
            &[0x0], &[0xf8, 0x8], &[0xa00], &[0x1b0], &[0x194], &[0x8a4], &[0x600], &[0x50], &[0x70], &[0x7a8],
            &[0xb00, 0x128], &[0xb00, 0x130],
        ]),
        ("3.7.9 to 3.8.9", &[
            &[0x0], &[0xf8, 0x8], &[0x988], &[0x1b0], &[0x194], &[0x8a4], &[0x600], &[0x50], &[0x70], &[0x7a8],
            &[0xa88, 0x128], &[0xa88, 0x130],
        ]),
    ],
    witnesses: 4,
};

/// Names to look for in symbol tables.
pub fn names() -> impl Iterator<Item = &'static str> {
    let accessors = ACCESSORS.iter().map(|accessor| accessor.function);
    HOOKS.into_iter().chain(accessors)
}

/// The library.
///
/// # Errors
/// The file cannot be read.
pub fn find(elf: &Elf, symbols: &Symbols) -> Result<Option<Library>, Error> {
    if !HOOKS.iter().all(|hook| symbols.has(hook)) {
        return Ok(None);
    }
    let code = layout::ask(elf, symbols, ACCESSORS)?;
    let (version, members) = MEMBERS.members(&code);
    Ok(Some(Library {
        family: Family::Gnutls,
        version,
        hooks: functions::hooks(elf, symbols, HOOKS)?,
        members,
        itabs: Vec::new(),
    }))
}
