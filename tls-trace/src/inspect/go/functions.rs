//! Go's function table (runtime/symtab.go, cmd/link/internal/ld/pcln.go). Like symbol tables it is
//! gone through in order, in pieces: names first, then functions.

use std::collections::HashMap;

use super::{
    super::{
        Elf, Error,
        symbols::{Function, Names},
    },
    ENTRIES,
};

/// Most functions of a program; Kubernetes has a hundred thousand.
const MOST: u64 = 16 * 1024 * 1024;

/// Layout of the table by version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// 1.16 and 1.17: addresses of 8 bytes.
    Absolute,
    /// 1.18 and later: offsets of 4 bytes from the start of the code.
    Relative,
}

struct Table {
    format: Format,
    count: u64,
    /// Start of the code; 0: the table does not say.
    text: u64,
    /// In the file.
    names: std::ops::Range<u64>,
    /// In the file.
    functions: u64,
    end: u64,
}

/// Functions by name; None where there is no table.
///
/// # Errors
/// The table is malformed or cannot be read.
pub fn find(elf: &Elf, names: &Names) -> Result<Option<HashMap<&'static str, Function>>, Error> {
    let Some(table) = Table::parse(elf)? else {
        return Ok(None);
    };
    let wanted = names.offsets(elf, table.names.clone())?;
    let mut found = HashMap::new();
    let mut index = 0;
    while index < table.count && !wanted.is_empty() {
        let (entry, function) = table.entry(elf, index)?;
        let at = table
            .functions
            .checked_add(function)
            .ok_or(Error::Malformed)?;
        let name = match table.format {
            Format::Absolute => elf.reader.array::<4>(at.saturating_add(8))?,
            Format::Relative => elf.reader.array::<4>(at.saturating_add(4))?,
        };
        if let Some(name) = wanted.get(&u32::from_le_bytes(name).into()) {
            let (next, _) = table.entry(elf, index + 1)?;
            found.insert(*name, (entry, next));
        }
        index += 1;
    }
    let Some(text) = table.text(elf, &found) else {
        return Ok(Some(HashMap::new()));
    };
    let functions = found.into_iter().filter_map(|(name, (entry, next))| {
        let function = Function {
            address: text.checked_add(entry)?,
            size: next.checked_sub(entry)?,
        };
        Some((name, function))
    });
    Ok(Some(functions.collect()))
}

impl Table {
    fn parse(elf: &Elf) -> Result<Option<Self>, Error> {
        let names = [".gopclntab", ".data.rel.ro.gopclntab"];
        let Some(section) = names.iter().find_map(|name| elf.section(name)) else {
            return Ok(None);
        };
        let start = section.file.start;
        let magic = elf.reader.array::<8>(start)?;
        // Magic, two zeros, smallest instruction, size of a pointer.
        let format = match (
            u32::from_le_bytes([magic[0], magic[1], magic[2], magic[3]]),
            magic[7],
        ) {
            (0xffff_fffa, 8) => Format::Absolute,
            (0xffff_fff0 | 0xffff_fff1, 8) => Format::Relative,
            _ => return Ok(None),
        };
        let word = |index: u64| elf.reader.array(start + 8 * index).map(u64::from_le_bytes);
        let inside = |index: u64| -> Result<u64, Error> {
            let at = start.checked_add(word(index)?).ok_or(Error::Malformed)?;
            if at > section.file.end {
                return Err(Error::Malformed);
            }
            Ok(at)
        };
        // pcHeader: functions, files, text (1.18), names, units, files, program counters, functions.
        let (text, first) = match format {
            Format::Absolute => (0, 3),
            Format::Relative => (word(3)?, 4),
        };
        let count = word(1)?;
        if count > MOST {
            return Err(Error::TooLarge);
        }
        Ok(Some(Self {
            format,
            count,
            text,
            names: inside(first)?..inside(first + 1)?,
            functions: inside(first + 4)?,
            end: section.file.end,
        }))
    }

    /// Entry point and place of the rest of a function. The last is followed by an end.
    fn entry(&self, elf: &Elf, index: u64) -> Result<(u64, u64), Error> {
        let size = match self.format {
            Format::Absolute => 16,
            Format::Relative => 8,
        };
        let at = self.functions + index * size;
        if at + size / 2 > self.end {
            return Err(Error::Malformed);
        }
        Ok(match self.format {
            Format::Absolute => {
                let entry = elf.reader.array(at).map(u64::from_le_bytes)?;
                let rest = elf.reader.array(at + 8).map(u64::from_le_bytes);
                (entry, rest.unwrap_or_default())
            }
            Format::Relative => {
                let entry = elf.reader.array(at).map(u32::from_le_bytes)?;
                let rest = elf.reader.array(at + 4).map(u32::from_le_bytes);
                (entry.into(), rest.unwrap_or_default().into())
            }
        })
    }

    /// What entry points are relative to. From Go 1.26 on the table does not say: then it is where
    /// the runtime's own record says (`moduledata.text`), or where `.text` begins, if the entry
    /// point of the program confirms that.
    fn text(&self, elf: &Elf, found: &HashMap<&str, (u64, u64)>) -> Option<u64> {
        if self.format == Format::Absolute {
            return Some(0);
        }
        if self.text != 0 {
            return Some(self.text);
        }
        if let Some(text) = elf.section(".text")
            && ENTRIES.iter().any(|name| {
                let entry = found
                    .get(name)
                    .map(|(entry, _)| text.address.checked_add(*entry));
                entry.flatten() == Some(elf.entry)
            })
        {
            return Some(text.address);
        }
        let module = elf.section(".go.module")?;
        let table = elf.section(".gopclntab")?;
        let word = |at: u64| {
            elf.reader
                .array(module.file.start + at)
                .map(u64::from_le_bytes)
        };
        // moduledata: pcHeader first, six slices, findfunctab, minpc, maxpc, then text.
        let ours = word(0).ok()? == table.address;
        let text = word(8 + 6 * 24 + 3 * 8).ok()?;
        (ours && elf.code_offset(text).is_some()).then_some(text)
    }
}
