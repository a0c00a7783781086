//! How many tests passed.

use std::{fmt, iter::Sum};

/// Numbers of tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Held.
    pub passed: u32,
    /// Did not hold.
    pub failed: u32,
    /// Not run.
    pub skipped: u32,
}

impl Count {
    /// One that held.
    pub const PASSED: Self = Self {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    /// One that did not hold.
    pub const FAILED: Self = Self {
        passed: 0,
        failed: 1,
        skipped: 0,
    };
    /// One not run.
    pub const SKIPPED: Self = Self {
        passed: 0,
        failed: 0,
        skipped: 1,
    };

    /// Takes the numbers of a line in which Rust's test harness closes:
    /// `test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; …`.
    pub fn parse(line: &str) -> Option<Self> {
        let (_, numbers) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let number = |word| {
            numbers
                .split("; ")
                .find_map(|part| part.strip_suffix(word)?.trim().parse().ok())
        };
        Some(Self {
            passed: number("passed")?,
            failed: number("failed")?,
            skipped: number("ignored")?,
        })
    }

    /// The sum over the harnesses that a program ran, which must agree with its exit status:
    /// a crash leaves no closing line.
    pub fn settle(mut self, success: bool) -> Self {
        if !success && self.failed == 0 {
            self.failed = 1;
        }
        self
    }
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        let mut sum = Self::default();
        for count in counts {
            sum += count;
        }
        sum
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_closing_lines() {
        let output = "running 2 tests\n\
            test a ... ok\n\
            test result: ok. 17 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.13s\n\
            test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 1s\n";
        let sum: Count = output.lines().filter_map(Count::parse).sum();
        assert_eq!(sum.to_string(), "20 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn ignores_other_lines() {
        assert_eq!(Count::parse("test result: strange"), None);
        assert_eq!(Count::parse("5 passed; 0 failed; 1 ignored"), None);
    }

    #[test]
    fn a_crash_is_a_failure() {
        assert_eq!(Count::default().settle(false), Count::FAILED);
        assert_eq!(Count::FAILED.settle(false), Count::FAILED);
        assert_eq!(Count::PASSED.settle(true), Count::PASSED);
    }
}
