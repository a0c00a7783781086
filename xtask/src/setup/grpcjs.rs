//! gRPC in JavaScript, which Debian 12 has not.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{ebpf::target_dir, process};

/// What says which version, and which of what it needs.
const FILES: [&str; 2] = ["package.json", "package-lock.json"];
/// The folder that they are in.
const SOURCE: &str = "tests/programs/grpcjs";
/// Where npm puts packages.
const MODULES: &str = "node_modules";

/// The folder that it is in, if it is there.
pub fn find(root: &Path) -> Option<PathBuf> {
    Some(folder(root)).filter(|folder| folder.join(MODULES).is_dir())
}

/// Installs it into the target folder unless it is there. Without npm, says that it is missing.
///
/// # Errors
/// npm fails.
pub fn provide(root: &Path) -> Result<()> {
    let what = "gRPC in JavaScript: client and server";
    if find(root).is_some() {
        return Ok(());
    }
    if process::find("npm").is_none() {
        println!("{what} is not installed, because there is no npm");
        return Ok(());
    }
    println!("installing {what} into the target folder");
    let folder = folder(root);
    fs::create_dir_all(&folder)?;
    for file in FILES {
        fs::copy(root.join(SOURCE).join(file), folder.join(file))?;
    }
    let mut install = Command::new("npm");
    install
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"])
        .current_dir(folder);
    process::run_quietly(&mut install)
}

fn folder(root: &Path) -> PathBuf {
    target_dir(root).join("tools/grpc-js")
}
