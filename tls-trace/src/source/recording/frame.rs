//! Frames: items, encoded, compressed, with a checksum.

use std::io::{self, Write};

use super::item::Item;

/// Length and checksum.
pub(super) const FRAME_HEADER: usize = 8;
/// Encoded items in a frame before it is closed.
const FULL: usize = 64 * 1024;
/// Most bytes of a body.
pub(super) const MAX_BODY: usize = 1 << 20;
/// Most bytes of the items in it: a full frame and one item more, which is a segment at most.
const MAX_ITEMS: usize = 1 << 20;
/// Zstandard's level for speed.
const LEVEL: i32 = 1;

/// Gathers items, encoded but not compressed: that is done where it keeps nobody waiting.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    items: Vec<u8>,
}

impl Encoder {
    /// Adds an item; returns whether there is enough for a frame.
    pub(super) fn push(&mut self, item: &Item) -> bool {
        let before = self.items.len();
        match postcard::to_extend(item, std::mem::take(&mut self.items)) {
            Ok(items) => self.items = items,
            // Items have neither maps nor sequences of unknown length, which alone cannot be encoded.
            Err(error) => tracing::error!(%error, "items of {before} bytes are lost"),
        }
        self.items.len() >= FULL
    }

    /// Bytes gathered.
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    /// Takes what is gathered, unless that is nothing; goes on in `memory`.
    pub(super) fn take(&mut self, mut memory: Vec<u8>) -> Option<Vec<u8>> {
        memory.clear();
        let gathered = !self.items.is_empty();
        gathered.then(|| std::mem::replace(&mut self.items, memory))
    }
}

/// Makes a frame of encoded items.
pub(super) fn write_frame(items: &[u8], writer: &mut impl Write) -> io::Result<()> {
    let body = zstd::bulk::compress(items, LEVEL)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    writer.write_all(&length.to_le_bytes())?;
    writer.write_all(&crc32fast::hash(&body).to_le_bytes())?;
    writer.write_all(&body)
}

/// Checks a body and takes it apart. `None`: it is not what was written.
pub(super) fn decode(checksum: u32, body: &[u8]) -> Option<Vec<Item<'static>>> {
    if crc32fast::hash(body) != checksum {
        return None;
    }
    let bytes = zstd::bulk::decompress(body, MAX_ITEMS).ok()?;
    let mut items = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let (item, after) = postcard::take_from_bytes::<Item<'static>>(rest).ok()?;
        // An item of no bytes would be read for ever.
        if after.len() == rest.len() {
            return None;
        }
        items.push(item);
        rest = after;
    }
    Some(items)
}
