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
        let mut found = Vec::new();
        code(elf, deadline, |window| {
            // What begins in the last byte has its distance behind it.
            let end = window.bytes.len().min(window.now.end + 2);
            for start in (window.now.start..end).step_by(BLOCK) {
                let block = start..(start + BLOCK).min(end);
                if !ranges.iter().any(|range| leads_into(window, &block, range)) {
                    continue;
                }
                let references = block.filter_map(|at| reference(window, at));
                let is_inside = |to| ranges.iter().any(|range| range.contains(&to));
                found.extend(references.filter(|each| is_inside(each.to) && is_wanted(each.to)));
            }
            if found.len() > MOST {
                return Err(Error::TooLarge);
            }
            Ok(())
        })?;
        Ok(Self(found))
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
    let (via, length) = match window.bytes.get(at.checked_sub(2)?..at)? {
        [_, 0xe8] => (Via::Call, 1),
        [_, 0xe9] => (Via::Jump, 1),
        [0x0f, 0x80..=0x8f] => (Via::Branch, 2),
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
