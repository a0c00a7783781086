//! Events out of capture files: pcap and pcapng, compressed or not, larger than memory.
//!
//! A [`CaptureFile`] is read packet by packet; [`Connections`] turns packets into events.
#![forbid(unsafe_code)]

mod blocks;
mod connections;
mod file;
mod fragments;
mod input;
mod link;
mod packet;
mod pcap;
mod pcapng;
mod segment;
#[cfg(test)]
mod tests;

pub use connections::{Connections, Counts};
pub use file::{CaptureError, CaptureFile};
pub use input::{InputError, Progress};
pub use packet::{LinkType, Packet};
