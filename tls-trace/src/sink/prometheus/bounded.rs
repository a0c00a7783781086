//! Counters whose number of series is bounded, whatever strangers do.

use std::collections::HashMap;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

/// Value of every label of the series that takes what does not fit.
pub const OVERFLOW: &str = "overflow";

/// A counter family with `N` labels from closed sets. Closed sets multiply: past `limit` series,
/// further combinations are counted together in one series whose labels are all [`OVERFLOW`].
#[derive(Debug)]
pub struct BoundedCounter<const N: usize> {
    family: IntCounterVec,
    series: HashMap<[&'static str; N], IntCounter>,
    limit: usize,
    overflowed: IntCounter,
}

impl<const N: usize> BoundedCounter<N> {
    /// Registers the family. `overflowed` counts what went into the overflow series.
    pub fn new(
        registry: &Registry,
        (name, help): (&str, &str),
        labels: [&str; N],
        limit: usize,
        overflowed: IntCounter,
    ) -> prometheus::Result<Self> {
        let family = IntCounterVec::new(Opts::new(name, help), &labels)?;
        registry.register(Box::new(family.clone()))?;
        Ok(Self {
            family,
            series: HashMap::new(),
            limit,
            overflowed,
        })
    }

    /// Adds to one series.
    pub fn add(&mut self, labels: [&'static str; N], count: u64) {
        if let Some(counter) = self.series.get(&labels) {
            counter.inc_by(count);
        } else if self.series.len() < self.limit {
            let counter = self.family.with_label_values(&labels);
            counter.inc_by(count);
            self.series.insert(labels, counter);
        } else {
            self.family.with_label_values(&[OVERFLOW; N]).inc_by(count);
            self.overflowed.inc_by(count);
        }
    }

    /// Makes a series show `total`, a count kept elsewhere that never falls.
    pub fn raise(&mut self, labels: [&'static str; N], total: u64) {
        let shown = self.series.get(&labels).map_or(0, IntCounter::get);
        self.add(labels, total.saturating_sub(shown));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_past_the_limit_share_one() {
        let overflowed = IntCounter::new("overflowed_total", "Overflowed.").unwrap();
        let registry = Registry::new();
        let mut counter = BoundedCounter::new(
            &registry,
            ("things_total", "Things."),
            ["a"],
            2,
            overflowed.clone(),
        )
        .unwrap();
        for label in ["x", "y", "z", "x", "w", "z"] {
            counter.add([label], 1);
        }
        let value = |label| counter.family.with_label_values(&[label]).get();
        assert_eq!((value("x"), value("y"), value(OVERFLOW)), (2, 1, 3));
        assert_eq!(overflowed.get(), 3);
        assert_eq!(registry.gather()[0].get_metric().len(), 3);
    }

    #[test]
    fn totals_kept_elsewhere_are_followed() {
        let overflowed = IntCounter::new("overflowed_total", "Overflowed.").unwrap();
        let registry = Registry::new();
        let mut counter =
            BoundedCounter::new(&registry, ("things_total", "Things."), ["a"], 2, overflowed)
                .unwrap();
        for total in [3, 3, 7, 5] {
            counter.raise(["x"], total);
        }
        assert_eq!(counter.family.with_label_values(&["x"]).get(), 7);
    }
}
