//! What the daemon saw, kept: its reports come back byte for byte.

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tls_trace::report::Report;
use tls_trace_tests::{
    Case, actor, binary, certificates::Certificates, clients, scratch, servers, truth,
};

/// `record --last` and SIGUSR1; `--failures-pcapng`.
#[test]
fn the_flight_recorder_has_what_was_reported() {
    truth(&["openssl"], |case| {
        let folder = scratch()?.join("recordings");
        let mut daemon = Daemon::start(&folder)?;
        let certificates = Certificates::shared()?;
        let server =
            servers::openssl(case.port(), &certificates.expired()).listening(case.port())?;
        for options in [
            "-verify_return_error",
            "-tls1_2 -verify_return_error",
            "-tls1_3",
        ] {
            let client = clients::openssl(case.address());
            client
                .args(&format!("{options} -CAfile {}", certificates.ca()))
                .run()?;
        }
        server.kill()?;
        let refused = free_port()?;
        ensure!(actor::connect(refused).is_err(), "{refused} listens");
        // Decided after a while: by then, everything before it is.
        let live = daemon.lines_until(|report| report.remote == refused)?;
        ensure!(live.len() > 6, "{live:?}");

        let last = folder.join("last.tlsrec");
        let status = Command::new(binary()?)
            .args(["record", "--last", "--socket"])
            .args([&daemon.socket, &last])
            .status()?;
        ensure!(status.success(), "{status}");
        ensure_begins_with(&replay(&last)?, &live)?;

        of_redacted(&last, &live)?;

        let signalled = daemon.sigusr1()?;
        ensure!(signalled.starts_with(&folder), "{}", signalled.display());
        ensure_begins_with(&replay(&signalled)?, &live)?;

        daemon.stop()?;
        failures_are_packets(&folder.join("failures"))
    });
}

/// `record FILE`: every report of the same tracer, until its end.
#[test]
fn record_until_it_is_told_to_stop() {
    truth(&[], |case| {
        let file = scratch()?.join("recorded.tlsrec");
        let [recorded, live] = recorded(case, &file, &[])?;
        ensure!(recorded.comm == live.comm, "{recorded:?}\n{live:?}");
        Ok(())
    });
}

/// `record --redact FILE`: the same under other names, and no file with the true ones on the way.
#[test]
fn record_with_other_names() {
    truth(&[], |case| {
        let folder = scratch()?.join("redacted");
        fs::create_dir_all(&folder)?;
        let file = folder.join("recorded.tlsrec");
        let [recorded, live] = recorded(case, &file, &["--redact"])?;
        let comm = live.comm.as_deref().context("no process")?;
        ensure!(recorded.comm.is_some() && recorded.comm.as_deref() != Some(comm));
        ensure!(recorded.verdict.cause == live.verdict.cause);
        ensure!(
            fs::read_dir(&folder)?.count() == 1,
            "more than the recording"
        );
        Ok(())
    });
}

/// Records a connection that is refused; returns its report by the recording, and by the daemon of this test.
fn recorded(case: &Case, file: &Path, options: &[&str]) -> Result<[Report; 2]> {
    let mut recorder = Command::new(binary()?)
        .arg("record")
        .args(options)
        .arg(file)
        .stderr(Stdio::piped())
        .spawn()?;
    let stderr = recorder.stderr.take().context("it has a standard error")?;
    let mut stderr = BufReader::new(stderr).lines();
    said(&mut stderr, "recording to")?;
    ensure!(actor::connect(case.address()).is_err());
    // The daemon of this test hears of it when the recorder does, or later.
    case.wait_for(1)?;
    kill(Pid::from_raw(recorder.id().cast_signed()), Signal::SIGINT)?;
    ensure!(recorder.wait()?.success());
    said(&mut stderr, "connections")?;
    let lines = replay(file)?;
    let report = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Report>(line).ok())
        .find(|report| report.remote == case.address())
        .with_context(|| format!("{lines:?}"))?;
    let live = case.reports();
    let live = live.first().context("the daemon did not report it")?;
    Ok([report, Report::clone(live)])
}

/// A daemon whose lines are read as they are.
struct Daemon {
    child: Child,
    socket: PathBuf,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Daemon {
    fn start(recordings: &Path) -> Result<Self> {
        fs::create_dir_all(recordings)?;
        let socket = recordings.join("recorded.sock");
        let mut child = Command::new(binary()?)
            .args(["run", "--all", "--json", "--metrics", "off"])
            .args(["--flight-recorder", "1024", "--recordings"])
            .arg(recordings)
            .arg("--failures-pcapng")
            .arg(recordings.join("failures"))
            .arg("--socket")
            .arg(&socket)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().context("it has a standard output")?;
        let stderr = child.stderr.take().context("it has a standard error")?;
        let mut daemon = Self {
            child,
            socket,
            stdout: BufReader::new(stdout).lines(),
            stderr: BufReader::new(stderr).lines(),
        };
        let ready = daemon.stdout.next().context("it ended")??;
        ensure!(ready.contains("\"ready\":true"), "{ready}");
        Ok(daemon)
    }

    fn lines_until(&mut self, last: impl Fn(&Report) -> bool) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.stdout.next().context("it ended")??;
            // Other lines tell of flaps, which a replay leaves out.
            let Ok(report) = serde_json::from_str::<Report>(&line) else {
                continue;
            };
            lines.push(line);
            if last(&report) {
                return Ok(lines);
            }
        }
    }

    /// Returns the file it wrote.
    fn sigusr1(&mut self) -> Result<PathBuf> {
        self.signal(Signal::SIGUSR1)?;
        Ok(said(&mut self.stderr, "recorded to ")?.into())
    }

    fn stop(mut self) -> Result<Vec<String>> {
        self.signal(Signal::SIGTERM)?;
        let rest = self.stdout.by_ref().collect::<std::io::Result<_>>()?;
        ensure!(self.child.wait()?.success());
        Ok(rest)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Gone already where the test ended well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a line with this, and returns what follows it; other lines are log messages.
fn said(lines: &mut Lines<BufReader<ChildStderr>>, text: &str) -> Result<String> {
    loop {
        let line = lines.next().context("it ended")??;
        if let Some((_, rest)) = line.split_once(text) {
            return Ok(rest.to_owned());
        }
    }
}

/// Alerts in the clear are as decisive in the packets that were written as they were live.
fn failures_are_packets(folder: &Path) -> Result<()> {
    let mut files = fs::read_dir(folder)?;
    let file = files.next().context("nothing was written")??.path();
    let output = Command::new(binary()?)
        .args(["analyze", "--json", "--cause", "certificate_expired"])
        .arg(&file)
        .output()?;
    ensure!(output.status.code() == Some(1), "{output:?}");
    let comment = b"failed certificate_expired: 127.0.0.1:";
    let bytes = fs::read(&file)?;
    let commented = bytes.windows(comment.len()).any(|part| part == comment);
    ensure!(commented, "{} has no comment", file.display());
    Ok(())
}

/// The lines of `replay --all --json`.
fn replay(file: &Path) -> Result<Vec<String>> {
    let output = Command::new(binary()?)
        .args(["replay", "--all", "--json"])
        .arg(file)
        .output()?;
    let code = output.status.code();
    ensure!(matches!(code, Some(0 | 1)), "{output:?}");
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// `record --redact`: the same verdicts, under other names.
fn of_redacted(recording: &Path, live: &[String]) -> Result<()> {
    let redacted = recording.with_extension("redacted.tlsrec");
    let status = Command::new(binary()?)
        .args(["record", "--redact", "--from"])
        .args([recording, &redacted])
        .status()?;
    ensure!(status.success(), "{status}");
    let lines = replay(&redacted)?;
    ensure!(lines.len() >= live.len(), "{lines:#?}");
    for (line, original) in lines.iter().zip(live) {
        let [report, original]: [Report; 2] =
            [serde_json::from_str(line)?, serde_json::from_str(original)?];
        let fields = |report: &Report| {
            let verdict = &report.verdict;
            (
                (verdict.outcome, verdict.phase, verdict.initiator),
                (verdict.cause, verdict.confidence),
            )
        };
        ensure!(fields(&report) == fields(&original), "\n{line}");
        ensure!(report.comm != original.comm || original.comm.is_none());
    }
    Ok(())
}

/// More may follow: connections that were open when the recording ends.
fn ensure_begins_with(replayed: &[String], live: &[String]) -> Result<()> {
    ensure!(replayed.len() >= live.len(), "{replayed:#?}\n{live:#?}");
    for (replayed, live) in replayed.iter().zip(live) {
        ensure!(replayed == live, "\n{replayed}\n{live}");
    }
    Ok(())
}

fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
