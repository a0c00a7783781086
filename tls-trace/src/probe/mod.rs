//! What the kernel can do, the table of hooks, and how each of them ended.

mod embedded;
mod hook;

pub use embedded::STUB;
pub use hook::{HookName, HookReport, HookState, Object};
