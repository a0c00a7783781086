//! The code of a file in windows, within a time limit of its own.

use std::ops::Range;

use crate::inspect::{Elf, Error, deadline::Deadline};

/// Bytes before a place that may be asked for.
pub const BEFORE: usize = 64;
/// Bytes after the start of a place that may be asked for.
pub const AFTER: usize = 256;

/// A piece of code.
pub struct Window<'a> {
    /// Address of the first byte.
    pub address: u64,
    /// With something before and after what is to be looked at.
    pub bytes: &'a [u8],
    /// To be looked at now, the rest in another window.
    pub now: Range<usize>,
}

/// How code refers to code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// `call`.
    Call,
    /// `jmp`.
    Jump,
    /// A conditional jump.
    Branch,
}

impl Window<'_> {
    /// The address of a byte.
    pub fn address_of(&self, index: usize) -> u64 {
        self.address + index as u64
    }

    /// The four bytes there, as a number.
    pub fn word(&self, index: usize) -> Option<u32> {
        let bytes = self.bytes.get(index..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// What a distance that is stored there, and counted from behind it, leads to.
    pub fn relative(&self, index: usize) -> Option<u64> {
        let distance = self.word(index)?.cast_signed();
        self.address_of(index + 4)
            .checked_add_signed(distance.into())
    }
}

/// Goes through all code.
///
/// # Errors
/// The file cannot be read; it takes too long; what `see` fails with.
pub fn code(
    elf: &Elf,
    deadline: Deadline,
    mut see: impl FnMut(&Window) -> Result<(), Error>,
) -> Result<(), Error> {
    for segment in elf.segments.iter().filter(|segment| segment.executable) {
        let file = segment.file();
        elf.reader
            .scan(file.clone(), BEFORE + AFTER, |offset, bytes| {
                deadline.check()?;
                let is_last = offset + bytes.len() as u64 == file.end;
                let start = if offset == file.start { 0 } else { BEFORE };
                let end = bytes.len() - if is_last { 0 } else { AFTER };
                see(&Window {
                    address: segment.addresses.start + (offset - file.start),
                    bytes,
                    now: start.min(end)..end,
                })?;
                Ok(true)
            })?;
    }
    Ok(())
}

/// References that are kept. Envoy has 30,000 to its BoringSSL.
const MOST: usize = 400_000;
/// Bytes that are looked at together.
const BLOCK: usize = 256;

/// What looks like a call of or a jump to some code. Bytes inside of other instructions may look like one.
#[derive(Debug, Default)]
pub struct References(Vec<Reference>);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Address of the instruction.
    pub from: u64,
    /// How.
    pub via: Via,
    /// Where to.
    pub to: u64,
}

impl References {
    /// Looks for what leads into one of a few ranges, as far as that is wanted.
    ///
    /// # Errors
    /// Those of [`code`]; there are absurdly many.
    pub fn find(
        elf: &Elf,
        ranges: &[Range<u64>],
        is_wanted: impl Fn(u64) -> bool,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let mut found = Self::default();
        code(elf, deadline, |window| {
            found.look(window, ranges, &is_wanted);
            if found.0.len() > MOST {
                return Err(Error::TooLarge);
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn look(&mut self, window: &Window, ranges: &[Range<u64>], is_wanted: impl Fn(u64) -> bool) {
        // What begins in the last byte has its distance behind it.
        let end = window.bytes.len().min(window.now.end + 2);
        for start in (window.now.start..end).step_by(BLOCK) {
            let block = start..(start + BLOCK).min(end);
            if !ranges.iter().any(|range| leads_into(window, &block, range)) {
                continue;
            }
            let references = block.filter_map(|at| reference(window, at));
            let is_inside = |to| ranges.iter().any(|range| range.contains(&to));
            self.0
                .extend(references.filter(|each| is_inside(each.to) && is_wanted(each.to)));
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Reference> {
        self.0.iter().copied()
    }

    /// Adds others.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }
}

/// Whether any four bytes that begin in a block are a distance into a range: next to none are, whatever
/// instruction they belong to. Without branches, and words side by side, so that compilers make vector
/// instructions of it.
fn leads_into(window: &Window, block: &Range<usize>, range: &Range<u64>) -> bool {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "what is the same modulo 2^32 is looked at again"
    )]
    let low = |address: u64| address as u32;
    let length = range.end.saturating_sub(range.start);
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    (0..4).any(|phase| {
        let start = block.start + phase;
        let end = window.bytes.len().min(block.end + 3);
        let words = window.bytes.get(start..end).unwrap_or_default();
        let first = low(window.address_of(start + 4)).wrapping_sub(low(range.start));
        let mut any = false;
        for (index, word) in (0_u32..).zip(words.chunks_exact(4)) {
            let distance = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
            any |= first.wrapping_add(4 * index).wrapping_add(distance) < length;
        }
        any
    })
}

/// The instruction whose distance begins there.
fn reference(window: &Window, at: usize) -> Option<Reference> {
    let (via, length) = match window.bytes.get(..at)? {
        [.., 0xe8] => (Via::Call, 1),
        [.., 0xe9] => (Via::Jump, 1),
        [.., 0x0f, 0x80..=0x8f] => (Via::Branch, 2),
        _ => return None,
    };
    let from = at - length;
    window.now.contains(&from).then_some(())?;
    Some(Reference {
        from: window.address_of(from),
        via,
        to: window.relative(at)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADDRESS: u64 = 0x10_0000;

    /// One instruction after the other, as slow as can be.
    fn plainly(window: &Window, ranges: &[Range<u64>]) -> Vec<Reference> {
        let one = |from: usize| {
            let (via, distance) = match (window.bytes[from], window.bytes.get(from + 1)) {
                (0xe8, _) => (Via::Call, from + 1),
                (0xe9, _) => (Via::Jump, from + 1),
                (0x0f, Some(0x80..=0x8f)) => (Via::Branch, from + 2),
                _ => return None,
            };
            let reference = Reference {
                from: window.address_of(from),
                via,
                to: window.relative(distance)?,
            };
            let is_inside = ranges.iter().any(|range| range.contains(&reference.to));
            is_inside.then_some(reference)
        };
        window.now.clone().filter_map(one).collect()
    }

    /// Code in which next to everything is, or looks like, a reference to somewhere near.
    fn code() -> impl Strategy<Value = Vec<u8>> {
        let opcode = prop_oneof![
            Just(vec![0xe8]),
            Just(vec![0xe9]),
            (0x80_u8..0x90).prop_map(|second| vec![0x0f, second]),
            prop::collection::vec(any::<u8>(), 0..4),
        ];
        let piece = (opcode, -2000_i32..2000).prop_map(|(mut bytes, distance)| {
            bytes.extend(distance.to_le_bytes());
            bytes
        });
        prop::collection::vec(piece, 0..200).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn nothing_is_overlooked(
            bytes in code(),
            (before, after) in (0_usize..80, 0_usize..300),
            starts in prop::collection::vec((0_u64..2000, 1_u64..400), 1..4),
        ) {
            let end = bytes.len().saturating_sub(after);
            let window = Window {
                address: ADDRESS,
                bytes: &bytes,
                now: before.min(end)..end,
            };
            let ranges = starts.into_iter().map(|(start, length)| {
                let start = ADDRESS - 500 + start;
                start..start + length
            });
            let ranges: Vec<_> = ranges.collect();
            let mut found = References::default();
            found.look(&window, &ranges, |_| true);
            let mut found = found.0;
            found.sort_by_key(|each| each.from);
            prop_assert_eq!(found, plainly(&window, &ranges));
        }
    }
}
