//! Go's build information (debug/buildinfo/buildinfo.go).

use super::super::{Elf, Error};

const MAGIC: &[u8] = b"\xff Go buildinf:";
/// The version follows the header, as length and bytes: Go 1.18 and later.
const INLINE: u8 = 2;
const HEADER: u64 = 32;
/// Longest version: `devel` ones have dates and options.
const LONGEST: u64 = 256;

/// A version of Go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// As the program says it, `go1.26.8`.
    pub text: String,
    /// The 26 of it.
    pub minor: u16,
}

/// The version that built a program.
///
/// # Errors
/// The file cannot be read.
pub fn version(elf: &Elf) -> Result<Option<Version>, Error> {
    let Some(section) = elf.section(".go.buildinfo") else {
        return Ok(None);
    };
    let start: [u8; 32] = elf.reader.array(section.file.start)?;
    if !start.starts_with(MAGIC) {
        return Ok(None);
    }
    let (offset, length) = if start[15] & INLINE != 0 {
        let length = elf.reader.array::<2>(section.file.start + HEADER)?;
        // A varint; versions are shorter than 16 KiB.
        let (length, bytes) = match length {
            [low, _] if low < 0x80 => (u64::from(low), 1),
            [low, high] => (u64::from(low & 0x7f) | u64::from(high) << 7, 2),
        };
        (section.file.start + HEADER + bytes, length)
    } else {
        // Addresses of a Go string: data, then length.
        let string = u64::from_le_bytes(start[16..24].try_into().map_err(|_| Error::Malformed)?);
        let data = elf.number(string)?;
        (elf.offset(data)?, elf.number(string.saturating_add(8))?)
    };
    let length = usize::try_from(length.min(LONGEST)).map_err(|_| Error::Malformed)?;
    let text = elf.reader.bytes(offset, length)?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

fn parse(text: &str) -> Option<Version> {
    // `devel go1.27-abcdef Mon …` is one as well.
    let from = text.find("go1.")?;
    let digits = text[from + 4..].split(|each: char| !each.is_ascii_digit());
    Some(Version {
        text: text.to_owned(),
        minor: digits.into_iter().next()?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, minor) in [
            ("go1.26.8", Some(26)),
            ("go1.21", Some(21)),
            ("go1.25rc1 X:nocoverageredesign", Some(25)),
            ("devel go1.27-1a2b3c Mon Jan 5", Some(27)),
            ("go2", None),
            ("", None),
        ] {
            assert_eq!(parse(text).map(|version| version.minor), minor, "{text}");
        }
    }
}
