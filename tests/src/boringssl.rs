//! BoringSSL: a library that has it linked in with its symbols, whose functions a script calls.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::OnceLock,
};

use anyhow::{Context as _, Result};

use crate::{
    certificates::Certificates,
    environment::installed,
    hooked,
    program::{Program, Running},
};

/// The folder that the library is in.
const FOLDER: &str = "TLS_TRACE_TEST_BORINGSSL";
/// The library.
const LIBRARY: &str = "curl_cffi/_wrapper.abi3.so";

/// The program that [`client`] and [`server`] need, and where the library is missing, its name.
#[must_use]
pub fn program() -> &'static str {
    match library() {
        Some(_) => "python3",
        None => "curl_cffi",
    }
}

/// Waits until the tracer has hooked the library, which stays so.
///
/// # Errors
/// It never does.
pub fn hook() -> Result<()> {
    static HOOKED: OnceLock<Result<(), String>> = OnceLock::new();
    hooked::keep_once(&HOOKED, wait_until_hooked)
}

fn wait_until_hooked() -> Result<Running> {
    let certificates = Certificates::shared()?;
    let serve = |port| server(port, &certificates.good(), "")?.listening(port);
    let shake_hands = |port| {
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let client = client(address, &certificates.ca(), "")?;
        client.run()?.said("ok").map(drop)
    };
    hooked::wait_until_hooked(serve, shake_hands)
}

/// A client; options as in its script.
///
/// # Errors
/// There is no library.
pub fn client(server: SocketAddr, ca: &str, options: &str) -> Result<Program> {
    let (address, port) = (server.ip(), server.port());
    script(&format!("client {address} {port} {ca} {options}"))
}

/// A server; options as in its script.
///
/// # Errors
/// There is no library.
pub fn server(port: u16, certificate: &str, options: &str) -> Result<Program> {
    script(&format!("server {port} {certificate} {options}"))
}

fn script(arguments: &str) -> Result<Program> {
    let library = library().context("no library has BoringSSL in it")?;
    let program = Program::new("python3").arg("-c");
    let program = program.arg(include_str!("../programs/boringssl.py"));
    Ok(program.arg(library).args(arguments))
}

fn library() -> Option<PathBuf> {
    let library = installed(FOLDER, "curl-cffi")?.join(LIBRARY);
    library.exists().then_some(library)
}
