//! The judge, told by hand-made events.

mod any_events;
mod bytes;
mod closes;
mod decisive;
mod handshakes;
mod story;
