//! Extensions of hellos (RFC 8446 §4.2): their numbers and the framing they share.

use super::reader::Reader;

pub(super) const SERVER_NAME: u16 = 0;
pub(super) const SUPPORTED_GROUPS: u16 = 10;
pub(super) const SIGNATURE_ALGORITHMS: u16 = 13;
pub(super) const ALPN: u16 = 16;
pub(super) const SESSION_TICKET: u16 = 35;
pub(super) const PRE_SHARED_KEY: u16 = 41;
pub(super) const EARLY_DATA: u16 = 42;
pub(super) const SUPPORTED_VERSIONS: u16 = 43;
pub(super) const KEY_SHARE: u16 = 51;
pub(super) const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;

/// Type and data of each extension. Ends at the first one whose framing is broken: what was well
/// framed before it is still worth having.
pub(super) fn extensions(list: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut reader = Reader::new(list);
    std::iter::from_fn(move || Some((reader.u16()?, reader.vector16()?)))
}

/// Whether a number is one of those reserved to keep peers tolerant (RFC 8701): `0x0a0a`,
/// `0x1a1a`, … `0xfafa`. They carry no meaning wherever they stand.
#[must_use]
pub fn is_grease(number: u16) -> bool {
    let [high, low] = number.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grease_is_sixteen_numbers() {
        let grease: Vec<u16> = (0..=u16::MAX).filter(|number| is_grease(*number)).collect();
        assert_eq!(grease.len(), 16);
        assert_eq!((grease[0], grease[15]), (0x0a0a, 0xfafa));
    }

    #[test]
    fn extensions_before_a_broken_one_are_kept() {
        let list = [0, 1, 0, 1, 9, 0, 2, 0, 0, 0, 3, 0, 4, 7];
        let found: Vec<_> = extensions(&list).collect();
        assert_eq!(found, [(1, &[9][..]), (2, &[][..])]);
    }
}
