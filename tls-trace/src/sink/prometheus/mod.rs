//! Metrics for Prometheus; docs/metrics.md lists them. Every label has a closed set of values.

mod bounded;
mod labels;
mod process;

use std::collections::BTreeMap;

use prometheus::{
    GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntGauge, Opts, Registry, TextEncoder,
};

use self::{bounded::BoundedCounter, process::ProcessMetrics};
use super::{Sink, Status};
use crate::{
    engine::Handshake,
    event::Event,
    probe::{HookReport, HookState},
    report::{CloseKind, Phase, Report},
};

/// Series a counter family may have. Real traffic makes a few dozen; who provokes every
/// combination of cause, phase and version on purpose ends here.
const SERIES: usize = 1_000;

/// Seconds. A local handshake takes 1 ms, one around the world 0.5 s, a lost SYN costs 1 s more.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// All metrics, written by the tracing loop.
#[derive(Debug)]
pub struct Metrics {
    handshakes: BoundedCounter<6>,
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
    tracked: IntGauge,
    map_entries: GaugeVec,
    map_max_entries: GaugeVec,
    hooks: GaugeVec,
    exposition: Exposition,
    outputs: Outputs,
}

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

    fn register(&self, registry: &Registry) -> prometheus::Result<()> {
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
                "TLS handshakes attempted, by result; outcome, phase, cause and initiator are those of the verdict.",
                ["role", "outcome", "phase", "cause", "initiator", "version"],
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
                "Connections reported at their end, by verdict; those that broke after the handshake are counted here only.",
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
                "Notices of reports: true and worth counting, not failures by themselves.",
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
                .with_label_values(&[hook.name, object(hook), state])
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
        self.client_hello_retransmits
            .add([role], report.tcp.client_hello_retransmits.into());
        for notice in &report.notices {
            self.notices.add([role, notice.label()], 1);
        }
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
            ],
            1,
        );
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
        let mut lost = BTreeMap::new();
        for row in &status.lost {
            *lost.entry([row.stage, row.reason]).or_default() += row.count;
        }
        for (labels, count) in lost {
            self.lost.raise(labels, count);
        }
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

/// Makes and registers families.
struct Families {
    registry: Registry,
    overflow: prometheus::IntCounterVec,
}

impl Families {
    fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let overflow = prometheus::IntCounterVec::new(
            Opts::new(
                "tls_trace_metric_overflow_total",
                "Counts that went into the series 'overflow' because their family is full.",
            ),
            &["family"],
        )?;
        registry.register(Box::new(overflow.clone()))?;
        Ok(Self { registry, overflow })
    }

    fn bounded<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> prometheus::Result<BoundedCounter<N>> {
        let overflowed = self.overflow.with_label_values(&[name]);
        BoundedCounter::new(&self.registry, (name, help), labels, SERIES, overflowed)
    }

    fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(BUCKETS.to_vec());
        let histogram = HistogramVec::new(options, labels)?;
        self.registry.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }

    fn int_gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        let gauge = IntGauge::new(name, help)?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        let gauges = GaugeVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }
}

fn object(hook: &HookReport) -> &'static str {
    match hook.object {
        crate::probe::Object::Tcp => "tcp",
        crate::probe::Object::TcpKprobe => "tcp_kprobe",
        crate::probe::Object::Wire => "wire",
    }
}
