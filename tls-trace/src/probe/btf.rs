//! A reader of the kernel's BTF (Documentation/bpf/btf.rst): where struct members are, what enum
//! constants are worth, how many arguments a tracepoint has. aya keeps these to itself.

use std::{fs, io};

/// Where the kernel publishes its BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const KIND_PTR: u8 = 2;
const KIND_ARRAY: u8 = 3;
const KIND_STRUCT: u8 = 4;
const KIND_UNION: u8 = 5;
const KIND_ENUM: u8 = 6;
const KIND_TYPEDEF: u8 = 8;
const KIND_FUNC_PROTO: u8 = 13;
const KIND_ENUM64: u8 = 19;

/// Anonymous structs and unions are followed this deep; real ones nest three times at most.
const MAX_DEPTH: u8 = 8;

/// Why the kernel's BTF does not give what is needed.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file cannot be read.
    #[error("cannot read {VMLINUX}: {0} (the kernel must be built with CONFIG_DEBUG_INFO_BTF)")]
    Read(#[from] io::Error),
    /// The bytes are not BTF.
    #[error("{VMLINUX} is not BTF that this version understands: {0}")]
    Malformed(&'static str),
    /// A type is missing.
    #[error("this kernel has no type '{0}'")]
    NoType(String),
    /// A member is missing.
    #[error("this kernel has no member '{member}' in struct {container}")]
    NoMember {
        /// The struct.
        container: String,
        /// The member.
        member: String,
    },
}

/// Type information, indexed by type id.
#[derive(Debug)]
pub struct Btf {
    data: Vec<u8>,
    strings: usize,
    /// Offset of each type's record in `data`; index 0 is `void`.
    types: Vec<u32>,
}

/// The fixed part of a type record.
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    kind: u8,
    /// Bit fields in use (`kind_flag`).
    flag: bool,
    members: u32,
    /// Type it refers to, or size.
    referent: u32,
    /// Offset of what follows the fixed part.
    body: usize,
}

impl Btf {
    /// Reads the running kernel's BTF.
    ///
    /// # Errors
    /// There is none, or it is malformed.
    pub fn of_kernel() -> Result<Self, BtfError> {
        Self::parse(fs::read(VMLINUX)?)
    }

    /// Indexes BTF in the byte order of this machine.
    ///
    /// # Errors
    /// The bytes are not BTF.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let malformed = BtfError::Malformed;
        let word = |at| u32_at(&data, at).ok_or(malformed("header cut short"));
        if data.get(..2) != Some(&MAGIC.to_ne_bytes()) {
            return Err(malformed("no magic number"));
        }
        let header = word(4)? as usize;
        let section = |offset: u32| header.checked_add(offset as usize);
        let start = section(word(8)?).ok_or(malformed("type section"))?;
        let end = start
            .checked_add(word(12)? as usize)
            .filter(|end| *end <= data.len())
            .ok_or(malformed("type section"))?;
        let strings = section(word(16)?)
            .filter(|strings| *strings <= data.len())
            .ok_or(malformed("string section"))?;
        let mut btf = Self {
            data,
            strings,
            types: vec![0],
        };
        let mut at = start;
        while at < end {
            let record = btf.record(at).ok_or(malformed("type record"))?;
            btf.types
                .push(u32::try_from(at).map_err(|_| malformed("too large"))?);
            at = record.body + record.body_length().ok_or(malformed("unknown kind"))?;
        }
        Ok(btf)
    }

    /// Offset in bytes of a member, named by its path from the struct: `["ns", "inum"]`. Members of
    /// anonymous structs and unions count as the outer struct's.
    ///
    /// # Errors
    /// The struct or the member does not exist.
    pub fn member_offset(&self, container: &str, path: &[&str]) -> Result<u32, BtfError> {
        let no_type = || BtfError::NoType(container.to_owned());
        let mut id = self
            .find(container, |kind| kind == KIND_STRUCT)
            .ok_or_else(no_type)?;
        let mut offset = 0;
        for member in path {
            let (bits, member_type) =
                self.member(id, member, MAX_DEPTH)
                    .ok_or_else(|| BtfError::NoMember {
                        container: container.to_owned(),
                        member: path.join("."),
                    })?;
            offset += bits / 8;
            id = member_type;
        }
        Ok(offset)
    }

    /// Value of a constant of an enum.
    ///
    /// # Errors
    /// The enum or the constant does not exist.
    pub fn enum_value(&self, name: &str, constant: &str) -> Result<u32, BtfError> {
        self.enum_values(name)?
            .into_iter()
            .find(|(label, _)| label == constant)
            .map(|(_, value)| value)
            .ok_or_else(|| BtfError::NoMember {
                container: name.to_owned(),
                member: constant.to_owned(),
            })
    }

    /// All constants of an enum.
    ///
    /// # Errors
    /// The enum does not exist.
    pub fn enum_values(&self, name: &str) -> Result<Vec<(String, u32)>, BtfError> {
        let id = self
            .find(name, |kind| kind == KIND_ENUM)
            .ok_or_else(|| BtfError::NoType(name.to_owned()))?;
        let record = self.type_record(id).ok_or(BtfError::Malformed("enum"))?;
        Ok((0..record.members as usize)
            .filter_map(|index| {
                let at = record.body + index * 8;
                let label = self.string(u32_at(&self.data, at)?)?;
                Some((
                    String::from_utf8_lossy(label).into_owned(),
                    u32_at(&self.data, at + 4)?,
                ))
            })
            .collect())
    }

    /// Number of arguments of a tracepoint, from its `btf_trace_NAME` typedef; `None` when the
    /// kernel has no such tracepoint.
    #[must_use]
    pub fn tracepoint_arguments(&self, tracepoint: &str) -> Option<u32> {
        let id = self.find(&format!("btf_trace_{tracepoint}"), |kind| {
            kind == KIND_TYPEDEF
        })?;
        let pointer = self.type_record(self.type_record(id)?.referent)?;
        let prototype = self.type_record(pointer.referent)?;
        // The first argument is the probe's private data.
        (pointer.kind == KIND_PTR && prototype.kind == KIND_FUNC_PROTO)
            .then(|| prototype.members.saturating_sub(1))
    }

    fn find(&self, name: &str, kind: impl Fn(u8) -> bool) -> Option<u32> {
        (1..u32::try_from(self.types.len()).ok()?).find(|id| {
            self.type_record(*id).is_some_and(|record| {
                kind(record.kind) && self.string(record.name) == Some(name.as_bytes())
            })
        })
    }

    /// Bit offset and type of a member.
    fn member(&self, id: u32, name: &str, depth: u8) -> Option<(u32, u32)> {
        let record = self.type_record(id)?;
        if !matches!(record.kind, KIND_STRUCT | KIND_UNION) || depth == 0 {
            return None;
        }
        for index in 0..record.members as usize {
            let at = record.body + index * 12;
            let member_name = self.string(u32_at(&self.data, at)?)?;
            let member_type = u32_at(&self.data, at + 4)?;
            let mut bits = u32_at(&self.data, at + 8)?;
            if record.flag {
                bits &= 0x00ff_ffff;
            }
            if member_name == name.as_bytes() {
                return Some((bits, member_type));
            }
            if member_name.is_empty()
                && let Some((inner, found)) = self.member(member_type, name, depth - 1)
            {
                return Some((bits + inner, found));
            }
        }
        None
    }

    fn type_record(&self, id: u32) -> Option<Type> {
        let at = *self.types.get(id as usize).filter(|at| **at != 0)?;
        self.record(at as usize)
    }

    fn record(&self, at: usize) -> Option<Type> {
        let info = u32_at(&self.data, at + 4)?;
        Some(Type {
            name: u32_at(&self.data, at)?,
            kind: (info >> 24 & 0x1f) as u8,
            flag: info >> 31 == 1,
            members: info & 0xffff,
            referent: u32_at(&self.data, at + 8)?,
            body: at + 12,
        })
    }

    fn string(&self, offset: u32) -> Option<&[u8]> {
        let bytes = self.data.get(self.strings + offset as usize..)?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        Some(&bytes[..end])
    }
}

impl Type {
    /// Bytes that follow the fixed part.
    fn body_length(self) -> Option<usize> {
        let members = self.members as usize;
        Some(match self.kind {
            // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
            KIND_PTR | 7..=12 | 16 | 18 => 0,
            // INT, VAR, DECL_TAG
            1 | 14 | 17 => 4,
            KIND_ARRAY => 12,
            KIND_STRUCT | KIND_UNION | KIND_ENUM64 | 15 => members * 12,
            KIND_ENUM | KIND_FUNC_PROTO => members * 8,
            _ => return None,
        })
    }
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `struct outer { int a; struct { int b; int c; }; }` and `enum e { X = 7 }`.
    fn sample() -> Vec<u8> {
        let strings = b"\0outer\0a\0b\0c\0e\0X\0int\0";
        let types: &[u32] = &[
            // 1: int
            18,
            1 << 24,
            4,
            32, //
            // 2: anonymous struct { b, c }
            0,
            4 << 24 | 2,
            8,
            9,
            1,
            0,
            11,
            1,
            32, //
            // 3: struct outer { a, anonymous }
            1,
            4 << 24 | 2,
            12,
            7,
            1,
            0,
            0,
            2,
            32, //
            // 4: enum e { X = 7 }
            13,
            6 << 24 | 1,
            4,
            15,
            7,
        ];
        let length = u32::try_from(types.len() * 4).expect("small");
        let strings_length = u32::try_from(strings.len()).expect("small");
        let mut data = Vec::new();
        data.extend(MAGIC.to_ne_bytes());
        data.extend([1, 0]);
        for word in [24, 0, length, length, strings_length] {
            data.extend(u32::to_ne_bytes(word));
        }
        data.extend(types.iter().flat_map(|word| word.to_ne_bytes()));
        data.extend(strings);
        data
    }

    #[test]
    fn members_of_anonymous_structs_are_found() {
        let btf = Btf::parse(sample()).expect("valid BTF");
        assert_eq!(btf.member_offset("outer", &["a"]).ok(), Some(0));
        assert_eq!(btf.member_offset("outer", &["c"]).ok(), Some(8));
        assert_eq!(btf.enum_value("e", "X").ok(), Some(7));
        assert!(matches!(
            btf.member_offset("outer", &["d"]),
            Err(BtfError::NoMember { .. })
        ));
        assert!(matches!(
            btf.member_offset("missing", &["a"]),
            Err(BtfError::NoType(_))
        ));
    }

    #[test]
    fn every_truncation_is_survived() {
        let whole = sample();
        for cut in 0..whole.len() {
            if let Ok(btf) = Btf::parse(whole[..cut].to_vec()) {
                let _ = btf.member_offset("outer", &["c"]);
            }
        }
    }

    #[test]
    fn every_changed_byte_is_survived() {
        let whole = sample();
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                if let Ok(btf) = Btf::parse(changed) {
                    let _ = btf.member_offset("outer", &["c"]);
                    let _ = btf.enum_values("e");
                }
            }
        }
    }
}
