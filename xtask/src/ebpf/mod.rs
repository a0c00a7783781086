//! Builds the eBPF objects: one per file or folder of `tls-trace-ebpf/src/bin`, into `target/bpf`.
//!
//! `tls-trace/build.rs` includes this module by path, so it stays within std and anyhow.

pub mod toolchain;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

pub use toolchain::Toolchain;

/// The target all objects are built for. aya reads either byte order, the kernel only its own.
pub const TARGET: &str = if cfg!(target_endian = "big") {
    "bpfeb-unknown-none"
} else {
    "bpfel-unknown-none"
};

/// Cargo's profile of the objects, defined in the workspace's Cargo.toml.
const PROFILE: &str = "bpf";

/// Cargo's target folder: `CARGO_TARGET_DIR`, else `target`.
pub fn target_dir(root: &Path) -> PathBuf {
    root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// Builds every object for tracing a machine of architecture `arch` (as in `CARGO_CFG_TARGET_ARCH`).
///
/// # Errors
/// Cargo fails, or the objects cannot be copied to `target/bpf`.
pub fn build(root: &Path, arch: &str, toolchain: &Toolchain) -> Result<Vec<PathBuf>> {
    let out = target_dir(root).join("bpf");
    // A target folder of its own: the cargo that runs build.rs holds the lock of the usual one.
    let scratch = out.join("build");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(root)
        .args(["build", "--quiet", "--package", "tls-trace-ebpf", "--bins"])
        .args(["--profile", PROFILE, "--target", TARGET])
        .arg("--target-dir")
        .arg(&scratch);
    toolchain.configure(&mut cargo, arch);
    let status = cargo.status().context("cannot run cargo")?;
    if !status.success() {
        bail!("the eBPF programs did not build ({status})");
    }
    let built = scratch.join(TARGET).join(PROFILE);
    object_names(root)?
        .iter()
        .map(|name| {
            let object = out.join(name);
            fs::copy(built.join(name), &object)
                .with_context(|| format!("cannot write {}", object.display()))?;
            Ok(object)
        })
        .collect()
}

/// Names of the objects, sorted.
///
/// # Errors
/// The folder of sources cannot be read.
pub fn object_names(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("tls-trace-ebpf/src/bin");
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        if (is_source || path.is_dir())
            && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}
