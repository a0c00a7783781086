//! TLS as seen from outside: TCP segments in, TLS messages out. Sans-IO, bounded, never panics.
//!
//! [`Conversation`] takes the segments of one connection in any order and yields [`Observation`]s in
//! stream order per direction. It knows nothing of verdicts.
#![forbid(unsafe_code)]

mod conversation;
mod message;

pub use conversation::{Conversation, Limits};
pub use message::{
    AlertMessage, ClientHello, EncryptedRecord, HandshakeMessage, Observation, ObservationKind,
    Plaintext, PlaintextProtocol, ServerHello, StreamLoss,
};
