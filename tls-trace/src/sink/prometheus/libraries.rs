//! Metrics of processes and their TLS libraries, and of what these told.

use prometheus::GaugeVec;

use super::{bounded::BoundedCounter, families::Families};
use crate::{
    engine::Handshake,
    event::LibraryName,
    report::{EarlyDataOutcome, EarlyDataReason, Report},
    sink::Status,
};

/// Of processes and their TLS libraries.
#[derive(Debug)]
pub struct LibraryMetrics {
    processes: GaugeVec,
    errors: BoundedCounter<1>,
    handshakes: BoundedCounter<3>,
    joins: BoundedCounter<1>,
    early_data: BoundedCounter<4>,
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
            handshakes: families.bounded(
                "tls_trace_library_handshakes_total",
                "TLS handshakes by the library of this end, none where no hooked library spoke of them.",
                ["library", "role", "outcome"],
            )?,
            joins: families.bounded(
                "tls_trace_library_joins_total",
                "Events of TLS libraries by what led to their connection: client_random, none (no such connection), ambiguous (several, passed on by a proxy), doubtful (found, not believed).",
                ["key"],
            )?,
            early_data: families.bounded(
                "tls_trace_early_data_total",
                "Connections whose client offered early data (0-RTT), at their end: accepted, rejected, aborted or unknown, why, and by the library of this end.",
                ["role", "library", "outcome", "reason"],
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
        let joins = status.engine.joins;
        for (key, count) in [
            ("client_random", joins.client_random),
            ("socket", joins.socket),
            ("none", joins.none),
            ("ambiguous", joins.ambiguous),
            ("doubtful", joins.doubtful),
        ] {
            self.joins.raise([key], count);
        }
    }

    pub fn handshake(&mut self, handshake: &Handshake) {
        let library = handshake.library.map_or("none", LibraryName::label);
        let labels = [library, handshake.role.label(), handshake.outcome.label()];
        self.handshakes.add(labels, 1);
    }

    pub fn report(&mut self, report: &Report) {
        let Some(data) = report.early_data else {
            return;
        };
        if data.outcome == EarlyDataOutcome::NotOffered {
            return;
        }
        let library = report.library.as_ref().map(|library| library.name);
        let library = library.map_or("none", LibraryName::label);
        let reason = data.reason.map_or("none", EarlyDataReason::label);
        let labels = [report.role.label(), library, data.outcome.label(), reason];
        self.early_data.add(labels, 1);
    }
}
