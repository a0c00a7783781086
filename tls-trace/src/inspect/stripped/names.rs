//! Names of source files that a library's error messages mention.

use std::ops::Range;

use memchr::memmem;

use crate::inspect::{Elf, Error, deadline::Deadline};

/// Longest path that is looked at, in both directions.
const LONGEST: usize = 256;
/// Names that are remembered; BoringSSL has some forty, OpenSSL twice as many.
const MOST: usize = 1024;

/// Which paths are looked for.
#[derive(Clone, Copy, Debug)]
pub struct Paths {
    /// The folder, with what is certain around its name.
    pub folder: &'static str,
    /// How files end.
    pub suffix: &'static str,
    /// Folders in that folder.
    pub folders: &'static [&'static str],
}

/// `/build/boringssl/ssl/ssl_lib.cc`.
pub const BORINGSSL: Paths = Paths {
    folder: "/ssl/",
    suffix: ".cc",
    folders: &[],
};

/// `ssl/statem/statem_lib.c`, with or without folders before that, one of which may be `openssl`.
pub const OPENSSL: Paths = Paths {
    folder: "ssl/",
    suffix: ".c",
    folders: &[
        "statem/",
        "record/",
        "record/methods/",
        "quic/",
        "rio/",
        "ech/",
    ],
};

/// A string with the path of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Addresses at which a path that ends in the file's name may begin: linkers let strings share
    /// their ends, and what comes before belongs to it or not.
    pub starts: Range<u64>,
    /// What is behind the folder: `ssl_lib.cc`, `statem/statem_lib.c`.
    pub file: String,
}

/// All of them, by address.
#[derive(Debug, Default)]
pub struct Names(Vec<Name>);

impl Names {
    /// Looks for paths of source files in a folder `ssl`.
    ///
    /// # Errors
    /// The file cannot be read; it takes too long.
    pub fn read(elf: &Elf, paths: Paths, deadline: Deadline) -> Result<Self, Error> {
        let folder = memmem::Finder::new(paths.folder);
        let mut names: Vec<Name> = Vec::new();
        let constant = elf.segments.iter().filter(|segment| !segment.writable);
        for segment in constant {
            let file = segment.file();
            elf.reader
                .scan(file.clone(), 2 * LONGEST, |offset, piece| {
                    deadline.check()?;
                    let is_last = offset + piece.len() as u64 == file.end;
                    let address = segment.addresses.start + (offset - file.start);
                    for at in folder.find_iter(piece) {
                        // What does not fit is in the middle of another piece.
                        let fits = at + LONGEST <= piece.len() || is_last;
                        if let (true, Some(name)) = (fits, name(piece, at, address, paths))
                            && names.len() < MOST
                        {
                            names.push(name);
                        }
                    }
                    Ok(true)
                })?;
        }
        names.sort_unstable_by_key(|name| (name.starts.end, name.starts.start));
        names.dedup_by_key(|name| name.starts.end);
        Ok(Self(names))
    }

    /// The file whose path begins at an address.
    #[must_use]
    pub fn file(&self, address: u64) -> Option<&str> {
        let at = self.0.partition_point(|name| name.starts.end <= address);
        let name = self.0.get(at)?;
        name.starts.contains(&address).then_some(&*name.file)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The path around the folder at `at`.
fn name(piece: &[u8], at: usize, address: u64, paths: Paths) -> Option<Name> {
    let rest = &piece[at + paths.folder.len()..];
    let length = rest.iter().take(LONGEST).position(|byte| *byte == 0)?;
    let file = std::str::from_utf8(&rest[..length]).ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = |name: &str| name.bytes().all(is_plain);
    let name = file.strip_suffix(paths.suffix)?;
    let folders = paths.folders.iter();
    let inside = folders.filter_map(|folder| name.strip_prefix(folder));
    if !is_name(name) && !inside.into_iter().any(is_name) {
        return None;
    }
    let before = piece[..at].iter().rev().take(LONGEST);
    let before = before
        .take_while(|byte| (0x20..0x7f).contains(*byte))
        .count();
    Some(Name {
        starts: address + (at - before) as u64..address + at as u64 + 1,
        file: file.to_owned(),
    })
}
