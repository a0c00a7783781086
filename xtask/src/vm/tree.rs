//! What a guest's root file system holds, taken from this machine's.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::PermissionsExt as _,
    path::{Component, Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::cpio;
use crate::process;

/// Files by their place in the guest, without the leading slash.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// Sorted, so that a folder comes before what is in it.
    entries: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug)]
enum Entry {
    Directory,
    Symlink(String),
    File(PathBuf),
    Content { mode: u32, bytes: Vec<u8> },
}

impl Tree {
    /// A folder, and its parents.
    pub fn directory(&mut self, guest: &str) {
        let guest = guest.trim_start_matches('/');
        for (end, _) in guest.match_indices('/') {
            self.insert(&guest[..end], || Entry::Directory);
        }
        self.insert(guest, || Entry::Directory);
    }

    /// A symbolic link.
    pub fn symlink(&mut self, guest: &str, target: &str) {
        self.parents(guest);
        self.insert(guest, || Entry::Symlink(target.to_owned()));
    }

    /// A file with that content.
    pub fn content(&mut self, guest: &str, mode: u32, bytes: impl Into<Vec<u8>>) {
        self.parents(guest);
        let bytes = bytes.into();
        self.insert(guest, || Entry::Content { mode, bytes });
    }

    /// A copy of one file under another name.
    pub fn copy(&mut self, host: &Path, guest: &str) {
        self.parents(guest);
        self.insert(guest, || Entry::File(host.to_owned()));
    }

    /// This machine's file or folder in the same place; links with what they lead to, programs
    /// with the libraries they load.
    ///
    /// # Errors
    /// It does not exist or cannot be read.
    pub fn host(&mut self, path: &Path) -> Result<()> {
        let context = || format!("cannot read {}", path.display());
        let (folder, name) = (path.parent(), path.file_name());
        let (Some(folder), Some(name)) = (folder, name) else {
            return Ok(());
        };
        // The guest has /bin, /lib and so on as links into /usr, like Debian.
        let place = folder.canonicalize().with_context(context)?.join(name);
        let guest = place.to_str().with_context(context)?;
        if self.entries.contains_key(guest.trim_start_matches('/')) {
            return Ok(());
        }
        let kind = fs::symlink_metadata(&place).with_context(context)?;
        if kind.is_symlink() {
            let target = fs::read_link(&place).with_context(context)?;
            self.symlink(guest, target.to_str().with_context(context)?);
            return self.host(&normalize(&folder.join(target)));
        }
        if kind.is_dir() {
            self.directory(guest);
            for entry in fs::read_dir(&place).with_context(context)? {
                let path = entry?.path();
                // A link of an installed tree may lead nowhere, here as there.
                if path.exists() {
                    self.host(&path)?;
                }
            }
        } else if kind.is_file() {
            self.copy(&place, guest);
            if kind.permissions().mode() & 0o111 != 0 || is_library(&place) {
                for library in libraries(&place) {
                    self.host(&library)?;
                }
            }
        }
        Ok(())
    }

    /// Writes everything as one archive.
    ///
    /// # Errors
    /// A file cannot be read, or the output fails.
    pub fn write(&self, out: impl Write) -> Result<()> {
        let mut archive = cpio::Writer::new(out);
        for (name, entry) in &self.entries {
            write_entry(&mut archive, name, entry)
                .with_context(|| format!("cannot pack {name}"))?;
        }
        archive.finish()?.flush()?;
        Ok(())
    }

    fn parents(&mut self, guest: &str) {
        if let Some((folder, _)) = guest.rsplit_once('/') {
            self.directory(folder);
        }
    }

    fn insert(&mut self, guest: &str, entry: impl FnOnce() -> Entry) {
        let guest = guest.trim_start_matches('/');
        if !guest.is_empty() && !self.entries.contains_key(guest) {
            self.entries.insert(guest.to_owned(), entry());
        }
    }
}

fn write_entry(
    archive: &mut cpio::Writer<impl Write>,
    name: &str,
    entry: &Entry,
) -> io::Result<()> {
    match entry {
        Entry::Directory => archive.directory(name),
        Entry::Symlink(target) => archive.symlink(name, target),
        Entry::Content { mode, bytes } => {
            archive.file(name, *mode, bytes.len() as u64, bytes.as_slice())
        }
        Entry::File(path) => {
            let file = File::open(path)?;
            let metadata = file.metadata()?;
            archive.file(name, metadata.permissions().mode(), metadata.len(), file)
        }
    }
}

fn is_library(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.contains(".so"))
}

/// Shared libraries and the dynamic loader of a program; none of a script or a static program.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let listing = process::output(Command::new("ldd").arg(program)).unwrap_or_default();
    listing
        .split_whitespace()
        .filter(|word| word.starts_with('/') && !word.ends_with(':'))
        .map(PathBuf::from)
        .collect()
}

/// Without `.` and `..`, which only differ from the file system's view behind links.
fn normalize(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_once() {
        let mut tree = Tree::default();
        tree.content("/a/b/file", 0o644, "x");
        tree.symlink("a/link", "b/file");
        tree.directory("/a/b");
        let names: Vec<_> = tree.entries.keys().map(String::as_str).collect();
        assert_eq!(names, ["a", "a/b", "a/b/file", "a/link"]);
    }

    #[test]
    fn programs_bring_their_libraries() -> Result<()> {
        let mut tree = Tree::default();
        tree.host(Path::new("/bin/ls"))?;
        let has = |part: &str| tree.entries.keys().any(|name| name.contains(part));
        assert!(has("bin/ls") && has("libc.so.6") && has("ld-linux"));
        Ok(())
    }

    #[test]
    fn normal_paths() {
        assert_eq!(normalize(Path::new("/a/./b/../c")), Path::new("/a/c"));
    }
}
