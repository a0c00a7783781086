//! Hooks GnuTLS.

use std::fs::File;

use aya::maps::{Array, MapData};
use tls_trace_common::{GnutlsOffsets, UNAVAILABLE};

use super::{Hooked, Hooker, NotHooked, Slots};
use crate::{
    inspect::{Family, Library},
    probe::AttachedObject,
};

/// Programs of the object `gnutls` and functions they belong to. Returns first: an entry without one would
/// leave threads marked.
const PLACES: &[(&str, &str)] = &[
    ("gnutls_handshake_return", "gnutls_handshake"),
    ("gnutls_handshake", "gnutls_handshake"),
    ("gnutls_verify_return", "gnutls_certificate_verify_peers"),
    ("gnutls_verify", "gnutls_certificate_verify_peers"),
    ("gnutls_alert_send", "gnutls_alert_send"),
    ("gnutls_deinit", "gnutls_deinit"),
];

/// The object `gnutls` and what it is told of each file.
pub(super) struct Gnutls {
    object: AttachedObject,
    table: Array<MapData, Offsets>,
    slots: Slots,
}

/// [`GnutlsOffsets`] as a value of a map.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct Offsets(GnutlsOffsets);

// SAFETY: integers without padding, as the ABI asserts.
unsafe impl aya::Pod for Offsets {}

impl Gnutls {
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

    fn attach(&mut self, file: &File, library: &Library) -> Result<Hooked, NotHooked> {
        let slot = self.slots.take()?;
        self.table
            .set(slot.entry, Offsets(offsets(library)), 0)
            .map_err(NotHooked::because)?;
        let cookie = u64::from(slot.entry);
        Ok(Hooked {
            links: super::attach(&mut self.object, file, library, PLACES, cookie)?,
            slot: Some(slot),
        })
    }
}

impl Hooker for Gnutls {
    fn hook(&mut self, file: &File, library: &Library) -> Option<Result<Hooked, NotHooked>> {
        (library.family == Family::Gnutls).then(|| self.attach(file, library))
    }
}

/// The offsets of a build. Without any a connection can still be found by its socket or not at all, and
/// nothing false is read.
fn offsets(library: &Library) -> GnutlsOffsets {
    let path = |name| {
        let offsets = library.offsets(name)?;
        offsets.bits.is_none().then_some(offsets.path.as_slice())
    };
    let own = |name| match path(name) {
        Some([offset]) => *offset,
        _ => UNAVAILABLE,
    };
    let behind = |name| match path(name) {
        Some([pointer, offset]) => (*pointer, *offset),
        _ => (UNAVAILABLE, UNAVAILABLE),
    };
    let (version, version_id) = behind("session.version");
    let (alpn, alpn_selected) = behind("session.alpn_selected");
    let (_, alpn_length) = behind("session.alpn_selected_len");
    GnutlsOffsets {
        client_random: own("session.client_random"),
        entity: own("session.entity"),
        version,
        version_id,
        resumed: own("session.resumed"),
        alert: own("session.alert"),
        descriptor: own("session.recv_descriptor"),
        handshake_flags: own("session.handshake_flags"),
        alpn,
        alpn_selected,
        alpn_length,
        reserved: 0,
    }
}
