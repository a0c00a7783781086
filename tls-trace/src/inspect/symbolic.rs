//! What a small function computes, as far as it can be told from its code: every path through it is
//! followed with symbols in place of arguments. An accessor such as `SSL_is_server` then says by
//! itself which member of its argument it returns.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Elf, Error,
    decode::{self, Decoder, LONGEST, Memory, REGISTERS, Register, Source, Step},
    symbols::Function,
};

/// Instructions followed in one function, over all paths.
const INSTRUCTIONS: u32 = 20_000;
/// Paths that wait to be followed.
const PATHS: usize = 256;
/// How often a path may pass the same branch: loops end there.
const ROUNDS: u8 = 2;
/// Pointers followed one after another.
const DEPTH: usize = 4;

/// Something a function works with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// Not known.
    Unknown,
    /// A number.
    Constant(i64),
    /// An address.
    Address(Address),
    /// What is at an address, or part of it.
    Content(Content),
}

/// Where an address comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Root {
    /// An argument, from 0.
    Argument(u8),
    /// The stack pointer at the start.
    Stack,
}

/// An address that begins at an argument: each pointer is read at its offset, then followed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address {
    /// Where it begins.
    pub root: Root,
    /// Offsets of the pointers followed.
    pub pointers: Vec<i64>,
    /// Distance from the last one.
    pub offset: i64,
}

/// What is at an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    /// The address.
    pub at: Address,
    /// Bytes.
    pub width: u8,
    /// Bits that count after a shift to the right, where not all do.
    pub bits: Option<Bits>,
}

/// Some bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bits {
    /// Shift to the right.
    pub shift: u8,
    /// Then these.
    pub mask: u64,
}

/// What a function does on all its paths.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Results.
    pub returns: BTreeSet<Value>,
    /// What is written where, other than to the stack.
    pub stores: BTreeSet<(Address, Value)>,
    /// What is read, other than from the stack.
    pub reads: BTreeSet<(Address, u8)>,
    /// First four arguments of functions that are called, or jumped to at the end.
    pub calls: BTreeSet<[Value; 4]>,
    /// Not everything could be followed.
    pub incomplete: bool,
}

impl Content {
    /// Offsets of the pointers that lead to it and its own, from an argument.
    #[must_use]
    pub fn path(&self) -> Vec<i64> {
        let mut path = self.at.pointers.clone();
        path.push(self.at.offset);
        path
    }
}

impl Value {
    /// What is at an address, when that is what it is: of a pointer, the place it was read from.
    #[must_use]
    pub fn content(&self) -> Option<Content> {
        match self {
            Self::Content(content) => Some(content.clone()),
            Self::Address(address) if address.offset == 0 => {
                let mut pointers = address.pointers.clone();
                let offset = pointers.pop()?;
                let root = address.root;
                let at = Address {
                    root,
                    pointers,
                    offset,
                };
                Some(Content {
                    at,
                    width: 8,
                    bits: None,
                })
            }
            _ => None,
        }
    }

    /// The value as `width` bytes.
    fn narrowed(self, width: u8) -> Self {
        match self {
            _ if width == 0 => Self::Unknown,
            Self::Constant(number) if width < 8 => {
                Self::Constant(number & (i64::MAX >> (63 - 8 * u32::from(width))))
            }
            // An argument of type int, which arrives in a whole register.
            Self::Address(ref address)
                if width == 4 && address.pointers.is_empty() && address.offset == 0 =>
            {
                self
            }
            Self::Address(_) if width < 8 => match self.content() {
                Some(content) => Self::Content(Content { width, ..content }),
                None => Self::Unknown,
            },
            Self::Content(content) if width < content.width => {
                Self::Content(Content { width, ..content })
            }
            other => other,
        }
    }

    fn plus(self, by: i64) -> Self {
        match self {
            same if by == 0 => same,
            Self::Constant(number) => Self::Constant(number.wrapping_add(by)),
            Self::Address(address) => Self::Address(Address {
                offset: address.offset.wrapping_add(by),
                ..address
            }),
            _ => Self::Unknown,
        }
    }

    fn bits(self, change: impl FnOnce(Bits) -> Option<Bits>) -> Self {
        let Some(content) = self.content() else {
            return Self::Unknown;
        };
        let all = Bits {
            shift: 0,
            mask: u64::MAX >> (64 - 8 * u32::from(content.width)),
        };
        match change(content.bits.unwrap_or(all)) {
            Some(bits) if bits == all => self,
            Some(bits) => Self::Content(Content {
                bits: Some(bits),
                ..content
            }),
            None => Self::Unknown,
        }
    }
}

/// Follows a function.
///
/// # Errors
/// Its code cannot be read; the budget is spent.
pub fn trace(elf: &Elf, function: Function) -> Result<Trace, Error> {
    let decoder = decode::decoder(elf.architecture);
    let mut run = Run {
        elf,
        decoder,
        function,
        trace: Trace::default(),
        waiting: vec![State::new(decoder, function.address)],
        left: INSTRUCTIONS,
    };
    while let Some(state) = run.waiting.pop() {
        run.follow(state)?;
    }
    Ok(run.trace)
}

struct Run<'a> {
    elf: &'a Elf<'a>,
    decoder: &'static dyn Decoder,
    function: Function,
    trace: Trace,
    waiting: Vec<State>,
    left: u32,
}

/// One path at one moment.
#[derive(Clone)]
struct State {
    at: u64,
    registers: [Value; REGISTERS],
    stack: BTreeMap<i64, Value>,
    rounds: BTreeMap<u64, u8>,
    moved: bool,
}

impl State {
    fn new(decoder: &dyn Decoder, at: u64) -> Self {
        let mut registers = [const { Value::Unknown }; REGISTERS];
        let convention = decoder.convention();
        let root = |root| {
            Value::Address(Address {
                root,
                pointers: Vec::new(),
                offset: 0,
            })
        };
        for (argument, register) in (0..).zip(convention.arguments) {
            registers[usize::from(register)] = root(Root::Argument(argument));
        }
        registers[usize::from(convention.stack)] = root(Root::Stack);
        Self {
            at,
            registers,
            stack: BTreeMap::new(),
            rounds: BTreeMap::new(),
            moved: false,
        }
    }

    fn register(&self, register: Register) -> Value {
        self.registers[usize::from(register)].clone()
    }

    fn address(&self, memory: Memory) -> Option<Address> {
        match self.register(memory.base).plus(memory.offset) {
            Value::Address(address) => Some(address),
            _ => None,
        }
    }

    /// Whether a branch to there is one more round of a loop than wanted.
    fn goes_round(&mut self, target: u64) -> bool {
        let rounds = self.rounds.entry(target).or_default();
        *rounds += 1;
        *rounds > ROUNDS
    }
}

/// What follows after a step.
enum Next {
    Instruction,
    At(u64),
    End,
}

impl Run<'_> {
    fn follow(&mut self, mut state: State) -> Result<(), Error> {
        loop {
            let instruction = self.instruction(state.at)?;
            let Some(instruction) = instruction.filter(|_| self.left > 0) else {
                self.trace.incomplete = true;
                return Ok(());
            };
            self.left -= 1;
            let does_something = !instruction.steps.is_empty();
            state.at += u64::from(instruction.length);
            for step in instruction.steps {
                match self.step(&mut state, step) {
                    Next::Instruction => {}
                    Next::At(target) => {
                        state.at = target;
                        break;
                    }
                    Next::End => return Ok(()),
                }
            }
            state.moved |= does_something;
        }
    }

    fn instruction(&self, at: u64) -> Result<Option<decode::Instruction>, Error> {
        let Some(offset) = self.elf.code_offset(at) else {
            return Ok(None);
        };
        let mut code = [0; LONGEST];
        let length = self.elf.reader.paged(&mut code, offset)?;
        Ok(self.decoder.decode(&code[..length], at))
    }

    fn step(&mut self, state: &mut State, step: Step) -> Next {
        match step {
            Step::Set(to, source, width) => {
                let value = self.value(state, source).narrowed(width);
                state.registers[usize::from(to)] = value;
            }
            Step::SetOrNot(to, source, width) => {
                // Not, on a path of its own.
                self.wait(state.clone());
                let value = self.value(state, source).narrowed(width);
                state.registers[usize::from(to)] = value;
            }
            Step::Mask(register, mask) => {
                let value = &mut state.registers[usize::from(register)];
                let old = std::mem::replace(value, Value::Unknown);
                *value = old.bits(|bits| {
                    Some(Bits {
                        mask: bits.mask & mask,
                        ..bits
                    })
                });
            }
            Step::Shift(register, by) => {
                let value = &mut state.registers[usize::from(register)];
                let old = std::mem::replace(value, Value::Unknown);
                *value = old.bits(|bits| {
                    Some(Bits {
                        shift: bits.shift.checked_add(by)?,
                        mask: bits.mask.checked_shr(by.into())?,
                    })
                });
            }
            Step::Read(memory) => drop(self.value(state, Source::Memory(memory))),
            Step::Store(memory, source) => self.store(state, memory, source),
            Step::Call(_) => {
                self.call(state);
                self.forget(state);
            }
            Step::Jump(target) => return self.jump(state, target),
            Step::Branch(target) => {
                let mut other = state.clone();
                if !other.goes_round(target) {
                    other.at = target;
                    other.moved = true;
                    self.wait(other);
                }
            }
            Step::Return => {
                let result = state.register(self.decoder.convention().result);
                self.trace.returns.insert(result);
                return Next::End;
            }
            Step::Stop => return Next::End,
        }
        Next::Instruction
    }

    fn wait(&mut self, state: State) {
        if self.waiting.len() < PATHS {
            self.waiting.push(state);
        } else {
            self.trace.incomplete = true;
        }
    }

    fn value(&mut self, state: &State, source: Source) -> Value {
        match source {
            Source::Register(register, by) => state.register(register).plus(by),
            Source::Constant(number) => Value::Constant(number),
            Source::Unknown => Value::Unknown,
            Source::Memory(memory) => match state.address(memory) {
                Some(address) => self.load(state, address, memory.width),
                None => Value::Unknown,
            },
        }
    }

    fn load(&mut self, state: &State, at: Address, width: u8) -> Value {
        if at.root == Root::Stack && at.pointers.is_empty() {
            let stored = state.stack.get(&at.offset).cloned();
            return stored.unwrap_or(Value::Unknown).narrowed(width);
        }
        self.trace.reads.insert((at.clone(), width));
        let content = Content {
            at,
            width,
            bits: None,
        };
        match width {
            8 if content.at.pointers.len() < DEPTH => Value::Address(Address {
                root: content.at.root,
                pointers: content.path(),
                offset: 0,
            }),
            1 | 2 | 4 => Value::Content(content),
            _ => Value::Unknown,
        }
    }

    fn store(&mut self, state: &mut State, memory: Memory, source: Source) {
        let value = self.value(state, source).narrowed(memory.width);
        let Some(address) = state.address(memory) else {
            return;
        };
        if address.root == Root::Stack && address.pointers.is_empty() {
            state.stack.insert(address.offset, value);
        } else {
            self.trace.stores.insert((address, value));
        }
    }

    fn call(&mut self, state: &State) {
        let arguments = self.decoder.convention().arguments;
        let arguments = arguments.map(|register| state.register(register));
        self.trace.calls.insert(arguments);
    }

    /// After a call: what the function called may have changed.
    fn forget(&self, state: &mut State) {
        let preserved = self.decoder.convention().preserved;
        for (number, value) in (0..).zip(&mut state.registers) {
            if !preserved.contains(&number) {
                *value = Value::Unknown;
            }
        }
    }

    fn jump(&mut self, state: &mut State, target: Option<u64>) -> Next {
        let Some(target) = target else {
            self.call(state);
            self.trace.returns.insert(Value::Unknown);
            return Next::End;
        };
        let Function { address, size } = self.function;
        let inside = (address..address.saturating_add(size.max(1))).contains(&target);
        // A function that is nothing but a jump is that other function.
        if !state.moved && !inside {
            self.function = Function {
                address: target,
                size: 0,
            };
            return Next::At(target);
        }
        if !inside && size != 0 {
            self.call(state);
            self.trace.returns.insert(Value::Unknown);
            return Next::End;
        }
        if state.goes_round(target) {
            return Next::End;
        }
        Next::At(target)
    }
}
