//! Set-up, build, run and test of tls-trace.

mod ebpf;

use std::{
    env::consts::ARCH,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::Parser;

/// Set-up, build, run and test of tls-trace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Command {
    /// Build the eBPF objects into target/bpf.
    BuildEbpf,
}

fn main() -> ExitCode {
    match run(Command::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<()> {
    let root = root()?;
    match command {
        Command::BuildEbpf => {
            let toolchain = ebpf::Toolchain::find(&root)?;
            for object in ebpf::build(&root, ARCH, &toolchain)? {
                println!("{}", object.display());
            }
        }
    }
    Ok(())
}

fn root() -> Result<PathBuf> {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map(Path::to_owned)
        .context("xtask is a folder of the workspace")
}
