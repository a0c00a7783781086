//! tls-trace: one verdict for every TLS connection that fails.
//!
//! Data flows one way: a source makes [`event::Event`]s, the [`engine`] turns them into
//! [`report::Report`]s, sinks show them. Everything between event and report is sans-IO.

pub mod command;
pub mod discover;
pub mod engine;
pub mod event;
pub mod explain;
pub mod flap;
pub mod inspect;
pub mod probe;
pub mod report;
pub mod sink;
pub mod source;
pub mod wire;
