//! The event ABI: what the eBPF programs write to their ring buffers and user space reads.
//!
//! Every record starts with a [`Header`]; [`Header::kind`] says which struct it is. All structs are
//! `#[repr(C)]`, without padding, of the size asserted beside them, and valid for any bytes: numbers
//! that mean something are newtypes over integers, never Rust enums. With the feature `user` each
//! record decodes through the checked [`Record::parse`].
//!
//! Ports and addresses are in the order a person reads them (ports as host integers, IPv4 as
//! IPv4-mapped IPv6). Times are `CLOCK_MONOTONIC` nanoseconds.

#![no_std]
#![forbid(unsafe_code)]

#[macro_use]
mod layout;
mod go;
mod library;
#[cfg(feature = "user")]
mod record;
mod tail;

pub use go::*;
pub use layout::*;
pub use library::*;
#[cfg(feature = "user")]
pub use record::{ParseRecordError, Record};
pub use tail::*;
