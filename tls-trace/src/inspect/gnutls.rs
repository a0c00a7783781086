//! GnuTLS 3.7 and later.

use super::{
    Elf, Error, Family, Library,
    accessor::{Accessor, Does},
    functions,
    layout::{self, Layouts},
    symbols::Symbols,
};

/// Functions worth a probe.
const HOOKS: [&str; 3] = ["gnutls_handshake", "gnutls_alert_send", "gnutls_deinit"];

/// lib/alert.c, lib/state.c, lib/session.c, lib/system_override.c.
const ACCESSORS: &[Accessor] = &[
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

/// `gnutls_session_int`. `session.handshake_flags` has `HSK_EARLY_DATA_IN_FLIGHT` and
/// `HSK_EARLY_DATA_ACCEPTED`.
const MEMBERS: Layouts = Layouts {
    members: &[
        ("session.alert", 4),
        ("session.verify_status", 4),
        ("session.recv_descriptor", 4),
        ("session.client_random", 1),
        ("session.server_random", 1),
        ("session.handshake_flags", 4),
    ],
    versions: &[(
        "3.7",
        &[&[0x194], &[0x8a4], &[0x600], &[0x50], &[0x70], &[0x7a8]],
    )],
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
