//! Votes for OpenSSL's functions of errors. `ERR_raise(ERR_LIB_SSL, reason)` is
//! `ERR_new(), ERR_set_debug(file, line, __func__), ERR_set_error(ERR_LIB_SSL, reason, NULL)`, and
//! `SSLfatal(ssl, alert, reason)` the same with `ossl_statem_fatal(ssl, alert, reason, NULL)` at its end
//! (include/openssl/err.h, ssl/statem/statem_local.h).

use std::ops::RangeInclusive;

use memchr::memmem;

use super::super::{
    names::Names,
    scan,
    votes::{ALERTS, Code, NEAR, RDI, RDX, RSI, Tally, Vote, Votes, is_fixed},
};
use crate::inspect::{
    Elf, Error,
    deadline::Deadline,
    decode::{self, Register, Source, Step},
};

/// `ERR_LIB_SSL` (include/openssl/err.h).
pub const LIBRARY: i64 = 20;
/// Reasons of errors, those that all libraries share (`ERR_R_…`, with flags above 18 bits) among them.
const REASONS: RangeInclusive<i64> = 1..=0x7f_ffff;
/// Lines of source files.
pub const LINES: RangeInclusive<i64> = 1..=100_000;
/// Where all errors of libssl go with an alert; those of records go another way from OpenSSL 3.2 on.
const STATE_MACHINE: &str = "statem/";
/// Calls that are kept; real ones are at most some thousand.
const MOST: usize = 20_000;

/// What was counted.
pub struct Counted {
    /// The three votes that are shown.
    pub votes: Votes,
    /// What is called with `ERR_LIB_SSL` right after the function that names are for.
    pub setters: Vote,
    /// Calls of that: the function, and the address of what is behind the call.
    pub calls: Vec<(u64, u64)>,
}

/// Counts.
///
/// # Errors
/// The file cannot be read; it takes too long.
pub fn count(elf: &Elf, names: &Names, deadline: Deadline) -> Result<Counted, Error> {
    // mov edi, ERR_LIB_SSL; lea rdi, [rip + …].
    let library = memmem::Finder::new(&[0xbf, 20, 0, 0, 0]);
    let file = memmem::Finder::new(&[0x48, 0x8d, 0x3d]);
    let is_fixed = is_fixed(elf) && !names.is_empty();
    let decoder = decode::decoder(elf.architecture);
    let mut all = Tallies::default();
    scan::code(elf, deadline, |window| {
        let code = Code { decoder, window };
        let (start, now) = (window.now.start, &window.bytes[window.now.start..]);
        let here = |at: &usize| start + at < window.now.end;
        for at in library.find_iter(now).take_while(here) {
            all.arguments.add(set_error(&code, start + at));
        }
        for at in file.find_iter(now).take_while(here) {
            let name = window.relative(start + at + 3);
            if let Some(file) = name.and_then(|name| names.file(name)) {
                all.raise(elf, &code, start + at, file);
            }
        }
        if is_fixed {
            // mov edi, address.
            for at in memchr::memchr_iter(0xbf, now).take_while(here) {
                let name = window.word(start + at + 1);
                if let Some(file) = name.and_then(|name| names.file(name.into())) {
                    all.raise(elf, &code, start + at, file);
                }
            }
        }
        Ok(())
    })?;
    Ok(Counted {
        votes: Votes {
            arguments: all.arguments.vote(),
            names: all.names.vote(),
            alerts: all.alerts.vote(),
        },
        setters: all.setters.vote(),
        calls: all.calls,
    })
}

#[derive(Default)]
struct Tallies {
    arguments: Tally,
    names: Tally,
    setters: Tally,
    alerts: Tally,
    calls: Vec<(u64, u64)>,
}

impl Tallies {
    /// Counts an error whose file is set at `at`.
    fn raise(&mut self, elf: &Elf, code: &Code, at: usize, file: &str) {
        let mut known = Arguments::before(code, at);
        let Some((target, behind)) = code.call(at, NEAR + 3, |step| known.see(step)) else {
            return;
        };
        let is_line = known.second.is_some_and(|line| LINES.contains(&line));
        let is_name = known
            .third
            .is_some_and(|name| is_constant(elf, name.cast_unsigned()));
        if !is_line || !is_name {
            return;
        }
        self.names.add(Some(target));
        if self.calls.len() < MOST {
            self.calls.push((target, code.window.address_of(behind)));
        }
        let mut known = Arguments::default();
        let Some((next, _)) = code.call(behind, NEAR, |step| known.see(step)) else {
            return;
        };
        if known.is_error() {
            self.setters.add(Some(next));
        } else if file.starts_with(STATE_MACHINE) && known.is_fatal() {
            self.alerts.add(Some(next));
        }
    }
}

/// What is called with an error of libssl, the first argument of which is set at `at`.
fn set_error(code: &Code, at: usize) -> Option<u64> {
    // mov r15d, … and the like.
    if at > 0 && code.window.bytes[at - 1] == 0x41 {
        return None;
    }
    let mut known = Arguments::before(code, at);
    let (target, _) = code.call(at, NEAR, |step| known.see(step))?;
    known.is_error().then_some(target)
}

/// The first three arguments of a call, as far as they are constants.
#[derive(Clone, Copy, Debug, Default)]
struct Arguments {
    first: Option<i64>,
    second: Option<i64>,
    third: Option<i64>,
}

impl Arguments {
    /// Compilers set arguments in any order: what may have been set a little before. The latest counts.
    fn before(code: &Code, at: usize) -> Self {
        let lead = code.lead(at);
        let number = |bytes: &[u8]| {
            let four = bytes.first_chunk::<4>()?;
            Some(u32::from_le_bytes(*four))
        };
        // mov esi, …; mov edx, …; lea rdx, [rip + …].
        let last = |pattern: &[u8]| {
            let place = memmem::rfind(lead, pattern)? + pattern.len();
            Some((place, number(&lead[place..])?))
        };
        let line = last(&[0xbe]).map(|(_, line)| i64::from(line));
        let relative = last(&[0x48, 0x8d, 0x15]).and_then(|(place, _)| {
            let name = code.window.relative(at - lead.len() + place)?;
            Some(name.cast_signed())
        });
        let fixed = || last(&[0xba]).map(|(_, name)| i64::from(name));
        Self {
            first: None,
            second: line,
            third: relative.or_else(fixed),
        }
    }

    fn see(&mut self, step: &Step) {
        let Step::Set(register, source, width) = step else {
            return;
        };
        let value = match source {
            Source::Constant(number) if *width == 4 => Some(number & i64::from(u32::MAX)),
            Source::Constant(number) => Some(*number),
            _ => None,
        };
        if let Some(argument) = self.of(*register) {
            *argument = value;
        }
    }

    fn of(&mut self, register: Register) -> Option<&mut Option<i64>> {
        Some(match register {
            RDI => &mut self.first,
            RSI => &mut self.second,
            RDX => &mut self.third,
            _ => return None,
        })
    }

    /// `(ERR_LIB_SSL, reason, …)`.
    fn is_error(&self) -> bool {
        self.first == Some(LIBRARY) && self.second.is_some_and(|reason| REASONS.contains(&reason))
    }

    /// `(…, alert, reason)`.
    fn is_fatal(&self) -> bool {
        self.second.is_some_and(|alert| ALERTS.contains(&alert))
            && self.third.is_some_and(|reason| REASONS.contains(&reason))
    }
}

/// Whether what is there cannot change.
pub fn is_constant(elf: &Elf, address: u64) -> bool {
    let mut segments = elf.segments.iter();
    segments.any(|segment| !segment.writable && segment.addresses.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{Architecture, stripped::scan::Window};

    fn code(bytes: &[u8]) -> (Window<'_>, &'static dyn decode::Decoder) {
        let window = Window {
            address: 0x1000,
            bytes,
            now: 0..bytes.len(),
        };
        (window, decode::decoder(Architecture::X86_64))
    }

    /// GCC sets the library last, Clang first.
    #[test]
    fn arguments_in_any_order() {
        let last = [
            0x31, 0xd2, // xor edx, edx
            0xbe, 0x90, 0, 0, 0, // mov esi, 144
            0x31, 0xc0, // xor eax, eax
            0xbf, 20, 0, 0, 0, // mov edi, 20
            0x67, 0xe8, 0, 0, 0, 0, // addr32 call
        ];
        let first = [
            0xbf, 20, 0, 0, 0, // mov edi, 20
            0xbe, 0x90, 0, 0, 0, // mov esi, 144
            0x31, 0xd2, // xor edx, edx
            0xe8, 3, 0, 0, 0, // call
        ];
        for (bytes, at) in [(&last[..], 9), (&first[..], 0)] {
            let (window, decoder) = code(bytes);
            let window = &window;
            let target = set_error(&Code { decoder, window }, at);
            assert_eq!(target, Some(0x1014), "{at}");
        }
    }

    #[test]
    fn other_libraries_are_none_of_it() {
        // mov esi, edi; mov edi, 20; call.
        let (window, decoder) = code(&[0x89, 0xfe, 0xbf, 20, 0, 0, 0, 0xe8, 0, 0, 0, 0]);
        let window = &window;
        assert_eq!(set_error(&Code { decoder, window }, 2), None);
    }
}
