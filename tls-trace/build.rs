//! Builds the eBPF objects and puts them where `src/probe/embedded.rs` embeds them from.
//!
//! Without an eBPF toolchain a development build still compiles, with empty objects
//! (`cfg(ebpf_stub)`), so that parsers and engine can be worked on anywhere; a release build fails.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};

#[path = "../xtask/src/ebpf/mod.rs"]
mod ebpf;

fn main() -> ExitCode {
    println!("cargo::rustc-check-cfg=cfg(ebpf_stub)");
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let manifest = env::var_os("CARGO_MANIFEST_DIR").context("run by cargo")?;
    let root = Path::new(&manifest).join("..").canonicalize()?;
    let out = PathBuf::from(env::var_os("OUT_DIR").context("run by cargo")?);
    for source in [
        "tls-trace-ebpf",
        "tls-trace-common",
        "Cargo.lock",
        "Cargo.toml",
        "xtask/src/ebpf",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    for variable in ["TLS_TRACE_BPF_RUSTC", "TLS_TRACE_BPF_LINKER"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    match ebpf::Toolchain::find(&root) {
        Ok(toolchain) => embed(&root, &out, &toolchain),
        Err(missing) if env::var("PROFILE").as_deref() == Ok("release") => Err(missing),
        Err(missing) => {
            println!("cargo::warning=built without eBPF programs: {missing:#}");
            stub(&root, &out)
        }
    }
}

fn embed(root: &Path, out: &Path, toolchain: &ebpf::Toolchain) -> Result<()> {
    let arch = env::var("CARGO_CFG_TARGET_ARCH")?;
    for object in ebpf::build(root, &arch, toolchain)? {
        let name = object.file_name().context("an object has a name")?;
        fs::copy(&object, out.join(name))?;
    }
    Ok(())
}

fn stub(root: &Path, out: &Path) -> Result<()> {
    println!("cargo::rustc-cfg=ebpf_stub");
    // Once a toolchain is installed, the next build must look again: this file never exists.
    println!("cargo::rerun-if-changed={}", out.join("never").display());
    for name in ebpf::object_names(root)? {
        fs::write(out.join(name), [])?;
    }
    Ok(())
}
