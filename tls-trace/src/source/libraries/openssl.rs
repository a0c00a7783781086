//! Hooks OpenSSL, whether libssl and libcrypto are two files or one.

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

/// The object `openssl` and what it is told of each file.
pub(super) struct Openssl {
    object: AttachedObject,
    table: Array<MapData, Offsets>,
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
    /// It lacks the map `FILES`.
    pub(super) fn new(mut object: AttachedObject) -> Result<Self, NotHooked> {
        Ok(Self {
            table: super::table(&mut object, "FILES")?,
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
            .map_err(NotHooked::because)?;
        let cookie = u64::from(slot.entry);
        Ok(Hooked {
            links: super::attach(&mut self.object, file, library, SSL, cookie)?,
            slot: Some(slot),
        })
    }

    fn crypto(&mut self, file: &File, library: &Library) -> Result<Hooked, NotHooked> {
        let places = if library.place("ERR_vset_error").is_some() {
            CRYPTO_3
        } else {
            CRYPTO_1
        };
        Ok(Hooked {
            links: super::attach(&mut self.object, file, library, places, 0)?,
            slot: None,
        })
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
    Some(OpensslOffsets {
        // `struct ssl_st` with its type in front came with OpenSSL 3.2; before, the version is there.
        kind: if version == 0 { UNAVAILABLE } else { 0 },
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
