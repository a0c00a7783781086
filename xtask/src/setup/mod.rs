//! Finds or installs what building and testing need. The second time it finds everything.

pub mod boringssl;
pub mod debian;
pub mod envoy;
pub mod go;
pub mod grpcio;
pub mod grpcjava;
pub mod grpcjs;
mod linker;
pub mod nginx;
mod package;
mod pip;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::ebpf::toolchain::Compiler;
use package::Package;

/// Makes the eBPF toolchain available.
///
/// # Errors
/// Something is missing and cannot be installed here: the message says what, and how to get it.
pub fn toolchain(root: &Path) -> Result<()> {
    let compiler = match Compiler::find() {
        Some(compiler) => compiler,
        None => install_compiler()?,
    };
    linker::provide(root, &compiler)
}

fn install_compiler() -> Result<Compiler> {
    if let Some(obstacle) = debian::obstacle() {
        bail!(
            "no Rust toolchain here has the eBPF target, and {obstacle}; get one with \
             `rustup toolchain install nightly --component rust-src`, or on Debian 12 with \
             `apt-get install rustc-web libstd-rust-web-dev-bpf`"
        );
    }
    debian::install(&missing(&package::COMPILER))?;
    Compiler::find().context("Debian's rustc-web has no eBPF target")
}

/// Installs what the tests run, as far as that is possible here; says what is missing.
///
/// # Errors
/// An installation was tried and failed.
pub fn programs(root: &Path) -> Result<()> {
    let missing = missing(package::PROGRAMS);
    match debian::obstacle() {
        Some(obstacle) => {
            for package in missing {
                println!("{package} is not installed, because {obstacle}");
            }
        }
        None if missing.is_empty() => {}
        None => debian::install(&missing)?,
    }
    go::provide(root)?;
    go::fetch_modules(root)?;
    boringssl::provide(root)?;
    grpcio::provide(root)?;
    grpcjs::provide(root)?;
    grpcjava::provide(root)?;
    envoy::provide(root)?;
    nginx::provide(root)
}

fn missing(packages: &[Package]) -> Vec<&Package> {
    packages
        .iter()
        .filter(|package| !package.is_present())
        .collect()
}
