//! bpf-linker, built with the LLVM that the compiler itself uses: no LLVM package is needed.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    ebpf::{
        target_dir,
        toolchain::{Compiler, find_linker},
    },
    process,
};

/// The release whose features name the LLVM versions in [`LLVM_VERSIONS`].
const VERSION: &str = "0.13.0";

/// Major versions of LLVM that this bpf-linker can be built with.
const LLVM_VERSIONS: std::ops::RangeInclusive<u32> = 21..=23;

/// Finds a bpf-linker that reads what `compiler` writes, or builds one into the target folder.
///
/// # Errors
/// It cannot be built, or another one was asked for and is too old.
pub fn provide(root: &Path, compiler: &Compiler) -> Result<()> {
    let needed = rustc_llvm(compiler)?;
    let installed = target_dir(root).join("tools/bin/bpf-linker");
    match find_linker(root) {
        Some(linker) if is_usable(&linker, needed) => Ok(()),
        // One that no longer runs was built with a compiler that has been updated since.
        Some(linker) if linker != installed => bail!(
            "{} does not run, or its LLVM is older than that of {}, which is {needed}",
            linker.display(),
            compiler.rustc.display()
        ),
        _ => build(root, compiler, needed),
    }
}

/// LLVM reads the bitcode of older versions, not of newer ones.
fn is_usable(linker: &Path, needed: u32) -> bool {
    let runs = process::run_quietly(Command::new(linker).arg("--version")).is_ok();
    // Without a shared libLLVM it has one inside, of unknown version.
    let llvm = shared_llvm(linker).and_then(|(soname, _)| soname_version(&soname));
    runs && llvm.is_none_or(|llvm| llvm >= needed)
}

fn build(root: &Path, compiler: &Compiler, llvm: u32) -> Result<()> {
    ensure!(
        LLVM_VERSIONS.contains(&llvm),
        "bpf-linker {VERSION} has no support for LLVM {llvm}, which {} uses",
        compiler.rustc.display()
    );
    println!(
        "installing bpf-linker {VERSION} into the target folder (links the eBPF programs; takes a few minutes)"
    );
    let (soname, library) = shared_llvm(&compiler.rustc)
        .with_context(|| format!("{} has no shared libLLVM", compiler.rustc.display()))?;
    let tools = target_dir(root).join("tools");
    let prefix = tools.join("llvm");
    let lib = prefix.join("lib");
    if lib.exists() {
        fs::remove_dir_all(&lib)?;
    }
    fs::create_dir_all(&lib).with_context(|| format!("cannot make {}", lib.display()))?;
    // The build links with the first name, the program loads the second.
    symlink(&library, lib.join("libLLVM.so"))?;
    symlink(&library, lib.join(soname))?;
    let mut cargo = process::cargo(root);
    cargo
        .args(["install", "bpf-linker", "--quiet", "--locked", "--force"])
        .args(["--version", VERSION, "--no-default-features"])
        .args(["--features", &format!("llvm-{llvm}")])
        .arg("--root")
        .arg(&tools)
        .env("LLVM_PREFIX", &prefix)
        .env_remove("CARGO_TARGET_DIR");
    process::run_quietly(&mut cargo)
}

fn rustc_llvm(compiler: &Compiler) -> Result<u32> {
    let version = process::output(Command::new(&compiler.rustc).arg("-vV"))?;
    version
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))
        .and_then(leading_number)
        .with_context(|| format!("{} names no LLVM version", compiler.rustc.display()))
}

/// The libLLVM that a program loads: soname and path.
fn shared_llvm(program: &Path) -> Option<(String, PathBuf)> {
    let libraries = process::output(Command::new("ldd").arg(program)).ok()?;
    parse_ldd(&libraries)
}

fn parse_ldd(libraries: &str) -> Option<(String, PathBuf)> {
    libraries.lines().find_map(|line| {
        let (soname, path) = line.trim().split_once(" => ")?;
        let path = path.split(" (").next()?;
        soname
            .starts_with("libLLVM")
            .then(|| (soname.to_owned(), path.into()))
    })
}

/// `libLLVM.so.22.1-rust-1.95.0-stable` and `libLLVM-22.so.1` are both 22.
fn soname_version(soname: &str) -> Option<u32> {
    let rest = soname.strip_prefix("libLLVM")?;
    leading_number(rest.strip_prefix(".so.").or(rest.strip_prefix('-'))?)
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    text[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_libllvm_in_what_ldd_prints() {
        let libraries = "\tlinux-vdso.so.1 (0x7ffe)\n\
            \tlibLLVM.so.22.1-rust-1.95.0-stable => /t/lib/libLLVM.so.22.1-rust-1.95.0-stable (0x7efc)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7efb)\n";
        let (soname, path) = parse_ldd(libraries).unwrap();
        assert_eq!(soname, "libLLVM.so.22.1-rust-1.95.0-stable");
        assert_eq!(path, Path::new("/t/lib").join(&soname));
        assert_eq!(parse_ldd("\tlibc.so.6 => /lib/libc.so.6 (0x7efb)\n"), None);
    }

    #[test]
    fn reads_llvm_versions() {
        assert_eq!(
            soname_version("libLLVM.so.22.1-rust-1.95.0-stable"),
            Some(22)
        );
        assert_eq!(soname_version("libLLVM.so.22.1"), Some(22));
        assert_eq!(soname_version("libLLVM-14.so.1"), Some(14));
        assert_eq!(soname_version("libLLVMCore.so"), None);
        assert_eq!(leading_number("22.1.8"), Some(22));
    }
}
