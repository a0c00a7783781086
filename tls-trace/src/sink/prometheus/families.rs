//! Making and registering of metric families.

use prometheus::{GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry};

use super::bounded::BoundedCounter;

/// Series a counter family may have. Real traffic makes a few dozen; who provokes every
/// combination of cause, phase and version on purpose ends here.
const SERIES: usize = 1_000;

/// Seconds. A local handshake takes 1 ms, one around the world 0.5 s, a lost SYN costs 1 s more.
const BUCKETS: [f64; 14] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
];

/// Makes and registers families.
pub struct Families {
    pub registry: Registry,
    pub overflow: IntCounterVec,
}

impl Families {
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let overflow = IntCounterVec::new(
            Opts::new(
                "tls_trace_metric_overflow_total",
                "Counts that went into the series 'overflow' because their family is full.",
            ),
            &["family"],
        )?;
        registry.register(Box::new(overflow.clone()))?;
        Ok(Self { registry, overflow })
    }

    pub fn bounded<const N: usize>(
        &self,
        name: &str,
        help: &str,
        labels: [&str; N],
    ) -> prometheus::Result<BoundedCounter<N>> {
        let overflowed = self.overflow.with_label_values(&[name]);
        BoundedCounter::new(&self.registry, (name, help), labels, SERIES, overflowed)
    }

    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<HistogramVec> {
        self.histogram_with(name, help, labels, &BUCKETS)
    }

    pub fn histogram_with(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        let histogram = HistogramVec::new(options, labels)?;
        self.registry.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }

    pub fn int_gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        let gauge = IntGauge::new(name, help)?;
        self.registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    pub fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        let gauges = GaugeVec::new(Opts::new(name, help), labels)?;
        self.registry.register(Box::new(gauges.clone()))?;
        Ok(gauges)
    }
}
