//! Functions by name. Symbol tables of real programs reach hundreds of megabytes, so each table is
//! gone through twice, in pieces: first its strings, to learn which name offsets are wanted, then
//! its symbols. Neither the order of names nor their number costs memory or time out of proportion.

use std::collections::{HashMap, HashSet};

use aho_corasick::{AhoCorasick, BuildError};
use object::{
    LittleEndian as Le,
    elf::{SHN_UNDEF, SHT_DYNSYM, SHT_SYMTAB, STB_LOCAL, STT_FUNC, Sym64},
    pod,
};

use super::{Elf, Error, elf::Section};

/// Copies of wanted names in one string table; linkers keep one.
const COPIES: usize = 16 * 1024;
/// Functions of one name; a static function may be in several source files.
const SAME_NAME: usize = 64;

/// Names to look for.
pub struct Names {
    search: AhoCorasick,
    patterns: Vec<&'static str>,
    longest: usize,
}

/// A function in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// Address as linked.
    pub address: u64,
    /// Length of its code; 0: not known.
    pub size: u64,
}

/// The functions found.
#[derive(Debug, Default)]
pub struct Symbols {
    functions: HashMap<&'static str, Vec<Found>>,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    function: Function,
    local: bool,
}

impl Names {
    /// Prepares a search for names. One that ends in `*` is the start of names.
    ///
    /// # Errors
    /// The names are too many.
    pub fn new(names: impl IntoIterator<Item = &'static str>) -> Result<Self, BuildError> {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        let patterns = names.iter().map(|name| pattern(name));
        Ok(Self {
            search: AhoCorasick::new(patterns)?,
            longest: names.iter().map(|name| name.len() + 1).max().unwrap_or(1),
            patterns: names,
        })
    }

    /// Where in a table of zero-terminated strings the names begin, from the table's start.
    ///
    /// # Errors
    /// The table cannot be read, or has absurdly many copies of them.
    pub fn offsets(
        &self,
        elf: &Elf,
        strings: std::ops::Range<u64>,
    ) -> Result<HashMap<u64, &'static str>, Error> {
        let mut offsets = HashMap::new();
        let base = strings.start;
        elf.reader
            .scan(strings, self.longest - 1, |offset, piece| {
                for found in self.search.find_overlapping_iter(piece) {
                    let name = self.patterns[found.pattern()];
                    offsets.insert(offset - base + found.start() as u64, name);
                }
                if offsets.len() > COPIES {
                    return Err(Error::Malformed);
                }
                Ok(true)
            })?;
        Ok(offsets)
    }
}

fn pattern(name: &str) -> Vec<u8> {
    match name.strip_suffix('*') {
        Some(start) => start.into(),
        None => [name.as_bytes(), b"\0"].concat(),
    }
}

impl Symbols {
    /// Looks for `names` in the symbol tables of a file.
    ///
    /// # Errors
    /// A table is malformed or cannot be read.
    pub fn find(elf: &Elf, names: &Names) -> Result<Self, Error> {
        let mut symbols = Self::default();
        for table in &elf.sections {
            if [SHT_DYNSYM.0, SHT_SYMTAB.0].contains(&table.kind) {
                symbols.read(elf, table, names)?;
            }
        }
        Ok(symbols)
    }

    fn read(&mut self, elf: &Elf, table: &Section, names: &Names) -> Result<(), Error> {
        let strings = elf.sections.get(table.link).ok_or(Error::Malformed)?;
        let wanted = names.offsets(elf, strings.file.clone())?;
        if wanted.is_empty() {
            return Ok(());
        }
        let size = size_of::<Sym64<Le>>();
        let mut next = table.file.start;
        elf.reader
            .scan(table.file.clone(), size - 1, |offset, piece| {
                let skip = usize::try_from(next - offset).map_err(|_| Error::Malformed)?;
                let whole = (piece.len() - skip) / size;
                let (entries, _) = pod::slice_from_bytes::<Sym64<Le>>(&piece[skip..], whole)
                    .map_err(|()| Error::Malformed)?;
                for symbol in entries {
                    if let Some(name) = wanted.get(&symbol.st_name.get(Le).into()) {
                        self.add(elf, name, symbol)?;
                    }
                }
                next += (whole * size) as u64;
                Ok(true)
            })
    }

    fn add(&mut self, elf: &Elf, name: &'static str, symbol: &Sym64<Le>) -> Result<(), Error> {
        let function = Function {
            address: symbol.st_value.get(Le),
            size: symbol.st_size.get(Le),
        };
        // An import has no address here; a function elsewhere than in code is none.
        if symbol.st_shndx.get(Le) == SHN_UNDEF
            || symbol.st_type() != STT_FUNC
            || elf.code_offset(function.address).is_none()
        {
            return Ok(());
        }
        let found = self.functions.entry(name).or_default();
        if found.len() >= SAME_NAME {
            return Err(Error::Malformed);
        }
        found.push(Found {
            function,
            local: symbol.st_bind() == STB_LOCAL,
        });
        Ok(())
    }

    /// The function of that name; None when there is none, or several and none of them is global.
    #[must_use]
    pub fn function(&self, name: &str) -> Option<Function> {
        let found = self.functions.get(name)?;
        let addresses = |local: bool| -> HashSet<u64> {
            let these = found.iter().filter(|each| !each.local || local);
            these.map(|each| each.function.address).collect()
        };
        let global = addresses(false);
        let only = if global.is_empty() {
            addresses(true)
        } else {
            global
        };
        let [only] = only.into_iter().collect::<Vec<_>>()[..] else {
            return None;
        };
        let same = found.iter().map(|each| each.function);
        same.filter(|function| function.address == only)
            .max_by_key(|function| function.size)
    }

    /// Whether there is a function of that name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.functions.contains_key(name)
    }
}
