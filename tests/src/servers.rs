//! Servers that speak TLS, ready when these functions return.

use std::fs;

use anyhow::Result;

use crate::{
    environment::scratch,
    program::{Program, Running},
};

/// `openssl s_server` that sends lines back reversed.
#[must_use]
pub fn openssl(port: u16, certificate: &str) -> Program {
    Program::new("openssl").args(&format!(
        "s_server -accept {port} -cert {certificate} -key {certificate} -rev"
    ))
}

/// A threaded Python server that sends lines back reversed; `options` as in its script.
#[must_use]
pub fn python(port: u16, certificate: &str, options: &str) -> Program {
    Program::new("python3")
        .arg("-c")
        .arg(include_str!("../programs/server.py"))
        .args(&format!("{port} {certificate} {options}"))
}

/// `gnutls-serv` that sends lines back.
#[must_use]
pub fn gnutls(port: u16, certificate: &str) -> Program {
    Program::new("gnutls-serv").args(&format!(
        "--port {port} --x509certfile {certificate} --x509keyfile {certificate} --echo"
    ))
}

/// One nginx process; `settings` go into its `server` block, which has no `listen` yet.
///
/// # Errors
/// Its configuration cannot be written.
pub fn nginx(port: u16, workers: u32, settings: &str) -> Result<Program> {
    let folder = scratch()?.join(format!("nginx-{port}"));
    fs::create_dir_all(&folder)?;
    let file = folder.join("nginx.conf");
    let folder = folder.display();
    // With one worker the master does the work itself.
    let master = if workers > 1 { "on" } else { "off" };
    fs::write(
        &file,
        format!(
            "daemon off; master_process {master}; worker_processes {workers};\n\
             pid {folder}/pid; error_log stderr;\n\
             events {{ worker_connections 2000; }}\n\
             http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder};\n\
             fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};\n\
             server {{ {settings}\n\
             location / {{ return 200 \"hello\\n\"; }}\n\
             location /status {{ stub_status; }} }} }}\n"
        ),
    )?;
    Ok(Program::new("nginx")
        .arg("-e")
        .arg("stderr")
        .arg("-c")
        .arg(file))
}

/// nginx with TLS and HTTP/2 on that port, running.
///
/// # Errors
/// It does not start.
pub fn nginx_tls(port: u16, workers: u32, certificate: &str) -> Result<Running> {
    let settings = format!(
        "listen {port} ssl http2; listen [::]:{port} ssl http2;\n\
         ssl_certificate {certificate}; ssl_certificate_key {certificate};\n\
         ssl_protocols TLSv1.2 TLSv1.3;"
    );
    nginx(port, workers, &settings)?.listening(port)
}
