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

/// Hands each extension at the end of a hello to `take`, as type and data, and returns the types. There may
/// be none at all (RFC 5246 §7.4.1.2). Ends at the first one whose framing is broken: what was well framed
/// before it is still worth having. One that breaks its own format (`take` returns `None`) counts as present
/// and is otherwise ignored.
pub(super) fn read_extensions(
    reader: &mut Reader,
    mut take: impl FnMut(u16, &[u8]) -> Option<()>,
) -> Option<Vec<u16>> {
    if reader.is_empty() {
        return Some(Vec::new());
    }
    let mut list = Reader::new(reader.vector16()?);
    // As many as most clients have.
    let mut kinds = Vec::with_capacity(16);
    while let Some((kind, data)) = list.u16().zip(list.vector16()) {
        kinds.push(kind);
        let _ = take(kind, data);
    }
    Some(kinds)
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
        let list = [0, 14, 0, 1, 0, 1, 9, 0, 2, 0, 0, 0, 3, 0, 4, 7];
        let mut found = Vec::new();
        let kinds = read_extensions(&mut Reader::new(&list), |kind, data| {
            found.push((kind, data.to_vec()));
            None
        });
        assert_eq!(kinds, Some(vec![1, 2]));
        assert_eq!(found, [(1, vec![9]), (2, vec![])]);
    }
}
