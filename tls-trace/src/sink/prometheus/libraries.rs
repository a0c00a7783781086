//! Metrics of processes and their TLS libraries.

use prometheus::GaugeVec;

use super::{bounded::BoundedCounter, families::Families};
use crate::sink::Status;

/// Of processes and their TLS libraries.
#[derive(Debug)]
pub struct LibraryMetrics {
    processes: GaugeVec,
    errors: BoundedCounter<1>,
}

impl LibraryMetrics {
    pub fn new(families: &Families) -> prometheus::Result<Self> {
        Ok(Self {
            processes: families.gauges(
                "tls_trace_processes",
                "Running processes, by whether probes in their TLS library explain their connections, and by that library, or why not.",
                &["coverage", "library"],
            )?,
            errors: families.bounded(
                "tls_trace_library_errors_total",
                "Files mapped as code that could not be inspected.",
                ["error"],
            )?,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
    pub fn update(&mut self, status: &Status) {
        // What is gone has no series.
        self.processes.reset();
        for (labels, count) in &status.processes {
            self.processes.with_label_values(labels).set(*count as f64);
        }
        for (error, count) in &status.unreadable {
            self.errors.raise([error], *count);
        }
    }
}
