//! BoringSSL, which nobody packages for itself: inside a wheel of Python.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::pip;
use crate::ebpf::target_dir;

/// A client that pretends to be a browser, and what it needs.
const WHEELS: [&str; 3] = [
    "curl_cffi==0.17.0",
    "cffi==2.1.1",
    "certifi==2026.10.19.post1",
];

/// Where Python finds it, if it is there.
pub fn find(root: &Path) -> Option<PathBuf> {
    Some(folder(root)).filter(|folder| folder.is_dir())
}

/// Installs it into the target folder unless it is there.
///
/// # Errors
/// pip fails.
pub fn provide(root: &Path) -> Result<()> {
    pip::provide(&folder(root), "BoringSSL: TLS client", &WHEELS)
}

fn folder(root: &Path) -> PathBuf {
    target_dir(root).join("tools/curl-cffi")
}
