//! Builds what the measurements need, and runs them: `tests/src/bin/bench`.

use std::{
    env::consts::ARCH,
    ffi::OsString,
    path::Path,
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};

use crate::{ebpf, process, setup};

/// The package with the measuring program, which is called `bench`.
const PACKAGE: &str = "tls-trace-tests";

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// What to measure, and `--quick` for a look; `-- --help` names what there is
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Arguments {
    /// Sets up, builds, and measures.
    ///
    /// # Errors
    /// Something cannot be built, or a measurement fails.
    pub fn run(self, root: &Path) -> Result<ExitCode> {
        setup::toolchain(root)?;
        setup::programs(root)?;
        let empty = ebpf::build(root, ARCH, &ebpf::Toolchain::find(root)?)?
            .into_iter()
            .find(|object| object.ends_with("empty"))
            .context("no object with empty programs")?;
        let mut build = process::cargo(root);
        build.args(["build", "--release", "--quiet"]);
        build.args(["--package", "tls-trace", "--package", PACKAGE, "--bins"]);
        process::run(&mut build)?;
        let programs = ebpf::target_dir(root).join("release");
        process::end_with(
            Command::new(programs.join("bench"))
                .env("TLS_TRACE_BIN", programs.join("tls-trace"))
                .env("TLS_TRACE_EMPTY_OBJECT", empty)
                .args(self.arguments),
        )
    }
}
