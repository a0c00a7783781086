//! The parts of an ELF file that matter here: segments, sections, build id. System V ABI, chapters
//! 4 and 5. 64-bit little-endian only: what Linux runs on x86-64 and aarch64.

use std::{fmt::Write as _, ops::Range};

use object::{
    LittleEndian as Le,
    elf::{
        ELFCLASS64, ELFDATA2LSB, ELFMAG, EM_AARCH64, EM_X86_64, FileHeader64, PF_W, PF_X, PT_LOAD,
        ProgramHeader64, SHF_ALLOC, SHT_NOBITS, SectionHeader64,
    },
    pod,
};
use serde::Serialize;

use super::{Error, read::Reader};

/// Segments or sections of a file that is not malformed; real ones have dozens.
const MOST: usize = 4096;
/// Longest name of a section that is looked at.
const NAME: usize = 32;
/// Largest note segment that is looked at.
const NOTES: u64 = 64 * 1024;

/// Processor the file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// AMD64.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

/// An ELF file.
pub struct Elf<'a> {
    /// Where it is read from.
    pub reader: Reader<'a>,
    /// What its code runs on.
    pub architecture: Architecture,
    /// Address where it starts to run; 0: nowhere.
    pub entry: u64,
    /// What is loaded.
    pub segments: Vec<Segment>,
    /// What linkers see; empty when they were removed.
    pub sections: Vec<Section>,
}

/// A part of the file that the loader maps (`PT_LOAD`).
#[derive(Clone, Debug)]
pub struct Segment {
    /// Addresses as linked.
    pub addresses: Range<u64>,
    /// Where in the file.
    pub offset: u64,
    /// `PF_X`.
    pub executable: bool,
    /// `PF_W`.
    pub writable: bool,
}

/// A section.
#[derive(Clone, Debug)]
pub struct Section {
    /// Name, cut at 32 bytes.
    pub name: String,
    /// `SHT_…`.
    pub kind: u32,
    /// Address as linked.
    pub address: u64,
    /// Where in the file; empty where nothing is.
    pub file: Range<u64>,
    /// Index of a related section.
    pub link: usize,
    /// Whether it is loaded.
    pub loaded: bool,
}

impl<'a> Elf<'a> {
    /// Reads the headers.
    ///
    /// # Errors
    /// Not ELF, not for a processor known here, malformed, cut short.
    pub fn parse(reader: Reader<'a>) -> Result<Self, Error> {
        let start: [u8; size_of::<FileHeader64<Le>>()] =
            reader.array(0).map_err(|error| match error {
                Error::Truncated => Error::NotElf,
                error => error,
            })?;
        let (header, _) = pod::from_bytes::<FileHeader64<Le>>(&start).map_err(malformed)?;
        let ident = &header.e_ident;
        if ident.magic != ELFMAG {
            return Err(Error::NotElf);
        }
        if ident.class != ELFCLASS64 || ident.data != ELFDATA2LSB {
            return Err(Error::Unsupported);
        }
        let architecture = match header.e_machine.get(Le) {
            EM_X86_64 => Architecture::X86_64,
            EM_AARCH64 => Architecture::Aarch64,
            _ => return Err(Error::Unsupported),
        };
        let count = usize::from(header.e_phnum.get(Le));
        let segments = table::<ProgramHeader64<Le>>(&reader, header.e_phoff.get(Le), count)?;
        let segments = segments
            .iter()
            .filter(|each| each.p_type.get(Le) == PT_LOAD);
        let segments = segments.map(Segment::parse).collect::<Result<_, _>>()?;
        let sections = sections(&reader, header)?;
        Ok(Self {
            reader,
            architecture,
            entry: header.e_entry.get(Le),
            segments,
            sections,
        })
    }

    /// The section of that name.
    #[must_use]
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Where in the file the byte at an address of code is; None: not code of this file.
    #[must_use]
    pub fn code_offset(&self, address: u64) -> Option<u64> {
        self.segment(address)
            .filter(|segment| segment.executable)
            .map(|segment| segment.offset + (address - segment.addresses.start))
    }

    /// Where in the file the byte at an address is.
    ///
    /// # Errors
    /// The file has none for it.
    pub fn offset(&self, address: u64) -> Result<u64, Error> {
        let segment = self.segment(address).ok_or(Error::Malformed)?;
        Ok(segment.offset + (address - segment.addresses.start))
    }

    /// The number at an address.
    ///
    /// # Errors
    /// The file has none; it cannot be read.
    pub fn number(&self, address: u64) -> Result<u64, Error> {
        self.reader
            .array(self.offset(address)?)
            .map(u64::from_le_bytes)
    }

    fn segment(&self, address: u64) -> Option<&Segment> {
        self.segments
            .iter()
            .find(|segment| segment.addresses.contains(&address))
    }

    /// The GNU build id, in hexadecimal (`NT_GNU_BUILD_ID`).
    #[must_use]
    pub fn build_id(&self) -> Option<String> {
        let note = self.section(".note.gnu.build-id")?;
        let length = note.file.end - note.file.start;
        if length > NOTES {
            return None;
        }
        let bytes = self
            .reader
            .bytes(note.file.start, usize::try_from(length).ok()?);
        let bytes = bytes.ok()?;
        // Elf64_Nhdr: name size, descriptor size, type; then "GNU\0" and the descriptor.
        let size = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?);
        let id = bytes.get(16..16 + usize::try_from(size).ok()?)?;
        let mut text = String::new();
        for byte in id {
            write!(text, "{byte:02x}").ok()?;
        }
        Some(text)
    }
}

impl Segment {
    fn parse(header: &ProgramHeader64<Le>) -> Result<Self, Error> {
        let address = header.p_vaddr.get(Le);
        let offset = header.p_offset.get(Le);
        let size = header.p_filesz.get(Le);
        offset.checked_add(size).ok_or(Error::Malformed)?;
        let flags = header.p_flags.get(Le);
        Ok(Self {
            addresses: address..address.checked_add(size).ok_or(Error::Malformed)?,
            offset,
            executable: flags.contains(PF_X),
            writable: flags.contains(PF_W),
        })
    }

    /// Where in the file.
    #[must_use]
    pub fn file(&self) -> Range<u64> {
        self.offset..self.offset + (self.addresses.end - self.addresses.start)
    }
}

fn sections(reader: &Reader, header: &FileHeader64<Le>) -> Result<Vec<Section>, Error> {
    let offset = header.e_shoff.get(Le);
    let count = usize::from(header.e_shnum.get(Le));
    if offset == 0 || count == 0 {
        return Ok(Vec::new());
    }
    let headers = table::<SectionHeader64<Le>>(reader, offset, count)?;
    let names = headers.get(usize::from(header.e_shstrndx.get(Le).0));
    let names = names
        .map(|names| names.sh_offset.get(Le))
        .unwrap_or_default();
    headers
        .iter()
        .map(|header| {
            let offset = header.sh_offset.get(Le);
            let kind = header.sh_type.get(Le);
            let size = if kind == SHT_NOBITS {
                0
            } else {
                header.sh_size.get(Le)
            };
            let mut name = [0; NAME];
            let at = names.checked_add(header.sh_name.get(Le).into());
            let length = reader.paged(&mut name, at.ok_or(Error::Malformed)?)?;
            let name = name[..length].split(|byte| *byte == 0).next();
            Ok(Section {
                name: String::from_utf8_lossy(name.unwrap_or_default()).into_owned(),
                kind: kind.0,
                address: header.sh_addr.get(Le),
                file: offset..offset.checked_add(size).ok_or(Error::Malformed)?,
                link: usize::try_from(header.sh_link.get(Le)).map_err(|_| Error::Malformed)?,
                loaded: header.sh_flags.get(Le).contains(SHF_ALLOC),
            })
        })
        .collect()
}

fn table<T: pod::Pod>(reader: &Reader, offset: u64, count: usize) -> Result<Vec<T>, Error> {
    if count > MOST {
        return Err(Error::Malformed);
    }
    let bytes = reader.bytes(offset, count * size_of::<T>())?;
    pod::slice_from_all_bytes(&bytes)
        .map(<[T]>::to_vec)
        .map_err(malformed)
}

fn malformed<T>(_: T) -> Error {
    Error::Malformed
}
