//! Ends of HTTP/2 in Go: grpc-go of two versions, and net/http.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{OnceLock, mpsc},
    thread,
};

use anyhow::{Result, anyhow, ensure};

use crate::{
    Tracer,
    case::free_port,
    certificates::Certificates,
    environment::scratch,
    program::{Program, Running},
    seconds,
};

/// A folder of built programs.
const BUILT: &str = "TLS_TRACE_TEST_GRPC";
/// Connections until the tracer has to have hooked a program.
const PATIENCE: usize = 60;

/// How a program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// A current grpc-go.
    Now,
    /// The same, without symbols.
    Stripped,
    /// grpc-go before 1.67: it does not insist on ALPN.
    Before,
}

/// The program that all of them need: `go` and what set-up fetches, unless they are built.
#[must_use]
pub fn program() -> &'static str {
    if env::var_os(BUILT).is_some() {
        "true"
    } else if modules().is_dir() {
        "go"
    } else {
        "grpc-go"
    }
}

/// The modules that set-up fetches.
fn modules() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"));
    target.join("tools/go-modules")
}

impl Build {
    /// The program, hooked by the tracer for as long as this process runs.
    ///
    /// # Errors
    /// It does not build, or is not hooked.
    pub fn hooked(self) -> Result<Peer> {
        static NOW: Shared = Shared::new();
        static STRIPPED: Shared = Shared::new();
        static BEFORE: Shared = Shared::new();
        let shared = match self {
            Self::Now => &NOW,
            Self::Stripped => &STRIPPED,
            Self::Before => &BEFORE,
        };
        let peer = shared.get_or_init(|| {
            let peer = self.build().and_then(Peer::keep_hooked);
            peer.map_err(|error| format!("{error:#}"))
        });
        peer.clone().map_err(|error| anyhow!("{error}"))
    }

    fn build(self) -> Result<Peer> {
        if let Some(folder) = env::var_os(BUILT) {
            // Built without symbols, all of them.
            let name = match self {
                Self::Now | Self::Stripped => "now",
                Self::Before => "before",
            };
            let path = Path::new(&folder).join(name);
            return Ok(Peer { path });
        }
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/grpc");
        let path = scratch()?.join(format!("grpc-{self:?}"));
        // Nothing is downloaded here.
        let mut go = Program::new("go")
            .env("GOPROXY", "off")
            .env("GOTOOLCHAIN", "local")
            .env("GOMODCACHE", &modules().display().to_string())
            .args("build -C")
            .arg(folder)
            .arg("-o")
            .arg(&path);
        match self {
            Self::Now => {}
            Self::Stripped => go = go.arg("-ldflags=-s -w"),
            Self::Before => go = go.arg("-modfile=before.mod"),
        }
        go.run_for(seconds(300.0))?.success()?;
        Ok(Peer { path })
    }
}

type Shared = OnceLock<Result<Peer, String>>;

/// A built program.
#[derive(Clone, Debug)]
pub struct Peer {
    path: PathBuf,
}

impl Peer {
    /// A server; roles and options as in the program's source.
    ///
    /// # Errors
    /// It does not listen.
    pub fn serve(&self, port: u16, role: &str) -> Result<Running> {
        self.serve_with(port, role, &[])
    }

    /// The same with environment variables, which inject faults.
    ///
    /// # Errors
    /// It does not listen.
    pub fn serve_with(
        &self,
        port: u16,
        role: &str,
        environment: &[(&str, &str)],
    ) -> Result<Running> {
        let certificate = Certificates::shared()?.good();
        let mut program = Program::at(&self.path)
            .args(&format!("127.0.0.1:{port} cert={certificate} role={role}"));
        for (name, value) in environment {
            program = program.env(name, value);
        }
        program.listening(port)
    }

    /// A client; roles and options as in the program's source.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn connect(&self, server: SocketAddr, role: &str) -> Result<Running> {
        Program::at(&self.path)
            .args(&format!("{server} role={role}"))
            .start()
    }

    /// Waits until it is hooked, and runs it as long as this process does, so that it stays so.
    fn keep_hooked(self) -> Result<Self> {
        let peer = self.clone();
        let (hooked, wait) = mpsc::channel();
        // A program ends with the thread that started it, a test's thread with the test.
        thread::Builder::new()
            .name("grpc peer".into())
            .spawn(move || match peer.wait_until_hooked() {
                Ok(_running) => {
                    let _ = hooked.send(Ok(()));
                    loop {
                        thread::park();
                    }
                }
                Err(error) => {
                    let _ = hooked.send(Err(error));
                }
            })?;
        wait.recv()??;
        Ok(self)
    }

    fn wait_until_hooked(&self) -> Result<Running> {
        let tracer = Tracer::shared()?;
        let (mark, port) = (tracer.mark(), free_port()?);
        let server = self.serve(port, "server")?;
        for _ in 0..PATIENCE {
            let mut client = self.connect(([127, 0, 0, 1], port).into(), "client")?;
            client.until("ready")?;
            client.end_input();
            client.finish()?.success()?;
            let hooked = tracer.wait(seconds(0.5), mark, |reports| {
                let mut own = reports.iter().filter(|report| report.local.port() == port);
                own.any(|report| report.library.is_some())
            })?;
            if hooked {
                return Ok(server);
            }
        }
        ensure!(tracer.stderr().is_empty(), "{}", tracer.stderr());
        Err(anyhow!("{} is not hooked", self.path.display()))
    }
}
