//! Code that a process has mapped from a file (`proc_pid_maps(5)`), and the way to that file.

use std::{
    collections::HashSet,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, BufRead as _, BufReader},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

/// Files looked at in one process; real ones have hundreds.
const MOST: usize = 4096;

/// A file as the kernel names it in lists of mappings. On overlayfs not what stat(2) says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Of the device.
    pub major: u32,
    /// Of the device.
    pub minor: u32,
    /// On that device.
    pub inode: u64,
}

/// A mapping of a file whose bytes may be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address behind it.
    pub end: u64,
    /// The file.
    pub key: Key,
    /// Its path in the mount namespace of the process, as long as it has one.
    pub path: Vec<u8>,
}

/// The mappings of a process, one for each file.
///
/// # Errors
/// The process is gone, or another user's.
pub fn of_process(pid: u32) -> io::Result<Vec<Mapping>> {
    let maps = BufReader::new(File::open(format!("/proc/{pid}/maps"))?);
    let mut seen = HashSet::new();
    let mut mappings = Vec::new();
    for line in maps.split(b'\n') {
        if let Some(mapping) = Mapping::parse(&line?)
            && mappings.len() < MOST
            && seen.insert(mapping.key)
        {
            mappings.push(mapping);
        }
    }
    Ok(mappings)
}

impl Mapping {
    /// A line of /proc/PID/maps; None when it is not code, or not from a file.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.splitn(6, |byte| *byte == b' ');
        let mut field = || std::str::from_utf8(fields.next()?).ok();
        let (range, permissions, _offset) = (field()?, field()?, field()?);
        let (device, inode) = (field()?, field()?.parse().ok()?);
        let path = fields.next()?.trim_ascii_start();
        if !permissions.contains('x') || inode == 0 {
            return None;
        }
        let (start, end) = range.split_once('-')?;
        let (major, minor) = device.split_once(':')?;
        Some(Self {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            key: Key {
                major: u32::from_str_radix(major, 16).ok()?,
                minor: u32::from_str_radix(minor, 16).ok()?,
                inode,
            },
            path: path.to_owned(),
        })
    }

    /// A path to the file.
    ///
    /// # Errors
    /// The process is gone; the file has no name any more and this process may not follow
    /// `map_files` (`CAP_CHECKPOINT_RESTORE`).
    pub fn locate(&self, pid: u32) -> io::Result<PathBuf> {
        // Names the file itself, in whichever mount namespace, deleted or not.
        let link = format!("/proc/{pid}/map_files/{:x}-{:x}", self.start, self.end);
        if fs::metadata(&link).is_ok() {
            return Ok(link.into());
        }
        let path = Path::new(OsStr::from_bytes(&self.path));
        let path = path.strip_prefix("/").map_err(io::Error::other)?;
        let path = Path::new("/proc")
            .join(pid.to_string())
            .join("root")
            .join(path);
        // On overlayfs the device differs; the inode does not.
        if fs::metadata(&path)?.ino() != self.key.inode {
            return Err(io::Error::other("the path leads to another file"));
        }
        Ok(path)
    }
}

/// Opens what was located, without waiting for anything.
///
/// # Errors
/// Those of open(2).
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(path)
}

/// Whether a file system is served by a process (FUSE): it may let whoever reads from it wait for
/// ever.
#[must_use]
pub fn is_served_by_a_process(pid: u32, key: Key) -> bool {
    let mounts = fs::read(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    let device = format!("{}:{}", key.major, key.minor);
    mounts
        .split(|byte| *byte == b'\n')
        .any(|line| is_fuse(line, &device))
}

/// `proc_pid_mountinfo(5)`: the device is the third field, the type follows a lone dash.
fn is_fuse(line: &[u8], device: &str) -> bool {
    let mut fields = line.split(|byte| *byte == b' ');
    let same = fields.nth(2) == Some(device.as_bytes());
    let mut rest = fields.skip_while(|field| *field != b"-");
    same && rest.nth(1).is_some_and(|kind| kind.starts_with(b"fuse"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_from_files_counts() {
        let code = b"7f0000000000-7f0000021000 r-xp 00001000 fd:01 1234      /usr/lib/a b.so.3";
        let mapping = Mapping::parse(code).unwrap();
        let key = Key {
            major: 0xfd,
            minor: 1,
            inode: 1234,
        };
        assert_eq!(
            (mapping.start, mapping.end),
            (0x7f00_0000_0000, 0x7f00_0002_1000)
        );
        assert_eq!(
            (mapping.key, &mapping.path[..]),
            (key, &b"/usr/lib/a b.so.3"[..])
        );
        for other in [
            "7f0000000000-7f0000021000 r--p 00000000 fd:01 1234 /usr/lib/libssl.so.3",
            "7ffd00000000-7ffd00021000 r-xp 00000000 00:00 0 [vdso]",
            "7f0000000000-7f0000021000 rwxp 00000000 00:00 0",
            "7f0000000000 r-xp 00000000 fd:01 1234 /usr/lib/libssl.so.3",
            "",
        ] {
            assert_eq!(Mapping::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_file_is_found_by_its_mapping_though_its_name_is_gone() {
        let own = of_process(std::process::id()).unwrap();
        let program = fs::metadata("/proc/self/exe").unwrap();
        let found = own
            .iter()
            .find(|mapping| mapping.key.inode == program.ino())
            .unwrap();
        let path = found.locate(std::process::id()).unwrap();
        let opened = open(&path).unwrap().metadata().unwrap();
        assert_eq!((opened.dev(), opened.ino()), (program.dev(), program.ino()));

        let moved = Mapping {
            start: 0,
            end: 1,
            path: b"/dev/null".to_vec(),
            ..found.clone()
        };
        assert!(moved.locate(std::process::id()).is_err(), "another file");
        let gone = Mapping {
            path: b"/nowhere/libssl.so.3 (deleted)".to_vec(),
            ..moved
        };
        assert!(gone.locate(std::process::id()).is_err());
    }

    #[test]
    fn file_systems_in_user_space_are_told_by_their_type() {
        let line = b"36 35 0:45 / /mnt/fuse rw,noatime master:1 - fuse.sshfs host: rw";
        assert!(is_fuse(line, "0:45"));
        assert!(!is_fuse(line, "0:4"));
        let line = b"36 35 0:45 /fuse /mnt rw - ext4 fuse rw";
        assert!(!is_fuse(line, "0:45"));
        assert!(!is_fuse(b"", "0:45"));
    }
}
