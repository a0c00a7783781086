//! The judge, told by hand-made events.

mod bytes;
mod closes;
mod decisive;
mod handshakes;
mod story;
