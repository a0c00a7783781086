//! OpenSSL 1.1.1 to 4.0, shared or linked into a program. libssl and libcrypto are looked at apart:
//! they may be in one file or two.

mod accessors;
mod layouts;

use super::{Elf, Error, Family, Library, functions, layout, symbols::Symbols};

/// Functions of libssl that are worth a probe. `SSL_do_handshake` is behind `SSL_connect`,
/// `SSL_accept` and the early data functions; `SSL_clear` begins a handshake on every other way.
const SSL_HOOKS: [&str; 3] = ["SSL_do_handshake", "SSL_clear", "SSL_free"];

/// Functions of libcrypto that are worth a probe: all errors of 3.x pass the first, those of 1.1.1
/// the third; by the last two the state machine puts a buffer before the connection, and takes it away.
const CRYPTO_HOOKS: [&str; 5] = [
    "ERR_vset_error",
    "ERR_set_debug",
    "ERR_put_error",
    "BIO_push",
    "BIO_pop",
];

/// In every libssl, in no other library of that interface: BoringSSL and LibreSSL have `SSL_state`.
const SSL_SIGN: &str = "SSL_get_state";

/// The same for libcrypto: 3.x, then 1.1.1.
const CRYPTO_SIGNS: [&str; 2] = ["ERR_vset_error", "ERR_load_strings_const"];

/// Names to look for in symbol tables.
pub fn names() -> impl Iterator<Item = &'static str> {
    let hooks = SSL_HOOKS.into_iter().chain(CRYPTO_HOOKS);
    let signs = CRYPTO_SIGNS.into_iter().chain([SSL_SIGN]);
    hooks.chain(signs).chain(accessors::names())
}

/// The half that shakes hands.
///
/// # Errors
/// The file cannot be read.
pub fn ssl(elf: &Elf, symbols: &Symbols) -> Result<Option<Library>, Error> {
    if !symbols.has(SSL_SIGN) || !symbols.has("SSL_do_handshake") {
        return Ok(None);
    }
    let code = layout::ask(elf, symbols, accessors::SSL)?;
    let (version, mut members) = layouts::SSL.members(&code);
    for others in [layouts::SESSION, layouts::CIPHER] {
        members.extend(others.members(&code).1);
    }
    Ok(Some(Library {
        family: Family::OpensslSsl,
        version,
        hooks: functions::hooks(elf, symbols, SSL_HOOKS)?,
        members,
        itabs: Vec::new(),
    }))
}

/// The half that keeps errors and BIOs.
///
/// # Errors
/// The file cannot be read.
pub fn crypto(elf: &Elf, symbols: &Symbols) -> Result<Option<Library>, Error> {
    if !CRYPTO_SIGNS.iter().any(|sign| symbols.has(sign)) {
        return Ok(None);
    }
    let code = layout::ask(elf, symbols, accessors::CRYPTO)?;
    let (version, members) = layouts::BIO.members(&code);
    Ok(Some(Library {
        family: Family::OpensslCrypto,
        version,
        hooks: functions::hooks(elf, symbols, CRYPTO_HOOKS)?,
        members,
        itabs: Vec::new(),
    }))
}
