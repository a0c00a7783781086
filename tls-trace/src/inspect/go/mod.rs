//! Go's crypto/tls, 1.17 and later, stripped or not: Go programs carry their function table
//! (`.gopclntab`) and their types for their own use at run time, and these cannot be stripped.

mod build;
mod functions;
mod http2;
mod layouts;
mod types;

use std::collections::BTreeMap;

use super::{
    Architecture, Elf, Error, Family, Finding, Hook, Library, Member, Offsets, functions::place,
    layout::Code, symbols::Names,
};
use build::Version;

pub use types::Itab;

/// Functions worth a probe: where they return, never by a return probe, which moves return addresses
/// that Go's runtime looks at.
const HOOKS: [(&str, &str); 6] = [
    ("clientHandshake", "crypto/tls.(*Conn).clientHandshake"),
    ("serverHandshake", "crypto/tls.(*Conn).serverHandshake"),
    ("sendAlertLocked", "crypto/tls.(*Conn).sendAlertLocked"),
    // Entered with the ClientHello at hand.
    ("loadSession", "crypto/tls.(*Conn).loadSession"),
    (
        "serverHandshakeState.handshake",
        "crypto/tls.(*serverHandshakeState).handshake",
    ),
    (
        "serverHandshakeStateTLS13.handshake",
        "crypto/tls.(*serverHandshakeStateTLS13).handshake",
    ),
];

/// Entry points of programs that Go's own linker made, by which the function table is checked.
pub(super) const ENTRIES: [&str; 2] = ["_rt0_amd64_linux", "_rt0_arm64_linux"];

/// Names to look for in function tables.
pub fn names() -> impl Iterator<Item = &'static str> {
    let names = HOOKS.into_iter().map(|(_, name)| name);
    names.chain(http2::names()).chain(ENTRIES)
}

/// The library, where a program has it.
///
/// # Errors
/// The file cannot be read, or its tables are malformed.
pub fn find(elf: &Elf, names: &Names) -> Result<Option<Library>, Error> {
    let Some(functions) = functions::find(elf, names)? else {
        return Ok(None);
    };
    let hook = |(name, symbol)| -> Result<Hook, Error> {
        let place = functions.get(symbol).map(|function| place(elf, *function));
        let place = place.transpose()?.flatten();
        Ok(Hook { name, place })
    };
    let mut hooks: Vec<_> = HOOKS.into_iter().map(hook).collect::<Result<_, _>>()?;
    if hooks.iter().all(|hook| hook.place.is_none()) {
        return Ok(None);
    }
    // Most programs have none of these, and none has all.
    for name in http2::names() {
        let hook = hook((name, name))?;
        if hook.place.is_some() {
            hooks.push(hook);
        }
    }
    let version = build::version(elf)?;
    // A type that cannot be read is one that says nothing.
    let types = types::Types::find(elf);
    let types_ref = types.as_ref();
    let code = types_ref.map(types::Types::members).unwrap_or_default();
    let values = types_ref.map(types::Types::values).unwrap_or_default();
    let itabs = types.as_ref().map(types::Types::itabs).unwrap_or_default();
    let mut members = members(version.as_ref(), &code);
    members.extend(layouts::VALUES.members(&values).1);
    members.extend(types_ref.and_then(types::Types::transport));
    let mut library = Library {
        family: Family::Go,
        version: version.as_ref().map(|version| version.text.clone()),
        hooks,
        members,
        itabs,
    };
    if let Some(reason) = unsupported(elf, version.as_ref()) {
        library.withdraw(reason);
    }
    Ok(Some(library))
}

/// Where arguments are on the stack, not in registers, or may be.
fn unsupported(elf: &Elf, version: Option<&Version>) -> Option<&'static str> {
    let Some(minor) = version.map(|version| version.minor) else {
        return Some("the version of Go is not known, and with it how arguments are passed");
    };
    let in_registers_from = match elf.architecture {
        Architecture::X86_64 => 17,
        Architecture::Aarch64 => 18,
    };
    (minor < in_registers_from).then_some("this Go passes arguments on the stack")
}

/// Of types where there are any, compared with the table; else of the table, by version.
fn members(version: Option<&Version>, code: &Code) -> Vec<Member> {
    if !code.is_empty() {
        return layouts::CONN.members(code).1;
    }
    let known: BTreeMap<_, Offsets> = version
        .and_then(|version| layouts::CONN.of(layouts::column(version.minor)?))
        .unwrap_or_default();
    let finding = |name| match known.get(name) {
        Some(offsets) => Finding::Table(offsets.clone()),
        None => Finding::Unavailable {
            reason: "no types in the file, and not in the table for this version".to_owned(),
        },
    };
    let members = layouts::CONN.members.iter();
    let members = members.map(|&(name, _)| Member {
        name,
        finding: finding(name),
    });
    members.collect()
}
