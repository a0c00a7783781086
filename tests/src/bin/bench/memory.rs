//! Memory of the tracer by the number of open connections.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{Resource, getrlimit};

use crate::{
    Subject,
    daemon::Daemon,
    figure::{Figure, Section},
    handshake::{self, Server, Then},
    usage,
};

/// Ends of connections that are open at once.
const SIZES: [(u32, &str); 2] = [(10_000, "10,000"), (100_000, "100,000")];
/// Files that a process has open besides its connections.
const OTHER_FILES: u64 = 100;

pub fn measure(subject: &Subject) -> Result<Section> {
    let daemon = Daemon::start(subject)?;
    let resident = usage::resident_mb(daemon.pid())?;
    let mut figures = vec![Figure::new("without connections", resident, "MB")];
    let mut holders = Vec::new();
    let mut open = 0;
    for (ends, label) in SIZES {
        while open < ends {
            let holder = Holder::start((ends - open) / 2)?;
            open += holder.connections * 2;
            holders.push(holder);
        }
        let metrics = daemon.until("all are tracked", |metrics| {
            metrics.sum("tls_trace_connections_tracked") >= f64::from(ends)
        })?;
        let resident = usage::resident_mb(daemon.pid())?;
        let lost = metrics.lost();
        let what = format!("at {label} open connections ({lost} events lost)");
        figures.push(Figure::new(what, resident, "MB").at_most(40.0));
    }
    drop(holders);
    daemon.stop()?;
    Ok(Section {
        title: "Memory",
        method:
            "VmRSS of the daemon (10^6 bytes; ring buffers included, as they are mapped), with \
                 connections opened one after the other, left open after a TLS 1.3 handshake (real \
                 bytes, no cryptography). A connection is one end of it: both are here, and each \
                 is tracked."
                .to_owned(),
        figures,
    })
}

/// A process with open connections to itself: one process may not have as many as are wanted.
struct Holder {
    process: Child,
    connections: u32,
    /// It ends when this is closed.
    _input: Option<ChildStdin>,
}

impl Holder {
    /// Starts one with `wanted` connections, or as many as it may have, and waits for them.
    fn start(wanted: u32) -> Result<Self> {
        let (files, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let most = u32::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(u32::MAX);
        let connections = wanted.min(most);
        ensure!(connections > 0, "only {files} open files are allowed");
        let mut process = Command::new(env::current_exe()?)
            .args(["--hold", &connections.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        BufReader::new(process.stdout.take().context("a pipe")?).read_line(&mut said)?;
        ensure!(said == OPEN, "the process that opens connections failed");
        Ok(Self {
            _input: process.stdin.take(),
            process,
            connections,
        })
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // Gone already, or its end is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a holder says when all is open.
const OPEN: &str = "open\n";

/// Opens so many connections, says so, and keeps them until standard input ends.
pub fn hold(connections: usize) -> Result<()> {
    let server = Server::start(1, Then::Hold)?;
    let mut clients = Vec::new();
    for _ in 0..connections {
        clients.push(handshake::connect(server.port, handshake::Offer::Both)?);
    }
    print!("{OPEN}");
    io::stdout().flush()?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
