//! Whether what a file does over TLS can be asked from the library in it, or only seen on the wire.

use std::{collections::BTreeSet, fmt};

use memchr::memmem;
use serde::Serialize;

use super::{Elf, Error, Family, Library, symbols::Symbols};

/// Whether probes in a file, or in the files of a process, explain its TLS connections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "coverage")]
pub enum Coverage {
    /// These can be probed.
    Covered {
        /// Which.
        by: Vec<Family>,
        /// Beside these, which cannot; of a process only.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        except: Vec<Reason>,
    },
    /// There is TLS, but nothing to probe: verdicts come from the kernel and the wire.
    WireOnly {
        /// Why not.
        why: Vec<Reason>,
    },
    /// Nothing of TLS was found.
    NoTls,
}

impl Coverage {
    /// Of a process, by the files it has.
    pub fn of_all<'a>(files: impl Iterator<Item = &'a Self>) -> Self {
        let (mut covered, mut not) = (BTreeSet::new(), BTreeSet::new());
        for file in files {
            match file {
                Self::Covered { by, except } => {
                    covered.extend(by);
                    not.extend(except);
                }
                Self::WireOnly { why } => not.extend(why),
                Self::NoTls => {}
            }
        }
        let (by, why): (Vec<_>, Vec<_>) = (
            covered.into_iter().copied().collect(),
            not.into_iter().copied().collect(),
        );
        match (by.is_empty(), why.is_empty()) {
            (false, _) => Self::Covered { by, except: why },
            (true, false) => Self::WireOnly { why },
            (true, true) => Self::NoTls,
        }
    }

    /// Stable label.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::Covered { .. } => "covered",
            Self::WireOnly { .. } => "wire_only",
            Self::NoTls => "no_tls",
        }
    }

    /// Whether what was seen of the file may come from a library without symbols that can be found.
    #[must_use]
    pub fn may_be_stripped(&self) -> bool {
        const REASONS: [Reason; 3] = [
            Reason::StrippedBoringssl,
            Reason::StrippedOpenssl,
            Reason::UnknownLibrary,
        ];
        matches!(self, Self::WireOnly { why } if why.iter().any(|reason| REASONS.contains(reason)))
    }

    /// Stable label of the first library, or of the first reason.
    #[must_use]
    pub fn library(&self) -> &'static str {
        match self {
            Self::Covered { by, .. } => by.first().map(|family| family.label()),
            Self::WireOnly { why } => why.first().map(|reason| reason.label()),
            Self::NoTls => None,
        }
        .unwrap_or("none")
    }
}

/// As one phrase.
impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = |reasons: &[Reason]| {
            let labels: Vec<_> = reasons.iter().map(|reason| reason.label()).collect();
            labels.join(", ")
        };
        match self {
            Self::Covered { by, except } => {
                let by: Vec<_> = by.iter().map(|family| family.label()).collect();
                write!(f, "covered by {}", by.join(", "))?;
                if !except.is_empty() {
                    write!(f, "; wire only: {}", reasons(except))?;
                }
                Ok(())
            }
            Self::WireOnly { why } => write!(f, "wire only: {}", reasons(why)),
            Self::NoTls => f.write_str("no TLS"),
        }
    }
}

/// Why a TLS library cannot be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// OpenSSL without symbols.
    StrippedOpenssl,
    /// BoringSSL, or one of its forks, without symbols.
    StrippedBoringssl,
    /// rustls: its functions are inlined differently in every build.
    Rustls,
    /// A Java virtual machine, whose TLS is Java.
    Jvm,
    /// NSS.
    Nss,
    /// wolfSSL.
    Wolfssl,
    /// Mbed TLS.
    Mbedtls,
    /// s2n-tls.
    S2n,
    /// Labels of the TLS key schedule, and nothing known beside them.
    UnknownLibrary,
    /// A known library, but not all that is needed of it can be found.
    Incomplete,
    /// A known library that is not hooked: nothing hooks its family, it was switched off, or the kernel
    /// refused.
    NotHooked,
    /// The file could not be read, or not to the end.
    Unreadable,
}

impl Reason {
    /// Stable label.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::StrippedOpenssl => "stripped_openssl",
            Self::StrippedBoringssl => "stripped_boringssl",
            Self::Rustls => "rustls",
            Self::Jvm => "jvm",
            Self::Nss => "nss",
            Self::Wolfssl => "wolfssl",
            Self::Mbedtls => "mbedtls",
            Self::S2n => "s2n",
            Self::UnknownLibrary => "unknown_library",
            Self::Incomplete => "incomplete",
            Self::NotHooked => "not_hooked",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Functions that only these libraries have.
const SIGNS: [(&str, Reason); 5] = [
    ("JNI_CreateJavaVM", Reason::Jvm),
    ("SSL_ForceHandshake", Reason::Nss),
    ("wolfSSL_negotiate", Reason::Wolfssl),
    ("mbedtls_ssl_handshake", Reason::Mbedtls),
    ("s2n_negotiate", Reason::S2n),
];

/// Names to look for in symbol tables.
pub fn names() -> impl Iterator<Item = &'static str> {
    SIGNS.into_iter().map(|(sign, _)| sign)
}

/// The function without which probes in a library explain nothing.
fn essential(family: Family) -> &'static [&'static str] {
    match family {
        Family::OpensslSsl | Family::Boringssl => &["SSL_do_handshake"],
        Family::Gnutls => &["gnutls_handshake"],
        Family::Go => &["clientHandshake", "serverHandshake"],
        Family::OpensslCrypto => &[],
    }
}

/// The verdict on a file.
///
/// # Errors
/// The file cannot be read.
pub fn of(elf: &Elf, symbols: &Symbols, libraries: &[Library]) -> Result<Coverage, Error> {
    // libcrypto alone shakes no hands.
    let tls = || {
        libraries
            .iter()
            .filter(|library| library.family != Family::OpensslCrypto)
    };
    let can = |library: &&Library| {
        let mut essential = essential(library.family).iter();
        essential.any(|name| library.place(name).is_some())
    };
    let by: Vec<_> = tls().filter(can).map(|library| library.family).collect();
    if !by.is_empty() {
        let except = Vec::new();
        return Ok(Coverage::Covered { by, except });
    }
    if tls().next().is_some() {
        let why = vec![Reason::Incomplete];
        return Ok(Coverage::WireOnly { why });
    }
    let signs = SIGNS.into_iter().filter(|(sign, _)| symbols.has(sign));
    let mut why: Vec<_> = signs.map(|(_, reason)| reason).collect();
    if why.is_empty() {
        why.extend(by_strings(elf)?);
    }
    Ok(match why[..] {
        [] => Coverage::NoTls,
        _ => Coverage::WireOnly { why },
    })
}

/// Labels of the key schedules of TLS 1.3 (RFC 8446, 7.1) and 1.2 (RFC 5246, 6.3), which are in the
/// data of every implementation; then the names of source files that their libraries keep.
/// In two parts: a program that looks for them must not find them in itself.
const STRINGS: [(&str, &str); 6] = [
    ("c hs", " traffic"),
    ("extended", " master secret"),
    ("key", " expansion"),
    ("ssl/", "statem/"),
    ("ssl/", "tls13_client.cc"),
    ("rust", "ls"),
];

fn by_strings(elf: &Elf) -> Result<Option<Reason>, Error> {
    let strings = STRINGS.map(|(start, rest)| format!("{start}{rest}"));
    let longest = strings.iter().map(String::len).max();
    let overlap = longest.unwrap_or(1) - 1;
    let strings = strings.each_ref().map(memmem::Finder::new);
    let mut seen = [false; STRINGS.len()];
    // Constants are in segments that are not written to; some linkers put them among the code, which is
    // read only where they were not found elsewhere.
    let constant = || elf.segments.iter().filter(|segment| !segment.writable);
    let data = constant().filter(|segment| !segment.executable);
    for segment in data.chain(constant().filter(|segment| segment.executable)) {
        if segment.executable && library(seen).is_some_and(|why| why != Reason::UnknownLibrary) {
            break;
        }
        elf.reader.scan(segment.file(), overlap, |_, piece| {
            // One after the other: each of these searches is many times as fast as one for all.
            for (seen, string) in seen.iter_mut().zip(&strings) {
                *seen = *seen || string.find(piece).is_some();
            }
            Ok(!seen.iter().all(|seen| *seen))
        })?;
    }
    Ok(library(seen))
}

/// Whose strings these are.
fn library(seen: [bool; STRINGS.len()]) -> Option<Reason> {
    let [tls13, extended, expansion, statem, boring, rustls] = seen;
    if !(tls13 || extended && expansion) {
        return None;
    }
    Some(match (statem, boring, rustls) {
        (true, ..) => Reason::StrippedOpenssl,
        (_, true, _) => Reason::StrippedBoringssl,
        (.., true) => Reason::Rustls,
        _ => Reason::UnknownLibrary,
    })
}
