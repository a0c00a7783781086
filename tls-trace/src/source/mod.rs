//! Where events come from.

pub mod capture;
mod decode;
mod libraries;
pub mod live;
pub mod recording;
