//! The judge, told by hand-made events.

mod any_events;
mod bytes;
mod captures;
mod closes;
mod decisive;
mod handshakes;
mod resting;
mod story;
