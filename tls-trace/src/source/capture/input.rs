//! Where a capture comes from: a file or standard input, compressed or not.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;

/// Magic numbers of gzip (RFC 1952 §2.3.1) and Zstandard (RFC 8878 §3.1.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The file cannot be opened.
    #[error("it cannot be opened: {0}")]
    Open(io::Error),
    /// The path names a directory.
    #[error("it is a directory, not a file")]
    Directory,
    /// Not one byte.
    #[error("it is empty")]
    Empty,
    /// The first bytes cannot be read.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
}

/// How far a file was read.
#[derive(Clone, Debug)]
pub struct Progress {
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Progress {
    /// Bytes read so far, as they are in the file: compressed.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Size of the file in bytes, where it has one.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }
}

pub(super) type Input = (Box<dyn Read + Send>, Progress);

/// Opens a file.
pub(super) fn open(path: &Path) -> Result<Input, InputError> {
    let file = File::open(path).map_err(InputError::Open)?;
    let metadata = file.metadata().map_err(InputError::Open)?;
    if metadata.is_dir() {
        return Err(InputError::Directory);
    }
    let total = metadata.is_file().then_some(metadata.len());
    read(file, total)
}

/// Reads from anything, decompressing what is compressed.
pub(super) fn read(
    reader: impl Read + Send + 'static,
    total: Option<u64>,
) -> Result<Input, InputError> {
    let progress = Progress {
        read: Arc::default(),
        total,
    };
    let counting = Counting {
        reader,
        read: Arc::clone(&progress.read),
    };
    let mut reader = BufReader::with_capacity(64 * 1024, counting);
    // A pipe may give its first bytes one by one; a magic number that is cut counts as none.
    let head = reader.fill_buf().map_err(InputError::Read)?;
    if head.is_empty() {
        return Err(InputError::Empty);
    }
    let reader: Box<dyn Read + Send> = if head.starts_with(&GZIP) {
        Box::new(MultiGzDecoder::new(reader))
    } else if head.starts_with(&ZSTD) {
        Box::new(zstd::Decoder::with_buffer(reader).map_err(InputError::Read)?)
    } else {
        Box::new(reader)
    };
    Ok((reader, progress))
}

struct Counting<R> {
    reader: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
