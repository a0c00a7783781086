//! TLS as seen from outside: TCP segments in, TLS messages out. Sans-IO, bounded, never panics.
//!
//! [`Conversation`] takes the segments of one connection in any order and yields [`Observation`]s in
//! stream order per direction. It knows nothing of verdicts.
#![forbid(unsafe_code)]

mod certificate;
mod client_hello;
mod conversation;
mod escape;
mod extension;
mod handshake;
mod ja4;
mod message;
pub mod names;
mod output;
mod plaintext;
mod preface;
mod reader;
mod reassembly;
mod record;
mod server_hello;
mod stream;
#[cfg(test)]
mod tests;

pub use certificate::Certificate;
pub use conversation::{Conversation, Limits};
pub use escape::escape;
pub use extension::is_grease;
pub use message::{
    AlertMessage, ClientHello, EncryptedRecord, HandshakeMessage, Observation, ObservationKind,
    Plaintext, PlaintextProtocol, ServerHello, StreamLoss,
};
pub use preface::Preface;
