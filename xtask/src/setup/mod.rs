//! Finds or installs what building and testing need. The second time it finds everything.

mod debian;
mod linker;
mod package;

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::ebpf::toolchain::Compiler;
pub use package::{PROGRAMS, Package};

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
    debian::install(&package::COMPILER.iter().collect::<Vec<_>>())?;
    Compiler::find().context("Debian's rustc-web has no eBPF target")
}

/// Installs the packages that are missing; returns those that cannot be installed here.
///
/// # Errors
/// An installation was tried and failed.
pub fn packages(packages: &[Package]) -> Result<Vec<&Package>> {
    let missing: Vec<_> = packages
        .iter()
        .filter(|package| !package.is_present())
        .collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    if let Some(obstacle) = debian::obstacle() {
        println!("missing programs are not installed, because {obstacle}:");
        for package in &missing {
            println!("  {package}");
        }
        return Ok(missing);
    }
    debian::install(&missing)?;
    Ok(Vec::new())
}
