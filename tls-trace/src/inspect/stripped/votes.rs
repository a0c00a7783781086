//! Calls that can only be of one function, by their constant arguments: each is a vote for the function
//! it calls. Here BoringSSL's.

use std::{collections::BTreeMap, ops::RangeInclusive};

use memchr::memmem;
use serde::Serialize;

use super::{
    names::Names,
    scan::{self, BEFORE, Window},
};
use crate::inspect::{
    Elf, Error,
    deadline::Deadline,
    decode::{self, Decoder, Register, Source, Step},
};

/// Registers of arguments, System V ABI, AMD64 supplement, 3.2.3.
pub const RDI: Register = 7;
pub const RSI: Register = 6;
pub const RDX: Register = 2;

/// `ERR_LIB_SSL`, BoringSSL's include/openssl/err.h.
pub const LIBRARY: i64 = 16;
/// `SSL_R_…`, the reasons of errors; those from 1000 on are alerts that were received.
pub const REASONS: RangeInclusive<i64> = 1..=1200;
/// Alerts (RFC 8446, 6; RFC 5246, 7.2) that stacks send as fatal.
pub const ALERTS: [i64; 24] = [
    10, 20, 21, 22, 30, 40, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 70, 71, 80, 86, 109, 110, 116,
    120,
];
/// Instructions up to the call.
pub const NEAR: usize = 9;
/// Bytes before them.
const LEAD: usize = 40;
/// Functions that are voted for: of a real library two or three.
const MOST: usize = 4096;

/// The outcome of a vote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Vote {
    /// Address of the function with the most votes.
    #[serde(skip)]
    pub winner: u64,
    /// Votes for it.
    pub votes: u32,
    /// Votes for the function behind it.
    pub next: u32,
    /// All.
    pub total: u32,
}

impl Vote {
    /// The share of the winner, in percent.
    #[must_use]
    pub fn percent(&self) -> u32 {
        (self.votes * 100)
            .checked_div(self.total)
            .unwrap_or_default()
    }
}

/// What was voted for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Votes {
    /// Calls with the arguments of `ERR_put_error(ERR_LIB_SSL, 0, reason, …)`; of OpenSSL, those of
    /// `ERR_set_error(ERR_LIB_SSL, reason, …)`.
    pub arguments: Vote,
    /// Calls whose fourth argument is the name of a source file of libssl; of OpenSSL, those of
    /// `ERR_set_debug(file, line, function)`.
    pub names: Vote,
    /// Calls whose second and third arguments are those of a fatal alert; of OpenSSL, those of
    /// `ossl_statem_fatal(ssl, alert, reason, …)`.
    pub alerts: Vote,
}

/// Votes as they are counted.
#[derive(Debug, Default)]
pub struct Tally(BTreeMap<u64, u32>);

impl Tally {
    /// Counts one, if it is one.
    pub fn add(&mut self, target: Option<u64>) {
        let Some(target) = target else { return };
        if self.0.len() < MOST || self.0.contains_key(&target) {
            *self.0.entry(target).or_default() += 1;
        }
    }

    /// The outcome.
    pub fn vote(self) -> Vote {
        let total = self.0.values().sum();
        let mut all: Vec<_> = self.0.into_iter().collect();
        all.sort_by_key(|(target, votes)| (std::cmp::Reverse(*votes), *target));
        let (winner, votes) = all.first().copied().unwrap_or_default();
        Vote {
            winner,
            votes,
            next: all.get(1).map(|(_, votes)| *votes).unwrap_or_default(),
            total,
        }
    }
}

/// Counts.
///
/// # Errors
/// The file cannot be read; it takes too long.
pub fn count(elf: &Elf, names: &Names, deadline: Deadline) -> Result<Votes, Error> {
    // mov edi, ERR_LIB_SSL; lea rcx, [rip + …]; mov esi, SSL3_AL_FATAL.
    let library = memmem::Finder::new(&[0xbf, 16, 0, 0, 0]);
    let file = memmem::Finder::new(&[0x48, 0x8d, 0x0d]);
    let fatal = memmem::Finder::new(&[0xbe, 2, 0, 0, 0]);
    let is_fixed = is_fixed(elf);
    let decoder = decode::decoder(elf.architecture);
    let (mut arguments, mut by_name, mut alerts) = <(Tally, Tally, Tally)>::default();
    scan::code(elf, deadline, |window| {
        let code = Code { decoder, window };
        let (start, now) = (window.now.start, &window.bytes[window.now.start..]);
        // A pattern that begins in the last byte is seen whole: something follows.
        let here = |at: &usize| start + at < window.now.end;
        for at in library.find_iter(now).take_while(here) {
            arguments.add(code.error(start + at));
        }
        for at in fatal.find_iter(now).take_while(here) {
            alerts.add(code.alert(start + at));
        }
        for at in file.find_iter(now).take_while(here) {
            let name = window.relative(start + at + 3);
            if name.is_some_and(|name| names.file(name).is_some()) {
                by_name.add(code.next_call(start + at));
            }
        }
        if is_fixed && !names.is_empty() {
            // mov ecx, address.
            for at in memchr::memchr_iter(0xb9, now).take_while(here) {
                let name = window.word(start + at + 1);
                if name.is_some_and(|name| names.file(name.into()).is_some()) {
                    by_name.add(code.next_call(start + at));
                }
            }
        }
        Ok(())
    })?;
    Ok(Votes {
        arguments: arguments.vote(),
        names: by_name.vote(),
        alerts: alerts.vote(),
    })
}

/// Whether it is linked to run at one address only: addresses are constants in its code.
pub fn is_fixed(elf: &Elf) -> bool {
    let starts = elf.segments.iter().map(|segment| segment.addresses.start);
    starts.min().is_some_and(|start| start >= 0x1_0000)
}

/// Code that is read instruction by instruction.
pub struct Code<'a> {
    /// How.
    pub decoder: &'static dyn Decoder,
    /// The code.
    pub window: &'a Window<'a>,
}

impl Code<'_> {
    /// What is called with the arguments of an error, the first of which is set at `at`.
    fn error(&self, at: usize) -> Option<u64> {
        // xor esi, esi.
        let is_zero = self.lead(at).windows(2).any(|two| two == [0x31, 0xf6]);
        let is_reason = |constant| REASONS.contains(&constant);
        self.call_with(at, Some((is_zero, 0)), is_reason)
    }

    /// What is called with the arguments of a fatal alert, the second of which is set at `at`.
    fn alert(&self, at: usize) -> Option<u64> {
        self.call_with(at, None, |constant| ALERTS.contains(&constant))
    }

    /// Compilers set arguments in any order: the third, and where it matters the second, may be set
    /// before `at` or behind it.
    fn call_with(
        &self,
        at: usize,
        second: Option<(bool, i64)>,
        third: impl Fn(i64) -> bool,
    ) -> Option<u64> {
        // mov r13d, … and the like.
        if at > 0 && self.window.bytes[at - 1] == 0x41 {
            return None;
        }
        let mut second_fits = second.is_none_or(|(before, _)| before);
        // mov edx, ….
        let sets = self.lead(at).windows(5).filter(|five| five[0] == 0xba);
        let numbers = sets.map(|five| u32::from_le_bytes([five[1], five[2], five[3], five[4]]));
        let mut third_fits = numbers.into_iter().any(|number| third(number.into()));
        let target = self.run(at, NEAR, |step| match step {
            Step::Set(RSI, source, _) => {
                if let Some((_, wanted)) = second {
                    second_fits = *source == Source::Constant(wanted);
                }
            }
            Step::Set(RDX, Source::Constant(constant), _) => third_fits = third(*constant),
            Step::Set(RDX, ..) => third_fits = false,
            _ => {}
        })?;
        (second_fits && third_fits).then_some(target)
    }

    /// What is before an instruction.
    pub fn lead(&self, at: usize) -> &[u8] {
        const { assert!(LEAD <= BEFORE) };
        &self.window.bytes[at.saturating_sub(LEAD)..at]
    }

    fn next_call(&self, at: usize) -> Option<u64> {
        self.run(at, NEAR + 3, |_| {})
    }

    fn run(&self, at: usize, most: usize, see: impl FnMut(&Step)) -> Option<u64> {
        self.call(at, most, see).map(|(target, _)| target)
    }

    /// Tells what the instructions from `at` on do, up to a call: where to, and what is behind it.
    pub fn call(
        &self,
        mut at: usize,
        most: usize,
        mut see: impl FnMut(&Step),
    ) -> Option<(u64, usize)> {
        for _ in 0..most {
            let code = self.window.bytes.get(at..)?;
            let instruction = self.decoder.decode(code, self.window.address_of(at))?;
            at += usize::from(instruction.length);
            for step in &instruction.steps {
                match step {
                    Step::Call(target) => return target.map(|target| (target, at)),
                    Step::Jump(_) | Step::Return | Step::Stop => return None,
                    step => see(step),
                }
            }
        }
        None
    }
}
