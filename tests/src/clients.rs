//! Clients that speak TLS.

use std::{fs, net::SocketAddr};

use anyhow::Result;

use crate::{
    Case,
    certificates::Certificates,
    environment::scratch,
    program::{Finished, Program},
};

/// `openssl s_client`; it talks until its input ends.
#[must_use]
pub fn openssl(server: SocketAddr) -> Program {
    Program::new("openssl").args(&format!("s_client -connect {server}"))
}

/// The same of a case, with options, for a server whose certificate has to be good.
pub fn verifying(options: &str) -> impl FnOnce(&Case, &Certificates) -> Program {
    move |case, certificates| {
        let client = openssl(case.address()).args(options);
        client
            .args("-verify_return_error -CAfile")
            .arg(certificates.ca())
    }
}

/// Exchanges a line with a server that reverses lines, and leaves in good order.
///
/// # Errors
/// The client ended before.
pub fn openssl_talk(client: Program) -> Result<Finished> {
    let mut client = client.start()?;
    client.say("abc\n")?;
    client.until("cba")?;
    client.finish()
}

/// A Python client; `options` as in its script.
#[must_use]
pub fn python(server: SocketAddr, options: &str) -> Program {
    Program::new("python3")
        .arg("-c")
        .arg(include_str!("../programs/client.py"))
        .args(&format!("{} {} {options}", server.ip(), server.port()))
}

/// curl, silent, for a path on an HTTPS server.
#[must_use]
pub fn curl(server: SocketAddr, path: &str) -> Program {
    curl_for(&format!("https://{server}{path}"))
}

/// curl, silent, for a path on a server without TLS.
#[must_use]
pub fn curl_in_the_clear(server: SocketAddr, path: &str) -> Program {
    curl_for(&format!("http://{server}{path}"))
}

fn curl_for(url: &str) -> Program {
    Program::new("curl").args("-sS --noproxy *").arg(url)
}

/// `gnutls-cli`; it talks until its input ends.
#[must_use]
pub fn gnutls(server: SocketAddr, ca: &str) -> Program {
    Program::new("gnutls-cli").args(&format!(
        "--port {} --x509cafile {ca} {}",
        server.port(),
        server.ip()
    ))
}

/// curl with BoringSSL, as a browser of that name says hello; `folder` is where Python finds it.
#[must_use]
pub fn browser(server: SocketAddr, ca: &str, folder: &str, name: &str) -> Program {
    let script = "import sys; from curl_cffi import requests; \
                  url, ca, name = sys.argv[1:]; \
                  requests.get(url, verify=ca, impersonate=name, timeout=5)";
    Program::new("python3")
        .env("PYTHONPATH", folder)
        .arg("-c")
        .arg(script)
        .arg(format!("https://{server}/"))
        .arg(ca)
        .arg(name)
}

/// A Node client.
#[must_use]
pub fn node(server: SocketAddr, ca: &str) -> Program {
    Program::new("node")
        .arg("-e")
        .arg(include_str!("../programs/client.js"))
        .args(&format!("-- {} {} {ca}", server.ip(), server.port()))
}

/// A Java client.
///
/// # Errors
/// Its source cannot be written.
pub fn java(server: SocketAddr, ca: &str) -> Result<Program> {
    let source = scratch()?.join("Client.java");
    fs::write(&source, include_str!("../programs/Client.java"))?;
    // The C1 compiler alone and one collector thread: the program lives for one handshake.
    Ok(Program::new("java")
        .args("-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")
        .arg(source)
        .args(&format!("{} {} {ca}", server.ip(), server.port())))
}
