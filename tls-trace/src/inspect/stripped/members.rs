//! Where BoringSSL's structs keep what is worth reading, by code that can be told by what it does.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Range, RangeInclusive},
};

use super::{
    Witnessed,
    body::{Body, Value},
    raises::{Raiser, Raisers},
    unwind::Functions,
};
use crate::inspect::{
    Elf, Error,
    deadline::Deadline,
    decode::{Register, Source, Step},
    symbolic::{self, Address, Root, Value as Symbol},
    symbols::Function,
};

/// `enum ssl_early_data_reason_t`, of BoringSSL's include/openssl/ssl.h, without 0.
const EARLY_DATA_REASONS: RangeInclusive<i64> = 1..=14;
/// Of them, those that code must write to one place.
const LEAST: u32 = 6;
/// Longest function that only hands out a member.
const ACCESSOR: u64 = 128;
/// Such functions that are looked at.
const ACCESSORS: usize = 20_000;
/// `SSL_R_NO_APPLICATION_PROTOCOL`, `SSL_R_INVALID_ALPN_PROTOCOL`.
const ALPN: [u16; 2] = [307, 259];
/// Offsets beyond this are in no struct of the library.
const FARTHEST: i64 = 0x8000;

/// Looks for them. `methods` are `tls_new` and `tls_free`.
///
/// # Errors
/// The file cannot be read; it takes too long.
pub fn find(
    elf: &Elf,
    functions: &Functions,
    raisers: &Raisers,
    methods: Option<[u64; 2]>,
    deadline: Deadline,
) -> Result<Vec<Witnessed>, Error> {
    let mut search = Search {
        elf,
        functions,
        raisers,
        deadline,
    };
    let state = match methods {
        Some(methods) => search.state(methods)?,
        None => Witnessed::none("ssl.s3"),
    };
    let mut members = vec![state];
    let (mut early, mut alpn) = (
        Witnessed::none("s3.early_data_reason"),
        Witnessed::none("s3.alpn_selected"),
    );
    if let Some(offset) = members[0].offset {
        early = search.early_data_reason(offset)?;
        alpn = search.alpn(offset)?;
    }
    members.extend([early, alpn]);
    Ok(members)
}

struct Search<'a> {
    elf: &'a Elf<'a>,
    functions: &'a Functions,
    raisers: &'a Raisers,
    deadline: Deadline,
}

impl Search<'_> {
    /// `ssl->s3`: what `tls_free` reads and `tls_new` writes.
    fn state(&mut self, [new, free]: [u64; 2]) -> Result<Witnessed, Error> {
        let none = Witnessed::none("ssl.s3");
        let (Some(new), Some(free)) = (self.function(new), self.function(free)) else {
            return Ok(none);
        };
        let (new, free) = (
            symbolic::trace(self.elf, new)?,
            symbolic::trace(self.elf, free)?,
        );
        let read = free.reads.iter().filter(|(_, width)| *width == 8);
        let read: BTreeSet<i64> = read.filter_map(|(at, _)| member(at)).collect();
        let written: BTreeSet<i64> = new.stores.iter().filter_map(|(at, _)| member(at)).collect();
        let both: Vec<_> = read.intersection(&written).copied().collect();
        let &[offset] = &both[..] else {
            return Ok(none);
        };
        Ok(Witnessed {
            offset: u32::try_from(offset).ok(),
            witnesses: 2,
            ..none
        })
    }

    fn function(&self, address: u64) -> Option<Function> {
        let range = self.functions.around(address)?;
        (range.start == address).then(|| function(&range))
    }

    /// `s3->early_data_reason`: the one member that is set to many of the numbers it may have.
    fn early_data_reason(&self, state: u32) -> Result<Witnessed, Error> {
        let mut numbers: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
        // Elsewhere another member (`rwstate`) is set to as many numbers.
        let raisers = self.raisers.functions.values();
        for raiser in raisers.filter(|raiser| raiser.is_in("tls13_server.cc")) {
            self.deadline.check()?;
            let Some(body) = Body::read(self.elf, &raiser.range)? else {
                continue;
            };
            for (at, step) in body.steps() {
                let Step::Store(to, from) = step else {
                    continue;
                };
                if to.width != 4 || !(1..FARTHEST).contains(&to.offset) {
                    continue;
                }
                let values: Vec<i64> = match from {
                    Source::Constant(number) => vec![*number],
                    Source::Register(register, 0) => {
                        let values = body.before(at, [*register]).into_iter();
                        let numbers = values.filter_map(|[value]| match value {
                            Value::Constant(number) => Some(number),
                            _ => None,
                        });
                        numbers.collect()
                    }
                    _ => continue,
                };
                let fit = values
                    .iter()
                    .filter(|value| EARLY_DATA_REASONS.contains(value));
                let fit: Vec<_> = fit.copied().collect();
                if !fit.is_empty() && is_state(&body, at, to.base, state) {
                    numbers.entry(to.offset).or_default().extend(fit);
                }
            }
        }
        let mut most: Vec<_> = numbers
            .into_iter()
            .map(|(offset, numbers)| (u32::try_from(numbers.len()).unwrap_or(u32::MAX), offset))
            .collect();
        most.sort_unstable_by_key(|(numbers, offset)| (std::cmp::Reverse(*numbers), *offset));
        let mut found = Witnessed::none("s3.early_data_reason");
        if let Some((witnesses, offset)) = most.first().filter(|(numbers, _)| *numbers >= LEAST) {
            found.offset = u32::try_from(*offset).ok();
            found.witnesses = *witnesses;
            found.against = most.get(1).map_or(0, |(numbers, _)| *numbers);
        }
        Ok(found)
    }

    /// `s3->alpn_selected`, a pointer and its length side by side: what `SSL_get0_alpn_selected` hands
    /// out, and functions use that raise errors of ALPN.
    fn alpn(&self, state: u32) -> Result<Witnessed, Error> {
        let users = self.raisers.functions.values().filter(|function| {
            let mut raises = function.raises.iter();
            raises.any(|raise| ALPN.contains(&raise.reason))
        });
        let mut used: BTreeMap<i64, u32> = BTreeMap::new();
        for user in users {
            for offset in self.members_of_state(user, state)? {
                *used.entry(offset).or_default() += 1;
            }
        }
        let mut handed_out: BTreeMap<i64, u32> = BTreeMap::new();
        for range in self.accessors() {
            self.deadline.check()?;
            let Some(offset) = self.handed_out(&range, state)? else {
                continue;
            };
            *handed_out.entry(offset).or_default() += 1;
        }
        handed_out.retain(|offset, _| used.contains_key(offset));
        let mut found = Witnessed::none("s3.alpn_selected");
        if let [(offset, accessors)] = handed_out.into_iter().collect::<Vec<_>>()[..] {
            found.offset = u32::try_from(offset).ok();
            found.witnesses = accessors + used.get(&offset).copied().unwrap_or_default();
        }
        Ok(found)
    }

    /// Members of `s3` that a function reads or writes.
    fn members_of_state(&self, function: &Raiser, state: u32) -> Result<BTreeSet<i64>, Error> {
        let mut members = BTreeSet::new();
        let Some(body) = Body::read(self.elf, &function.range)? else {
            return Ok(members);
        };
        for (at, step) in body.steps() {
            let (Step::Read(memory)
            | Step::Store(memory, _)
            | Step::Set(_, Source::Memory(memory), _)) = step
            else {
                continue;
            };
            if (1..FARTHEST).contains(&memory.offset)
                && !members.contains(&memory.offset)
                && is_state(&body, at, memory.base, state)
            {
                members.insert(memory.offset);
            }
        }
        Ok(members)
    }

    /// Small functions near those that raise errors.
    fn accessors(&self) -> Vec<Range<u64>> {
        let raisers = || self.raisers.functions.values();
        let lib = || raisers().filter(|function| function.is_in("ssl_lib.cc"));
        let start = lib().map(|function| function.range.start).min();
        let end = lib().map(|function| function.range.end).max();
        let (Some(start), Some(end)) = (start, end) else {
            return Vec::new();
        };
        let near = self.functions.within(start..end);
        let small = near.filter(|range| range.end - range.start <= ACCESSOR);
        small.take(ACCESSORS).collect()
    }

    /// The pointer in `s3` that a function writes to where its second argument points, when it writes
    /// the number behind it to where the third does.
    fn handed_out(&self, range: &Range<u64>, state: u32) -> Result<Option<i64>, Error> {
        let Some(offset) = self.elf.code_offset(range.start) else {
            return Ok(None);
        };
        let length = usize::try_from(range.end - range.start).map_err(|_| Error::TooLarge)?;
        let code = self.elf.reader.bytes(offset, length)?;
        if !has_neighbours(&code) {
            return Ok(None);
        }
        let trace = symbolic::trace(self.elf, function(range))?;
        let written = |argument: u8| {
            let stores = trace.stores.iter().filter(move |(to, _)| {
                to.root == Root::Argument(argument) && to.pointers.is_empty() && to.offset == 0
            });
            let contents = stores.filter_map(|(_, value)| Symbol::content(value));
            let paths = contents.map(|content| (content.at.root, content.path()));
            let of_state = paths.filter_map(|(root, path)| match (root, &path[..]) {
                (Root::Argument(0), [first, second]) if *first == i64::from(state) => Some(*second),
                _ => None,
            });
            of_state.collect::<BTreeSet<i64>>()
        };
        let (pointers, lengths) = (written(1), written(2));
        let mut both = pointers
            .into_iter()
            .filter(|at| lengths.contains(&(at + 8)));
        Ok(both.next())
    }
}

impl Witnessed {
    fn none(name: &'static str) -> Self {
        Self {
            name,
            offset: None,
            witnesses: 0,
            against: 0,
        }
    }
}

fn function(range: &Range<u64>) -> Function {
    Function {
        address: range.start,
        size: range.end - range.start,
    }
}

/// The offset of a member of what the first argument points to.
fn member(at: &Address) -> Option<i64> {
    let is_member = at.root == Root::Argument(0)
        && at.pointers.is_empty()
        && (1..FARTHEST).contains(&at.offset);
    is_member.then_some(at.offset)
}

/// Whether a register holds what was read at the offset of `s3`; a way there that does not tell says
/// nothing against it.
fn is_state(body: &Body, at: usize, register: Register, state: u32) -> bool {
    let values = body.before(at, [register]);
    let is_read = |[value]: &[Value; 1]| matches!(value, Value::Content { from: (_, offset), .. } if *offset == i64::from(state));
    values.iter().any(is_read)
        && values
            .iter()
            .all(|value| is_read(value) || *value == [Value::Unknown])
}

/// Whether code has two numbers that are eight apart, as offsets of neighbours are.
fn has_neighbours(code: &[u8]) -> bool {
    let words = || {
        code.windows(4)
            .map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]]))
    };
    let offsets: BTreeSet<u32> = words()
        .filter(|word| (0x80..0x8000).contains(word))
        .collect();
    offsets.iter().any(|word| offsets.contains(&(word + 8)))
}
