//! Hooks OpenSSL, whether libssl and libcrypto are two files or one, with symbols or without.
//!
//! What was found without symbols is not proven: the programs watch what the functions are called with, and
//! fall silent where that makes no sense.

use std::fs::File;

use aya::maps::{Array, MapData};
use tls_trace_common::{OpensslOffsets, UNAVAILABLE};

use super::{Hooked, Hooker, NotHooked, Slots};
use crate::{
    inspect::{Family, Library},
    probe::AttachedObject,
};

/// Programs of the object `openssl` and functions they belong to. The return first: an entry without
/// it would leave threads marked.
const SSL: &[(&str, &str)] = &[
    ("ssl_do_handshake_return", "SSL_do_handshake"),
    ("ssl_do_handshake", "SSL_do_handshake"),
    ("ssl_clear", "SSL_clear"),
    ("ssl_free", "SSL_free"),
];
const CRYPTO_3: &[(&str, &str)] = &[("err_vset_error", "ERR_vset_error")];
const CRYPTO_1: &[(&str, &str)] = &[("err_put_error", "ERR_put_error")];
/// Of no use one without the other.
const BUFFER: &[(&str, &str)] = &[("bio_pop", "BIO_pop"), ("bio_push", "BIO_push")];

/// Without symbols; in this order, too. Compilers make copies of functions, and leave some out.
const STRIPPED: &[(&str, &str)] = &[
    ("ssl_do_handshake_return", "SSL_do_handshake"),
    ("ssl_do_handshake", "SSL_do_handshake"),
    ("ssl_clear", "SSL_clear"),
    ("ssl_free", "ssl_free"),
    ("ossl_set_error", "ERR_vset_error"),
    ("ossl_statem_fatal", "ossl_statem_fatal"),
];

/// The object `openssl` and what it is told of each file.
pub(super) struct Openssl {
    object: AttachedObject,
    table: Array<MapData, Offsets>,
    nonsense: Array<MapData, u32>,
    slots: Slots,
}

/// [`OpensslOffsets`] as a value of a map.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct Offsets(OpensslOffsets);

// SAFETY: integers without padding, as the ABI asserts.
unsafe impl aya::Pod for Offsets {}

impl Openssl {
    /// Takes over the object.
    ///
    /// # Errors
    /// It lacks a map.
    pub(super) fn new(mut object: AttachedObject) -> Result<Self, NotHooked> {
        Ok(Self {
            table: super::table(&mut object, "FILES")?,
            nonsense: super::table(&mut object, "NONSENSE")?,
            object,
            slots: Slots::default(),
        })
    }

    fn ssl(&mut self, file: &File, library: &Library) -> Result<Hooked, NotHooked> {
        let offsets = offsets(library)
            .ok_or_else(|| NotHooked("ClientHello.random cannot be located".to_owned()))?;
        let slot = self.slots.take()?;
        self.table
            .set(slot.entry, Offsets(offsets), 0)
            .and_then(|()| self.nonsense.set(slot.entry, 0, 0))
            .map_err(NotHooked::because)?;
        let cookie = u64::from(slot.entry);
        let object = &mut self.object;
        let links = if is_stripped(library) {
            super::attach_all(object, file, library, STRIPPED.iter().copied(), cookie)?
        } else {
            super::attach(object, file, library, SSL, cookie)?
        };
        Ok(Hooked {
            links,
            slot: Some(slot),
        })
    }

    fn crypto(&mut self, file: &File, library: &Library) -> Result<Hooked, NotHooked> {
        let places = if library.place("ERR_vset_error").is_some() {
            CRYPTO_3
        } else {
            CRYPTO_1
        };
        let mut links = super::attach(&mut self.object, file, library, places, 0)?;
        // Without symbols they may not be found; then only handshakes of `SSL_do_handshake` are told of.
        if BUFFER
            .iter()
            .all(|(_, function)| library.place(function).is_some())
        {
            links.extend(super::attach(&mut self.object, file, library, BUFFER, 0)?);
        }
        Ok(Hooked { links, slot: None })
    }
}

impl Hooker for Openssl {
    fn hook(&mut self, file: &File, library: &Library) -> Option<Result<Hooked, NotHooked>> {
        match library.family {
            Family::OpensslSsl => Some(self.ssl(file, library)),
            Family::OpensslCrypto => Some(self.crypto(file, library)),
            _ => None,
        }
    }
}

/// Whether its functions were found without symbols: nothing else asks libssl for that one.
fn is_stripped(library: &Library) -> bool {
    library.place("ERR_set_debug").is_some()
}

/// The offsets of a build of OpenSSL; `None` where the key to join by cannot be read.
fn offsets(library: &Library) -> Option<OpensslOffsets> {
    let member = |name, width| {
        let offsets = library.offsets(name)?;
        (offsets.bits.is_none() && offsets.width >= width).then_some(offsets.path.as_slice())
    };
    let (s3, client_random) = match *member("ssl.client_random", 0)? {
        [client_random] => (UNAVAILABLE, client_random),
        [s3, client_random] => (s3, client_random),
        _ => return None,
    };
    // In the same struct as the random, or not at all.
    let beside = |name, width| match (member(name, width), s3) {
        (Some([offset]), UNAVAILABLE) => *offset,
        (Some([pointer, offset]), _) if *pointer == s3 => *offset,
        _ => UNAVAILABLE,
    };
    let own = |name| match member(name, 4) {
        Some([offset]) => *offset,
        _ => UNAVAILABLE,
    };
    let version = own("ssl.version");
    // `struct ssl_st` with its type in front came with OpenSSL 3.2; before, the version is there.
    let kind = match version {
        0 => UNAVAILABLE,
        UNAVAILABLE => own("ssl.type"),
        _ => 0,
    };
    Some(OpensslOffsets {
        kind,
        s3,
        client_random,
        alpn: beside("ssl.alpn_selected", 8),
        alpn_length: beside("ssl.alpn_selected_len", 4),
        version,
        state: own("ssl.hand_state"),
        server: own("ssl.server"),
        early_data: own("ssl.early_data"),
        resumed: own("ssl.hit"),
        verify_result: own("ssl.verify_result"),
        early_data_ok: own("ssl.early_data_ok"),
        session: own("ssl.session"),
        session_alpn: own("session.alpn_selected"),
        session_alpn_length: own("session.alpn_selected_len"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(members: &[(&'static str, &[u32])]) -> Library {
        super::super::tests::library(Family::OpensslSsl, members)
    }

    #[test]
    fn of_a_library_without_symbols_only_what_was_found_is_read() {
        let found = offsets(&library(&[
            ("ssl.client_random", &[0x148]),
            ("ssl.type", &[0]),
        ]));
        let found = found.expect("the random");
        assert_eq!((found.kind, found.client_random), (0, 0x148));
        assert_eq!((found.state, found.version), (UNAVAILABLE, UNAVAILABLE));
        // OpenSSL 3.0 has the version there, which is no type.
        let older = offsets(&library(&[("ssl.client_random", &[0x160])]));
        assert_eq!(older.expect("the random").kind, UNAVAILABLE);
        let named = [("ssl.client_random", &[0x160][..]), ("ssl.version", &[0])];
        assert_eq!(
            offsets(&library(&named)).expect("the random").kind,
            UNAVAILABLE
        );
        assert!(offsets(&library(&[("ssl.type", &[0])])).is_none());
    }
}
