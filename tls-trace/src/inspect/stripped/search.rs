//! What every search for a library does.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use super::{
    Grade, Refusal, Stripped,
    gate::{Candidate, Gate},
    scan::References,
    votes::Vote,
};
use crate::inspect::{Architecture, Elf, Error, Family, deadline::Deadline};

/// Largest file that is looked at.
const LARGEST: u64 = 512 << 20;
/// How long it may take; without optimisation it does take that long.
const TIME: Duration = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 2 });
/// Votes a function must have. Programs without the library reach one or two.
pub const VOTES: u32 = 60;
/// Percent of all votes.
const SHARE: u32 = 95;
/// Percent of code with an unwind table. Chromium's has 3, all others looked at more than 90.
pub const UNWIND: u32 = 60;
/// Places in a file that are searched for at once.
const PLACES: usize = 4;

/// Why a search ended early.
pub enum Stop {
    /// Not as it has to be.
    Refused(Refusal),
    /// The file cannot be read, or not in time.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Searches, within limits. None: nothing in the file is like the library.
pub fn find(
    elf: &Elf,
    family: Family,
    look: impl FnOnce(&mut Stripped, &Elf, Deadline) -> Result<(), Stop>,
) -> Option<Stripped> {
    let mut found = Stripped::nothing(family);
    let code = elf.segments.iter().map(|segment| segment.file().end);
    let refusal = if elf.architecture != Architecture::X86_64 {
        Some(Refusal::Architecture)
    } else if code.max().is_none_or(|end| end > LARGEST) {
        Some(Refusal::TooLarge)
    } else {
        match look(&mut found, elf, Deadline::after(TIME)) {
            Ok(()) => None,
            Err(Stop::Refused(refusal)) => Some(refusal),
            Err(Stop::Failed(Error::Budget)) => Some(Refusal::TooSlow),
            Err(Stop::Failed(Error::TooLarge)) => Some(Refusal::TooLarge),
            Err(Stop::Failed(_)) => Some(Refusal::Unreadable),
        }
    };
    if let Some(refusal) = refusal {
        found.grade = Grade::Refused;
        found.hooks.clear();
        found.members.clear();
        found.refused.push(refusal);
    }
    (refusal != Some(Refusal::FewVotes)).then_some(found)
}

impl Stripped {
    /// Without a table of functions, what is called hundreds of times begins there.
    pub(super) fn errors_only(
        &mut self,
        elf: &Elf,
        certain: &BTreeSet<Candidate>,
        deadline: Deadline,
    ) -> Result<(), Stop> {
        let gate = Gate {
            elf,
            functions: None,
            tables: None,
            references: &calls(elf, certain.iter().map(|(_, address)| *address), deadline)?,
        };
        self.hooks = gate.pass(certain)?;
        self.refused.push(match self.unwind {
            0 => Refusal::NoUnwindTable,
            _ => Refusal::SparseUnwindTable,
        });
        if self.hooks.is_empty() {
            return Err(Stop::Refused(Refusal::NotAFunction));
        }
        self.sites = self.hooks.iter().map(|hook| hook.callers).sum();
        self.grade = Grade::ErrorsOnly;
        Ok(())
    }
}

/// Whether a vote elects somebody.
pub fn is_clear(vote: &Vote) -> bool {
    vote.votes >= VOTES && vote.percent() >= SHARE
}

/// What leads to the beginnings of functions.
///
/// # Errors
/// Those of [`References::find`].
pub fn calls(
    elf: &Elf,
    functions: impl IntoIterator<Item = u64>,
    deadline: Deadline,
) -> Result<References, Error> {
    let starts = functions.into_iter();
    let starts = starts.map(|start| start..start.saturating_add(1));
    let starts: Vec<_> = starts.collect();
    References::find(elf, &starts, |_| true, deadline)
}

/// A range, and as far again: the linker keeps what is of one library together, or nothing at all.
pub fn near(Range { start, end }: Range<u64>) -> Range<u64> {
    let length = end - start;
    start.saturating_sub(length)..end.saturating_add(length)
}

/// From the first to the last.
pub fn span(mut ranges: impl Iterator<Item = Range<u64>>) -> Range<u64> {
    let first = ranges.next().unwrap_or_default();
    ranges.fold(first, |all, range| {
        all.start.min(range.start)..all.end.max(range.end)
    })
}

/// Ranges, which are in order, put together to a few: a library is in one place, and only errors that
/// programs raise in its name are elsewhere.
pub fn places(ranges: &(impl Iterator<Item = Range<u64>> + Clone)) -> Vec<Range<u64>> {
    let mut gap = 64 * 1024;
    loop {
        let mut places: Vec<Range<u64>> = Vec::new();
        for range in ranges.clone() {
            match places.last_mut() {
                Some(last) if range.start.saturating_sub(last.end) <= gap => {
                    last.end = last.end.max(range.end);
                }
                _ => places.push(range),
            }
        }
        if places.len() <= PLACES {
            return places;
        }
        gap *= 4;
    }
}

/// A number of things, as it is shown.
pub fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
