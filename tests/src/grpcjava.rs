//! Ends of gRPC in Java, on Netty and BoringSSL.

use std::{path::PathBuf, sync::OnceLock};

use anyhow::{Context as _, Result, anyhow};

use crate::{
    environment::{installed, scratch},
    program::Program,
};

/// The folder of its archives.
const FOLDER: &str = "TLS_TRACE_TEST_GRPCJAVA";

/// The program that [`end`] needs, and where gRPC is missing, its name.
#[must_use]
pub fn program() -> &'static str {
    match folder() {
        Some(_) => "javac",
        None => "grpc-java",
    }
}

/// An end, `server` or `client`, with its place, certificate file and arguments as in the program's source.
///
/// # Errors
/// gRPC is missing, or the program does not compile.
pub fn end(role: &str, place: &str, file: &str, arguments: &str) -> Result<Program> {
    static CLASSES: OnceLock<Result<String, String>> = OnceLock::new();
    let path = CLASSES.get_or_init(|| compile().map_err(|error| format!("{error:#}")));
    let path = path.clone().map_err(|error| anyhow!("{error}"))?;
    // A short life is better spent without the second compiler, and with one collector's thread.
    Ok(Program::new("java")
        .args("-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp")
        .arg(path)
        .args(&format!("Peer {role} {place} {file} {arguments}")))
}

/// Compiles the program; where Java finds it, and gRPC.
fn compile() -> Result<String> {
    let archives = folder().context("no gRPC")?.join("*");
    let archives = archives.display();
    let classes = scratch()?.join("grpcjava");
    Program::new("javac")
        .arg("-cp")
        .arg(archives.to_string())
        .arg("-d")
        .arg(&classes)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/programs/grpcjava/Peer.java"
        ))
        .run()?
        .success()?;
    Ok(format!("{}:{archives}", classes.display()))
}

fn folder() -> Option<PathBuf> {
    installed(FOLDER, "grpc-java")
}
