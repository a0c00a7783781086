//! What an ELF file says about the TLS library inside: which functions can be probed and where, and
//! at which offsets its structs keep what is worth reading. Everything is found in the content of
//! the file, nothing is guessed from its path or from a version: what cannot be found twice, or
//! found once and contradicted, is unavailable, and says so.
//!
//! Files come from strangers (any process in any container): each read is bounded, each table may
//! lie. See `docs/inspect.md`.

mod accessor;
mod boringssl;
mod coverage;
mod deadline;
mod decode;
mod elf;
mod functions;
mod gnutls;
mod go;
mod layout;
mod openssl;
mod read;
pub mod stripped;
mod symbolic;
mod symbols;
#[cfg(test)]
mod tests;

use std::fs::File;

use serde::Serialize;

pub use self::{
    coverage::{Coverage, Reason},
    elf::{Architecture, Elf},
    go::Itab,
    read::{Limits, ReadAt, Reader},
};
use self::{
    stripped::Stripped,
    symbols::{Names, Symbols},
};

/// Why a file cannot be inspected, or not further.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not an ELF file.
    #[error("not an ELF file")]
    NotElf,
    /// Of a kind that is not handled.
    #[error("an ELF file, but not for x86-64 or aarch64")]
    Unsupported,
    /// Something it says is there is not.
    #[error("cut short")]
    Truncated,
    /// It contradicts itself.
    #[error("malformed")]
    Malformed,
    /// A part of it is larger than any real one.
    #[error("absurdly large")]
    TooLarge,
    /// It takes more bytes or time than it may.
    #[error("too much to read")]
    Budget,
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(std::io::Error),
}

impl Error {
    /// Stable label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NotElf => "not_elf",
            Self::Unsupported => "unsupported",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Budget => "budget",
            Self::Io(_) => "io",
        }
    }
}

/// What a file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// Processor it is for.
    pub architecture: Architecture,
    /// GNU build id, in hexadecimal.
    pub build_id: Option<String>,
    /// TLS libraries found in it.
    pub libraries: Vec<Library>,
    /// BoringSSL or OpenSSL, found without symbols.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stripped: Option<Stripped>,
    /// Whether probes in it explain its connections.
    #[serde(flatten)]
    pub coverage: Coverage,
}

/// A family of TLS libraries: the same functions, the same structs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// OpenSSL's libssl: the handshake.
    OpensslSsl,
    /// OpenSSL's libcrypto: the error queue and BIOs.
    OpensslCrypto,
    /// BoringSSL.
    Boringssl,
    /// GnuTLS.
    Gnutls,
    /// Go's crypto/tls.
    Go,
}

impl Family {
    /// Stable label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::OpensslSsl => "openssl_ssl",
            Self::OpensslCrypto => "openssl_crypto",
            Self::Boringssl => "boringssl",
            Self::Gnutls => "gnutls",
            Self::Go => "go",
        }
    }
}

/// A TLS library, or one half of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Library {
    /// Which.
    pub family: Family,
    /// What is known of its version.
    pub version: Option<String>,
    /// Functions worth a probe.
    pub hooks: Vec<Hook>,
    /// Members of its structs.
    pub members: Vec<Member>,
    /// What tells types of Go's interface values apart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub itabs: Vec<Itab>,
}

/// A function worth a probe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// Name in the library's source.
    pub name: &'static str,
    /// Where it is; None: there is no such function, or no way to tell where.
    pub place: Option<Place>,
}

/// Where a function is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Offset of its first instruction in the file: what the kernel's uprobes take.
    pub offset: u64,
    /// Its address as linked.
    #[serde(skip)]
    pub address: u64,
    /// Length of its code; 0: not known.
    pub size: u64,
    /// Offsets in the file of its return instructions.
    pub returns: Vec<u64>,
    /// Jumps out of it: returns that pass none of `returns`.
    pub leaves: u32,
}

/// A member of a struct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Member {
    /// Stable name, `ssl.verify_result`: the struct, a dot, the member.
    pub name: &'static str,
    /// Where it is.
    #[serde(flatten)]
    pub finding: Finding,
}

/// Where a member is, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "found")]
pub enum Finding {
    /// Its accessor's code says so, and so does the table of known layouts.
    BinaryAndTable(Offsets),
    /// Its accessor's code says so; the layout is in no table.
    Binary(Offsets),
    /// It has no accessor; the table has it for a layout that all accessors agree on.
    Table(Offsets),
    /// Not to be read.
    Unavailable {
        /// Why.
        reason: String,
    },
}

/// The way to a member, from the start of its struct.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Offsets {
    /// A pointer is read at each offset but the last, and followed.
    pub path: Vec<u32>,
    /// Bytes to be read.
    pub width: u8,
    /// Where only some bits count: shift to the right, then mask.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<(u8, u64)>,
}

impl Finding {
    /// The offsets, where they may be used.
    #[must_use]
    pub fn offsets(&self) -> Option<&Offsets> {
        match self {
            Self::BinaryAndTable(offsets) | Self::Binary(offsets) | Self::Table(offsets) => {
                Some(offsets)
            }
            Self::Unavailable { .. } => None,
        }
    }
}

impl Library {
    /// The offsets of a member, where they may be used.
    #[must_use]
    pub fn offsets(&self, name: &str) -> Option<&Offsets> {
        let member = self.members.iter().find(|member| member.name == name)?;
        member.finding.offsets()
    }

    /// Makes everything unavailable.
    fn withdraw(&mut self, reason: &str) {
        for hook in &mut self.hooks {
            hook.place = None;
        }
        for member in &mut self.members {
            let reason = reason.to_owned();
            member.finding = Finding::Unavailable { reason };
        }
    }

    /// Where a function is.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<&Place> {
        self.places(name).next()
    }

    /// Where a function and its copies are.
    pub fn places(&self, name: &str) -> impl Iterator<Item = &Place> {
        let hooks = self.hooks.iter().filter(move |hook| hook.name == name);
        hooks.filter_map(|hook| hook.place.as_ref())
    }
}

/// Inspects a file.
///
/// # Errors
/// It is not an ELF file that can be inspected, or lies about itself.
pub fn inspect(file: &File) -> Result<Inspection, Error> {
    inspect_source(file, Limits::default())
}

/// Inspects anything that can be read like a file.
///
/// # Errors
/// Those of [`inspect`].
pub fn inspect_source(source: &dyn ReadAt, limits: Limits) -> Result<Inspection, Error> {
    let elf = Elf::parse(Reader::new(source, limits))?;
    let symbols = Symbols::find(&elf, names()?)?;
    inspect_elf(&elf, &symbols, false)
}

/// Inspects a file as if it had no symbols; looks for BoringSSL and OpenSSL even where no string tells of
/// TLS.
///
/// # Errors
/// Those of [`inspect`].
pub fn inspect_without_symbols(file: &File) -> Result<Inspection, Error> {
    let elf = Elf::parse(Reader::new(file, Limits::default()))?;
    inspect_elf(&elf, &Symbols::default(), true)
}

fn inspect_elf(elf: &Elf, symbols: &Symbols, anywhere: bool) -> Result<Inspection, Error> {
    let mut libraries = Vec::new();
    libraries.extend(openssl::ssl(elf, symbols)?);
    libraries.extend(openssl::crypto(elf, symbols)?);
    libraries.extend(boringssl::find(elf, symbols)?);
    libraries.extend(gnutls::find(elf, symbols)?);
    libraries.extend(go::find(elf, names()?)?);
    let mut coverage = coverage::of(elf, symbols, &libraries)?;
    let may_be = anywhere || coverage.may_be_stripped();
    let stripped = may_be.then(|| stripped::find(elf));
    let stripped = stripped.flatten();
    if let Some(found) = &stripped
        && let Some(library) = found.library(elf)?
    {
        let by = vec![library.family];
        let except = Vec::new();
        coverage = Coverage::Covered { by, except };
        libraries.push(library);
    }
    Ok(Inspection {
        architecture: elf.architecture,
        build_id: elf.build_id(),
        stripped,
        coverage,
        libraries,
    })
}

/// All names that any library is looked for by: one search for all of them.
fn names() -> Result<&'static Names, Error> {
    use std::sync::OnceLock;
    static NAMES: OnceLock<Option<Names>> = OnceLock::new();
    NAMES
        .get_or_init(|| {
            let names = openssl::names().chain(boringssl::names());
            let names = names.chain(coverage::names());
            Names::new(names.chain(gnutls::names()).chain(go::names())).ok()
        })
        .as_ref()
        .ok_or(Error::TooLarge)
}
