//! What functions say of themselves: at each call of the function that stores errors, its constant
//! arguments.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::{
    body::{Body, Value},
    names::Names,
    scan::{Reference, References, Via},
    unwind::Functions,
    votes::{LIBRARY, REASONS},
};
use crate::inspect::{Elf, Error, deadline::Deadline};

/// Calls that are looked at; real ones are at most some thousand.
const MOST: usize = 20_000;
/// Jumps between functions that are looked at.
const JUMPS: usize = 20_000;

/// An error that a function raises.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Raise {
    /// `SSL_R_…`.
    pub reason: u16,
    /// Name of the source file.
    pub file: Option<String>,
}

/// A function that raises errors of libssl.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raiser<R = Raise> {
    /// Where it is.
    pub range: Range<u64>,
    /// What it raises, its parts elsewhere included.
    pub raises: BTreeSet<R>,
}

/// What was found, by where functions begin.
#[derive(Debug)]
pub struct Raisers<R = Raise> {
    /// The functions.
    pub functions: BTreeMap<u64, Raiser<R>>,
    /// Calls of the function that stores errors.
    pub sites: u32,
    /// Such bytes inside of other instructions, or outside of functions.
    pub misplaced: u32,
}

impl Raiser {
    /// Whether it raises an error in a source file.
    #[must_use]
    pub fn has(&self, reason: u16, file: &str) -> bool {
        let mut raises = self.raises.iter();
        raises.any(|raise| raise.reason == reason && raise.file.as_deref() == Some(file))
    }

    /// Whether it is in a source file, as far as its errors tell.
    #[must_use]
    pub fn is_in(&self, file: &str) -> bool {
        let mut raises = self.raises.iter();
        raises.any(|raise| raise.file.as_deref() == Some(file))
    }
}

impl Raise {
    /// What a call of `ERR_put_error` raises, by the number of its instruction.
    pub fn at(body: &Body, names: &Names, call: usize) -> BTreeSet<Self> {
        let mut raises = BTreeSet::new();
        // rdi, rsi, rdx, rcx.
        for [library, zero, reason, file] in body.before(call, [7, 6, 2, 1]) {
            let (Value::Constant(LIBRARY), Value::Constant(0)) = (library, zero) else {
                continue;
            };
            let Value::Constant(reason) = reason else {
                continue;
            };
            let (true, Ok(reason)) = (REASONS.contains(&reason), u16::try_from(reason)) else {
                continue;
            };
            let file = match file {
                Value::Constant(address) => names.file(address.cast_unsigned()),
                _ => None,
            };
            let file = file.map(str::to_owned);
            raises.insert(Self { reason, file });
        }
        raises
    }
}

impl<R: Ord> Raisers<R> {
    /// Looks at all calls of the function that stores errors, by what is behind each; `read` says what
    /// one of them raises.
    ///
    /// # Errors
    /// The file cannot be read; there are absurdly many; it takes too long.
    pub fn find(
        elf: &Elf,
        functions: &Functions,
        calls: impl Iterator<Item = u64>,
        deadline: Deadline,
        mut read: impl FnMut(&Body, usize) -> Result<BTreeSet<R>, Error>,
    ) -> Result<Self, Error> {
        let calls: Vec<u64> = calls.take(MOST + 1).collect();
        if calls.len() > MOST {
            return Err(Error::TooLarge);
        }
        let mut all = Self {
            functions: BTreeMap::new(),
            sites: 0,
            misplaced: 0,
        };
        let mut by_function: BTreeMap<u64, (Range<u64>, Vec<u64>)> = BTreeMap::new();
        for call in calls {
            match functions.around(call.saturating_sub(1)) {
                Some(range) => {
                    let entry = by_function.entry(range.start);
                    entry.or_insert_with(|| (range, Vec::new())).1.push(call);
                }
                None => all.misplaced += 1,
            }
        }
        for (start, (range, calls)) in by_function {
            deadline.check()?;
            let Some(body) = Body::read(elf, &range)? else {
                all.misplaced += u32::try_from(calls.len()).unwrap_or(u32::MAX);
                continue;
            };
            let mut raises = BTreeSet::new();
            for call in calls {
                let Some(call) = body.ending(call) else {
                    all.misplaced += 1;
                    continue;
                };
                all.sites += 1;
                raises.extend(read(&body, call)?);
            }
            if !raises.is_empty() {
                all.functions.insert(start, Raiser { range, raises });
            }
        }
        Ok(all)
    }

    /// The function among them that an address is in.
    #[must_use]
    pub fn around(&self, address: u64) -> Option<Range<u64>> {
        let (_, last) = self.functions.range(..=address).next_back()?;
        Some(last.range.clone()).filter(|range| range.contains(&address))
    }

    /// Gives what compilers moved away from a function back to it: such a part is never called, nothing
    /// points to it, and only one function jumps into it.
    ///
    /// # Errors
    /// The file cannot be read; it takes too long.
    pub fn join(
        &mut self,
        elf: &Elf,
        functions: &Functions,
        references: &References,
        is_pointed_to: impl Fn(u64) -> bool,
        deadline: Deadline,
    ) -> Result<(), Error> {
        let mut jumps = Vec::new();
        let mut called = BTreeSet::new();
        for Reference { from, via, to } in references.iter() {
            let Some(range) = self.around(to).filter(|range| !range.contains(&from)) else {
                continue;
            };
            if to == range.start && via == Via::Call {
                called.insert(to);
            } else if via != Via::Call && jumps.len() < JUMPS {
                jumps.push((from, via, range.start));
            }
        }
        let mut parents: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for (from, via, start) in jumps {
            deadline.check()?;
            let Some(range) = functions.around(from) else {
                continue;
            };
            // Bytes of another instruction are no jump.
            let length = if via == Via::Branch { 6 } else { 5 };
            let is_real =
                Body::read(elf, &range)?.is_some_and(|body| body.ending(from + length).is_some());
            if is_real {
                parents.entry(start).or_default().insert(range.start);
            }
        }
        let mut parts = Vec::new();
        for (start, parents) in parents {
            if !called.contains(&start) && !is_pointed_to(start) && parents.len() == 1 {
                parts.extend(parents.first().map(|parent| (start, *parent)));
            }
        }
        for (part, parent) in parts {
            let Some(range) = functions.around(parent).filter(|_| part != parent) else {
                continue;
            };
            let Some(part) = self.functions.remove(&part) else {
                continue;
            };
            let raises = BTreeSet::new();
            let whole = self.functions.entry(parent);
            let whole = whole.or_insert(Raiser { range, raises });
            whole.raises.extend(part.raises);
        }
        Ok(())
    }
}
