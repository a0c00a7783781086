//! The byte stream of one direction, from segments in any order (RFC 9293 §3.4).

use std::collections::BTreeMap;

/// Bytes ahead that a segment may start: the largest window of TCP (RFC 7323 §2.3). Anything further
/// is not of this stream.
const MAX_AHEAD: i64 = 1 << 30;
/// What a waiting piece costs besides its bytes.
const PIECE_OVERHEAD: usize = 64;

/// Puts segments in order. Offsets count from the first payload byte of the stream.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    /// Sequence number of offset 0.
    base: Option<u32>,
    /// Offset of the next byte the reader needs. It may lie ahead of every segment seen, when the
    /// reader has no use for what comes before.
    next: u64,
    /// Offset after the last byte known to have been sent.
    end: u64,
    /// Captured bytes behind a hole, by offset; the pieces do not overlap.
    waiting: BTreeMap<u64, Vec<u8>>,
    waiting_bytes: usize,
}

impl Reassembly {
    /// States the sequence number of offset 0, unless it is known.
    pub(super) fn set_base(&mut self, seq: u32) {
        self.base.get_or_insert(seq);
    }

    /// Takes a segment of `length` bytes of which `captured` are at hand. Returns those that the
    /// reader needs now; others are kept for later or, seen before, dropped: the first copy wins.
    pub(super) fn segment<'a>(
        &mut self,
        seq: u32,
        length: u32,
        captured: &'a [u8],
    ) -> Option<&'a [u8]> {
        let start = self.offset(seq)?;
        let end = u64::try_from(start + i64::from(length)).ok()?;
        self.end = self.end.max(end);
        if let Ok(start) = u64::try_from(start)
            && start > self.next
        {
            self.keep(start, captured);
            return None;
        }
        let seen = i64::try_from(self.next).ok()? - start;
        let fresh = captured.get(usize::try_from(seen).ok()?..)?;
        // What waits came first.
        let fresh = match self.waiting.first_key_value() {
            Some((&waiting, _)) => {
                let until = usize::try_from(waiting.saturating_sub(self.next)).ok()?;
                let (now, later) = fresh.split_at_checked(until).unwrap_or((fresh, &[]));
                self.keep(waiting, later);
                now
            }
            None => fresh,
        };
        (!fresh.is_empty()).then_some(fresh)
    }

    /// Says that the reader is done with so many bytes from [`Self::next`] on, seen or not.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.next += bytes;
    }

    /// The next waiting bytes that the reader needs now.
    pub(super) fn waiting(&mut self) -> Option<Vec<u8>> {
        while let Some(entry) = self.waiting.first_entry() {
            if *entry.key() > self.next {
                return None;
            }
            let (start, mut piece) = entry.remove_entry();
            self.waiting_bytes -= piece.len();
            let seen = usize::try_from(self.next - start).unwrap_or(usize::MAX);
            if seen < piece.len() {
                piece.drain(..seen);
                return Some(piece);
            }
        }
        None
    }

    /// Offset of the next byte the reader needs.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether the reader has everything up to this sequence number.
    pub(super) fn has_all_before(&self, seq: u32) -> bool {
        self.offset(seq)
            .is_some_and(|offset| u64::try_from(offset).is_ok_and(|offset| offset <= self.next))
    }

    /// Bytes that the reader needs and does not have, though they or later ones were sent: at least
    /// so many.
    pub(super) fn hole(&self) -> Option<u64> {
        let until = self.waiting.keys().next().copied().unwrap_or(self.end);
        until.checked_sub(self.next).filter(|missing| *missing > 0)
    }

    /// Memory held for bytes behind a hole.
    pub(super) fn held(&self) -> usize {
        self.waiting_bytes + self.waiting.len() * PIECE_OVERHEAD
    }

    /// Offset of a sequence number; the first one seen is offset 0 where nobody said otherwise.
    /// Negative for what precedes the stream, `None` for what cannot belong to it.
    fn offset(&self, seq: u32) -> Option<i64> {
        let base = self.base?;
        let next = i64::try_from(self.next).ok()?;
        // Wraps around every 4 GiB; within 2 GiB of `next` the distance is unambiguous.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_possible_wrap,
            reason = "sequence numbers are offsets modulo 2^32, their distance is signed"
        )]
        let ahead = seq.wrapping_sub(base.wrapping_add(self.next as u32)) as i32;
        let ahead = i64::from(ahead);
        (ahead <= MAX_AHEAD).then_some(next + ahead)
    }

    /// Keeps captured bytes behind a hole, as far as no others are kept there.
    fn keep(&mut self, start: u64, bytes: &[u8]) {
        let end = start + bytes.len() as u64;
        let mut at = start;
        if let Some((&before, piece)) = self.waiting.range(..=at).next_back() {
            at = at.max(before + piece.len() as u64);
        }
        while at < end {
            let after = self.waiting.range(at..end).next();
            let (stop, resume) = match after {
                Some((&after, piece)) => (after, after + piece.len() as u64),
                None => (end, end),
            };
            if stop > at {
                self.insert(at, slice(bytes, at - start, stop - start));
            }
            at = resume;
        }
    }

    /// Inserts a piece where there is none, joining it to the one it continues. Pieces are copies:
    /// a slice would pin a whole segment, or a whole block of a file, for a few bytes.
    fn insert(&mut self, at: u64, bytes: &[u8]) {
        self.waiting_bytes += bytes.len();
        if let Some((&before, piece)) = self.waiting.range_mut(..at).next_back()
            && before + piece.len() as u64 == at
        {
            piece.extend_from_slice(bytes);
        } else {
            self.waiting.insert(at, bytes.to_vec());
        }
    }
}

fn slice(bytes: &[u8], from: u64, to: u64) -> &[u8] {
    let index = |offset| usize::try_from(offset).unwrap_or(usize::MAX);
    bytes.get(index(from)..index(to)).unwrap_or_default()
}
