//! The captures to read, standard input among them, once or twice.

use std::{
    fs::File,
    io::{self, Read, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use crate::source::capture::{CaptureError, CaptureFile, InputError};

/// Captures in the order given.
#[derive(Debug)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    /// Standard input is kept in a file without a name, to be read again.
    keep: bool,
    kept: Option<File>,
}

impl Files {
    /// `twice`: they will be read again.
    pub(super) fn new(paths: Vec<PathBuf>, twice: bool) -> Self {
        Self {
            paths,
            keep: twice,
            kept: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.paths.len()
    }

    pub(super) fn path(&self, index: usize) -> &Path {
        &self.paths[index]
    }

    /// Opens a file for the first time.
    pub(super) fn open(&mut self, index: usize) -> Result<CaptureFile, CaptureError> {
        let path = &self.paths[index];
        if path != Path::new("-") {
            return CaptureFile::open(path);
        }
        if !self.keep {
            return CaptureFile::read(io::stdin());
        }
        let copy = tempfile::tempfile().map_err(InputError::Open)?;
        self.kept = Some(copy.try_clone().map_err(InputError::Open)?);
        CaptureFile::read(Tee {
            reader: io::stdin(),
            copy,
        })
    }

    /// Opens a file that was read before.
    pub(super) fn open_again(&mut self, index: usize) -> Result<CaptureFile, CaptureError> {
        let path = &self.paths[index];
        if path != Path::new("-") {
            return CaptureFile::open(path);
        }
        let mut kept = self.kept.take().ok_or(InputError::Empty)?;
        kept.rewind().map_err(InputError::Open)?;
        CaptureFile::read(kept)
    }
}

/// Copies what is read.
struct Tee<R> {
    reader: R,
    copy: File,
}

impl<R: Read> Read for Tee<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        self.copy.write_all(&buffer[..read])?;
        Ok(read)
    }
}
