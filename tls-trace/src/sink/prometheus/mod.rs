//! Metrics for Prometheus; docs/metrics.md lists them. Every label has a closed set of values.

mod bounded;
mod families;
mod flapping;
mod labels;
mod libraries;
mod lifetimes;
mod outputs;
mod process;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use prometheus::{GaugeVec, HistogramVec, IntGauge, Registry, TextEncoder};

pub use self::outputs::Outputs;
use self::{
    bounded::BoundedCounter, families::Families, libraries::LibraryMetrics, lifetimes::Lifetimes,
    process::ProcessMetrics,
};
use super::{Sink, Status};
use crate::{
    engine::Handshake,
    event::Event,
    flap::{Flap, FlapEvent},
    probe::{HookReport, HookState},
    report::{CloseKind, Phase, Report},
};

/// All metrics, written by the tracing loop.
#[derive(Debug)]
pub struct Metrics {
    handshakes: BoundedCounter<7>,
    handshake_seconds: HistogramVec,
    phase_seconds: HistogramVec,
    connections: BoundedCounter<4>,
    closes: BoundedCounter<4>,
    client_hello_retransmits: BoundedCounter<1>,
    alpn_offered: BoundedCounter<2>,
    notices: BoundedCounter<2>,
    events: BoundedCounter<1>,
    lost: BoundedCounter<2>,
    evicted: BoundedCounter<0>,
    not_tls: BoundedCounter<0>,
    lifetimes: Lifetimes,
    tracked: IntGauge,
    map_entries: GaugeVec,
    map_max_entries: GaugeVec,
    hooks: GaugeVec,
    libraries: LibraryMetrics,
    exposition: Exposition,
    outputs: Outputs,
}

/// What a scrape reads; cheap to clone.
#[derive(Clone, Debug)]
pub struct Exposition {
    registry: Registry,
    process: ProcessMetrics,
}

impl Exposition {
    /// The text exposition format 0.0.4.
    ///
    /// # Errors
    /// A metric family is inconsistent.
    pub fn text(&self) -> prometheus::Result<String> {
        self.process.update();
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl Metrics {
    /// Registers every family.
    ///
    /// # Errors
    /// Two families have the same name.
    pub fn new() -> prometheus::Result<Self> {
        let families = Families::new()?;
        let process = ProcessMetrics::new(&families.registry)?;
        let outputs = Outputs::new()?;
        outputs.register(&families.registry)?;
        families
            .gauges(
                "tls_trace_build_info",
                "Always 1; the version is in the label.",
                &["version"],
            )?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1.0);
        Ok(Self {
            handshakes: families.bounded(
                "tls_trace_handshakes_total",
                "TLS handshakes attempted, by result; outcome, phase, cause and initiator are those of the verdict (docs/verdicts.md), grpc_tls_handshake_result is what gRPC would say (gRFC A118).",
                ["role", "outcome", "phase", "cause", "initiator", "version", "grpc_tls_handshake_result"],
            )?,
            handshake_seconds: families.histogram(
                "tls_trace_handshake_duration_seconds",
                "Time from the first byte of the ClientHello to the end of the handshake.",
                &["role", "outcome"],
            )?,
            phase_seconds: families.histogram(
                "tls_trace_handshake_phase_duration_seconds",
                "Time spent in a phase: connect (SYN to TCP open), client_hello (TCP open to ClientHello), server_hello (ClientHello to ServerHello), rest (ServerHello to the client's Finished).",
                &["role", "phase"],
            )?,
            connections: families.bounded(
                "tls_trace_connections_total",
                "Connections reported at their end, by verdict (docs/verdicts.md); those that broke after the handshake are counted here only.",
                ["role", "outcome", "cause", "initiator"],
            )?,
            closes: families.bounded(
                "tls_trace_tcp_closes_total",
                "TCP connections ended: how, which end closed first, who ended it by the verdict, and the kernel's reason for its RST or the error the application saw.",
                ["kind", "closed_by", "initiator", "reason"],
            )?,
            client_hello_retransmits: families.bounded(
                "tls_trace_client_hello_retransmits_total",
                "Segments with ClientHello bytes that had to be sent again.",
                ["role"],
            )?,
            alpn_offered: families.bounded(
                "tls_trace_alpn_offered_total",
                "ClientHellos by the application protocols they offered; one that offers several counts once for each.",
                ["role", "protocol"],
            )?,
            notices: families.bounded(
                "tls_trace_notices_total",
                "Notices of reports (docs/verdicts.md): true and worth counting, not failures by themselves.",
                ["role", "notice"],
            )?,
            events: families.bounded(
                "tls_trace_events_total",
                "Events taken from the kernel.",
                ["kind"],
            )?,
            lost: families.bounded(
                "tls_trace_events_lost_total",
                "Events lost before the engine saw them; verdicts of their connections may be incomplete.",
                ["stage", "reason"],
            )?,
            evicted: families.bounded(
                "tls_trace_connections_evicted_total",
                "Connections forgotten because the table was full.",
                [],
            )?,
            not_tls: families.bounded(
                "tls_trace_connections_not_tls_total",
                "Connections that ended without TLS and without a failure; they get no report.",
                [],
            )?,
            lifetimes: Lifetimes::new(&families)?,
            tracked: families
                .int_gauge("tls_trace_connections_tracked", "Connections in the table.")?,
            map_entries: families.gauges(
                "tls_trace_map_entries",
                "Entries of an eBPF map in use.",
                &["map"],
            )?,
            map_max_entries: families.gauges(
                "tls_trace_map_max_entries",
                "Entries an eBPF map can hold.",
                &["map"],
            )?,
            hooks: families.gauges(
                "tls_trace_hook_attached",
                "1 when the hook is attached, by its preferred back end or a fallback; 0 when it was skipped.",
                &["hook", "object", "state"],
            )?,
            libraries: LibraryMetrics::new(&families)?,
            outputs,
            exposition: Exposition {
                registry: families.registry,
                process,
            },
        })
    }

    /// Shows how each hook ended.
    pub fn set_hooks(&self, hooks: &[HookReport]) {
        for hook in hooks {
            let (state, attached) = match hook.state {
                HookState::Attached => ("attached", 1.0),
                HookState::Fallback { .. } => ("fallback", 1.0),
                HookState::Skipped { .. } => ("skipped", 0.0),
            };
            self.hooks
                .with_label_values(&[hook.name, hook.object.label(), state])
                .set(attached);
        }
    }

    /// What a scrape reads.
    #[must_use]
    pub fn exposition(&self) -> Exposition {
        self.exposition.clone()
    }

    /// Counters for the outputs.
    #[must_use]
    pub fn outputs(&self) -> Outputs {
        self.outputs.clone()
    }

    fn count_close(&mut self, report: &Report) {
        let tcp = &report.tcp;
        let kind = match tcp.close_kind {
            CloseKind::Open => return,
            kind => kind.label(),
        };
        let closed_by = labels::closed_by(report.role, tcp.closed_by);
        let initiator = report.verdict.initiator.label();
        let reason = labels::close_reason(tcp);
        self.closes.add([kind, closed_by, initiator, reason], 1);
    }
}

impl Sink for Metrics {
    fn events(&mut self, events: &[Event]) {
        // Runs of one kind are the rule; one addition for each run.
        for run in events.chunk_by(|a, b| labels::event(&a.kind) == labels::event(&b.kind)) {
            if let Some(first) = run.first() {
                self.events
                    .add([labels::event(&first.kind)], run.len() as u64);
            }
        }
    }

    fn report(&mut self, report: &Report) {
        let role = report.role.label();
        let verdict = &report.verdict;
        let (outcome, cause) = (verdict.outcome.label(), verdict.cause.label());
        self.connections
            .add([role, outcome, cause, verdict.initiator.label()], 1);
        self.count_close(report);
        let retransmits = report.tcp.client_hello_retransmits;
        if retransmits > 0 {
            self.client_hello_retransmits
                .add([role], retransmits.into());
        }
        self.lifetimes.report(report);
        self.libraries.report(report);
        for notice in &report.notices {
            self.notices.add([role, notice.label()], 1);
        }
    }

    fn flap_event(&mut self, event: &FlapEvent) {
        self.lifetimes.event(*event);
    }

    fn flap(&mut self, flap: &Flap) {
        self.lifetimes.flapping.change(flap);
    }

    fn handshake(&mut self, handshake: &Handshake) {
        let role = handshake.role.label();
        let outcome = handshake.outcome.label();
        self.handshakes.add(
            [
                role,
                outcome,
                handshake.phase.label(),
                handshake.cause.label(),
                handshake.initiator.label(),
                labels::version(handshake.version.as_deref()),
                labels::grpc_result(handshake),
            ],
            1,
        );
        self.libraries.handshake(handshake);
        if let Some(duration) = handshake.duration_ms {
            self.handshake_seconds
                .with_label_values(&[role, outcome])
                .observe(duration / 1e3);
        }
        let phases = &handshake.phases;
        for (phase, duration) in [
            ("connect", phases.connect),
            ("client_hello", phases.client_hello),
            ("server_hello", phases.server_hello),
            ("rest", phases.rest),
        ] {
            if let Some(duration) = duration {
                self.phase_seconds
                    .with_label_values(&[role, phase])
                    .observe(duration / 1e3);
            }
        }
        if handshake.phase >= Phase::ClientHello {
            for protocol in labels::protocols(&handshake.alpn_offered) {
                self.alpn_offered.add([role, protocol], 1);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "Prometheus values are floats")]
    fn status(&mut self, status: &Status) {
        let engine = &status.engine;
        self.tracked
            .set(i64::try_from(engine.tracked).unwrap_or(i64::MAX));
        self.evicted.raise([], engine.evicted);
        self.not_tls.raise([], engine.not_tls);
        self.lifetimes.status(status.flaps);
        let mut lost = BTreeMap::new();
        for row in &status.lost {
            *lost.entry([row.stage, row.reason]).or_default() += row.count;
        }
        for (labels, count) in lost {
            self.lost.raise(labels, count);
        }
        self.libraries.update(status);
        for (map, entries, capacity) in &status.maps {
            self.map_entries
                .with_label_values(&[map])
                .set(*entries as f64);
            self.map_max_entries
                .with_label_values(&[map])
                .set(*capacity as f64);
        }
    }
}
