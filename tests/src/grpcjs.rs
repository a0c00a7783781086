//! Ends of gRPC in JavaScript, on Node's own HTTP/2.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{environment::installed, program::Program};

/// The folder that npm installed gRPC into.
const FOLDER: &str = "TLS_TRACE_TEST_GRPCJS";

/// The program that [`end`] needs, and where gRPC is missing, its name.
#[must_use]
pub fn program() -> &'static str {
    match folder() {
        Some(_) => "node",
        None => "grpc-js",
    }
}

/// An end, `server` or `client`, with its place, certificate file and arguments as in the program's source. It says what
/// gRPC makes of its connections.
///
/// # Errors
/// gRPC is missing.
pub fn end(role: &str, place: &str, file: &str, arguments: &str) -> Result<Program> {
    let modules = folder().context("no gRPC")?;
    Ok(Program::new("node")
        .env("NODE_PATH", &modules.display().to_string())
        .env("GRPC_VERBOSITY", "DEBUG")
        .env("GRPC_TRACE", "transport,keepalive")
        .arg("-e")
        .arg(include_str!("../programs/grpcjs/main.js"))
        .args(&format!("-- {role} {place} {file} {arguments}")))
}

fn folder() -> Option<PathBuf> {
    let folder = installed(FOLDER, "grpc-js")?.join("node_modules");
    folder.is_dir().then_some(folder)
}
