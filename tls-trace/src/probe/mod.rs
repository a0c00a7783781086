//! What the kernel can do, the table of hooks, and how each of them ended.

mod attach;
pub mod btf;
mod embedded;
mod hook;
mod kernel;
mod left_out;
mod sys;
mod uprobe;

pub use attach::{AttachOptions, Attached, AttachedObject};
pub use embedded::STUB;
pub use hook::{HOOKS, Hook, HookName, HookReport, HookState, Object};
pub use kernel::{Availability, Kernel, ResetReasons};
pub use left_out::LeftOut;
pub use uprobe::{Link, UprobeError};
