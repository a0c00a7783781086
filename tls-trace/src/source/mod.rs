//! Where events come from.

pub mod capture;
mod decode;
pub mod live;
pub mod recording;
