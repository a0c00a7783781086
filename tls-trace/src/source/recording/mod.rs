//! Recordings: what the daemon's engine was told, to be told again later.
//!
//! A file is [`MAGIC`], which has the version of the format, then frames: the length of the body and
//! its CRC-32 (both 32 bits, little-endian), then the body, which is items in postcard's encoding,
//! compressed with Zstandard. Each frame stands for itself: a file that was cut short is good up to the
//! cut. The first item is the [`Header`].
//!
//! [`VERSION`] grows when [`Item`] or anything in it changes its encoding.
#![forbid(unsafe_code)]

mod certificate;
mod flight;
mod frame;
mod hello;
mod item;
mod others;
mod plain;
mod read;
mod redact;
mod replay;
mod scrub;
#[cfg(test)]
mod tests;
mod write;

pub use flight::{FlightRecorder, Snapshot};
pub use item::{Context, Header, Item};
pub use read::{Recording, RecordingError};
pub use redact::{RedactError, redact};
pub use replay::Replay;
pub use write::Recorder;

/// Version of the format.
pub const VERSION: u8 = 1;

/// The first bytes of a recording. Like those of PNG, they do not survive a transfer as text.
pub const MAGIC: [u8; 12] = *b"\x89tlsrec\r\n\x1a\n\x01";
const _: () = assert!(MAGIC[11] == VERSION, "the magic number has the version");
