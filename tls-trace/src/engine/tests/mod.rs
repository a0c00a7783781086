//! The judge, told by hand-made events.

mod alerts;
mod any_events;
mod bytes;
mod captures;
mod closes;
mod decisive;
mod delivery;
mod early_data;
mod handshakes;
mod holder;
mod http2;
mod http2_said;
mod late_hello;
mod library;
mod order;
mod overflow;
mod prefaces;
mod resting;
mod session;
mod statements;
mod story;
mod unfinished;
