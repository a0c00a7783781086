//! A Go program that is either end of TLS, as one build of it or another.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::OnceLock,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use tls_trace::report::Cause;

use crate::{
    certificates::Certificates,
    environment::scratch,
    hooked,
    program::{Program, Running},
};

/// A built program.
const BUILT: &str = "TLS_TRACE_TEST_GO_CLIENT";

/// The program that [`client`] needs.
#[must_use]
pub fn program() -> &'static str {
    match env::var_os(BUILT) {
        Some(_) => "true",
        None => "go",
    }
}

/// A client; arguments as in the program's source.
///
/// # Errors
/// It does not build.
pub fn client(server: SocketAddr, options: &str) -> Result<Program> {
    Ok(Peer::built()?.client(server, options))
}

/// The program.
#[derive(Clone, Debug)]
pub struct Peer {
    path: PathBuf,
    minor: u16,
}

impl Peer {
    fn built() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Peer, String>> = OnceLock::new();
        let peer = SHARED.get_or_init(|| match env::var_os(BUILT) {
            Some(path) => Peer::at(path.into()).map_err(|error| format!("{error:#}")),
            None => Peer::build("peer", "", None).map_err(|error| format!("{error:#}")),
        });
        peer.as_ref().map_err(|error| anyhow!("{error}"))
    }

    fn at(path: PathBuf) -> Result<Self> {
        let version = Program::at(&path).arg("version").run()?.output;
        // Also `go1.27rc1`, and what else `go version` appends.
        let minor = version.split('.').nth(1).unwrap_or_default();
        let minor = minor.split(|each: char| !each.is_ascii_digit()).next();
        let minor = minor.and_then(|minor| minor.parse().ok());
        let minor = minor.with_context(|| format!("the version of Go is {version:?}"))?;
        Ok(Self { path, minor })
    }

    /// The program of `TLS_TRACE_TEST_GO_CLIENT` or built here, hooked by the tracer.
    ///
    /// # Errors
    /// It does not build, or is not hooked.
    pub fn shared() -> Result<&'static Self> {
        static HOOKED: OnceLock<Result<(), String>> = OnceLock::new();
        let peer = Self::built()?;
        let server = peer.clone();
        hooked::keep_once(&HOOKED, move || server.wait_until_hooked())?;
        Ok(peer)
    }

    /// Builds it with these flags by a version of Go, `go1.22.12`; this machine's if `None`.
    ///
    /// # Errors
    /// It does not build, or this machine has no such version.
    pub fn build(name: &str, flags: &str, version: Option<&str>) -> Result<Self> {
        let folder = scratch()?.join(name);
        fs::create_dir_all(&folder)?;
        let source = folder.join("main.go");
        fs::write(&source, include_str!("../programs/peer.go"))?;
        let path = folder.join("peer");
        let mut go = Program::new("go").args("build -o").arg(&path);
        if !flags.is_empty() {
            go = go.arg(flags);
        }
        // Nothing is downloaded: a version is here or not.
        go = go.env("GOPROXY", "off").env("GOFLAGS", "-mod=mod");
        go = go.env("GOTOOLCHAIN", version.unwrap_or("local"));
        go.arg(source).run()?.success()?;
        let peer = Self::at(path)?;
        if let Some(wanted) = version {
            // Before 1.21 there is no choice.
            let minor = peer.minor;
            ensure!(wanted.starts_with(&format!("go1.{minor}.")), "Go 1.{minor}");
        }
        Ok(peer)
    }

    /// Shakes hands until the tracer speaks of it: it finds a program when that runs, which may be too
    /// late for its first handshake. As long as the returned process runs, it stays hooked.
    ///
    /// # Errors
    /// It never does.
    pub fn wait_until_hooked(&self) -> Result<Running> {
        let certificate = Certificates::shared()?.good();
        let serve = |port| self.serve(port, &certificate, "");
        let shake_hands = |port| {
            let address = (Ipv4Addr::LOCALHOST, port).into();
            self.client(address, "").run()?.said("ok").map(drop)
        };
        hooked::wait_until_hooked(serve, shake_hands).context(self.path.display().to_string())
    }

    /// The alert by which its servers ask for a certificate in vain, `certificate_required` in TLS 1.3
    /// since Go 1.21.
    #[must_use]
    pub fn alert_of_a_missing_certificate(&self) -> (&'static str, Cause) {
        if self.minor < 21 {
            ("alert_bad_certificate", Cause::CertificateBad)
        } else {
            ("alert_certificate_required", Cause::CertificateRequired)
        }
    }

    /// A client; arguments as in the program's source.
    #[must_use]
    pub fn client(&self, server: SocketAddr, options: &str) -> Program {
        Program::at(&self.path).args(&format!("{server} {options}"))
    }

    /// A server; arguments as in the program's source.
    #[must_use]
    pub fn server(&self, port: u16, certificate: &str, options: &str) -> Program {
        Program::at(&self.path).args(&format!(
            "127.0.0.1:{port} role=server cert={certificate} {options}"
        ))
    }

    /// A server that listens.
    ///
    /// # Errors
    /// It does not.
    pub fn serve(&self, port: u16, certificate: &str, options: &str) -> Result<Running> {
        self.server(port, certificate, options)
            .start()?
            .listening(port)
    }
}
