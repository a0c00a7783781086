//! BoringSSL: which functions are the ones that matter.

use std::collections::BTreeSet;

use super::{
    Grade, Located, Refusal, Role, Stripped,
    gate::{Candidate, Gate},
    members,
    names::{self, Names},
    pointers::Tables,
    raises::{Raise, Raisers},
    scan::{References, Via},
    search::{self, Stop, UNWIND, VOTES, calls, count, is_clear, near, places, span},
    unwind::Functions,
    votes::{self, Votes},
};
use crate::inspect::{Elf, Family, deadline::Deadline};

/// Different reasons that its callers give.
const REASONS: usize = 80;

/// `SSL_R_CONNECTION_TYPE_NOT_SET`: only the handshake says so.
const NOT_SET: u16 = 134;
/// `SSL_R_PROTOCOL_IS_SHUTDOWN`.
const SHUTDOWN: u16 = 194;
/// Functions of `SSL_PROTOCOL_METHOD`.
const METHODS: usize = 18;

/// Looks for the library. None: nothing in the file is like it.
pub fn find(elf: &Elf) -> Option<Stripped> {
    search::find(elf, Family::Boringssl, Stripped::boringssl)
}

impl Stripped {
    fn boringssl(&mut self, elf: &Elf, deadline: Deadline) -> Result<(), Stop> {
        let names = Names::read(elf, names::BORINGSSL, deadline)?;
        self.votes = votes::count(elf, &names, deadline)?;
        let put_error = self.elected()?;
        let functions = Functions::read(elf, deadline)?;
        self.unwind = functions.share(elf);
        if self.unwind < UNWIND {
            let certain = BTreeSet::from([(Role::PutError, put_error)]);
            return self.errors_only(elf, &certain, deadline);
        }
        let mut references = calls(elf, [put_error], deadline)?;
        let sites = references.iter().filter(|call| call.via != Via::Branch);
        // One byte and the distance.
        let sites = sites.map(|call| call.from + 5);
        let mut raisers = Raisers::find(elf, &functions, sites, deadline, |body, call| {
            Ok(Raise::at(body, &names, call))
        })?;
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
            references.extend(calls(elf, [free], deadline)?);
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
