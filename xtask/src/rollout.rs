//! Sets up what the rollout needs, and runs it: `tests/src/bin/rollout`.

use std::{
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::Result;

use crate::{ebpf, process, setup};

/// Sets up, builds, and replaces servers.
///
/// # Errors
/// Something cannot be built, or a program does not do what it is for.
pub fn run(root: &Path) -> Result<ExitCode> {
    setup::toolchain(root)?;
    setup::programs(root)?;
    let ghz = setup::go::provide_ghz(root)?;
    let mut build = process::cargo(root);
    build.args(["build", "--quiet", "--package", "tls-trace-tests"]);
    process::run(build.args(["--package", "tls-trace", "--bins"]))?;
    let programs = ebpf::target_dir(root).join("debug");
    process::end_with(
        Command::new(programs.join("rollout"))
            .env("TLS_TRACE_BIN", programs.join("tls-trace"))
            .env("TLS_TRACE_GHZ", ghz),
    )
}
