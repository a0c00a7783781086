//! Where events come from.

mod decode;
pub mod live;
