//! 64-bit ARM (Arm Architecture Reference Manual, A-profile, chapter C6).

use yaxpeax_arch::{Decoder as _, U8Reader};
use yaxpeax_arm::armv8::a64::{
    InstDecoder, Instruction as Decoded, Opcode, Operand, ShiftStyle, SizeCode,
};

use super::{Convention, Decoder, Instruction, Memory, Register, Source, Step};

/// 64-bit ARM.
pub struct Aarch64;

/// The stack pointer, where register 31 is not the one that is always zero.
const SP: Register = 31;
const ZERO: u16 = 31;

/// Procedure Call Standard for the Arm 64-bit Architecture, 6.1.1.
const CONVENTION: Convention = Convention {
    arguments: [0, 1, 2, 3],
    result: 0,
    stack: SP,
    preserved: &[19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, SP],
};

impl Decoder for Aarch64 {
    fn decode(&self, code: &[u8], address: u64) -> Option<Instruction> {
        let mut decoded = Decoded::default();
        let mut reader = U8Reader::new(code.get(..4)?);
        InstDecoder::default()
            .decode_into(&mut decoded, &mut reader)
            .ok()?;
        Some(Instruction {
            length: 4,
            steps: steps(&decoded, address),
        })
    }

    fn convention(&self) -> &'static Convention {
        &CONVENTION
    }
}

fn steps(decoded: &Decoded, address: u64) -> Vec<Step> {
    flow(decoded, address)
        .or_else(|| memory_access(decoded))
        .or_else(|| arithmetic(decoded))
        .unwrap_or_else(|| touched(decoded))
}

fn flow(decoded: &Decoded, address: u64) -> Option<Vec<Step>> {
    let target = || {
        let offset = decoded.operands.iter().find_map(|operand| match operand {
            Operand::PCOffset(offset) => Some(*offset),
            _ => None,
        });
        Some(address.wrapping_add_signed(offset?))
    };
    let step = match decoded.opcode {
        Opcode::B => Step::Jump(target()),
        Opcode::BR | Opcode::BRAA | Opcode::BRAAZ | Opcode::BRAB | Opcode::BRABZ => {
            Step::Jump(None)
        }
        Opcode::Bcc(_)
        | Opcode::BCcc(_)
        | Opcode::CBZ
        | Opcode::CBNZ
        | Opcode::TBZ
        | Opcode::TBNZ => Step::Branch(target()?),
        Opcode::BL => Step::Call(target()),
        Opcode::BLR | Opcode::BLRAA | Opcode::BLRAAZ | Opcode::BLRAB | Opcode::BLRABZ => {
            Step::Call(None)
        }
        Opcode::RET
        | Opcode::RETAA
        | Opcode::RETAB
        | Opcode::RETAASPPC
        | Opcode::RETABSPPC
        | Opcode::RETAASPPCR
        | Opcode::RETABSPPCR => Step::Return,
        Opcode::BRK | Opcode::HLT | Opcode::UDF => Step::Stop,
        _ => return None,
    };
    Some(vec![step])
}

fn memory_access(decoded: &Decoded) -> Option<Vec<Step>> {
    let (width, loads) = match decoded.opcode {
        Opcode::LDR | Opcode::LDUR | Opcode::LDP | Opcode::LDAR | Opcode::LDAPR => (0, true),
        Opcode::LDRB | Opcode::LDURB | Opcode::LDRSB | Opcode::LDURSB => (1, true),
        Opcode::LDRH | Opcode::LDURH | Opcode::LDRSH | Opcode::LDURSH => (2, true),
        Opcode::LDRSW | Opcode::LDURSW => (4, true),
        Opcode::STR | Opcode::STUR | Opcode::STP | Opcode::STLR => (0, false),
        Opcode::STRB | Opcode::STURB => (1, false),
        Opcode::STRH | Opcode::STURH => (2, false),
        _ => return None,
    };
    let mut transferred = Vec::new();
    for operand in decoded.operands {
        match operand {
            Operand::Register(size, register) => {
                let width = if width == 0 { bytes(size) } else { width };
                transferred.push((register, width, bytes(size)));
            }
            Operand::RegPreIndex(base, offset, writeback) => {
                let (first, moved) = if writeback { (0, offset) } else { (offset, 0) };
                return accesses(&transferred, loads, number(base)?, first, (moved, 0));
            }
            Operand::RegPostIndex(base, moved) => {
                return accesses(&transferred, loads, number(base)?, 0, (0, moved));
            }
            _ => return None,
        }
    }
    None
}

/// `moved`: how far the base goes before and after.
fn accesses(
    transferred: &[(u16, u8, u8)],
    loads: bool,
    base: Register,
    mut offset: i32,
    moved: (i32, i32),
) -> Option<Vec<Step>> {
    let go = |by: i32| (by != 0).then(|| Step::Set(base, Source::Register(base, by.into()), 8));
    let mut middle = Vec::new();
    for &(register, width, size) in transferred {
        let memory = Memory {
            base,
            offset: offset.into(),
            width,
        };
        offset = offset.checked_add(width.into())?;
        match (loads, register) {
            (true, ZERO) => middle.push(Step::Read(memory)),
            (true, _) => middle.push(Step::Set(number(register)?, Source::Memory(memory), size)),
            (false, _) => middle.push(Step::Store(memory, value(register)?)),
        }
    }
    // A base that is loaded itself is not lost before the other load.
    if matches!(middle.first(), Some(Step::Set(to, ..)) if *to == base) {
        middle.reverse();
    }
    let steps = go(moved.0).into_iter().chain(middle).chain(go(moved.1));
    Some(steps.collect())
}

fn arithmetic(decoded: &Decoded) -> Option<Vec<Step>> {
    let [first, second, third, fourth] = decoded.operands;
    if let Opcode::SUBS | Opcode::ADDS | Opcode::ANDS = decoded.opcode
        && matches!(first, Operand::Register(_, ZERO))
    {
        // A comparison.
        return Some(Vec::new());
    }
    let (to, size) = match first {
        Operand::Register(_, ZERO) => return Some(Vec::new()),
        Operand::Register(size, to) | Operand::RegisterOrSP(size, to) => (number(to)?, bytes(size)),
        _ => return None,
    };
    let set = |source| Some(vec![Step::Set(to, source, size)]);
    match (decoded.opcode, second, third, fourth) {
        (
            Opcode::ORR,
            Operand::Register(_, ZERO),
            Operand::RegShift(ShiftStyle::LSL, 0, _, from),
            _,
        ) => set(value(from)?),
        (Opcode::MOVZ, Operand::ImmShift(number, shift), ..) => {
            set(Source::Constant(i64::from(number) << (shift & 63)))
        }
        (Opcode::ADD, Operand::RegisterOrSP(_, from), _, _) => {
            set(Source::Register(number(from)?, immediate(third)?))
        }
        (Opcode::SUB, Operand::RegisterOrSP(_, from), _, _) => {
            set(Source::Register(number(from)?, -immediate(third)?))
        }
        (Opcode::AND, Operand::Register(_, from), _, _) => {
            let mask = match third {
                Operand::Immediate(mask) => mask.into(),
                Operand::Imm64(mask) => mask,
                _ => return None,
            };
            Some(vec![
                Step::Set(to, value(from)?, size),
                Step::Mask(to, mask),
            ])
        }
        // Bits from `low` to `high`, moved to the bottom.
        (Opcode::UBFM, Operand::Register(_, from), _, Operand::Immediate(high)) => {
            let low = immediate(third)?;
            let (low, high) = (u32::try_from(low).ok()?, high);
            if low > high || high > 63 {
                return None;
            }
            Some(vec![
                Step::Set(to, value(from)?, size),
                Step::Shift(to, u8::try_from(low).ok()?),
                Step::Mask(to, u64::MAX >> (63 - (high - low))),
            ])
        }
        (Opcode::CSEL, Operand::Register(_, yes), Operand::Register(_, no), _) => {
            let no_steps = if number(no)? == to && no != ZERO {
                vec![Step::SetOrNot(to, value(yes)?, size)]
            } else {
                vec![
                    Step::Set(to, value(yes)?, size),
                    Step::SetOrNot(to, value(no)?, size),
                ]
            };
            Some(no_steps)
        }
        _ => None,
    }
}

/// Every register an unknown instruction mentions: it may write any of them.
fn touched(decoded: &Decoded) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut unknown = |register: u16| {
        steps.extend(number(register).map(|to| Step::Set(to, Source::Unknown, 8)));
    };
    for operand in decoded.operands {
        match operand {
            Operand::Register(_, register) if register != ZERO => unknown(register),
            Operand::RegisterOrSP(_, register) => unknown(register),
            Operand::RegisterPair(_, register) => {
                unknown(register);
                unknown(register + 1);
            }
            Operand::RegPreIndex(base, _, true)
            | Operand::RegPostIndex(base, _)
            | Operand::RegPostIndexReg(base, _) => unknown(base),
            _ => {}
        }
    }
    steps
}

fn value(register: u16) -> Option<Source> {
    if register == ZERO {
        return Some(Source::Constant(0));
    }
    Some(Source::Register(number(register)?, 0))
}

fn immediate(operand: Operand) -> Option<i64> {
    match operand {
        Operand::Immediate(number) => Some(number.into()),
        Operand::ImmShift(number, shift) => Some(i64::from(number) << (shift & 63)),
        _ => None,
    }
}

fn number(register: u16) -> Option<Register> {
    Register::try_from(register)
        .ok()
        .filter(|number| *number <= SP)
}

fn bytes(size: SizeCode) -> u8 {
    match size {
        SizeCode::X => 8,
        SizeCode::W => 4,
    }
}
