//! What the kernel can do, the table of hooks, and how each of them ended.

mod hook;

pub use hook::{HookName, HookReport, HookState, Object};
