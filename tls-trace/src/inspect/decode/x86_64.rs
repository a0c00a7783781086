//! AMD64 (Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2).

use iced_x86::{
    Code, Decoder as Iced, DecoderOptions, FlowControl, Instruction as Decoded,
    InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register as Name,
};

use super::{Convention, Decoder, Instruction, Memory, Register, Source, Step};

/// AMD64.
pub struct X86_64;

/// Numbers as in instruction encodings: rax 0, rcx 1, rdx 2, rbx 3, rsp 4, rbp 5, rsi 6, rdi 7.
const RAX: Register = 0;
const RSP: Register = 4;

/// System V ABI, AMD64 supplement, 3.2.
const CONVENTION: Convention = Convention {
    arguments: [7, 6, 2, 1],
    result: RAX,
    stack: RSP,
    preserved: &[3, RSP, 5, 12, 13, 14, 15],
};

impl Decoder for X86_64 {
    fn decode(&self, code: &[u8], address: u64) -> Option<Instruction> {
        let decoded = Iced::with_ip(64, code, address, DecoderOptions::NONE).decode();
        if decoded.is_invalid() {
            return None;
        }
        Some(Instruction {
            length: u8::try_from(decoded.len()).ok()?,
            steps: steps(&decoded),
        })
    }

    fn convention(&self) -> &'static Convention {
        &CONVENTION
    }
}

fn steps(decoded: &Decoded) -> Vec<Step> {
    flow(decoded)
        .or_else(|| stack(decoded))
        .or_else(|| conditional(decoded))
        .or_else(|| arithmetic(decoded))
        .or_else(|| transfer(decoded))
        .unwrap_or_else(|| written(decoded))
}

fn flow(decoded: &Decoded) -> Option<Vec<Step>> {
    let target = || (decoded.op0_kind() == OpKind::NearBranch64).then(|| decoded.near_branch64());
    let step = match decoded.flow_control() {
        FlowControl::Next => return None,
        FlowControl::UnconditionalBranch | FlowControl::IndirectBranch => Step::Jump(target()),
        FlowControl::ConditionalBranch => Step::Branch(target()?),
        FlowControl::Call | FlowControl::IndirectCall => {
            // syscall(2) is a call to iced.
            if decoded.mnemonic() != Mnemonic::Call {
                return None;
            }
            Step::Call(target())
        }
        FlowControl::Return => Step::Return,
        FlowControl::Interrupt | FlowControl::XbeginXabortXend | FlowControl::Exception => {
            Step::Stop
        }
    };
    Some(vec![step])
}

fn stack(decoded: &Decoded) -> Option<Vec<Step>> {
    let top = Memory {
        base: RSP,
        offset: 0,
        width: 8,
    };
    let moved = |by| Step::Set(RSP, Source::Register(RSP, by), 8);
    match decoded.mnemonic() {
        Mnemonic::Push if decoded.stack_pointer_increment() == -8 => {
            Some(vec![moved(-8), Step::Store(top, source(decoded, 0))])
        }
        Mnemonic::Pop if decoded.op0_kind() == OpKind::Register => {
            let (to, _) = register(decoded.op0_register())?;
            Some(vec![Step::Set(to, Source::Memory(top), 8), moved(8)])
        }
        Mnemonic::Leave => Some(vec![
            Step::Set(RSP, Source::Register(5, 0), 8),
            Step::Set(5, Source::Memory(top), 8),
            moved(8),
        ]),
        _ => None,
    }
}

fn conditional(decoded: &Decoded) -> Option<Vec<Step>> {
    let is_cmov = (Code::Cmovo_r16_rm16..=Code::Cmovg_r64_rm64).contains(&decoded.code());
    if !is_cmov {
        return None;
    }
    let (to, width) = register(decoded.op0_register())?;
    Some(vec![Step::SetOrNot(to, source(decoded, 1), width)])
}

fn arithmetic(decoded: &Decoded) -> Option<Vec<Step>> {
    match decoded.mnemonic() {
        Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Bt => {
            return Some(
                (0..2)
                    .filter_map(|at| memory(decoded, at).map(Step::Read))
                    .collect(),
            );
        }
        _ => {}
    }
    if decoded.op0_kind() != OpKind::Register {
        return None;
    }
    let (to, width) = register(decoded.op0_register())?;
    // The rest of a register of one or two bytes stays as it was.
    if width < 4 {
        return None;
    }
    let same =
        decoded.op1_kind() == OpKind::Register && decoded.op0_register() == decoded.op1_register();
    let constant = immediate(decoded, 1);
    let step = match (decoded.mnemonic(), constant) {
        (Mnemonic::Xor | Mnemonic::Sub, None) if same => Step::Set(to, Source::Constant(0), width),
        (Mnemonic::Add, Some(by)) => Step::Set(to, Source::Register(to, by), width),
        (Mnemonic::Sub, Some(by)) => Step::Set(to, Source::Register(to, by.checked_neg()?), width),
        (Mnemonic::And, Some(mask)) if width == 4 => {
            Step::Mask(to, mask.cast_unsigned() & u64::from(u32::MAX))
        }
        (Mnemonic::And, Some(mask)) => Step::Mask(to, mask.cast_unsigned()),
        (Mnemonic::Shr, Some(by)) => Step::Shift(to, u8::try_from(by).ok()? & 63),
        _ => return None,
    };
    Some(vec![step])
}

fn transfer(decoded: &Decoded) -> Option<Vec<Step>> {
    let step = match decoded.mnemonic() {
        Mnemonic::Mov if decoded.op0_kind() == OpKind::Memory => {
            Step::Store(memory(decoded, 0)?, source(decoded, 1))
        }
        Mnemonic::Mov | Mnemonic::Movzx | Mnemonic::Movsx | Mnemonic::Movsxd => {
            let (to, width) = register(decoded.op0_register())?;
            // The rest of a register of one or two bytes stays as it was.
            let from = if width < 4 {
                Source::Unknown
            } else {
                source(decoded, 1)
            };
            Step::Set(to, from, width)
        }
        Mnemonic::Lea => {
            let (to, width) = register(decoded.op0_register())?;
            let from = match place(decoded) {
                Some((base, offset)) => Source::Register(base, offset),
                None if decoded.is_ip_rel_memory_operand() => {
                    Source::Constant(decoded.ip_rel_memory_address().cast_signed())
                }
                None => Source::Unknown,
            };
            Step::Set(to, from, width)
        }
        _ => return None,
    };
    Some(vec![step])
}

/// What an instruction writes that nothing above knows: unknown from here on.
fn written(decoded: &Decoded) -> Vec<Step> {
    let mut factory = InstructionInfoFactory::new();
    let info = factory.info(decoded);
    let mut steps = Vec::new();
    for used in info.used_registers() {
        let writes = matches!(
            used.access(),
            OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
        );
        if writes && let Some((to, _)) = register(used.register().full_register()) {
            steps.push(Step::Set(to, Source::Unknown, 8));
        }
    }
    for used in info.used_memory() {
        if used.index() != Name::None || used.segment() == Name::FS {
            continue;
        }
        let Some((base, 8)) = register(used.base()) else {
            continue;
        };
        let memory = Memory {
            base,
            offset: used.displacement().cast_signed(),
            width: u8::try_from(used.memory_size().size()).unwrap_or(0),
        };
        match used.access() {
            OpAccess::Read | OpAccess::CondRead => steps.insert(0, Step::Read(memory)),
            OpAccess::NoMemAccess => {}
            _ => steps.insert(0, Step::Store(memory, Source::Unknown)),
        }
    }
    steps
}

fn source(decoded: &Decoded, operand: u32) -> Source {
    if let Some(constant) = immediate(decoded, operand) {
        return Source::Constant(constant);
    }
    match decoded.op_kind(operand) {
        OpKind::Register => match register(decoded.op_register(operand)) {
            // A part of a register is another value than the register.
            Some((from, 4 | 8)) => Source::Register(from, 0),
            _ => Source::Unknown,
        },
        OpKind::Memory => memory(decoded, operand).map_or(Source::Unknown, Source::Memory),
        _ => Source::Unknown,
    }
}

fn immediate(decoded: &Decoded, operand: u32) -> Option<i64> {
    if operand >= decoded.op_count() {
        return None;
    }
    // The number comes sign-extended where the instruction extends it.
    decoded.try_immediate(operand).ok().map(u64::cast_signed)
}

fn memory(decoded: &Decoded, operand: u32) -> Option<Memory> {
    if decoded.op_kind(operand) != OpKind::Memory {
        return None;
    }
    let (base, offset) = place(decoded)?;
    Some(Memory {
        base,
        offset,
        width: u8::try_from(decoded.memory_size().size()).ok()?,
    })
}

/// `[register + constant]`; nothing that is relative to code, a thread, or an index.
fn place(decoded: &Decoded) -> Option<(Register, i64)> {
    if decoded.memory_index() != Name::None || decoded.segment_prefix() != Name::None {
        return None;
    }
    match register(decoded.memory_base())? {
        (base, 8) => Some((base, decoded.memory_displacement64().cast_signed())),
        _ => None,
    }
}

/// Number and width of a general-purpose register. `ah` and the like count as none.
fn register(name: Name) -> Option<(Register, u8)> {
    if !name.is_gpr() || matches!(name, Name::AH | Name::BH | Name::CH | Name::DH) {
        return None;
    }
    let number = u8::try_from(name.full_register().number()).ok()?;
    Some((number, u8::try_from(name.size()).ok()?))
}
