//! gRPC in Java, which Debian 12 has not.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::{ebpf::target_dir, process};

/// What says which version, and which of its parts.
const PROJECT: &str = "tests/programs/grpcjava/pom.xml";

/// The folder that its archives are in, if they are there.
pub fn find(root: &Path) -> Option<PathBuf> {
    Some(folder(root)).filter(|folder| folder.is_dir())
}

/// Downloads it into the target folder unless it is there. Without Maven, says that it is missing.
///
/// # Errors
/// Maven fails.
pub fn provide(root: &Path) -> Result<()> {
    let what = "gRPC in Java: client and server";
    if find(root).is_some() {
        return Ok(());
    }
    if process::find("mvn").is_none() {
        println!("{what} is not installed, because there is no mvn");
        return Ok(());
    }
    println!("installing {what} into the target folder");
    let mut maven = Command::new("mvn");
    maven.args(["--quiet", "--batch-mode", "--file"]);
    maven.arg(root.join(PROJECT));
    maven.args(["dependency:copy-dependencies", "-DincludeScope=runtime"]);
    maven.arg(format!("-DoutputDirectory={}", folder(root).display()));
    process::run_quietly(&mut maven)
}

fn folder(root: &Path) -> PathBuf {
    target_dir(root).join("tools/grpc-java")
}
