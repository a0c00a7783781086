//! Tests on this machine.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use super::{
    Outcome,
    count::{Count, Tally},
    lint::WORKSPACE,
};
use crate::{ebpf, process, setup};

/// What the one binary may weigh, in bytes.
const LIMIT: u64 = 15_000_000;

/// Tells the truth suite which daemon to test.
pub const BINARY: &str = "TLS_TRACE_BIN";

/// Tells the truth suite where its Go client is.
pub const GO_CLIENT: &str = "TLS_TRACE_TEST_GO_CLIENT";

/// Tells the truth suite where its HTTP/2 programs are.
pub const GRPC: &str = "TLS_TRACE_TEST_GRPC";

/// Tells the truth suite where Python finds a library that has BoringSSL in it.
pub const BORINGSSL: &str = "TLS_TRACE_TEST_BORINGSSL";

/// Tells the truth suite where Python finds gRPC.
const GRPCIO: &str = "TLS_TRACE_TEST_GRPCIO";

/// Tells the truth suite where gRPC in Java is.
const GRPCJAVA: &str = "TLS_TRACE_TEST_GRPCJAVA";

/// Tells the truth suite where gRPC in JavaScript is.
const GRPCJS: &str = "TLS_TRACE_TEST_GRPCJS";

/// Tells the truth suite where Envoy is.
const ENVOY: &str = "TLS_TRACE_TEST_ENVOY";

/// Tells the truth suite where nginx with OpenSSL linked in is.
const NGINX: &str = "TLS_TRACE_TEST_NGINX";

/// The package of the truth suite.
pub const PACKAGE: &str = "tls-trace-tests";

pub fn unit(root: &Path) -> Result<Outcome> {
    let mut cargo = process::cargo(root);
    // The same code has to get the same answer; `cargo test` alone looks for new examples each time.
    cargo.env("PROPTEST_RNG_SEED", "1");
    cargo.arg("test").args(WORKSPACE);
    count(cargo.args(["--exclude", PACKAGE, "--no-fail-fast"]))
}

pub fn release(root: &Path) -> Result<Outcome> {
    let binary = build_release(root)?;
    let size = fs::metadata(&binary)?.len();
    println!("{}: {size} bytes", binary.display());
    ensure!(size < LIMIT, "that is more than {LIMIT}");
    Ok(Outcome::Ran(Count::PASSED))
}

/// The truth suite tests what users get: the release binary.
pub fn machine(root: &Path) -> Result<Outcome> {
    if !nix::unistd::geteuid().is_root() {
        return Ok(Outcome::Skipped("needs root".to_owned()));
    }
    let binary = build_release(root)?;
    let mut cargo = process::cargo(root);
    cargo
        .args(["test", "--package", PACKAGE, "--no-fail-fast"])
        .env(BINARY, binary)
        .env("TLS_TRACE_TEST_CAPTURES", "1")
        .env("TLS_TRACE_TEST_STRICT", "1");
    if let Some(folder) = setup::boringssl::find(root) {
        cargo.env(BORINGSSL, folder);
    }
    if let Some(folder) = setup::grpcio::find(root) {
        cargo.env(GRPCIO, folder);
    }
    if let Some(folder) = setup::grpcjava::find(root) {
        cargo.env(GRPCJAVA, folder);
    }
    if let Some(folder) = setup::grpcjs::find(root) {
        cargo.env(GRPCJS, folder);
    }
    if let Some(folder) = setup::envoy::find(root) {
        cargo.env(ENVOY, folder);
    }
    if let Some(folder) = setup::nginx::find(root) {
        cargo.env(NGINX, folder);
    }
    if let Some(go) = setup::go::find(root) {
        // The suite builds Go programs in several ways.
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = go.parent().map(Path::to_owned).into_iter();
        cargo.env(
            "PATH",
            env::join_paths(folders.chain(env::split_paths(&path)))?,
        );
    }
    count(&mut cargo)
}

/// Builds the suite's Go program for a guest, if there is a Go.
///
/// # Errors
/// It does not build.
pub fn build_go_client(root: &Path) -> Result<Option<PathBuf>> {
    let Some(go) = setup::go::find(root) else {
        return Ok(None);
    };
    let client = ebpf::target_dir(root).join("go-client");
    let mut build = Command::new(go);
    // Without C libraries: it has to run in any guest.
    build
        .env("CGO_ENABLED", "0")
        .args(["build", "-ldflags=-s -w", "-o"])
        .arg(&client);
    process::run(build.arg(root.join("tests/programs/peer.go")))?;
    Ok(Some(client))
}

/// Builds the release binary unless it is up to date.
///
/// # Errors
/// It does not build.
pub fn build_release(root: &Path) -> Result<PathBuf> {
    let mut cargo = process::cargo(root);
    process::run(cargo.args(["build", "--quiet", "--release", "--package", "tls-trace"]))?;
    Ok(ebpf::target_dir(root).join("release/tls-trace"))
}

/// Runs `cargo test`, shows what it prints, and counts the tests.
fn count(cargo: &mut Command) -> Result<Outcome> {
    let mut tally = Tally::default();
    let status = process::lines(cargo.args(["--", Tally::FLAG]), |line| {
        println!("{line}");
        tally.read(line);
    })?;
    tally.finish(status.success()).map(Outcome::Ran)
}
