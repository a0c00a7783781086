//! Servers and clients that shake hands as fast as they can, with the same TLS library on both ends.

use std::{
    net::{Ipv4Addr, TcpListener},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tls_trace_tests::{
    boringssl,
    certificates::Certificates,
    go::Peer,
    program::{Program, Running},
    servers,
};

use crate::{programs::count, usage};

/// As many clients as there are at once: with a server of one thread enough for two cores.
const CLIENTS: usize = 2;

/// A server that runs, and what shakes hands with it.
pub struct Server {
    running: Running,
    port: u16,
    client: Box<dyn Fn(u32) -> Result<Program>>,
    /// Handshakes that a client made, by what it said.
    made: fn(&str) -> Option<u64>,
}

/// What clients did with it.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub handshakes: f64,
    /// A second.
    pub rate: f64,
    /// Microseconds of CPU time per handshake of server and clients.
    pub programs: f64,
    /// Microseconds of CPU time per handshake of who watches.
    pub watcher: f64,
}

impl Server {
    /// OpenSSL: nginx with one worker, and `openssl s_time`.
    pub fn nginx() -> Result<Self> {
        let port = free_port()?;
        Ok(Self {
            running: servers::nginx_tls(port, 1, &Certificates::shared()?.good())?,
            port,
            client: Box::new(move |seconds| {
                let to = format!("s_time -new -connect 127.0.0.1:{port} -time {seconds}");
                Ok(Program::new("openssl").args(&to))
            }),
            made: connections,
        })
    }

    /// Go on both ends.
    pub fn go() -> Result<Self> {
        let certificates = Certificates::shared()?;
        let (port, ca) = (free_port()?, certificates.ca());
        let peer = Peer::build("bench", "", None)?;
        Ok(Self {
            running: peer.serve(port, &certificates.good(), "")?,
            port,
            client: Box::new(move |seconds| {
                let options = format!("ca={ca} seconds={seconds}");
                Ok(peer.client((Ipv4Addr::LOCALHOST, port).into(), &options))
            }),
            made: lines,
        })
    }

    /// `gnutls-serv`, and a script that calls GnuTLS.
    pub fn gnutls() -> Result<Self> {
        let certificates = Certificates::shared()?;
        let (port, ca) = (free_port()?, certificates.ca());
        Ok(Self {
            running: servers::gnutls(port, &certificates.good()).listening(port)?,
            port,
            client: Box::new(move |seconds| {
                let script = include_str!("../../../programs/gnutls.py");
                let program = Program::new("python3").arg("-c").arg(script);
                Ok(program.args(&format!("127.0.0.1 {port} {ca} {seconds}")))
            }),
            made: lines,
        })
    }

    /// A script that calls BoringSSL on both ends.
    pub fn boringssl() -> Result<Self> {
        let certificates = Certificates::shared()?;
        let (port, ca) = (free_port()?, certificates.ca());
        Ok(Self {
            running: boringssl::server(port, &certificates.good(), "")?.listening(port)?,
            port,
            client: Box::new(move |seconds| {
                let options = format!("seconds={seconds}");
                boringssl::client((Ipv4Addr::LOCALHOST, port).into(), &ca, &options)
            }),
            made: lines,
        })
    }

    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// New TLS 1.3 handshakes as fast as they go, for about so many seconds, while a process watches.
    pub fn load(&self, seconds: u32, watcher: Option<u32>) -> Result<Run> {
        let watcher = || watcher.map_or(Ok(Duration::ZERO), usage::cpu);
        let cpu = || anyhow::Ok(usage::cpu(self.pid())? + usage::children_cpu()?);
        let (programs_before, watcher_before, started) = (cpu()?, watcher()?, Instant::now());
        let handshakes = count(self.clients(seconds)?);
        let elapsed = started.elapsed();
        ensure!(handshakes > 0.0, "nobody shook hands");
        let each = |time: Duration| time.as_secs_f64() * 1e6 / handshakes;
        Ok(Run {
            handshakes,
            rate: handshakes / elapsed.as_secs_f64(),
            programs: each(cpu()?.saturating_sub(programs_before)),
            watcher: each(watcher()?.saturating_sub(watcher_before)),
        })
    }

    fn clients(&self, seconds: u32) -> Result<u64> {
        let clients = (0..CLIENTS).map(|_| (self.client)(seconds)?.start());
        let clients: Vec<_> = clients.collect::<Result<_>>()?;
        let mut handshakes = 0;
        for client in clients {
            let said = client.finish()?.success()?.output;
            handshakes += (self.made)(&said).with_context(|| format!("a client said: {said}"))?;
        }
        Ok(handshakes)
    }
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// "1234 connections in 0.56s; 2203.57 connections/user sec, bytes read 0"
fn connections(said: &str) -> Option<u64> {
    let (before, _) = said.split_once(" connections in")?;
    before.rsplit(['\n', ' ']).next()?.parse().ok()
}

/// A line "ok" for each, and nothing about a failure.
fn lines(said: &str) -> Option<u64> {
    let is = |line: &&str, word| line.split(' ').next() == Some(word);
    let failed = said
        .lines()
        .any(|line| is(&line, "error") || is(&line, "failed"));
    let made = said.lines().filter(|line| is(line, "ok")).count();
    (!failed).then_some(made as u64)
}
