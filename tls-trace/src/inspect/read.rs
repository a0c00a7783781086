//! Reading a file that may be huge, hostile, or changing: `pread(2)` in pieces, never `mmap(2)` (a
//! file cut short under a mapping is a SIGBUS), within a budget of bytes and time.

use std::{
    cell::{Cell, Ref, RefCell},
    collections::VecDeque,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    time::Duration,
};

use super::{Error, deadline::Deadline};

/// Bytes in one piece.
const PIECE: usize = 256 * 1024;
/// Bytes of a page: reads near each other cost one.
const PAGE: usize = 16 * 1024;
/// Pages kept.
const PAGES: usize = 32;
/// Largest piece anybody may ask for at once.
const LARGEST: usize = 4 * 1024 * 1024;

/// Something that can be read at any offset.
pub trait ReadAt {
    /// Like [`std::os::unix::fs::FileExt::read_at`]: 0 at the end.
    ///
    /// # Errors
    /// Those of `pread(2)`.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|from| self.get(from..));
        let rest = rest.unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }
}

/// How much of a file may be looked at.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes read in total.
    pub bytes: u64,
    /// Time of the processor.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 2 << 30,
            time: Duration::from_secs(10),
        }
    }
}

/// A file, and what is left of the budget.
pub struct Reader<'a> {
    source: &'a dyn ReadAt,
    left: Cell<u64>,
    deadline: Deadline,
    /// The one used last is the first.
    pages: RefCell<VecDeque<Page>>,
}

struct Page {
    number: u64,
    bytes: Vec<u8>,
}

impl<'a> Reader<'a> {
    /// Starts the clock.
    pub fn new(source: &'a dyn ReadAt, limits: Limits) -> Self {
        Self {
            source,
            left: Cell::new(limits.bytes),
            deadline: Deadline::after(limits.time),
            pages: RefCell::default(),
        }
    }

    /// Reads exactly that much.
    ///
    /// # Errors
    /// The file ends before; the budget is spent; the read fails.
    pub fn bytes(&self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        if length > LARGEST {
            return Err(Error::TooLarge);
        }
        let mut bytes = vec![0; length];
        self.fill(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Reads `N` bytes by way of pages that are kept: cheap when near what was read before.
    ///
    /// # Errors
    /// Those of [`Self::bytes`].
    pub fn array<const N: usize>(&self, offset: u64) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        if self.paged(&mut array, offset)? < N {
            return Err(Error::Truncated);
        }
        Ok(array)
    }

    /// Reads as much as there is at `offset`, by way of pages; how much that was.
    ///
    /// # Errors
    /// The budget is spent; the read fails.
    pub fn paged(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        let mut length = 0;
        while length < buffer.len() {
            let at = offset.checked_add(length as u64).ok_or(Error::Truncated)?;
            let (number, skip) = (at / PAGE as u64, at % PAGE as u64);
            let pages = self.page(number)?;
            let bytes = pages
                .front()
                .map(|page| &page.bytes[..])
                .unwrap_or_default();
            let rest = usize::try_from(skip)
                .ok()
                .and_then(|skip| bytes.get(skip..));
            let rest = rest.unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let part = rest.len().min(buffer.len() - length);
            buffer[length..length + part].copy_from_slice(&rest[..part]);
            length += part;
        }
        Ok(length)
    }

    /// Puts that page in front.
    fn page(&self, number: u64) -> Result<Ref<'_, VecDeque<Page>>, Error> {
        let mut pages = self.pages.borrow_mut();
        match pages.iter().position(|page| page.number == number) {
            Some(0) => {}
            Some(index) => {
                if let Some(page) = pages.remove(index) {
                    pages.push_front(page);
                }
            }
            None => {
                let mut bytes = match pages.len() {
                    PAGES => pages.pop_back().map(|page| page.bytes).unwrap_or_default(),
                    _ => Vec::new(),
                };
                bytes.resize(PAGE, 0);
                let length = self.some(&mut bytes, number * PAGE as u64)?;
                bytes.truncate(length);
                pages.push_front(Page { number, bytes });
            }
        }
        drop(pages);
        Ok(self.pages.borrow())
    }

    /// Hands out the range in pieces, each starting with the last `overlap` bytes of the one
    /// before. `see` gets each piece and its offset in the file, and says whether it wants more.
    ///
    /// # Errors
    /// Those of [`Self::bytes`]; what `see` fails with.
    pub fn scan(
        &self,
        range: Range<u64>,
        overlap: usize,
        mut see: impl FnMut(u64, &[u8]) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        let mut piece = vec![0; PIECE + overlap];
        let mut kept = 0;
        let mut offset = range.start;
        while offset < range.end {
            let wanted = usize::try_from(range.end - offset).map_or(PIECE, |left| left.min(PIECE));
            self.fill(&mut piece[kept..kept + wanted], offset)?;
            let length = kept + wanted;
            if !see(offset - kept as u64, &piece[..length])? {
                return Ok(());
            }
            offset += wanted as u64;
            kept = overlap.min(length);
            piece.copy_within(length - kept..length, 0);
        }
        Ok(())
    }

    fn fill(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        if self.some(buffer, offset)? < buffer.len() {
            return Err(Error::Truncated);
        }
        Ok(())
    }

    /// Reads until the buffer is full or the file ends.
    fn some(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        let mut length = 0;
        while length < buffer.len() {
            let at = offset.checked_add(length as u64).ok_or(Error::Truncated)?;
            // The kernel refuses offsets that are not positive as off_t.
            if i64::try_from(at).is_err() {
                break;
            }
            match self.source.read_at(&mut buffer[length..], at) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Io(error)),
            }
        }
        let left = self.left.get().checked_sub(length as u64);
        self.left.set(left.ok_or(Error::Budget)?);
        self.deadline.check()?;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_overlap_and_cover_everything() {
        let bytes: Vec<u8> = (0..=250).cycle().take(PIECE * 2 + 100).collect();
        let reader = Reader::new(&bytes, Limits::default());
        let mut seen = Vec::new();
        let end = bytes.len() as u64;
        let scanned = reader.scan(7..end, 5, |offset, piece| {
            let start = usize::try_from(offset).unwrap();
            assert_eq!(piece, &bytes[start..start + piece.len()]);
            seen.push((start, start + piece.len()));
            Ok(true)
        });
        scanned.unwrap();
        assert_eq!(seen[0].0, 7);
        assert!(
            seen.windows(2).all(|two| two[1].0 + 5 == two[0].1),
            "{seen:?}"
        );
        assert_eq!(seen.last().unwrap().1, bytes.len());
    }

    #[test]
    fn the_end_and_the_budget_are_errors() {
        let bytes = vec![1; 100];
        let reader = Reader::new(&bytes, Limits::default());
        assert!(matches!(reader.bytes(60, 41), Err(Error::Truncated)));
        assert!(matches!(reader.bytes(u64::MAX, 1), Err(Error::Truncated)));
        assert!(matches!(reader.array::<4>(97), Err(Error::Truncated)));
        assert_eq!(reader.array(96).unwrap(), [1; 4]);
        assert!(matches!(reader.bytes(0, LARGEST + 1), Err(Error::TooLarge)));

        let time = Duration::from_secs(10);
        let reader = Reader::new(&bytes, Limits { bytes: 50, time });
        assert!(reader.bytes(0, 50).is_ok());
        assert!(matches!(reader.bytes(0, 1), Err(Error::Budget)));

        let time = Duration::ZERO;
        let reader = Reader::new(&bytes, Limits { bytes: 50, time });
        assert!(matches!(reader.bytes(0, 1), Err(Error::Budget)));
    }
}
