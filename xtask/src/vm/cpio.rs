//! The archive format of an initial RAM file system: "newc", as the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst describes it.

use std::io::{self, Read, Write};

/// File type bits of a mode, as in inode(7).
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// Headers and contents are padded to a multiple of this.
const ALIGNMENT: u64 = 4;

/// Writes an archive. Archives may follow one another in one file.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    inode: u32,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`, whose position must be a multiple of four.
    pub fn new(out: W) -> Self {
        Self { out, inode: 0 }
    }

    /// A folder. Its parents must come before it.
    ///
    /// # Errors
    /// The output fails, as for the other functions.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.header(name, DIRECTORY | 0o755, 0)
    }

    /// A symbolic link.
    pub fn symlink(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.entry(
            name,
            SYMLINK | 0o777,
            target.len() as u64,
            target.as_bytes(),
        )
    }

    /// A file of `size` bytes, which `content` has to yield exactly.
    pub fn file(&mut self, name: &str, mode: u32, size: u64, content: impl Read) -> io::Result<()> {
        self.entry(name, FILE | mode & 0o777, size, content)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.header("TRAILER!!!", 0, 0)?;
        Ok(self.out)
    }

    fn entry(&mut self, name: &str, mode: u32, size: u64, content: impl Read) -> io::Result<()> {
        let size32 = u32::try_from(size).map_err(|_| io::ErrorKind::FileTooLarge)?;
        self.header(name, mode, size32)?;
        // One byte more than announced would already show.
        let copied = io::copy(&mut content.take(size + 1), &mut self.out)?;
        if copied != size {
            return Err(io::Error::other(format!(
                "{name} changed while it was read"
            )));
        }
        self.pad(size)
    }

    fn header(&mut self, name: &str, mode: u32, size: u32) -> io::Result<()> {
        self.inode += 1;
        let length = u32::try_from(name.len() + 1).map_err(|_| io::ErrorKind::InvalidFilename)?;
        let (links, zero) = (1, 0);
        // Owner and group, time, and both device numbers stay zero: root's, and reproducible.
        let fields = [
            self.inode, mode, zero, zero, links, zero, size, zero, zero, zero, zero, length, zero,
        ];
        write!(self.out, "070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        write!(self.out, "{name}\0")?;
        self.pad(6 + 8 * fields.len() as u64 + u64::from(length))
    }

    fn pad(&mut self, written: u64) -> io::Result<()> {
        let missing = written.next_multiple_of(ALIGNMENT) - written;
        io::copy(&mut io::repeat(0).take(missing), &mut self.out)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_newc() -> io::Result<()> {
        let mut archive = Writer::new(Vec::new());
        archive.directory("d")?;
        archive.file("d/f", 0o644, 5, &b"hello"[..])?;
        archive.symlink("l", "d/f")?;
        let bytes = archive.finish()?;
        let text = String::from_utf8(bytes).unwrap();
        let expected = [
            "070701",
            "00000001",
            "000041ed",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000002",
            "00000000",
            "d\0", // 110 + 2 bytes: aligned
            "070701",
            "00000002",
            "000081a4",
            "00000000",
            "00000000",
            "00000001",
            "00000000",
            "00000005",
            "00000000",
            "00000000",
            "00000000",
            "00000000",
            "00000004",
            "00000000",
            "d/f\0\0\0",
            "hello\0\0\0",
        ]
        .concat();
        assert_eq!(&text[..expected.len()], expected);
        assert!(text.contains("l\0d/f\0"));
        assert!(text.ends_with("TRAILER!!!\0\0\0\0"));
        assert_eq!(text.len() % 4, 0);
        Ok(())
    }

    #[test]
    fn busybox_can_read_it() -> anyhow::Result<()> {
        use std::process::{Command, Stdio};
        let Some(busybox) = crate::process::find("busybox") else {
            println!("skipped: no busybox");
            return Ok(());
        };
        let mut archive = Writer::new(Vec::new());
        archive.directory("folder")?;
        archive.file("folder/file", 0o755, 3, &b"abc"[..])?;
        let bytes = archive.finish()?;
        let mut cpio = Command::new(busybox)
            .args(["cpio", "-t", "-v"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        cpio.stdin.take().unwrap().write_all(&bytes)?;
        let listing = String::from_utf8(cpio.wait_with_output()?.stdout)?;
        assert!(listing.contains("-rwxr-xr-x"), "{listing}");
        assert!(listing.contains("folder/file"), "{listing}");
        Ok(())
    }

    #[test]
    fn content_must_have_its_size() {
        for size in [2, 4] {
            let mut archive = Writer::new(Vec::new());
            assert!(archive.file("f", 0o644, size, &b"abc"[..]).is_err());
        }
    }
}
