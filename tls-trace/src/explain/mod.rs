//! What the labels of verdicts mean: one description for `tls-trace explain`, docs/verdicts.md and the
//! metrics.

mod markdown;
mod text;

use crate::report::{
    Cause, Confidence, EarlyDataOutcome, EarlyDataReason, Explanation, Initiator, Notice, Outcome,
    Phase,
};

pub use markdown::markdown;
pub use text::{full, list};

/// A closed set of labels that are explained.
#[derive(Clone, Debug)]
pub struct Set {
    /// What one label of it is called: "cause".
    pub name: &'static str,
    /// More of them: "causes".
    pub plural: &'static str,
    /// What it says of a connection.
    pub about: &'static str,
    /// Where it is found in a report (docs/json.md).
    pub field: &'static str,
    /// Metrics that have it as a label of the set's name.
    pub metrics: &'static [&'static str],
    /// Its labels.
    pub labels: Vec<Explanation>,
}

/// Every set, causes first.
#[must_use]
pub fn sets() -> Vec<Set> {
    const VERDICTS: &[&str] = &["tls_trace_handshakes_total", "tls_trace_connections_total"];
    fn explained<T: Copy>(all: &[T], explanation: fn(T) -> Explanation) -> Vec<Explanation> {
        all.iter().copied().map(explanation).collect()
    }
    vec![
        Set {
            name: "cause",
            plural: "causes",
            about: "Why it ended: the most specific cause that is proven.",
            field: "verdict.cause",
            metrics: VERDICTS,
            labels: explained(Cause::ALL, Cause::explanation),
        },
        Set {
            name: "notice",
            plural: "notices",
            about: "True and worth counting, not a failure by itself.",
            field: "notices",
            metrics: &["tls_trace_notices_total"],
            labels: explained(Notice::ALL, Notice::explanation),
        },
        Set {
            name: "outcome",
            plural: "outcomes",
            about: "How it went.",
            field: "verdict.outcome",
            metrics: VERDICTS,
            labels: explained(Outcome::ALL, Outcome::explanation),
        },
        Set {
            name: "phase",
            plural: "phases",
            about: "The furthest point the connection reached.",
            field: "verdict.phase",
            metrics: &["tls_trace_handshakes_total"],
            labels: explained(Phase::ALL, Phase::explanation),
        },
        Set {
            name: "initiator",
            plural: "initiators",
            about: "Who ended it.",
            field: "verdict.initiator",
            metrics: &[
                "tls_trace_handshakes_total",
                "tls_trace_connections_total",
                "tls_trace_tcp_closes_total",
            ],
            labels: explained(Initiator::ALL, Initiator::explanation),
        },
        Set {
            name: "confidence",
            plural: "confidences",
            about: "How far the verdict is proven.",
            field: "verdict.confidence",
            metrics: &[],
            labels: explained(Confidence::ALL, Confidence::explanation),
        },
        Set {
            name: "early data outcome",
            plural: "early data outcomes",
            about: "What became of early data (RFC 8446 §4.2.10).",
            field: "early_data.outcome",
            metrics: &[],
            labels: explained(EarlyDataOutcome::ALL, EarlyDataOutcome::explanation),
        },
        Set {
            name: "early data reason",
            plural: "early data reasons",
            about: "Why early data was rejected.",
            field: "early_data.reason",
            metrics: &[],
            labels: explained(EarlyDataReason::ALL, EarlyDataReason::explanation),
        },
    ]
}

/// A label that no set has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    /// One is spelled nearly so.
    #[error("nothing is called '{label}'; did you mean '{similar}'?")]
    Misspelled {
        /// As asked for.
        label: String,
        /// The nearest.
        similar: &'static str,
    },
    /// None is.
    #[error("nothing is called '{0}'; `tls-trace explain` lists what there is")]
    Strange(String),
}

/// Every meaning of a label: some are in two sets. Case, `-` and spaces do not matter.
///
/// # Errors
/// No set has it.
pub fn find(label: &str) -> Result<Vec<(Set, Explanation)>, Unknown> {
    let wanted = label.to_ascii_lowercase().replace(['-', ' '], "_");
    let every: Vec<_> = sets()
        .into_iter()
        .flat_map(|set| {
            let labels = set.labels.clone();
            labels.into_iter().map(move |found| (set.clone(), found))
        })
        .collect();
    let nearest = every
        .iter()
        .map(|(_, found)| (strsim::jaro_winkler(found.label, &wanted), found.label))
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let found: Vec<_> = every
        .into_iter()
        .filter(|(_, found)| found.label == wanted)
        .collect();
    match nearest {
        _ if !found.is_empty() => Ok(found),
        Some((score, similar)) if score > 0.8 => Err(Unknown::Misspelled {
            label: label.to_owned(),
            similar,
        }),
        _ => Err(Unknown::Strange(label.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs, path::Path};

    use super::*;

    #[test]
    fn a_label_is_found_in_every_set_that_has_it() {
        let names = |label| -> Vec<_> {
            let found = find(label).unwrap();
            found.iter().map(|(set, _)| set.name).collect()
        };
        assert_eq!(names("certificate_expired"), ["cause"]);
        assert_eq!(names("Certificate-Expired"), ["cause"]);
        assert_eq!(
            names("unknown"),
            ["cause", "initiator", "confidence", "early data outcome"]
        );
    }

    #[test]
    fn a_misspelled_label_is_recognised() {
        for (label, similar) in [
            ("certificate_expire", "certificate_expired"),
            ("conection_refused", "connect_refused"),
            ("unused_", "unused"),
        ] {
            let expected = Unknown::Misspelled {
                label: label.to_owned(),
                similar,
            };
            assert_eq!(find(label).unwrap_err(), expected);
        }
        let strange = Unknown::Strange("banana".to_owned());
        assert_eq!(find("banana").unwrap_err(), strange);
        assert!(find("").is_err());
    }

    /// What the engine never says need not be explained.
    #[test]
    fn the_engine_says_every_label() {
        let engine = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine");
        let code = code_in(&engine);
        let mut names = Vec::new();
        names.extend(Cause::ALL.iter().map(|cause| format!("Cause::{cause:?}")));
        names.extend(
            Notice::ALL
                .iter()
                .map(|notice| format!("Notice::{notice:?}")),
        );
        let reasons = EarlyDataReason::ALL.iter();
        names.extend(reasons.map(|reason| format!("EarlyDataReason::{reason:?}")));
        for name in names {
            let said = |line: &str| {
                let after = line.split(&name).nth(1);
                after.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
            };
            assert!(code.lines().any(said), "the engine never says {name}");
        }
    }

    /// The text of every module below `folder` but its tests.
    fn code_in(folder: &Path) -> String {
        let mut code = String::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("tests") {
                code += &code_in(&path);
            } else if path.is_file() {
                code += &fs::read_to_string(path).unwrap();
            }
        }
        code
    }

    #[test]
    fn every_explanation_is_four_short_sentences() {
        for set in sets() {
            let mut labels = HashSet::new();
            for explanation in set.labels {
                let Explanation {
                    label,
                    meaning,
                    proof,
                    usual,
                    next,
                } = explanation;
                assert!(labels.insert(label), "{label} is there twice");
                for text in [meaning, proof, usual, next] {
                    assert!(text.ends_with(['.', '?']), "{label}: {text}");
                    assert!(
                        text.len() <= 330,
                        "{label}: too long to read at night: {text}"
                    );
                    assert_eq!(text.matches('`').count() % 2, 0, "{label}: {text}");
                    assert!(!text.contains("  "), "{label}: {text}");
                }
            }
        }
    }
}
