//! BoringSSL: which functions are the ones that matter.

use std::{collections::BTreeSet, ops::Range, time::Duration};

use super::{
    Grade, Located, Refusal, Role, Stripped,
    gate::{Candidate, Gate},
    members,
    names::Names,
    pointers::Tables,
    raises::Raisers,
    scan::References,
    unwind::Functions,
    votes::{self, Vote, Votes},
};
use crate::inspect::{Architecture, Elf, Error, deadline::Deadline};

/// Largest file that is looked at.
const LARGEST: u64 = 512 << 20;
/// How long it may take; without optimisation it does take that long.
const TIME: Duration = Duration::from_secs(if cfg!(debug_assertions) { 30 } else { 2 });
/// Votes a function must have. Programs without the library reach one or two.
const VOTES: u32 = 60;
/// Percent of all votes.
const SHARE: u32 = 95;
/// Different reasons that its callers give.
const REASONS: usize = 80;
/// Percent of code with an unwind table. Chromium's has 3, all others looked at more than 90.
const UNWIND: u32 = 60;

/// `SSL_R_CONNECTION_TYPE_NOT_SET`: only the handshake says so.
const NOT_SET: u16 = 134;
/// `SSL_R_PROTOCOL_IS_SHUTDOWN`.
const SHUTDOWN: u16 = 194;
/// Functions of `SSL_PROTOCOL_METHOD`.
const METHODS: usize = 18;
/// Places in a file that are searched for at once.
const PLACES: usize = 4;

/// Looks for the library. None: nothing in the file is like it.
pub fn find(elf: &Elf) -> Option<Stripped> {
    let mut found = Stripped {
        grade: Grade::Refused,
        refused: Vec::new(),
        votes: Votes::default(),
        sites: 0,
        reasons: 0,
        functions: 0,
        unwind: 0,
        hooks: Vec::new(),
        members: Vec::new(),
    };
    let code = elf.segments.iter().map(|segment| segment.file().end);
    let refusal = if elf.architecture != Architecture::X86_64 {
        Some(Refusal::Architecture)
    } else if code.max().is_none_or(|end| end > LARGEST) {
        Some(Refusal::TooLarge)
    } else {
        match found.look(elf, Deadline::after(TIME)) {
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

/// Why a search ended early.
enum Stop {
    Refused(Refusal),
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Stripped {
    fn look(&mut self, elf: &Elf, deadline: Deadline) -> Result<(), Stop> {
        let names = Names::read(elf, deadline)?;
        self.votes = votes::count(elf, &names, deadline)?;
        let put_error = self.elected()?;
        let functions = Functions::read(elf, deadline)?;
        self.unwind = functions.share(elf);
        if self.unwind < UNWIND {
            let refusal = match self.unwind {
                0 => Refusal::NoUnwindTable,
                _ => Refusal::SparseUnwindTable,
            };
            return self.errors_only(elf, put_error, refusal, deadline);
        }
        let mut references = calls(elf, put_error, deadline)?;
        let mut raisers = Raisers::find(elf, &names, &functions, &references, deadline)?;
        let reasons = raisers.functions.values().flat_map(|each| &each.raises);
        let reasons: BTreeSet<u16> = reasons.map(|raise| raise.reason).collect();
        (self.sites, self.reasons) = (raisers.sites, count(reasons.len()));
        self.functions = count(raisers.functions.len());
        if reasons.len() < REASONS {
            return Err(Stop::Refused(Refusal::FewReasons));
        }
        let ranges = raisers.functions.values().map(|each| each.range.clone());
        let tables = Tables::find(elf, METHODS, near(span(ranges.clone())), deadline)?;
        let is_wanted = |at| raisers.around(at).is_some();
        references.extend(References::find(
            elf,
            &places(&ranges),
            is_wanted,
            deadline,
        )?);
        let is_pointed_to = |start| tables.point_to(start);
        raisers.join(elf, &functions, &references, is_pointed_to, deadline)?;

        let methods = self.methods(&raisers, &tables);
        if let Some([_, free]) = methods
            && raisers.around(free).is_none()
        {
            references.extend(calls(elf, free, deadline)?);
        }
        let mut candidates = BTreeSet::from([(Role::PutError, put_error)]);
        candidates.extend(handshakes(&raisers));
        candidates.extend(self.senders(&raisers, &tables));
        candidates.extend(methods.map(|[_, free]| (Role::Free, free)));
        let gate = Gate {
            elf,
            functions: Some(&functions),
            tables: Some(&tables),
            references: &references,
        };
        self.hooks = gate.pass(&candidates)?;
        self.judge(&candidates)?;
        self.members = members::find(elf, &functions, &raisers, methods, deadline)?;
        Ok(())
    }

    /// The function that stores errors.
    fn elected(&mut self) -> Result<u64, Stop> {
        let Votes {
            arguments, names, ..
        } = self.votes;
        let is_clear = |vote: &Vote| vote.votes >= VOTES && vote.percent() >= SHARE;
        let refusal = if arguments.votes < VOTES {
            Refusal::FewVotes
        } else if !is_clear(&arguments) {
            Refusal::SplitVotes
        } else if names.total == 0 {
            self.refused.push(Refusal::NoNames);
            return Ok(arguments.winner);
        } else if names.winner != arguments.winner {
            Refusal::VotesDisagree
        } else if !is_clear(&names) {
            Refusal::SplitVotes
        } else {
            return Ok(arguments.winner);
        };
        Err(Stop::Refused(refusal))
    }

    /// Without a table of functions, what is called hundreds of times begins there.
    fn errors_only(
        &mut self,
        elf: &Elf,
        put_error: u64,
        refusal: Refusal,
        deadline: Deadline,
    ) -> Result<(), Stop> {
        let gate = Gate {
            elf,
            functions: None,
            tables: None,
            references: &calls(elf, put_error, deadline)?,
        };
        self.hooks = gate.pass(&BTreeSet::from([(Role::PutError, put_error)]))?;
        self.refused.push(refusal);
        if self.hooks.is_empty() {
            return Err(Stop::Refused(Refusal::NotAFunction));
        }
        self.sites = self.hooks.iter().map(|hook| hook.callers).sum();
        self.grade = Grade::ErrorsOnly;
        Ok(())
    }

    /// `tls_new` and `tls_free`: the first two in the table of the protocol.
    fn methods(&mut self, raisers: &Raisers, tables: &Tables) -> Option<[u64; 2]> {
        let has = |table: &[u64], file: &str| {
            let functions = table.iter().filter_map(|at| raisers.functions.get(at));
            functions.into_iter().any(|function| function.is_in(file))
        };
        let mut found = tables.all().filter(|table| {
            has(table, "s3_pkt.cc") && has(table, "s3_both.cc") && !has(table, "d1_both.cc")
        });
        if let (Some([new, free, ..]), None) = (found.next(), found.next()) {
            return Some([*new, *free]);
        }
        self.refused.push(Refusal::MethodTable);
        None
    }

    /// What sends alerts says one thing only, and nothing points to it.
    fn senders(&mut self, raisers: &Raisers, tables: &Tables) -> Vec<Candidate> {
        let functions = raisers.functions.iter().filter(|(start, function)| {
            function.has(SHUTDOWN, "s3_pkt.cc")
                && function.raises.len() == 1
                && !tables.point_to(**start)
        });
        let found: Vec<_> = functions.map(|(start, _)| (Role::Alert, *start)).collect();
        let elected = self.votes.alerts.winner;
        let is_elected = found.iter().any(|(_, start)| *start == elected);
        if !(1..=2).contains(&found.len()) || !is_elected {
            self.refused.push(Refusal::Alert);
            return Vec::new();
        }
        found
    }

    /// How far it can be trusted, after the gate.
    fn judge(&mut self, candidates: &BTreeSet<Candidate>) -> Result<(), Stop> {
        let has = |role| self.hooks.iter().any(|hook: &Located| hook.name == role);
        if !has(Role::PutError) {
            return Err(Stop::Refused(Refusal::NotAFunction));
        }
        let handshakes = |(role, _): &&Candidate| *role == Role::Handshake;
        let handshakes = candidates.iter().filter(handshakes).count();
        if !(1..=3).contains(&handshakes) || !has(Role::Handshake) {
            self.refused.push(Refusal::Handshake);
            self.hooks.retain(|hook| hook.name == Role::PutError);
            self.grade = Grade::ErrorsOnly;
            return Ok(());
        }
        for role in [Role::Alert, Role::Free] {
            let was = candidates.iter().any(|(each, _)| *each == role);
            if was && !has(role) {
                self.refused.push(Refusal::Gate);
            }
        }
        self.grade = if self.refused.is_empty() {
            Grade::High
        } else {
            Grade::Medium
        };
        Ok(())
    }
}

fn handshakes(raisers: &Raisers) -> impl Iterator<Item = Candidate> {
    let functions = raisers.functions.iter();
    let these = functions.filter(|(_, function)| function.has(NOT_SET, "ssl_lib.cc"));
    these.map(|(start, _)| (Role::Handshake, *start))
}

/// What leads to the beginning of a function.
fn calls(elf: &Elf, function: u64, deadline: Deadline) -> Result<References, Error> {
    let start = function..function.saturating_add(1);
    References::find(elf, &[start], |_| true, deadline)
}

/// A range, and as far again: the linker keeps what is of one library together, or nothing at all.
fn near(Range { start, end }: Range<u64>) -> Range<u64> {
    let length = end - start;
    start.saturating_sub(length)..end.saturating_add(length)
}

/// From the first to the last.
fn span(mut ranges: impl Iterator<Item = Range<u64>>) -> Range<u64> {
    let first = ranges.next().unwrap_or_default();
    ranges.fold(first, |all, range| {
        all.start.min(range.start)..all.end.max(range.end)
    })
}

/// Ranges, which are in order, put together to a few: a library is in one place, and only errors that
/// programs raise in its name are elsewhere.
fn places(ranges: &(impl Iterator<Item = Range<u64>> + Clone)) -> Vec<Range<u64>> {
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

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
