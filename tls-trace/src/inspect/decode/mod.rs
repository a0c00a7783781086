//! Machine code, reduced to what matters for accessors: which register holds what, read from where.
//! Whatever an instruction does that has no name here, the registers it writes become unknown.

mod aarch64;
mod x86_64;

use super::Architecture;

/// Number of a general-purpose register, as the processor's manual numbers them.
pub type Register = u8;

/// General-purpose registers there are at most, the stack pointer included.
pub const REGISTERS: usize = 32;

/// Longest instruction.
pub const LONGEST: usize = 15;

/// A place in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Register it is relative to.
    pub base: Register,
    /// Distance.
    pub offset: i64,
    /// Bytes.
    pub width: u8,
}

/// What is written somewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Another register, plus a constant.
    Register(Register, i64),
    /// A number.
    Constant(i64),
    /// The content of memory.
    Memory(Memory),
    /// Something else.
    Unknown,
}

/// A step of an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A register gets a value, of which `width` bytes count; the rest becomes zero.
    Set(Register, Source, u8),
    /// The same, or not: depends on something.
    SetOrNot(Register, Source, u8),
    /// A register keeps these bits only.
    Mask(Register, u64),
    /// A register is shifted to the right, zeroes coming in.
    Shift(Register, u8),
    /// Memory is read, the value used for nothing but a comparison.
    Read(Memory),
    /// Memory gets a value.
    Store(Memory, Source),
    /// A function is called; None: through a pointer.
    Call(Option<u64>),
    /// It goes on elsewhere.
    Jump(Option<u64>),
    /// It goes on elsewhere, or not.
    Branch(u64),
    /// It ends.
    Return,
    /// It stops: a trap.
    Stop,
}

/// An instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Bytes.
    pub length: u8,
    /// What it does, in order.
    pub steps: Vec<Step>,
}

/// Registers by their role in a call.
#[derive(Clone, Copy, Debug)]
pub struct Convention {
    /// The first arguments, in order.
    pub arguments: [Register; 4],
    /// The result.
    pub result: Register,
    /// The stack pointer.
    pub stack: Register,
    /// Those a function leaves as it found them.
    pub preserved: &'static [Register],
}

/// A processor.
pub trait Decoder: Sync {
    /// Reads the instruction that `code` begins with; None: there is none.
    fn decode(&self, code: &[u8], address: u64) -> Option<Instruction>;

    /// How functions are called.
    fn convention(&self) -> &'static Convention;
}

/// The decoder for a processor.
#[must_use]
pub fn decoder(architecture: Architecture) -> &'static dyn Decoder {
    match architecture {
        Architecture::X86_64 => &x86_64::X86_64,
        Architecture::Aarch64 => &aarch64::Aarch64,
    }
}
