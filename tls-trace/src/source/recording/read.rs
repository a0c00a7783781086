//! Reads recordings.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Read},
};

use super::{
    Header, Item, MAGIC, VERSION,
    frame::{FRAME_HEADER, MAX_BODY, decode},
};

/// Why a recording cannot be read, or not any further.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// It begins like something else.
    #[error("it is not a recording of tls-trace")]
    NotARecording,
    /// Another version of the format.
    #[error("it has version {0} of the format, this program reads version {VERSION}")]
    OtherVersion(u8),
    /// The last frame is not whole, as when the writer was killed.
    #[error("it ends inside a frame at byte {offset}")]
    CutShort {
        /// Where that frame begins.
        offset: u64,
    },
    /// A frame is not what was written.
    #[error("it is damaged at byte {offset}")]
    Damaged {
        /// Where that frame begins.
        offset: u64,
    },
    /// Reading failed.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// A recording being read.
pub struct Recording<R> {
    reader: R,
    header: Header,
    items: VecDeque<Item<'static>>,
    offset: u64,
}

impl<R> fmt::Debug for Recording<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").finish_non_exhaustive()
    }
}

impl<R: Read> Recording<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// It is no recording, or not of this version.
    pub fn open(mut reader: R) -> Result<Self, RecordingError> {
        let mut magic = [0; MAGIC.len()];
        let (name, version) = MAGIC.split_at(MAGIC.len() - 1);
        if read_up_to(&mut reader, &mut magic)? < magic.len() || !magic.starts_with(name) {
            return Err(RecordingError::NotARecording);
        }
        if magic[name.len()] != version[0] {
            return Err(RecordingError::OtherVersion(magic[name.len()]));
        }
        let offset = MAGIC.len() as u64;
        let (items, length) =
            read_frame(&mut reader, offset)?.ok_or(RecordingError::CutShort { offset })?;
        let mut items = VecDeque::from(items);
        let Some(Item::Header(header)) = items.pop_front() else {
            return Err(RecordingError::Damaged { offset });
        };
        Ok(Self {
            reader,
            header: header.into_owned(),
            items,
            offset: offset + length,
        })
    }

    /// Where it comes from.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next item; `None` at the end.
    ///
    /// # Errors
    /// The recording cannot be read any further.
    pub fn next_item(&mut self) -> Result<Option<Item<'static>>, RecordingError> {
        while self.items.is_empty() {
            let Some((items, length)) = read_frame(&mut self.reader, self.offset)? else {
                return Ok(None);
            };
            self.items = items.into();
            self.offset += length;
        }
        Ok(self.items.pop_front())
    }
}

type Frame = (Vec<Item<'static>>, u64);

/// The frame at `offset` and its length; `None` where the file ends as it should.
fn read_frame(reader: &mut impl Read, offset: u64) -> Result<Option<Frame>, RecordingError> {
    let mut header = [0; FRAME_HEADER];
    match read_up_to(reader, &mut header)? {
        0 => return Ok(None),
        FRAME_HEADER => {}
        _ => return Err(RecordingError::CutShort { offset }),
    }
    let [a, b, c, d, checksum @ ..] = header;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    if length > MAX_BODY {
        return Err(RecordingError::Damaged { offset });
    }
    let mut body = vec![0; length];
    if read_up_to(reader, &mut body)? < length {
        return Err(RecordingError::CutShort { offset });
    }
    let items = decode(u32::from_le_bytes(checksum), &body);
    let items = items.ok_or(RecordingError::Damaged { offset })?;
    Ok(Some((items, (FRAME_HEADER + length) as u64)))
}

/// Fills the buffer as far as there is something to read.
fn read_up_to(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
