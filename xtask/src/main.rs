//! Set-up, build, run and test of tls-trace.

mod bench;
mod ebpf;
mod matrix;
mod offsets;
mod precision;
mod process;
mod rollout;
mod setup;
mod test;
mod vm;

use std::{
    env::consts::ARCH,
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result};
use clap::Parser;

/// Set-up, build, run and test of tls-trace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Install what is missing to build and run: an eBPF toolchain.
    Setup {
        /// Also what the tests use: TLS programs, qemu.
        #[arg(long)]
        tests: bool,
    },
    /// Build the eBPF objects into target/bpf.
    BuildEbpf,
    /// Download releases of OpenSSL, from 1.1.1 to 4.0, for the test of `tls-trace inspect`.
    Offsets,
    /// Run a program of this machine in a VM with one of Debian's kernels.
    Vm(vm::Arguments),
    /// Set up, and check all that has to hold.
    Test(test::Arguments),
    /// Set up, build, and measure what tls-trace costs and what it can take.
    Bench(bench::Arguments),
    /// Set up, build, and let every TLS program shake hands with every other (docs/compatibility.md).
    Matrix(matrix::Arguments),
    /// Build, download, and count what `tls-trace inspect` gets right without symbols (docs/stripped.md).
    Precision(precision::Arguments),
    /// Set up, build, and print what delay and loss do to handshakes (docs/netem.md), from a VM.
    Netem,
    /// Set up, build, and replace gRPC servers under load, well and badly (docs/rollout.md).
    Rollout,
    /// Set up, build, and run the daemon.
    Run {
        /// Arguments of `tls-trace run`.
        #[arg(last = true)]
        arguments: Vec<OsString>,
    },
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let root = root()?;
    match task {
        Task::Setup { tests } => {
            setup::toolchain(&root)?;
            if tests {
                setup::programs(&root)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::BuildEbpf => {
            let toolchain = ebpf::Toolchain::find(&root)?;
            for object in ebpf::build(&root, ARCH, &toolchain)? {
                println!("{}", object.display());
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Offsets => {
            offsets::download(&root)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Vm(arguments) => arguments.run(&root),
        Task::Test(arguments) => arguments.run(&root),
        Task::Bench(arguments) => arguments.run(&root),
        Task::Matrix(arguments) => arguments.run(&root),
        Task::Precision(arguments) => arguments.run(&root),
        Task::Netem => test::netem(&root),
        Task::Rollout => rollout::run(&root),
        Task::Run { arguments } => {
            setup::toolchain(&root)?;
            let mut build = process::cargo(&root);
            process::run(build.args(["build", "--release", "--package", "tls-trace"]))?;
            let binary = ebpf::target_dir(&root).join("release/tls-trace");
            let failure = Command::new(&binary).arg("run").args(arguments).exec();
            Err(failure).with_context(|| format!("cannot run {}", binary.display()))
        }
    }
}

fn root() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .context("xtask is a folder of the workspace")
}
