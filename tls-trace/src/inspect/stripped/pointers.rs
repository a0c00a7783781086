//! Pointers to code that the loader puts into data: relocations (`R_X86_64_RELATIVE` and RELR; System V
//! ABI, AMD64 supplement, 4.4), or plain numbers in a program that runs at one address only.

use std::ops::Range;

use object::{
    LittleEndian as Le,
    elf::{R_X86_64_RELATIVE, Rela64, SHT_RELA, SHT_RELR},
    pod,
};

use super::votes;
use crate::inspect::{Elf, Error, deadline::Deadline, elf::Section};

/// Pointers in a row that are kept; larger tables are of something else.
const LONGEST: usize = 64;
/// Functions that are pointed to; a browser has some hundred thousand.
const MOST: usize = 4_000_000;

/// Tables of functions, each with pointers side by side and none before it.
#[derive(Debug)]
pub struct Tables {
    next: u64,
    run: Vec<u64>,
    /// Those of a length that is asked for.
    found: Vec<Vec<u64>>,
    wanted: usize,
    near: Range<u64>,
    /// In that range, in order.
    pointed_to: Vec<u64>,
    seen: usize,
}

impl Tables {
    /// Looks for pointers to functions in the range `near`, and for tables of at least `wanted` functions
    /// half of which are there.
    ///
    /// # Errors
    /// The file cannot be read; there are absurdly many pointers; it takes too long.
    pub fn find(
        elf: &Elf,
        wanted: usize,
        near: Range<u64>,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let mut tables = Self {
            next: 0,
            run: Vec::new(),
            found: Vec::new(),
            wanted,
            near,
            pointed_to: Vec::new(),
            seen: 0,
        };
        let mut see = |place: u64, value: u64| tables.see(elf, place, value);
        for section in elf.sections.iter().filter(|section| section.loaded) {
            if section.kind == SHT_RELA.0 {
                relocations(elf, section, deadline, &mut see)?;
            } else if section.kind == SHT_RELR.0 {
                relative(elf, section, deadline, &mut see)?;
            }
        }
        if votes::is_fixed(elf) {
            numbers(elf, deadline, &mut see)?;
        }
        tables.end();
        tables.pointed_to.sort_unstable();
        tables.pointed_to.dedup();
        Ok(tables)
    }

    /// Whether something points to a function.
    #[must_use]
    pub fn point_to(&self, address: u64) -> bool {
        self.pointed_to.binary_search(&address).is_ok()
    }

    /// The tables found.
    pub fn all(&self) -> impl Iterator<Item = &[u64]> {
        self.found.iter().map(Vec::as_slice)
    }

    fn see(&mut self, elf: &Elf, place: u64, value: u64) -> Result<(), Error> {
        if elf.code_offset(value).is_none() {
            return Ok(());
        }
        self.seen += 1;
        if self.seen > MOST {
            return Err(Error::TooLarge);
        }
        if place != self.next {
            self.end();
        }
        self.next = place.wrapping_add(8);
        // The rest of a long run is counted in none: only its start may be what is looked for.
        if self.run.len() < LONGEST {
            self.run.push(value);
        }
        if self.near.contains(&value) {
            self.pointed_to.push(value);
        }
        Ok(())
    }

    fn end(&mut self) {
        let near = self.run.iter().filter(|value| self.near.contains(value));
        if self.run.len() >= self.wanted && near.count() >= self.wanted / 2 {
            self.found.push(std::mem::take(&mut self.run));
        }
        self.run.clear();
    }
}

fn relocations(
    elf: &Elf,
    section: &Section,
    deadline: Deadline,
    see: &mut impl FnMut(u64, u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let size = size_of::<Rela64<Le>>();
    let mut next = section.file.start;
    elf.reader
        .scan(section.file.clone(), size - 1, |offset, piece| {
            deadline.check()?;
            let skip = usize::try_from(next - offset).map_err(|_| Error::Malformed)?;
            let whole = (piece.len() - skip) / size;
            let (entries, _) = pod::slice_from_bytes::<Rela64<Le>>(&piece[skip..], whole)
                .map_err(|()| Error::Malformed)?;
            for entry in entries {
                if entry.r_type(Le, false) == R_X86_64_RELATIVE {
                    let value = entry.r_addend.get(Le).cast_unsigned();
                    see(entry.r_offset.get(Le), value)?;
                }
            }
            next += (whole * size) as u64;
            Ok(true)
        })
}

/// RELR: an address, then bit maps of the words behind it; the value is in the place.
fn relative(
    elf: &Elf,
    section: &Section,
    deadline: Deadline,
    see: &mut impl FnMut(u64, u64) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut base: u64 = 0;
    let mut next = section.file.start;
    elf.reader.scan(section.file.clone(), 7, |offset, piece| {
        deadline.check()?;
        let skip = usize::try_from(next - offset).map_err(|_| Error::Malformed)?;
        for word in piece[skip..].chunks_exact(8) {
            next += 8;
            let entry = u64::from_le_bytes(word.try_into().map_err(|_| Error::Malformed)?);
            if entry & 1 == 0 {
                see(entry, elf.number(entry)?)?;
                base = entry.wrapping_add(8);
                continue;
            }
            for bit in (0..63).filter(|bit| entry >> (bit + 1) & 1 == 1) {
                let place = base.wrapping_add(8 * bit);
                see(place, elf.number(place)?)?;
            }
            base = base.wrapping_add(8 * 63);
        }
        Ok(true)
    })
}

fn numbers(
    elf: &Elf,
    deadline: Deadline,
    see: &mut impl FnMut(u64, u64) -> Result<(), Error>,
) -> Result<(), Error> {
    for segment in elf.segments.iter().filter(|segment| !segment.executable) {
        let start = segment.addresses.start.next_multiple_of(8);
        let from = segment.offset + (start - segment.addresses.start);
        let file = from..segment.file().end.max(from);
        elf.reader.scan(file.clone(), 0, |offset, piece| {
            deadline.check()?;
            for (index, word) in piece.chunks_exact(8).enumerate() {
                let value = u64::from_le_bytes(word.try_into().map_err(|_| Error::Malformed)?);
                let place = start + (offset - file.start) + 8 * index as u64;
                if value != 0 {
                    see(place, value)?;
                }
            }
            Ok(true)
        })?;
    }
    Ok(())
}
