//! `cargo xtask test`: everything that has to hold, quick things first.

mod count;
mod degraded;
mod guest;
mod licences;
mod lint;
mod suite;

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

use crate::{setup, vm::Release};
use count::Count;
pub use guest::netem;

/// What to test.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Only this step; may be repeated.
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// Say which steps there are.
    #[arg(long)]
    list: bool,
}

/// A step.
struct Step {
    name: &'static str,
    about: &'static str,
    run: Run,
}

/// What a step does.
#[derive(Clone, Copy)]
enum Run {
    /// Something with the workspace's root folder.
    Here(fn(&Path) -> Result<Outcome>),
    /// The truth suite under another kernel.
    Guest(Release),
}

/// How a step ended, unless it failed as a whole.
enum Outcome {
    /// Each test counts; a step without tests counts as one.
    Ran(Count),
    /// It cannot run here.
    Skipped(String),
}

const STEPS: &[Step] = &[
    step("fmt", "formatting", lint::fmt),
    step(
        "licences",
        "licences and sources of dependencies",
        licences::check,
    ),
    step(
        "clippy",
        "lints of everything but the eBPF programs",
        lint::clippy,
    ),
    step(
        "clippy-ebpf",
        "lints of the eBPF programs, for their target",
        lint::clippy_ebpf,
    ),
    step("doc", "documentation without warnings", lint::doc),
    step("unit", "unit tests", suite::unit),
    step("release", "the release binary and its size", suite::release),
    step("machine", "truth suite on this machine", suite::machine),
    step(
        "vm-degraded",
        "what is said where a kernel allows less",
        degraded::check,
    ),
    guest(
        "vm-6.1",
        "truth suite on Debian's kernel 6.1",
        Release::V6_1,
    ),
    guest(
        "vm-6.12",
        "truth suite on Debian's kernel 6.12",
        Release::V6_12,
    ),
];

const fn step(name: &'static str, about: &'static str, run: fn(&Path) -> Result<Outcome>) -> Step {
    let run = Run::Here(run);
    Step { name, about, run }
}

const fn guest(name: &'static str, about: &'static str, release: Release) -> Step {
    let run = Run::Guest(release);
    Step { name, about, run }
}

impl Arguments {
    /// Runs the steps and prints the sum. Fails if any of them did.
    ///
    /// # Errors
    /// A step has an unknown name, or set-up fails.
    pub fn run(self, root: &Path) -> Result<ExitCode> {
        if self.list {
            for step in STEPS {
                println!("{:<12} {}", step.name, step.about);
            }
            return Ok(ExitCode::SUCCESS);
        }
        let steps = select(&self.only)?;
        if let Err(error) = setup::toolchain(root) {
            // What needs no eBPF program can still be tested.
            println!("no eBPF toolchain: {error:#}");
        }
        setup::programs(root)?;
        let mut total = Count::default();
        let mut guests = Vec::new();
        for step in steps {
            match step.run {
                Run::Here(run) => {
                    step.begin();
                    let start = Instant::now();
                    let outcome = run(root);
                    total += step.end(outcome, start.elapsed());
                }
                Run::Guest(release) => guests.push((step, release)),
            }
        }
        total += in_guests(&guests, self.only.is_empty(), root);
        println!("{total}");
        Ok(if total.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Runs the suite in guests, which is slow where they are emulated: among all other steps (`all`) the second one runs
/// what depends on the kernel.
fn in_guests(steps: &[(&Step, Release)], all: bool, root: &Path) -> Count {
    if steps.is_empty() {
        return Count::default();
    }
    let suite = guest::Suite::build(root);
    let run = |(step, release): &(&Step, Release)| {
        step.begin();
        let left_out = match release {
            Release::V6_12 if all => guest::ON_ANY_KERNEL,
            _ => &[],
        };
        if !left_out.is_empty() {
            let names = left_out.join(", ");
            println!("without {names}: cargo xtask test --only {}", step.name);
        }
        let start = Instant::now();
        let outcome = match &suite {
            Ok(Some(suite)) => suite.run(root, *release, left_out),
            Ok(None) => Ok(Outcome::Skipped(format!("no {}", guest::QEMU))),
            Err(error) => Err(anyhow!("{error:#}")),
        };
        step.end(outcome, start.elapsed())
    };
    steps.iter().map(run).sum()
}

impl Step {
    fn begin(&self) {
        println!("\n== {}: {}", self.name, self.about);
    }

    fn end(&self, outcome: Result<Outcome>, took: Duration) -> Count {
        let seconds = took.as_secs_f64();
        match outcome {
            Ok(Outcome::Ran(count)) => {
                println!("== {}: {count} in {seconds:.1} s", self.name);
                count
            }
            Ok(Outcome::Skipped(reason)) => {
                println!("== {}: skipped: {reason}", self.name);
                Count::SKIPPED
            }
            Err(error) => {
                println!("== {}: failed after {seconds:.1} s: {error:#}", self.name);
                Count::FAILED
            }
        }
    }
}

fn select(only: &[String]) -> Result<Vec<&'static Step>> {
    if only.is_empty() {
        return Ok(STEPS.iter().collect());
    }
    only.iter()
        .map(|name| {
            let step = STEPS.iter().find(|step| step.name == name);
            step.with_context(|| format!("no step {name}: see cargo xtask test --list"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selects_by_name() {
        assert_eq!(select(&[]).unwrap().len(), STEPS.len());
        let names = ["unit".to_owned(), "fmt".to_owned()];
        let selected = select(&names).unwrap();
        assert_eq!([selected[0].name, selected[1].name], ["unit", "fmt"]);
        assert!(select(&["none".to_owned()]).is_err());
    }
}
