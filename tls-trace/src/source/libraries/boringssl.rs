//! Hooks BoringSSL, in each program that has it linked in, with symbols or without.
//!
//! Compilers make copies of its functions: a [`Library`] may have several places of one name, and a place is
//! hooked whatever found it. What was found without symbols is not proven: the programs watch what the
//! functions are called with, and fall silent where that makes no sense.

use std::fs::File;

use aya::maps::{Array, MapData};
use tls_trace_common::{BoringsslOffsets, UNAVAILABLE};

use super::{Hooked, Hooker, NotHooked, Slots};
use crate::{
    inspect::{Family, Library},
    probe::AttachedObject,
};

/// Programs of the object `boringssl` and functions they belong to. The return first: an entry without it
/// would leave threads marked.
const PLACES: &[(&str, &str)] = &[
    ("bssl_handshake_return", HANDSHAKE),
    ("bssl_handshake", HANDSHAKE),
    ("bssl_error", "ERR_put_error"),
    ("bssl_alert", "ssl_send_alert"),
    ("bssl_alert", "ssl_send_alert_impl"),
];
/// Also of its copies in `SSL_connect` and `SSL_accept`.
const HANDSHAKE: &str = "SSL_do_handshake";
/// What ends a session: the first that is there.
const ENDS: [&str; 2] = ["tls_free", "SSL_free"];

/// The object `boringssl` and what it is told of each file.
pub(super) struct Boringssl {
    object: AttachedObject,
    table: Array<MapData, Offsets>,
    nonsense: Array<MapData, u32>,
    slots: Slots,
}

/// [`BoringsslOffsets`] as a value of a map.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct Offsets(BoringsslOffsets);

// SAFETY: integers without padding, as the ABI asserts.
unsafe impl aya::Pod for Offsets {}

impl Boringssl {
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

    fn attach(&mut self, file: &File, library: &Library) -> Result<Hooked, NotHooked> {
        let offsets = offsets(library)
            .ok_or_else(|| NotHooked("nothing leads to ClientHello.random".to_owned()))?;
        if library.place(HANDSHAKE).is_none() {
            return Err(NotHooked(format!("{HANDSHAKE} cannot be located")));
        }
        let slot = self.slots.take()?;
        let entry = slot.entry;
        self.table
            .set(entry, Offsets(offsets), 0)
            .and_then(|()| self.nonsense.set(entry, 0, 0))
            .map_err(NotHooked::because)?;
        let end = ENDS.into_iter().find(|name| library.place(name).is_some());
        let end = end.map(|name| ("bssl_free", name));
        let programs = PLACES.iter().copied().chain(end);
        let links = super::attach_all(&mut self.object, file, library, programs, entry.into())?;
        Ok(Hooked {
            links,
            slot: Some(slot),
        })
    }
}

impl Hooker for Boringssl {
    fn hook(&mut self, file: &File, library: &Library) -> Option<Result<Hooked, NotHooked>> {
        (library.family == Family::Boringssl).then(|| self.attach(file, library))
    }
}

/// The offsets of a build; `None` where not even the struct with the key to join by is known. Where in it
/// that is, the wire can tell: `ssl.s3` alone is enough.
fn offsets(library: &Library) -> Option<BoringsslOffsets> {
    let own = |name| match library.offsets(name)?.path[..] {
        [offset] => Some(offset),
        _ => None,
    };
    let inner = |name| match library.offsets(name)?.path[..] {
        [s3, offset] => Some((s3, offset)),
        _ => None,
    };
    let s3 = own("ssl.s3").or_else(|| Some(inner("ssl.client_random")?.0))?;
    // In the same struct, or not at all.
    let beside = |name| match inner(name) {
        Some((pointer, offset)) if pointer == s3 => offset,
        _ => UNAVAILABLE,
    };
    let server = library.offsets("ssl.server").and_then(|offsets| {
        let (shift, mask) = offsets.bits?;
        // One bit, of one byte.
        match offsets.path[..] {
            [offset] if mask == 1 => Some((offset + u32::from(shift / 8), u32::from(shift % 8))),
            _ => None,
        }
    });
    let (server, server_bit) = server.unwrap_or((UNAVAILABLE, 0));
    Some(BoringsslOffsets {
        s3,
        client_random: beside("ssl.client_random"),
        early_data_reason: beside("ssl.early_data_reason"),
        alpn: beside("ssl.alpn_selected"),
        alpn_length: beside("ssl.alpn_selected_len"),
        server,
        server_bit,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library(members: &[(&'static str, &[u32])]) -> Library {
        super::super::tests::library(Family::Boringssl, members)
    }

    #[test]
    fn the_struct_alone_is_enough_and_less_is_not() {
        let found = offsets(&library(&[("ssl.s3", &[0x30])])).expect("the struct");
        assert_eq!((found.s3, found.client_random), (0x30, UNAVAILABLE));
        assert!(offsets(&library(&[("ssl.server", &[0xa4])])).is_none());
    }

    #[test]
    fn what_is_in_another_struct_is_not_read() {
        let found = offsets(&library(&[
            ("ssl.client_random", &[0x30, 0x30]),
            ("ssl.early_data_reason", &[0x38, 0x100]),
            ("ssl.server", &[0xa4]),
        ]));
        let found = found.expect("the random");
        assert_eq!((found.s3, found.client_random), (0x30, 0x30));
        assert_eq!(found.early_data_reason, UNAVAILABLE);
        assert_eq!((found.server, found.server_bit), (0xa5, 1));
    }
}
