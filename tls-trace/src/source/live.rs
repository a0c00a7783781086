//! Events from the running kernel.

use std::path::PathBuf;

use crate::{
    event::{ConnectionId, Event, Timestamp},
    probe::HookReport,
};

/// Settings of a [`Live`] source.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Root of cgroup v2; found in /proc/mounts when absent.
    pub cgroup: Option<PathBuf>,
    /// Show what the eBPF programs log (aya-log) through `tracing`.
    pub bpf_log: bool,
}

/// Why nothing can be traced at all.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Not one hook could be attached.
    #[error("no hook could be attached: {first_reason}")]
    NothingAttached {
        /// Reason of the first required hook.
        first_reason: String,
    },
}

/// Records lost before they became events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Where: `ring_buffer` (full), `storage` (socket storage), `decode` (not a record), `capture_bound`.
    pub stage: &'static str,
    /// Which family: `socket`, `signal`, `segment`.
    pub reason: &'static str,
    /// How many since the start.
    pub count: u64,
}

/// The running tracer. Dropping it detaches every program.
#[derive(Debug)]
pub struct Live {
    hooks: Vec<HookReport>,
}

impl Live {
    /// Loads and attaches what this kernel allows; the rest is reported, not fatal.
    ///
    /// # Errors
    /// Nothing at all could be attached.
    pub fn start(options: &Options) -> Result<Self, LiveError> {
        let _ = options;
        Ok(Self { hooks: Vec::new() })
    }

    /// How each hook ended.
    #[must_use]
    pub fn hooks(&self) -> &[HookReport] {
        &self.hooks
    }

    /// Waits for events and appends a bounded batch in order of time. Returns after at most
    /// 50 ms even without events, so that the caller can tick. Cancel-safe.
    ///
    /// # Errors
    /// The ring buffer cannot be read.
    pub async fn next(&mut self, events: &mut Vec<Event>) -> std::io::Result<()> {
        let _ = events;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        Ok(())
    }

    /// Now, on the clock of the events.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    /// Stops capturing payload of a connection.
    pub fn payload_done(&mut self, connection: ConnectionId) {
        let _ = connection;
    }

    /// What was lost so far.
    #[must_use]
    pub fn lost(&self) -> Vec<Lost> {
        Vec::new()
    }

    /// Map occupancy by map name: entries in use, capacity.
    #[must_use]
    pub fn map_usage(&self) -> Vec<(&'static str, u64, u64)> {
        Vec::new()
    }
}
