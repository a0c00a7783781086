//! Verdicts to compare with, in few words.

use crate::report::{Cause, Confidence, Initiator, Outcome, Phase, Report};

pub(super) type Expected = (Outcome, Phase, Initiator, Cause, Confidence);

pub(super) fn verdict(report: &Report) -> Expected {
    let verdict = &report.verdict;
    (
        verdict.outcome,
        verdict.phase,
        verdict.initiator,
        verdict.cause,
        verdict.confidence,
    )
}

pub(super) fn failed(phase: Phase, initiator: Initiator, cause: Cause) -> Expected {
    (
        Outcome::Failed,
        phase,
        initiator,
        cause,
        Confidence::Certain,
    )
}

pub(super) fn likely(expected: Expected) -> Expected {
    (
        expected.0,
        expected.1,
        expected.2,
        expected.3,
        Confidence::Likely,
    )
}

pub(super) fn established(initiator: Initiator) -> Expected {
    (
        Outcome::Established,
        Phase::Established,
        initiator,
        Cause::None,
        Confidence::Certain,
    )
}
