//! The table of hooks.

use serde::Serialize;

/// An eBPF object: one hook family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Object {
    /// tp_btf programs of TCP.
    Tcp,
    /// kprobes of TCP.
    TcpKprobe,
    /// cgroup_skb programs.
    Wire,
}

/// Stable name of a hook, as in metrics and `tls-trace check`.
pub type HookName = &'static str;

/// How attaching a hook ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum HookState {
    /// Attached by the preferred back end.
    Attached,
    /// Attached by another back end.
    Fallback {
        /// Which.
        back_end: &'static str,
        /// Why not the preferred one.
        reason: String,
    },
    /// Not attached.
    Skipped {
        /// Why, and what to do about it.
        reason: String,
    },
}

/// One row of the table with its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HookReport {
    /// Name of the hook.
    pub name: HookName,
    /// Object it lives in.
    pub object: Object,
    /// What it is for, in one sentence.
    pub purpose: &'static str,
    /// Whether the tracer is blind without it.
    pub required: bool,
    /// How it ended.
    #[serde(flatten)]
    pub state: HookState,
}
