//! How many tests passed.

use std::{fmt, iter::Sum};

use anyhow::{Result, ensure};

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
    fn closing(line: &str) -> Option<Self> {
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
}

/// Reads the output of Rust's test harnesses, run with [`Tally::FLAG`].
#[derive(Debug, Default)]
pub struct Tally {
    sum: Count,
    /// Tests of the current harness that said they were skipped: to the harness, they passed.
    skipped: u32,
}

impl Tally {
    /// Lets the harness show what passed tests print.
    pub const FLAG: &str = "--show-output";

    /// Takes one line.
    pub fn read(&mut self, line: &str) {
        if line.contains(": skipped: ") {
            self.skipped += 1;
        } else if let Some(mut count) = Count::closing(line) {
            let skipped = std::mem::take(&mut self.skipped).min(count.passed);
            count.passed -= skipped;
            count.skipped += skipped;
            self.sum += count;
        }
    }

    /// The sum, which must agree with the exit status: a crash leaves no closing line.
    ///
    /// # Errors
    /// All went well, but there was no test.
    pub fn finish(mut self, success: bool) -> Result<Count> {
        if !success && self.sum.failed == 0 {
            self.sum.failed = 1;
        }
        ensure!(self.sum != Count::default(), "there was no test");
        Ok(self.sum)
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

    fn read(output: &str) -> Tally {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.read(line));
        tally
    }

    #[test]
    fn sums_closing_lines() {
        let tally = read(
            "running 2 tests\n\
             test a ... ok\n\
             test result: ok. 17 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.13s\n\
             test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 1s\n",
        );
        let sum = tally.finish(false).unwrap();
        assert_eq!(sum.to_string(), "20 passed, 2 failed, 1 skipped");
    }

    #[test]
    fn counts_what_tests_say() {
        let tally = read(
            "test a ... ok\ntest b ... ok\n\nsuccesses:\n\n---- a stdout ----\n\
             a: skipped: needs root\n\
             test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n",
        );
        let sum = tally.finish(true).unwrap();
        assert_eq!(sum.to_string(), "1 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn ignores_other_lines() {
        assert_eq!(Count::closing("test result: strange"), None);
        assert_eq!(Count::closing("5 passed; 0 failed; 1 ignored"), None);
    }

    #[test]
    fn a_crash_is_a_failure_and_so_is_silence() {
        assert_eq!(Tally::default().finish(false).unwrap(), Count::FAILED);
        assert!(Tally::default().finish(true).is_err());
    }
}
