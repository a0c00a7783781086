//! What must hold of every function before it may be probed.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    HEAD, Located, Role,
    pointers::Tables,
    scan::{Reference, References, Via},
    unwind::Functions,
};
use crate::inspect::{
    Elf, Error,
    decode::{self, Step},
};

/// References from inside of functions that are looked at.
const MOST: usize = 20_000;

/// A function that was found.
pub type Candidate = (Role, u64);

/// What the gate knows of a file.
pub struct Gate<'a> {
    /// The file.
    pub elf: &'a Elf<'a>,
    /// Where its functions begin; None: not to be asked.
    pub functions: Option<&'a Functions>,
    /// What its data points to.
    pub tables: Option<&'a Tables>,
    /// What refers to the functions that were found.
    pub references: &'a References,
}

impl Gate<'_> {
    /// Lets those pass that may be probed. Of the same role, none may call another: it would be told
    /// twice.
    ///
    /// # Errors
    /// The file cannot be read; it takes too long.
    pub fn pass(&self, candidates: &BTreeSet<Candidate>) -> Result<Vec<Located>, Error> {
        let addresses: BTreeMap<u64, Role> = candidates
            .iter()
            .map(|(role, address)| (*address, *role))
            .collect();
        let mut callers: BTreeMap<u64, u32> = BTreeMap::new();
        let mut from_inside = BTreeSet::new();
        let mut inside = 0;
        for Reference { from, via, to } in self.references.iter() {
            let Some(role) = addresses.get(&to) else {
                continue;
            };
            let around = self.functions.and_then(|functions| functions.around(from));
            // A function that jumps to its own beginning is not called by that.
            let around = around.map(|range| range.start);
            if via == Via::Branch || around == Some(to) || inside > MOST {
                continue;
            }
            inside += 1;
            *callers.entry(to).or_default() += 1;
            if let Some(caller) = around.filter(|caller| addresses.get(caller) == Some(role)) {
                from_inside.insert(caller);
            }
        }
        let mut passed = Vec::new();
        for (role, address) in candidates {
            let callers = callers.get(address).copied().unwrap_or_default();
            let located = self.locate(*role, *address, callers)?;
            passed.extend(located.filter(|_| !from_inside.contains(address)));
        }
        Ok(passed)
    }

    fn locate(&self, name: Role, address: u64, callers: u32) -> Result<Option<Located>, Error> {
        let Some(offset) = self.elf.code_offset(address) else {
            return Ok(None);
        };
        let range = self.functions.map(|functions| functions.around(address));
        let size = match range {
            Some(Some(range)) if range.start == address => range.end - range.start,
            Some(_) => return Ok(None),
            None => 0,
        };
        let in_plt = self
            .elf
            .sections
            .iter()
            .any(|section| section.name.starts_with(".plt") && section.file.contains(&offset));
        let pointed_to = self.tables.is_some_and(|tables| tables.point_to(address));
        if in_plt || callers == 0 && !pointed_to {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        let length = self.elf.reader.paged(&mut head, offset)?;
        let instruction = decode::decoder(self.elf.architecture).decode(&head, address);
        let stops = |step: &Step| matches!(step, Step::Stop);
        let is_code = instruction.is_some_and(|each| !each.steps.iter().any(stops));
        Ok((is_code && length == HEAD).then_some(Located {
            name,
            offset,
            address,
            size,
            callers,
            pointed_to,
            head,
        }))
    }
}
