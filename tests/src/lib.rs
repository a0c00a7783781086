//! Truth suite: real programs, real faults, exact verdicts.
