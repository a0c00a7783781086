//! gRPC's C core, which most languages' gRPC is made of: inside a wheel of Python.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::pip;
use crate::ebpf::target_dir;

/// grpcio, and what it needs.
const WHEELS: [&str; 2] = ["grpcio==1.85.3", "typing_extensions==4.16.0"];

/// Where Python finds it, if it is there.
pub fn find(root: &Path) -> Option<PathBuf> {
    Some(folder(root)).filter(|folder| folder.is_dir())
}

/// Installs it into the target folder unless it is there.
///
/// # Errors
/// pip fails.
pub fn provide(root: &Path) -> Result<()> {
    pip::provide(&folder(root), "gRPC's C core: client and server", &WHEELS)
}

fn folder(root: &Path) -> PathBuf {
    target_dir(root).join("tools/grpcio")
}
