//! Tests on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use super::{Outcome, count::Count, lint::WORKSPACE};
use crate::{ebpf, process};

/// What the one binary may weigh, in bytes.
const LIMIT: u64 = 15_000_000;

/// Tells the truth suite which daemon to test.
pub const BINARY: &str = "TLS_TRACE_BIN";

/// The package of the truth suite.
pub const PACKAGE: &str = "tls-trace-tests";

pub fn unit(root: &Path) -> Result<Outcome> {
    let mut cargo = process::cargo(root);
    cargo.arg("test").args(WORKSPACE);
    count(cargo.args(["--exclude", PACKAGE, "--no-fail-fast"]))
}

pub fn release(root: &Path) -> Result<Outcome> {
    let binary = build_release(root)?;
    let size = fs::metadata(&binary)?.len();
    println!("{}: {size} bytes", binary.display());
    ensure!(size < LIMIT, "that is more than {LIMIT}");
    Ok(Outcome::Ran(Count::PASSED))
}

/// The truth suite tests what users get: the release binary.
pub fn machine(root: &Path) -> Result<Outcome> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(Outcome::Skipped("needs root".to_owned()));
    }
    let binary = build_release(root)?;
    let mut cargo = process::cargo(root);
    cargo.args(["test", "--package", PACKAGE, "--no-fail-fast"]);
    count(cargo.env(BINARY, binary).env("TLS_TRACE_TEST_STRICT", "1"))
}

/// Builds the release binary unless it is up to date.
///
/// # Errors
/// It does not build.
pub fn build_release(root: &Path) -> Result<PathBuf> {
    let mut cargo = process::cargo(root);
    process::run(cargo.args(["build", "--quiet", "--release", "--package", "tls-trace"]))?;
    Ok(ebpf::target_dir(root).join("release/tls-trace"))
}

/// Runs tests, shows what they print, and counts them.
fn count(command: &mut Command) -> Result<Outcome> {
    let mut sum = Count::default();
    let status = process::lines(command, |line| {
        println!("{line}");
        if let Some(count) = Count::parse(line) {
            sum += count;
        }
    })?;
    Ok(Outcome::Ran(sum.settle(status.success())))
}
