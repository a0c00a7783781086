//! Counters of the outputs.

use prometheus::{IntCounter, IntGauge, Registry};

/// Counters of what the outputs could not deliver; clones count together.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// Lines that a stalled reader of standard output did not take.
    pub lines_dropped: IntCounter,
    /// Connected readers of the socket.
    pub readers: IntGauge,
    /// Readers of the socket that were disconnected because they did not keep up.
    pub readers_dropped: IntCounter,
    /// HTTP connections that were ended by a time limit or broke the protocol.
    pub http_errors: IntCounter,
}

impl Outputs {
    /// All zero, shown nowhere yet.
    ///
    /// # Errors
    /// A name is not valid.
    pub fn new() -> prometheus::Result<Self> {
        Ok(Self {
            lines_dropped: IntCounter::new(
                "tls_trace_output_lines_dropped_total",
                "Lines for standard output that its reader did not take in time.",
            )?,
            readers: IntGauge::new("tls_trace_tail_readers", "Readers connected to the socket.")?,
            readers_dropped: IntCounter::new(
                "tls_trace_tail_readers_dropped_total",
                "Readers of the socket that were disconnected because they did not keep up.",
            )?,
            http_errors: IntCounter::new(
                "tls_trace_http_errors_total",
                "HTTP connections that ended with an error or at a time limit.",
            )?,
        })
    }

    pub(super) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        let Self {
            lines_dropped,
            readers,
            readers_dropped,
            http_errors,
        } = self.clone();
        registry.register(Box::new(lines_dropped))?;
        registry.register(Box::new(readers))?;
        registry.register(Box::new(readers_dropped))?;
        registry.register(Box::new(http_errors))
    }
}
