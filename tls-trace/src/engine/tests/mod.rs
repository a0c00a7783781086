//! The judge, told by hand-made events.

mod bytes;
mod closes;
mod handshakes;
mod story;
