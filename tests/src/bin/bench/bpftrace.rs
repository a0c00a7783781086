//! What others probe in OpenSSL, with bpftrace 0.17: the way of bpftrace's ssllatency and of bcc's sslsniff.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tls_trace_tests::program::{Program, Running};

/// A script that begins with probes at `LIBSSL`.
#[derive(Clone, Copy, Debug)]
pub struct Script(&'static str);

/// How long handshakes take, by thread.
pub const LATENCY: Script = Script(
    "uprobe:LIBSSL:SSL_do_handshake { @begin[tid] = nsecs; }
     uretprobe:LIBSSL:SSL_do_handshake /@begin[tid]/ {
       @microseconds[comm, retval] = hist((nsecs - @begin[tid]) / 1000); delete(@begin[tid]); }",
);

/// A line for each handshake and for all that is read and written.
pub const SNIFF: Script = Script(
    "uprobe:LIBSSL:SSL_read, uprobe:LIBSSL:SSL_write { @buffer[tid] = arg1; @begin[tid] = nsecs; }
     uretprobe:LIBSSL:SSL_read, uretprobe:LIBSSL:SSL_write /@begin[tid]/ {
       if ((int32)retval > 0) {
         printf(\"%s %d %d %s\\n\", comm, pid, retval, str(@buffer[tid], retval)); }
       delete(@buffer[tid]); delete(@begin[tid]); }
     uprobe:LIBSSL:SSL_do_handshake { @handshake[tid] = nsecs; }
     uretprobe:LIBSSL:SSL_do_handshake /@handshake[tid]/ {
       printf(\"%s %d %d %d\\n\", comm, pid, retval, nsecs - @handshake[tid]);
       delete(@handshake[tid]); }",
);

/// Its last probe is attached last.
const READY: &str = "interval:ms:200 { if (!@ready) { @ready = 1; printf(\"ready\\n\"); } }";

/// A bpftrace that probes; ends when dropped.
#[derive(Debug)]
pub struct Bpftrace(Running);

impl Bpftrace {
    /// Starts it with a script, for the libssl that a process has mapped.
    pub fn start(script: Script, process: u32) -> Result<Self> {
        let library = libssl(process)?;
        let probes = script.0.replace("LIBSSL", &library.display().to_string());
        let program = Program::new("bpftrace")
            .arg("-e")
            .arg(format!("{probes}\n{READY}"));
        let running = program.start()?;
        let ready = running.says_within("ready", Duration::from_secs(20));
        ensure!(ready, "bpftrace said: {}", running.output());
        Ok(Self(running))
    }

    pub fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// Lets it end by itself, so that nothing of it disturbs what is measured next.
    pub fn stop(self) -> Result<()> {
        self.0.signal(Signal::SIGINT)?;
        self.0.finish().map(drop)
    }
}

/// The libssl that a process uses.
pub fn libssl(process: u32) -> Result<PathBuf> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps"))?;
    let line = maps.lines().find(|line| line.contains("/libssl.so"));
    let path = line.and_then(|line| line.split_whitespace().last());
    path.map(PathBuf::from).context("no libssl is mapped")
}
