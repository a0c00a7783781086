//! Packets out of a capture file.

use std::{fmt, io, io::Read, path::Path};

use pcap_parser::nom::{self, Needed};

use super::{
    blocks::Blocks,
    input::{self, Input, InputError, Progress},
    packet::Packet,
    pcap::Pcap,
    pcapng::{Pcapng, SECTION_HEADER},
};

/// Why a capture cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// There is nothing to read.
    #[error(transparent)]
    Input(#[from] InputError),
    /// It begins like something else.
    #[error("it is not a capture: it begins neither like pcap nor like pcapng")]
    NotACapture,
    /// The last packet is not whole, as when the writer was killed.
    #[error("it ends inside a packet at byte {offset}")]
    CutShort {
        /// Where that packet begins.
        offset: u64,
    },
    /// The file breaks the rules of its format.
    #[error("it is damaged at byte {offset}: {what}")]
    Damaged {
        /// Where the damaged part begins.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// Reading or decompressing failed.
    #[error("it cannot be read past byte {offset}: {error}")]
    Read {
        /// How far it was read.
        offset: u64,
        /// Why not further.
        error: io::Error,
    },
}

/// A capture being read.
pub struct CaptureFile {
    blocks: Blocks,
    progress: Progress,
    format: Format,
}

enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

impl fmt::Debug for CaptureFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CaptureFile").finish_non_exhaustive()
    }
}

impl CaptureFile {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be opened, or is no capture.
    pub fn open(path: &Path) -> Result<Self, CaptureError> {
        Self::begin(input::open(path)?)
    }

    /// Reads a capture from anything, standard input for instance.
    ///
    /// # Errors
    /// It cannot be read, or is no capture.
    pub fn read(reader: impl Read + Send + 'static) -> Result<Self, CaptureError> {
        Self::begin(input::read(reader, None)?)
    }

    fn begin((reader, progress): Input) -> Result<Self, CaptureError> {
        let mut blocks = Blocks::new(reader);
        let whole = fill(&mut blocks, SECTION_HEADER.len())?;
        let format = if !whole {
            return Err(if blocks.bytes().is_empty() {
                InputError::Empty.into()
            } else {
                CaptureError::NotACapture
            });
        } else if blocks.bytes().starts_with(&SECTION_HEADER) {
            Format::Pcapng(Pcapng::default())
        } else {
            Format::Pcap(Pcap::begin(&mut blocks)?)
        };
        Ok(Self {
            blocks,
            progress,
            format,
        })
    }

    /// The next packet; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read any further, or is damaged.
    pub fn next_packet(&mut self) -> Result<Option<Packet>, CaptureError> {
        match &mut self.format {
            Format::Pcap(pcap) => pcap.next_packet(&mut self.blocks),
            Format::Pcapng(pcapng) => pcapng.next_packet(&mut self.blocks),
        }
    }

    /// How far it was read.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// Makes so many bytes available, or says that there are not as many.
pub(super) fn fill(blocks: &mut Blocks, wanted: usize) -> Result<bool, CaptureError> {
    blocks.fill(wanted).map_err(|error| CaptureError::Read {
        offset: blocks.offset() + blocks.bytes().len() as u64,
        error,
    })
}

/// Reads on after the parser asked for more. Returns false at the end of a file that ends where it
/// should.
///
/// `most` bounds what the parser may ask for, so that a damaged length is not believed.
pub(super) fn fill_for(
    blocks: &mut Blocks,
    needed: Needed,
    most: usize,
) -> Result<bool, CaptureError> {
    let more = match needed {
        Needed::Size(more) => more.get(),
        Needed::Unknown => 1,
    };
    let wanted = blocks.bytes().len().saturating_add(more);
    if wanted > most {
        return Err(damaged(blocks, format!("a packet of {wanted} bytes")));
    }
    if fill(blocks, wanted)? {
        return Ok(true);
    }
    if blocks.bytes().is_empty() {
        return Ok(false);
    }
    Err(CaptureError::CutShort {
        offset: blocks.offset(),
    })
}

pub(super) fn damaged(blocks: &Blocks, what: impl Into<String>) -> CaptureError {
    CaptureError::Damaged {
        offset: blocks.offset(),
        what: what.into(),
    }
}

/// What a parser says about the bytes at hand, without borrowing them.
pub(super) enum Parsed<T> {
    /// Found, and so many bytes long.
    Found(T, usize),
    Incomplete(Needed),
    Invalid,
}

impl<T> Parsed<T> {
    pub(super) fn of<'a, U, E>(
        bytes: &'a [u8],
        result: nom::IResult<&'a [u8], U, E>,
        map: impl FnOnce(U) -> T,
    ) -> Self {
        match result {
            Ok((rest, found)) => Self::Found(map(found), bytes.len() - rest.len()),
            Err(nom::Err::Incomplete(needed)) => Self::Incomplete(needed),
            Err(_) => Self::Invalid,
        }
    }
}
