//! OpenSSL 3: which functions are the ones that matter. Each error says the name of the function that it is in
//! (`__func__`), so that callers name themselves; of inlined functions, several do.

mod members;
mod votes;

use std::{collections::BTreeSet, ops::Range};

use super::{
    Grade, Located, Refusal, Role, Stripped,
    body::{Body, Value},
    gate::{Candidate, Gate},
    names::{self, Names},
    pointers::Tables,
    raises::{Raiser, Raisers},
    scan::{Reference, References, Via},
    search::{self, Stop, UNWIND, VOTES, calls, count, is_clear, near, places, span},
    unwind::Functions,
    votes::RDI,
};
use crate::inspect::{Elf, Error, Family, deadline::Deadline, decode::Step};
use votes::{Counted, LIBRARY, LINES};

/// Different names that callers give.
const NAMES: usize = 80;
/// Functions in `SSL_METHOD` up to the last that is looked at.
const METHODS: usize = 18;
/// Longest name of a function.
const LONGEST: usize = 64;
/// What is inside of `SSL_do_handshake`, and what it is inside of, as compilers like.
const HANDSHAKE: [&str; 4] = [
    "SSL_do_handshake",
    "ssl_start_async_job",
    "SSL_connect",
    "SSL_accept",
];

/// Looks for the library. None: nothing in the file is like it.
pub fn find(elf: &Elf) -> Option<Stripped> {
    search::find(elf, Family::OpensslSsl, Stripped::openssl)
}

/// An error of libssl that a function raises.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    /// Source file, from the folder `ssl` on.
    file: String,
    /// `__func__`: what the code was written in.
    function: String,
}

impl Raiser<Named> {
    /// Whether code of that function is in it.
    pub fn has(&self, function: &str) -> bool {
        self.raises.iter().any(|raise| raise.function == function)
    }

    /// Whether no code of other functions is in it.
    fn has_only(&self, functions: &[&str]) -> bool {
        let mut raises = self.raises.iter();
        raises.all(|raise| functions.contains(&&*raise.function))
    }
}

impl Stripped {
    fn openssl(&mut self, elf: &Elf, deadline: Deadline) -> Result<(), Stop> {
        let names = Names::read(elf, names::OPENSSL, deadline)?;
        let counted = votes::count(elf, &names, deadline)?;
        self.votes = counted.votes;
        let [set_debug, set_error] = elected(&counted)?;
        let fatal = is_clear(&self.votes.alerts).then_some(self.votes.alerts.winner);
        let functions = Functions::read(elf, deadline)?;
        self.unwind = functions.share(elf);
        if self.unwind < UNWIND {
            let certain = [(Role::SetDebug, set_debug), (Role::SetError, set_error)];
            let fatal = fatal.map(|fatal| (Role::Fatal, fatal));
            let certain = certain.into_iter().chain(fatal).collect();
            return self.errors_only(elf, &certain, deadline);
        }
        // Most other calls are libcrypto's.
        let voted = counted.calls.iter().filter(|(to, _)| *to == set_debug);
        let voted = voted.filter_map(|(_, behind)| functions.around(behind - 1));
        let mut voted: Vec<_> = voted.collect();
        voted.sort_unstable_by_key(|range| range.start);
        let places_of_votes = places(&voted.into_iter());
        let all = calls(elf, [set_debug], deadline)?;
        let is_near = |call: &Reference| {
            let mut places = places_of_votes.iter();
            call.via == Via::Call && places.any(|place| place.contains(&call.from))
        };
        // One byte and the distance.
        let sites = all.iter().filter(is_near).map(|call| call.from + 5);
        let mut raisers = Raisers::find(elf, &functions, sites, deadline, |body, call| {
            named(elf, &names, body, call)
        })?;
        let names = raisers.functions.values().flat_map(|each| &each.raises);
        let names: BTreeSet<&str> = names.map(|raise| &*raise.function).collect();
        (self.sites, self.reasons) = (raisers.sites, count(names.len()));
        self.functions = count(raisers.functions.len());
        if names.len() < NAMES {
            return Err(Stop::Refused(Refusal::FewReasons));
        }
        let ranges = raisers.functions.values().map(|each| each.range.clone());
        let tables = Tables::find(elf, METHODS, near(span(ranges.clone())), deadline)?;
        let is_wanted = |at| raisers.around(at).is_some();
        let inside = References::find(elf, &places(&ranges), is_wanted, deadline)?;
        let is_pointed_to = |start| tables.point_to(start);
        raisers.join(elf, &functions, &inside, is_pointed_to, deadline)?;

        let mut candidates = BTreeSet::from([
            (Role::SetDebug, set_debug),
            // Where it calls the one below, it does not pass the gate.
            (Role::SetError, set_error),
        ]);
        candidates.extend(self.fatal(elf, &functions, fatal)?);
        candidates.extend(handshakes(&raisers));
        candidates.extend(self.clear(&raisers));
        candidates.extend(self.free(&raisers, &tables));
        let references = calls(elf, candidates.iter().map(|(_, at)| *at), deadline)?;
        let gate = Gate {
            elf,
            functions: Some(&functions),
            tables: Some(&tables),
            references: &references,
        };
        self.hooks = gate.pass(&candidates)?;
        self.judge_openssl(&candidates)?;
        self.members = vec![
            members::client_random(elf, &raisers)?,
            members::kind(elf, &raisers)?,
        ];
        Ok(())
    }

    /// What sends alerts for errors, and what it and all others store these with.
    fn fatal(
        &mut self,
        elf: &Elf,
        functions: &Functions,
        fatal: Option<u64>,
    ) -> Result<Vec<Candidate>, Error> {
        let Some((fatal, range)) = fatal.and_then(|at| Some((at, functions.around(at)?))) else {
            self.refused.push(Refusal::Alert);
            return Ok(Vec::new());
        };
        let mut found = vec![(Role::Fatal, fatal)];
        match setters(elf, &range)?.into_iter().collect::<Vec<_>>()[..] {
            [setter] => found.push((Role::SetError, setter)),
            _ => self.refused.push(Refusal::SetError),
        }
        Ok(found)
    }

    /// `SSL_clear`, if only one function can be it.
    fn clear(&mut self, raisers: &Raisers<Named>) -> Option<Candidate> {
        let functions = raisers.functions.iter();
        let mut these = functions.filter(|(_, function)| function.has_only(&["SSL_clear"]));
        if let (Some((start, _)), None) = (these.next(), these.next()) {
            return Some((Role::Clear, *start));
        }
        self.refused.push(Refusal::Clear);
        None
    }

    /// What ends a session: of the methods' tables, which functions that are known by name tell. In OpenSSL 3.2
    /// that is the second function, before the third.
    fn free(&mut self, raisers: &Raisers<Named>, tables: &Tables) -> Option<Candidate> {
        let is = |at: Option<&u64>, name| {
            let raiser = at.and_then(|at| raisers.functions.get(at));
            raiser.is_some_and(|raiser| raiser.has(name))
        };
        let found = tables.all().filter_map(|table| {
            if is(table.get(14), "ssl3_read_bytes") && is(table.get(2), "ossl_ssl_connection_reset")
            {
                return table.get(1).copied();
            }
            is(table.get(11), "ssl3_read_bytes").then(|| table.get(2).copied())?
        });
        let found: BTreeSet<u64> = found.collect();
        if let (Some(free), 1) = (found.first(), found.len()) {
            return Some((Role::MethodFree, *free));
        }
        self.refused.push(Refusal::MethodTable);
        None
    }

    /// How far it can be trusted, after the gate.
    fn judge_openssl(&mut self, candidates: &BTreeSet<Candidate>) -> Result<(), Stop> {
        let has = |role| self.hooks.iter().any(|hook: &Located| hook.name == role);
        let [debug, error, handshake] = [Role::SetDebug, Role::SetError, Role::Handshake].map(has);
        if !debug || !error {
            return Err(Stop::Refused(Refusal::NotAFunction));
        }
        let handshakes = |(role, _): &&Candidate| *role == Role::Handshake;
        let handshakes = candidates.iter().filter(handshakes).count();
        if !(1..=3).contains(&handshakes) || !handshake {
            self.refused.push(Refusal::Handshake);
            let errors = [Role::SetDebug, Role::SetError, Role::Fatal];
            self.hooks.retain(|hook| errors.contains(&hook.name));
            self.grade = Grade::ErrorsOnly;
            return Ok(());
        }
        let lost = [Role::Fatal, Role::Clear, Role::MethodFree].into_iter();
        let lost =
            lost.filter(|role| candidates.iter().any(|(each, _)| each == role) && !has(*role));
        if lost.count() > 0 {
            self.refused.push(Refusal::Gate);
        }
        self.grade = if self.refused.is_empty() {
            Grade::High
        } else {
            Grade::Medium
        };
        Ok(())
    }
}

/// `ERR_set_debug` and `ERR_set_error`.
fn elected(counted: &Counted) -> Result<[u64; 2], Stop> {
    let (names, arguments) = (counted.votes.names, counted.votes.arguments);
    let refusal = if names.votes < VOTES {
        Refusal::FewVotes
    } else if !is_clear(&names) {
        Refusal::SplitVotes
    } else if counted.setters.winner != arguments.winner {
        Refusal::VotesDisagree
    } else if !is_clear(&arguments) || !is_clear(&counted.setters) {
        Refusal::SplitVotes
    } else {
        return Ok([names.winner, arguments.winner]);
    };
    Err(Stop::Refused(refusal))
}

/// What a call of `ERR_set_debug` says, by the number of its instruction.
fn named(elf: &Elf, names: &Names, body: &Body, call: usize) -> Result<BTreeSet<Named>, Error> {
    let mut found = BTreeSet::new();
    // rdi, rsi, rdx.
    for arguments in body.before(call, [7, 6, 2]) {
        let [
            Value::Constant(file),
            Value::Constant(line),
            Value::Constant(name),
        ] = arguments
        else {
            continue;
        };
        let file = names.file(file.cast_unsigned());
        let name = identifier(elf, name.cast_unsigned())?;
        if let (true, Some(file), Some(function)) = (LINES.contains(&line), file, name) {
            let file = file.to_owned();
            found.insert(Named { file, function });
        }
    }
    Ok(found)
}

/// The name in C that is at an address, and cannot change.
fn identifier(elf: &Elf, address: u64) -> Result<Option<String>, Error> {
    if !votes::is_constant(elf, address) {
        return Ok(None);
    }
    let mut bytes = [0; LONGEST];
    let length = elf.reader.paged(&mut bytes, elf.offset(address)?)?;
    let end = bytes[..length].iter().position(|byte| *byte == 0);
    let name = end.and_then(|end| std::str::from_utf8(&bytes[..end]).ok());
    let is_name = |name: &&str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let first = name.bytes().next();
        name.bytes().all(is_letter) && first.is_some_and(|byte| !byte.is_ascii_digit())
    };
    Ok(name.filter(is_name).map(str::to_owned))
}

/// Functions that a function calls with `ERR_LIB_SSL`.
fn setters(elf: &Elf, range: &Range<u64>) -> Result<BTreeSet<u64>, Error> {
    let mut found = BTreeSet::new();
    let Some(body) = Body::read(elf, range)? else {
        return Ok(found);
    };
    for (at, step) in body.steps() {
        let (Step::Call(Some(target)) | Step::Jump(Some(target))) = step else {
            continue;
        };
        let values = body.before(at, [RDI]);
        if !range.contains(target) && values == BTreeSet::from([[Value::Constant(LIBRARY)]]) {
            found.insert(*target);
        }
    }
    Ok(found)
}

/// `SSL_do_handshake` and its copies: no code of others is in them.
fn handshakes(raisers: &Raisers<Named>) -> impl Iterator<Item = Candidate> {
    let functions = raisers.functions.iter();
    let these = functions
        .filter(|(_, function)| function.has("SSL_do_handshake") && function.has_only(&HANDSHAKE));
    these.map(|(start, _)| (Role::Handshake, *start))
}
