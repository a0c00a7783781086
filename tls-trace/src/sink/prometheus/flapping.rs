//! What flaps now. The only metric with names from the outside: a series lives as long as its flap,
//! and there are [`SERIES`] at most.

use std::collections::HashMap;

use prometheus::{IntCounter, IntGaugeVec, Opts};

use super::families::Families;
use crate::{
    flap::{Change, Flap},
    sink::shortened,
};

/// Series at a time.
const SERIES: usize = 500;
/// Characters of a name.
const NAME: usize = 64;
/// Name of the family.
const FAMILY: &str = "tls_trace_flapping";

type Labels = [String; 4];

/// The gauge, and how many processes each of its series counts.
#[derive(Debug)]
pub struct Flapping {
    family: IntGaugeVec,
    processes: HashMap<Labels, i64>,
    overflowed: IntCounter,
}

impl Flapping {
    pub fn new(families: &Families) -> prometheus::Result<Self> {
        let family = IntGaugeVec::new(
            Opts::new(
                FAMILY,
                "Processes of this name that lose their connection to this peer again and again; the series ends with the flap.",
            ),
            &["role", "process", "peer", "cause"],
        )?;
        families.registry.register(Box::new(family.clone()))?;
        Ok(Self {
            family,
            processes: HashMap::new(),
            overflowed: families.overflow.with_label_values(&[FAMILY]),
        })
    }

    pub fn change(&mut self, flap: &Flap) {
        let labels = labels(flap);
        let known = self.processes.get(&labels).copied();
        let count = match flap.flap {
            Change::On if known.is_none() && self.processes.len() >= SERIES => {
                self.overflowed.inc();
                return;
            }
            Change::On => known.unwrap_or(0) + 1,
            Change::Off => known.unwrap_or(0) - 1,
        };
        if count > 0 {
            self.family.with_label_values(&labels).set(count);
            self.processes.insert(labels, count);
        } else if known.is_some() {
            // Only what is in the map has a series; an error would mean that it is gone already.
            let _ = self.family.remove_label_values(&labels);
            self.processes.remove(&labels);
        }
    }
}

fn labels(flap: &Flap) -> Labels {
    let name = |name: &str| shortened(name, NAME).to_string();
    [
        flap.role.label().to_owned(),
        name(flap.comm.as_deref().unwrap_or_default()),
        format!("{}:{}", name(&flap.peer), flap.port),
        flap.cause.label().to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample;

    fn shown(families: &Families) -> Vec<f64> {
        let gathered = families.registry.gather();
        let family = gathered.iter().find(|family| family.name() == FAMILY);
        family.map_or(Vec::new(), |family| {
            let series = family.get_metric().iter();
            series
                .map(|series| series.get_gauge().get_value())
                .collect()
        })
    }

    #[test]
    fn a_series_ends_with_its_last_process() {
        let families = Families::new().unwrap();
        let mut flapping = Flapping::new(&families).unwrap();
        let mut flap = sample::flap();
        flapping.change(&flap);
        flapping.change(&flap);
        assert_eq!(shown(&families), [2.0]);
        flap.flap = Change::Off;
        flapping.change(&flap);
        assert_eq!(shown(&families), [1.0]);
        flapping.change(&flap);
        flapping.change(&flap);
        assert!(shown(&families).is_empty());
    }

    #[test]
    fn names_are_bounded() {
        let families = Families::new().unwrap();
        let mut flapping = Flapping::new(&families).unwrap();
        let mut flap = sample::flap();
        for number in 0..SERIES + 3 {
            flap.peer = format!("host-{number}");
            flapping.change(&flap);
        }
        assert_eq!(shown(&families).len(), SERIES);
        assert_eq!(flapping.overflowed.get(), 3);
    }
}
