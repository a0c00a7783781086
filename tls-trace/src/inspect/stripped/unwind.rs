//! Where functions begin and end, by what is there to unwind the stack (`.eh_frame`; Linux Standard Base
//! 5.0, 10.6). C++ needs it to run, so that stripping leaves it alone.

use std::{collections::HashMap, ops::Range};

use crate::inspect::{Elf, Error, deadline::Deadline};

/// Functions of a file that are remembered; the largest browsers have fewer.
const MOST: usize = 2_000_000;
/// Bytes of an entry that are looked at.
const HEAD: usize = 64;

/// The functions of a file, in order.
#[derive(Debug, Default)]
pub struct Functions {
    /// Addresses are stored as distances from here.
    base: u64,
    /// Start and length.
    entries: Vec<(u32, u32)>,
}

impl Functions {
    /// Reads them; none where there is no table.
    ///
    /// # Errors
    /// The table is malformed or too large; it takes too long.
    pub fn read(elf: &Elf, deadline: Deadline) -> Result<Self, Error> {
        let base = elf.segments.iter().map(|segment| segment.addresses.start);
        let mut functions = Self {
            base: base.min().unwrap_or_default(),
            entries: Vec::new(),
        };
        let Some(section) = elf.section(".eh_frame") else {
            return Ok(functions);
        };
        let file = section.file.clone();
        let mut encodings = HashMap::new();
        let mut next = file.start;
        elf.reader.scan(file.clone(), HEAD, |offset, piece| {
            deadline.check()?;
            let end = offset + piece.len() as u64;
            while next < end && (next + HEAD as u64 <= end || end == file.end) {
                let at = usize::try_from(next - offset).map_err(|_| Error::Malformed)?;
                let entry = Entry {
                    bytes: &piece[at..],
                    offset: next,
                    address: section.address.wrapping_add(next - file.start),
                };
                let size = entry.number(0).ok_or(Error::Malformed)?;
                // Longer ones than 4 GiB are not made; a zero ends what one compiler run gave.
                if size == u32::MAX {
                    return Err(Error::Malformed);
                }
                if size != 0 {
                    functions.add(elf, &entry, &mut encodings)?;
                }
                next += 4 + u64::from(size);
            }
            Ok(true)
        })?;
        functions.entries.sort_unstable();
        functions.entries.dedup();
        Ok(functions)
    }

    fn add(
        &mut self,
        elf: &Elf,
        entry: &Entry,
        encodings: &mut HashMap<u64, Option<u8>>,
    ) -> Result<(), Error> {
        let id = entry.number(4).ok_or(Error::Malformed)?;
        if id == 0 {
            encodings.insert(entry.offset, entry.encoding());
            return Ok(());
        }
        let common = (entry.offset + 4).checked_sub(id.into());
        let encoding = common.and_then(|common| encodings.get(&common).copied().flatten());
        let Some(range) = encoding.and_then(|encoding| entry.range(encoding)) else {
            return Ok(());
        };
        let (Some(_), true) = (elf.code_offset(range.start), range.start < range.end) else {
            return Ok(());
        };
        if self.entries.len() >= MOST {
            return Err(Error::TooLarge);
        }
        let start = range.start.checked_sub(self.base).map(u32::try_from);
        if let (Some(Ok(start)), Ok(length)) = (start, u32::try_from(range.end - range.start)) {
            self.entries.push((start, length));
        }
        Ok(())
    }

    /// The function that the address is in.
    #[must_use]
    pub fn around(&self, address: u64) -> Option<Range<u64>> {
        let distance = u32::try_from(address.checked_sub(self.base)?).ok()?;
        let after = self
            .entries
            .partition_point(|(start, _)| *start <= distance);
        let (start, length) = *self.entries.get(after.checked_sub(1)?)?;
        let start = self.base + u64::from(start);
        let range = start..start + u64::from(length);
        range.contains(&address).then_some(range)
    }

    /// How much of the code they are, in percent.
    #[must_use]
    pub fn share(&self, elf: &Elf) -> u32 {
        let code = elf.segments.iter().filter(|segment| segment.executable);
        let code: u64 = code
            .map(|segment| segment.addresses.end - segment.addresses.start)
            .sum();
        let (mut known, mut behind) = (0, 0);
        for (start, length) in &self.entries {
            let end = u64::from(*start) + u64::from(*length);
            known += end.saturating_sub(behind.max(u64::from(*start)));
            behind = behind.max(end);
        }
        u32::try_from((known * 100).checked_div(code).unwrap_or_default()).unwrap_or(100)
    }

    /// Those with something of this range, in order.
    pub fn within(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        let entries = self.entries.iter().map(|(start, length)| {
            let start = self.base + u64::from(*start);
            start..start + u64::from(*length)
        });
        entries.filter(move |entry| range.contains(&entry.start))
    }
}

/// A common (CIE) or a function's (FDE) entry.
struct Entry<'a> {
    bytes: &'a [u8],
    offset: u64,
    address: u64,
}

/// `DW_EH_PE_…`: how wide an address is.
const WIDTH: u8 = 0x0f;
/// Relative to where it is stored.
const RELATIVE: u8 = 0x10;

impl Entry<'_> {
    fn number(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(*self.bytes.get(at..)?.first_chunk()?))
    }

    /// How addresses are stored in the entries that refer to this one.
    fn encoding(&self) -> Option<u8> {
        let text = self.bytes.get(9..)?;
        let length = text.iter().take(8).position(|byte| *byte == 0)?;
        let letters = text[..length].strip_prefix(b"z")?;
        let mut at = 9 + length + 1;
        // Two factors and the return address' register, then the length of what the letters are about.
        for _ in 0..4 {
            at += self
                .bytes
                .get(at..)?
                .iter()
                .position(|byte| byte & 0x80 == 0)?
                + 1;
        }
        for letter in letters {
            match letter {
                b'R' => return self.bytes.get(at).copied(),
                b'P' => at += 1 + width(*self.bytes.get(at)?)?,
                b'L' => at += 1,
                b'S' | b'B' => {}
                _ => return None,
            }
        }
        Some(0)
    }

    fn range(&self, encoding: u8) -> Option<Range<u64>> {
        let width = width(encoding)?;
        let (first, second) = (self.bytes.get(8..8 + width)?, 8 + width);
        let second = self.bytes.get(second..second + width)?;
        let is_signed = encoding & 0x08 != 0;
        let start = match encoding & 0x70 {
            0 => wide(first, is_signed),
            RELATIVE => self.address.wrapping_add(8).wrapping_add(wide(first, true)),
            _ => return None,
        };
        Some(start..start.checked_add(wide(second, false))?)
    }
}

fn width(encoding: u8) -> Option<usize> {
    match encoding & WIDTH {
        0x00 | 0x04 | 0x0c => Some(8),
        0x02 | 0x0a => Some(2),
        0x03 | 0x0b => Some(4),
        _ => None,
    }
}

/// A number of up to eight bytes.
fn wide(bytes: &[u8], is_signed: bool) -> u64 {
    let is_negative = is_signed && bytes.last().is_some_and(|byte| byte & 0x80 != 0);
    let mut number = [if is_negative { 0xff } else { 0 }; 8];
    number[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(number)
}
