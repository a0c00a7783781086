//! Python wheels in the target folder, for programs and libraries that Debian 12 has not, or has old.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{debian, package::PIP};
use crate::process;

/// Installs wheels, exactly those, unless the folder is there. Without pip, says that they are missing; `what`
/// they are.
///
/// # Errors
/// pip fails.
pub fn provide(folder: &Path, what: &str, wheels: &[&str]) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if !PIP.is_present() {
        if let Some(obstacle) = debian::obstacle() {
            println!("{what} is not installed, because {obstacle}");
            return Ok(());
        }
        debian::install(&[&PIP])?;
    }
    println!(
        "installing {} into the target folder ({what})",
        wheels.join(" ")
    );
    let mut install = Command::new("/usr/bin/python3");
    install
        .args(["-m", "pip", "install", "--quiet", "--no-deps"])
        .arg("--root-user-action=ignore")
        .args(wheels)
        .arg("--target")
        .arg(folder);
    process::run_quietly(&mut install)
}
