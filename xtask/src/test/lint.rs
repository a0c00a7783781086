//! Formatting, lints and documentation.

use std::{env::consts::ARCH, path::Path};

use anyhow::Result;

use super::{Outcome, count::Count};
use crate::{
    ebpf::{self, Toolchain},
    process,
};

/// Everything but what compiles for the BPF target only.
pub const WORKSPACE: [&str; 3] = ["--workspace", "--exclude", "tls-trace-ebpf"];

pub fn fmt(root: &Path) -> Result<Outcome> {
    process::run(process::cargo(root).args(["fmt", "--all", "--", "--check"]))?;
    Ok(Outcome::Ran(Count::PASSED))
}

pub fn clippy(root: &Path) -> Result<Outcome> {
    let mut cargo = process::cargo(root);
    cargo.args(["clippy", "--quiet", "--all-targets"]);
    process::run(cargo.args(WORKSPACE).args(["--", "--deny", "warnings"]))?;
    Ok(Outcome::Ran(Count::PASSED))
}

/// `cargo clippy` would take the clippy of its own toolchain, which may not know the BPF target.
pub fn clippy_ebpf(root: &Path) -> Result<Outcome> {
    let toolchain = match Toolchain::find(root) {
        Ok(toolchain) => toolchain,
        Err(missing) => return Ok(Outcome::Skipped(format!("{missing:#}"))),
    };
    let driver = toolchain.rustc().with_file_name("clippy-driver");
    if !driver.is_file() {
        return Ok(Outcome::Skipped(format!("no {}", driver.display())));
    }
    let mut cargo = process::cargo(root);
    cargo
        .args(["check", "--quiet", "--package", "tls-trace-ebpf"])
        .args(["--lib", "--bins", "--target", ebpf::TARGET, "--target-dir"])
        .arg(ebpf::target_dir(root).join("bpf/clippy"));
    toolchain.configure(&mut cargo, ARCH);
    // What `cargo clippy -- --deny warnings` sets.
    let arguments = ["--deny", "warnings", ""].join("__CLIPPY_HACKERY__");
    cargo
        .env("RUSTC_WORKSPACE_WRAPPER", driver)
        .env("CLIPPY_ARGS", arguments);
    process::run(&mut cargo)?;
    Ok(Outcome::Ran(Count::PASSED))
}

pub fn doc(root: &Path) -> Result<Outcome> {
    let mut cargo = process::cargo(root);
    cargo.args(["doc", "--quiet", "--no-deps"]).args(WORKSPACE);
    process::run(cargo.env("RUSTDOCFLAGS", "--deny warnings"))?;
    Ok(Outcome::Ran(Count::PASSED))
}
