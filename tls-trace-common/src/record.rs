//! Checked decoding of ring-buffer records.

use zerocopy::FromBytes;

use crate::{
    GoRecord, Header, Http2Record, Kind, LibraryRecord, SegmentRecord, SessionRecord, SignalRecord,
    SocketRecord, TailRecord,
};

/// A decoded record.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// [`Kind::STATE`] or [`Kind::DESTROY`].
    Socket(&'a SocketRecord),
    /// [`Kind::RESET_SENT`] … [`Kind::FUNCTION`].
    Signal(&'a SignalRecord),
    /// [`Kind::SEGMENT`] and its payload.
    Segment(&'a SegmentRecord, &'a [u8]),
    /// [`Kind::LIBRARY`].
    Library(&'a LibraryRecord),
    /// [`Kind::GO`].
    Go(&'a GoRecord),
    /// [`Kind::HTTP2`].
    Http2(&'a Http2Record),
    /// [`Kind::SESSION`].
    Session(&'a SessionRecord),
    /// [`Kind::TAIL`].
    Tail(&'a TailRecord),
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseRecordError {
    /// Shorter than its kind demands, or not aligned to 8 bytes.
    Truncated {
        /// Bytes given.
        length: usize,
    },
    /// A kind this version does not know.
    UnknownKind(u16),
}

impl core::fmt::Display for ParseRecordError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Truncated { length } => write!(f, "record of {length} bytes is cut short"),
            Self::UnknownKind(kind) => write!(f, "unknown record kind {kind}"),
        }
    }
}

impl core::error::Error for ParseRecordError {}

impl<'a> Record<'a> {
    /// Decodes one ring-buffer record. Bytes beyond what the record declares are ignored: the kernel
    /// side reserves in size classes.
    ///
    /// # Errors
    /// The bytes are too few for the kind they name, or the kind is unknown.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseRecordError> {
        let truncated = ParseRecordError::Truncated {
            length: bytes.len(),
        };
        let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| truncated)?;
        match header.kind {
            Kind::STATE | Kind::DESTROY => SocketRecord::ref_from_prefix(bytes)
                .map(|(record, _)| Self::Socket(record))
                .map_err(|_| truncated),
            Kind::RESET_SENT
            | Kind::RESET_RECEIVED
            | Kind::SOCKET_ERROR
            | Kind::RETRANSMIT
            | Kind::FUNCTION => SignalRecord::ref_from_prefix(bytes)
                .map(|(record, _)| Self::Signal(record))
                .map_err(|_| truncated),
            Kind::SEGMENT => {
                let (record, rest) =
                    SegmentRecord::ref_from_prefix(bytes).map_err(|_| truncated)?;
                let payload = rest.get(..usize::from(record.captured)).ok_or(truncated)?;
                Ok(Self::Segment(record, payload))
            }
            Kind::LIBRARY => LibraryRecord::ref_from_prefix(bytes)
                .map(|(record, _)| Self::Library(record))
                .map_err(|_| truncated),
            Kind::GO => GoRecord::ref_from_prefix(bytes)
                .map(|(record, _)| Self::Go(record))
                .map_err(|_| truncated),
            Kind::HTTP2 => Http2Record::ref_from_prefix(bytes)
                .map(|(record, _)| Self::Http2(record))
                .map_err(|_| truncated),
            Kind::SESSION => SessionRecord::ref_from_prefix(bytes)
                .map(|(record, _)| Self::Session(record))
                .map_err(|_| truncated),
            Kind::TAIL => TailRecord::ref_from_prefix(bytes)
                .map(|(record, _)| Self::Tail(record))
                .map_err(|_| truncated),
            Kind(unknown) => Err(ParseRecordError::UnknownKind(unknown)),
        }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::{FromZeros, IntoBytes};

    use super::*;

    fn segment(payload: &[u8]) -> Vec8 {
        let mut record = SegmentRecord::new_zeroed();
        record.header.kind = Kind::SEGMENT;
        record.captured = u16::try_from(payload.len()).expect("short payload");
        let mut bytes = Vec8([0; 256], 0);
        bytes.push(record.as_bytes());
        bytes.push(payload);
        bytes
    }

    /// Records in the ring buffer are 8-byte aligned; so is this.
    #[repr(C, align(8))]
    struct Vec8([u8; 256], usize);

    impl Vec8 {
        fn push(&mut self, bytes: &[u8]) {
            self.0[self.1..self.1 + bytes.len()].copy_from_slice(bytes);
            self.1 += bytes.len();
        }
    }

    #[test]
    fn every_prefix_of_a_segment_is_refused() {
        let bytes = segment(b"hello");
        let whole = &bytes.0[..bytes.1];
        for cut in 0..whole.len() {
            assert!(Record::parse(&whole[..cut]).is_err(), "prefix of {cut}");
        }
        let Ok(Record::Segment(_, payload)) = Record::parse(whole) else {
            panic!("the whole record parses");
        };
        assert_eq!(payload, b"hello");
    }

    #[test]
    fn an_unknown_kind_is_named() {
        let mut record = SignalRecord::new_zeroed();
        record.header.kind = Kind(77);
        assert_eq!(
            Record::parse(record.as_bytes()).err(),
            Some(ParseRecordError::UnknownKind(77))
        );
    }
}
