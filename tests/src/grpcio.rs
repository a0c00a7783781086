//! Ends of gRPC's C core, as Python's package has it.

use anyhow::{Context as _, Result};

use crate::{
    environment::installed,
    program::{Program, Running},
};

/// The folder that Python finds gRPC in.
const FOLDER: &str = "TLS_TRACE_TEST_GRPCIO";

/// The program that [`start`] needs, and where gRPC is missing, its name.
#[must_use]
pub fn program() -> &'static str {
    match folder() {
        Some(_) => "python3",
        None => "grpcio",
    }
}

/// Starts an end, `server` or `client`, with its place, certificate file and arguments as in the program's source; a
/// server listens then.
///
/// # Errors
/// It does not start, or gRPC is missing.
pub fn start(role: &str, place: &str, file: &str, arguments: &str) -> Result<Running> {
    let folder = folder().context("no gRPC")?;
    let program = Program::new("python3")
        .env("PYTHONPATH", &folder)
        .arg("-c")
        .arg(include_str!("../programs/grpcio.py"))
        .args(&format!("{role} {place} {file} {arguments}"));
    let running = program.start()?;
    if role == "server" {
        running.until("listens")?;
    }
    Ok(running)
}

fn folder() -> Option<String> {
    Some(installed(FOLDER, "grpcio")?.display().to_string())
}
