//! A checked cursor over bytes from strangers.

/// Reads fields off the front of a slice; `None` where they do not fit, and nothing is consumed then.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// A vector with a length of one byte (RFC 8446 §3.4).
    pub(super) fn vector8(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let length = ahead.u8()?;
        let taken = ahead.take(length.into())?;
        *self = ahead;
        Some(taken)
    }

    /// A vector with a length of two bytes.
    pub(super) fn vector16(&mut self) -> Option<&'a [u8]> {
        let mut ahead = *self;
        let length = ahead.u16()?;
        let taken = ahead.take(length.into())?;
        *self = ahead;
        Some(taken)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// The 16-bit numbers of a list; an odd byte at the end is left out.
pub(super) fn u16_list(bytes: &[u8]) -> Vec<u16> {
    bytes
        .chunks_exact(2)
        .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_that_does_not_fit_consumes_nothing() {
        let mut reader = Reader::new(&[3, 1, 2]);
        assert_eq!(reader.vector8(), None);
        assert_eq!(reader.vector16(), None);
        assert_eq!(reader.take(3), Some(&[3, 1, 2][..]));
        assert!(reader.is_empty());
        assert_eq!(reader.u8(), None);
    }

    #[test]
    fn numbers_are_big_endian() {
        let mut reader = Reader::new(&[0x12, 0x34, 2, 0xab, 0xcd, 0, 1, 0xff]);
        assert_eq!(reader.u16(), Some(0x1234));
        assert_eq!(reader.vector8().map(u16_list), Some(vec![0xabcd]));
        assert_eq!(reader.vector16(), Some(&[0xff][..]));
    }
}
