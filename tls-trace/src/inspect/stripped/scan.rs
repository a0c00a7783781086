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
/// The file cannot be read; it takes too long.
pub fn code(elf: &Elf, deadline: Deadline, mut see: impl FnMut(&Window)) -> Result<(), Error> {
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
                });
                Ok(true)
            })?;
    }
    Ok(())
}

/// Goes through what looks like a jump or a call to an address: where it is, how, and to where. Bytes
/// inside of other instructions may look like one.
///
/// # Errors
/// Those of [`code`].
pub fn references(
    elf: &Elf,
    deadline: Deadline,
    mut see: impl FnMut(u64, Via, u64),
) -> Result<(), Error> {
    code(elf, deadline, |window| {
        let now = &window.bytes[window.now.clone()];
        for found in memchr::memchr3_iter(0xe8, 0xe9, 0x0f, now) {
            let at = window.now.start + found;
            let (via, distance) = match window.bytes[at] {
                0xe8 => (Via::Call, at + 1),
                0xe9 => (Via::Jump, at + 1),
                _ => match window.bytes.get(at + 1) {
                    Some(0x80..=0x8f) => (Via::Branch, at + 2),
                    _ => continue,
                },
            };
            if let Some(target) = window.relative(distance) {
                see(window.address_of(at), via, target);
            }
        }
    })
}
