//! The instructions of one function, and what registers hold at one of them: looked for backwards, on
//! every way that leads there.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ops::Range,
};

use crate::inspect::{
    Elf, Error,
    decode::{self, Convention, Decoder, Instruction, Memory, Register, Source, Step},
};

/// Longest function that is looked through.
const LONGEST: u64 = 256 * 1024;
/// Instructions gone back over for one question.
const STEPS: u32 = 4000;
/// Answers to one question.
const ANSWERS: usize = 256;

/// A function's code.
pub struct Body {
    instructions: Vec<(u64, Instruction)>,
    /// Jumps to an instruction from inside, by its number.
    jumps: HashMap<usize, Vec<usize>>,
    convention: &'static Convention,
}

/// What a register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Value {
    /// Not known.
    Unknown,
    /// A number.
    Constant(i64),
    /// What the function was given in a register.
    Argument(Register),
    /// What was read from memory by the instruction of that number, relative to a register.
    Content {
        /// The instruction.
        by: usize,
        /// Register and distance.
        from: (Register, i64),
    },
}

/// A register on the way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Wanted {
    Found(Value),
    /// That register's, plus a number.
    In(Register, i64),
}

impl Body {
    /// Reads a function; None where its code cannot be told apart, or is very long.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(elf: &Elf, function: &Range<u64>) -> Result<Option<Self>, Error> {
        let length = function.end - function.start;
        let (Some(offset), true) = (elf.code_offset(function.start), length <= LONGEST) else {
            return Ok(None);
        };
        let length = usize::try_from(length).map_err(|_| Error::TooLarge)?;
        let code = elf.reader.bytes(offset, length)?;
        let decoder = decode::decoder(elf.architecture);
        Ok(Self::decode(decoder, function.start, &code))
    }

    fn decode(decoder: &dyn Decoder, start: u64, code: &[u8]) -> Option<Self> {
        let mut instructions = Vec::new();
        let mut at = 0;
        while at < code.len() {
            let address = start + at as u64;
            let instruction = decoder.decode(&code[at..], address)?;
            at += usize::from(instruction.length);
            instructions.push((address, instruction));
        }
        let mut body = Self {
            instructions,
            jumps: HashMap::new(),
            convention: decoder.convention(),
        };
        body.connect();
        Some(body)
    }

    fn connect(&mut self) {
        let mut jumps: HashMap<usize, Vec<usize>> = HashMap::new();
        for (from, (_, instruction)) in self.instructions.iter().enumerate() {
            for step in &instruction.steps {
                if let Step::Jump(Some(target)) | Step::Branch(target) = step
                    && let Some(to) = self.at(*target)
                {
                    jumps.entry(to).or_default().push(from);
                }
            }
        }
        self.jumps = jumps;
    }

    /// The number of the instruction at an address.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<usize> {
        let found = self
            .instructions
            .binary_search_by_key(&address, |(at, _)| *at);
        found.ok()
    }

    /// The number of the instruction that ends at an address.
    #[must_use]
    pub fn ending(&self, address: u64) -> Option<usize> {
        let after = self.instructions.partition_point(|(at, _)| *at < address);
        let (at, instruction) = self.instructions.get(after.checked_sub(1)?)?;
        (at + u64::from(instruction.length) == address).then_some(after - 1)
    }

    /// What each instruction does, with its number.
    pub fn steps(&self) -> impl Iterator<Item = (usize, &Step)> {
        let all = self.instructions.iter().enumerate();
        all.flat_map(|(number, (_, each))| each.steps.iter().map(move |step| (number, step)))
    }

    /// What those registers hold before an instruction, together, on each way that leads there.
    #[must_use]
    pub fn before<const N: usize>(
        &self,
        instruction: usize,
        registers: [Register; N],
    ) -> BTreeSet<[Value; N]> {
        let mut answers = BTreeSet::new();
        let mut seen = HashSet::new();
        let mut left = STEPS;
        let mut open = vec![(instruction, registers.map(|name| Wanted::In(name, 0)))];
        while let Some((at, wanted)) = open.pop() {
            if let Some(values) = found(&wanted) {
                answers.insert(values);
                continue;
            }
            if left == 0 || answers.len() >= ANSWERS {
                answers.insert([Value::Unknown; N]);
                break;
            }
            let mut come_from = self.come_from(at).peekable();
            if at == 0 || come_from.peek().is_none() {
                answers.insert(wanted.map(|each| match each {
                    Wanted::Found(value) => value,
                    Wanted::In(register, 0) if at == 0 => Value::Argument(register),
                    Wanted::In(..) => Value::Unknown,
                }));
            }
            for previous in come_from {
                self.undo(previous, wanted, |wanted| {
                    if left > 0 && seen.insert((previous, wanted)) {
                        left -= 1;
                        open.push((previous, wanted));
                    }
                });
            }
        }
        answers
    }

    /// Instructions that this one may come after.
    fn come_from(&self, at: usize) -> impl Iterator<Item = usize> {
        let previous = at.checked_sub(1).filter(|previous| self.goes_on(*previous));
        let jumps = self.jumps.get(&at).into_iter().flatten().copied();
        previous.into_iter().chain(jumps)
    }

    fn goes_on(&self, at: usize) -> bool {
        let ends = |step: &Step| matches!(step, Step::Jump(_) | Step::Return | Step::Stop);
        !self.instructions[at].1.steps.iter().any(ends)
    }

    /// Says where what is wanted was before an instruction.
    fn undo<const N: usize>(
        &self,
        at: usize,
        wanted: [Wanted; N],
        mut tell: impl FnMut([Wanted; N]),
    ) {
        let mut ways = vec![wanted];
        for step in self.instructions[at].1.steps.iter().rev() {
            if let Step::SetOrNot(to, from, width) = step {
                let set = ways.iter().map(|way| unset(at, *way, *to, *from, *width));
                let set: Vec<_> = set.collect();
                ways.extend(set);
                ways.dedup();
                continue;
            }
            for way in &mut ways {
                *way = match *step {
                    Step::Set(to, from, width) => unset(at, *way, to, from, width),
                    Step::Mask(to, _) | Step::Shift(to, _) => {
                        unset(at, *way, to, Source::Unknown, 8)
                    }
                    Step::Call(_) => way.map(|each| match each {
                        Wanted::In(register, _)
                            if !self.convention.preserved.contains(&register) =>
                        {
                            Wanted::Found(Value::Unknown)
                        }
                        each => each,
                    }),
                    _ => *way,
                };
            }
        }
        ways.into_iter().for_each(&mut tell);
    }
}

/// Where what is wanted was before a register was set.
fn unset<const N: usize>(
    at: usize,
    wanted: [Wanted; N],
    to: Register,
    from: Source,
    width: u8,
) -> [Wanted; N] {
    wanted.map(|each| match (each, from) {
        (Wanted::In(register, _), _) if register != to => each,
        (Wanted::In(_, more), Source::Constant(number)) => {
            let number = if width == 4 {
                number & i64::from(u32::MAX)
            } else {
                number
            };
            Wanted::Found(Value::Constant(number.wrapping_add(more)))
        }
        (Wanted::In(_, more), Source::Register(register, distance)) => {
            Wanted::In(register, more.wrapping_add(distance))
        }
        (Wanted::In(_, 0), Source::Memory(Memory { base, offset, .. })) => {
            let from = (base, offset);
            Wanted::Found(Value::Content { by: at, from })
        }
        (Wanted::In(..), _) => Wanted::Found(Value::Unknown),
        (found, _) => found,
    })
}

fn found<const N: usize>(wanted: &[Wanted; N]) -> Option<[Value; N]> {
    let mut values = [Value::Unknown; N];
    for (value, wanted) in values.iter_mut().zip(wanted) {
        let Wanted::Found(found) = wanted else {
            return None;
        };
        *value = *found;
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Architecture;

    const RDX: Register = 2;
    const RDI: Register = 7;

    fn body(code: &[u8]) -> Body {
        let decoder = decode::decoder(Architecture::X86_64);
        Body::decode(decoder, 0x1000, code).unwrap()
    }

    fn constant(number: i64) -> Value {
        Value::Constant(number)
    }

    /// Compilers let errors share the end of their code: each way to the call is one.
    #[test]
    fn arguments_are_told_apart_by_the_way_to_a_call() {
        let body = body(&[
            0x85, 0xff, // test edi, edi
            0x74, 0x0c, // je +12
            0xba, 1, 0, 0, 0, // mov edx, 1
            0xbf, 16, 0, 0, 0, // mov edi, 16
            0xeb, 0x0a, // jmp +10
            0xba, 2, 0, 0, 0, // mov edx, 2
            0xbf, 20, 0, 0, 0, // mov edi, 20
            0xe8, 0, 0, 0, 0, // call
        ]);
        let call = body.ending(0x1000 + 31).unwrap();
        let found = body.before(call, [RDI, RDX]);
        let expected = [[constant(16), constant(1)], [constant(20), constant(2)]];
        assert_eq!(found, BTreeSet::from(expected));
    }

    #[test]
    fn what_a_call_leaves_is_not_known() {
        let body = body(&[
            0xbf, 16, 0, 0, 0, // mov edi, 16
            0x89, 0xfb, // mov ebx, edi
            0xe8, 0, 0, 0, 0, // call
            0x89, 0xda, // mov edx, ebx
            0xc3, // ret
        ]);
        let end = body.at(0x1000 + 14).unwrap();
        let found = body.before(end, [RDI, RDX]);
        assert_eq!(found, BTreeSet::from([[Value::Unknown, constant(16)]]));
    }

    #[test]
    fn loops_end() {
        let body = body(&[
            0x48, 0x83, 0xc2, 1, // add rdx, 1
            0xeb, 0xfa, // jmp -6
        ]);
        assert!(body.before(1, [RDX]).contains(&[Value::Unknown]));
    }
}
