//! The daemon under test and what it has reported.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tls_trace::{flap::Flap, report::Report};

use crate::{environment::scratch, program::die_with_parent, seconds};

/// A point in the stream of reports.
#[derive(Clone, Copy, Debug)]
pub struct Mark(usize);

/// A running `tls-trace run`. One for each test binary; it ends with it.
#[derive(Debug)]
pub struct Tracer {
    pid: u32,
    socket: PathBuf,
    ready: serde_json::Value,
    seen: Arc<Seen>,
}

static WITHOUT_LIBRARIES: AtomicBool = AtomicBool::new(false);

#[derive(Debug, Default)]
struct Seen {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    reports: Vec<(Instant, Arc<Report>)>,
    flaps: Vec<Flap>,
    ready: Option<serde_json::Value>,
    /// Lines on standard output that are neither.
    strange: Vec<String>,
    stderr: String,
    ended: Option<ExitStatus>,
}

impl Tracer {
    /// Lets [`Self::shared`] hook no TLS library; before its first use.
    pub(crate) fn without_libraries() {
        WITHOUT_LIBRARIES.store(true, Ordering::Relaxed);
    }

    /// The tracer of this process, started at first use.
    ///
    /// # Errors
    /// It did not start.
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Result<Tracer, String>> = OnceLock::new();
        SHARED
            .get_or_init(|| {
                let socket = scratch().map_err(|error| format!("{error:#}"))?;
                let arguments: &[&str] = if WITHOUT_LIBRARIES.load(Ordering::Relaxed) {
                    &["--no-library-probes"]
                } else {
                    &[]
                };
                Self::start(&socket.join("tls-trace.sock"), arguments)
                    .map_err(|error| format!("{error:#}"))
            })
            .as_ref()
            .map_err(|error| anyhow!("{error}"))
    }

    /// Starts `tls-trace run` with a free metrics port and this socket, and waits until it traces.
    ///
    /// # Errors
    /// It ended or was not ready in time.
    pub fn start(socket: &Path, arguments: &[&str]) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command
            .args([
                "run",
                "--json",
                "--all",
                "--metrics",
                "127.0.0.1:0",
                "--socket",
            ])
            .arg(socket)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let seen = Arc::new(Seen::default());
        let pid = spawn(command, &seen)?;
        let deadline = Instant::now() + seconds(10.0);
        let ready = seen
            .wait(deadline, |state| state.ready.clone())?
            .with_context(|| format!("not ready; it said: {}", seen.lock().stderr))?;
        Ok(Self {
            pid,
            socket: socket.to_owned(),
            ready,
            seen,
        })
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Its socket for `tls-trace tail`.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its first line.
    #[must_use]
    pub fn ready(&self) -> &serde_json::Value {
        &self.ready
    }

    /// What it wrote to standard error so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.seen.lock().stderr.clone()
    }

    /// Kills it with SIGKILL and waits until it is gone.
    ///
    /// # Errors
    /// It is gone already, or does not go.
    pub fn kill(self) -> Result<()> {
        self.end(Signal::SIGKILL).map(drop)
    }

    /// Asks it to end and waits until it has, with exit code 0.
    ///
    /// # Errors
    /// It is gone already, does not go, or ends with another code.
    pub fn stop(self) -> Result<()> {
        let status = self.end(Signal::SIGTERM)?;
        ensure!(status.success(), "{status}: {}", self.stderr());
        Ok(())
    }

    fn end(&self, signal: Signal) -> Result<ExitStatus> {
        kill(Pid::from_raw(self.pid.cast_signed()), signal)?;
        let deadline = Instant::now() + seconds(10.0);
        let mut state = self.seen.lock();
        loop {
            if let Some(status) = state.ended {
                return Ok(status);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            ensure!(!left.is_zero(), "it does not end");
            state = self.seen.wait_for_change(state, left);
        }
    }

    /// Its metrics as Prometheus reads them.
    ///
    /// # Errors
    /// It does not serve them.
    pub fn metrics(&self) -> Result<String> {
        let address = self.ready["metrics"]
            .as_str()
            .context("the first line names no metrics address")?;
        scrape(address)
    }

    /// Libraries that it has hooked, by its metrics.
    ///
    /// # Errors
    /// It does not serve them.
    pub fn hooked(&self) -> Result<usize> {
        let metrics = self.metrics()?;
        let name = "tls_trace_map_entries{map=\"files\"} ";
        let mut values = metrics.lines().filter_map(|line| line.strip_prefix(name));
        Ok(values.next().unwrap_or("0").parse()?)
    }

    /// Waits until it has made that many reports of connections from or to a port; all of these.
    ///
    /// # Errors
    /// The tracer ended, or wrote something that is no report. Too few reports are not an error here.
    pub fn reports_of(&self, port: u16, count: usize) -> Result<Vec<Arc<Report>>> {
        let of_port =
            |report: &&Arc<Report>| report.local.port() == port || report.remote.port() == port;
        self.wait(seconds(10.0), Mark(0), |reports| {
            reports.iter().filter(of_port).count() >= count
        })?;
        let mut reports = self.reports(Mark(0));
        reports.retain(|report| of_port(&report));
        Ok(reports)
    }

    /// Waits for a report from now on, of a connection from or to a port, that fulfils a condition; says whether
    /// it came.
    ///
    /// # Errors
    /// The tracer ended, or wrote something that is no report.
    pub fn says_of(&self, port: u16, condition: impl Fn(&Report) -> bool) -> Result<bool> {
        self.wait(seconds(20.0), self.mark(), |reports| {
            let own = |report: &Report| report.local.port() == port || report.remote.port() == port;
            reports
                .iter()
                .any(|report| own(report) && condition(report))
        })
    }

    /// Now, in the stream of reports.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.seen.lock().reports.len())
    }

    /// Reports since a mark.
    pub(crate) fn reports(&self, since: Mark) -> Vec<Arc<Report>> {
        let state = self.seen.lock();
        state.reports[since.0..]
            .iter()
            .map(|(_, report)| Arc::clone(report))
            .collect()
    }

    /// Flaps that began or ended since the start and are about this server's port, once there are
    /// so many of them or the deadline passes.
    ///
    /// # Errors
    /// The tracer ended, or wrote something that is no record.
    pub fn flaps(&self, port: u16, count: usize) -> Result<Vec<Flap>> {
        let deadline = Instant::now() + seconds(10.0);
        let of_port = |state: &State| {
            let flaps = state.flaps.iter().filter(|flap| flap.port == port);
            flaps.cloned().collect::<Vec<_>>()
        };
        self.seen.wait(deadline, |state| {
            (of_port(state).len() >= count).then_some(())
        })?;
        Ok(of_port(&self.seen.lock()))
    }

    /// Waits for a condition on the reports since a mark; says whether it came true in time.
    ///
    /// # Errors
    /// The tracer ended, or wrote something that is no report.
    pub(crate) fn wait(
        &self,
        longest: Duration,
        since: Mark,
        condition: impl Fn(&[Arc<Report>]) -> bool,
    ) -> Result<bool> {
        let deadline = Instant::now() + longest;
        let reached = self.seen.wait(deadline, |state| {
            let reports: Vec<_> = state.reports[since.0..]
                .iter()
                .map(|(_, report)| Arc::clone(report))
                .collect();
            condition(&reports).then_some(())
        })?;
        Ok(reached.is_some())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        if self.seen.lock().ended.is_none() {
            let _ = kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGTERM);
        }
    }
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn wait_for_change<'a>(
        &self,
        state: MutexGuard<'a, State>,
        longest: Duration,
    ) -> MutexGuard<'a, State> {
        self.changed
            .wait_timeout(state, longest)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn wait<T>(&self, deadline: Instant, found: impl Fn(&State) -> Option<T>) -> Result<Option<T>> {
        let mut state = self.lock();
        loop {
            if let Some(line) = state.strange.first() {
                bail!("the tracer wrote a line that is no report: {line}");
            }
            if let Some(found) = found(&state) {
                return Ok(Some(found));
            }
            if state.ended.is_some() {
                bail!("the tracer ended; it said: {}", state.stderr);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            state = self.wait_for_change(state, left);
        }
    }
}

/// Metrics as Prometheus reads them, from that address.
///
/// # Errors
/// Nobody serves them there.
pub fn scrape(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(seconds(5.0)))?;
    write!(
        stream,
        "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(answer)
}

/// Where the daemon is: `TLS_TRACE_BIN`, else beside the test binary, built afresh under cargo.
///
/// # Errors
/// There is none, or the build failed.
pub fn binary() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    if let Some(path) = env::var_os("TLS_TRACE_BIN") {
        return Ok(path.into());
    }
    if let Some(cargo) = env::var_os("CARGO") {
        BUILT
            .get_or_init(|| build(&cargo).map_err(|error| format!("{error:#}")))
            .as_ref()
            .map_err(|error| anyhow!("{error}"))?;
    }
    let test = env::current_exe()?;
    let path = test
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("tls-trace"))
        .find(|path| path.is_file());
    path.context("no tls-trace beside the tests: build it, or set TLS_TRACE_BIN")
}

/// Cargo does not build another package's binary for a test; an old one would prove nothing.
fn build(cargo: &std::ffi::OsStr) -> Result<()> {
    let output = Command::new(cargo)
        .args([
            "build",
            "--quiet",
            "--package",
            "tls-trace",
            "--bin",
            "tls-trace",
        ])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()?;
    ensure!(
        output.status.success(),
        "cannot build tls-trace: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Spawns the daemon from a thread that lives as long as it: the signal at the parent's end is
/// bound to the thread that forked, and a test's thread ends with the test.
fn spawn(mut command: Command, seen: &Arc<Seen>) -> Result<u32> {
    let (started, start) = std::sync::mpsc::channel();
    let seen = Arc::clone(seen);
    thread::Builder::new()
        .name("tracer".into())
        .spawn(move || {
            die_with_parent(&mut command, Signal::SIGTERM);
            command.process_group(0);
            match command.spawn() {
                Ok(mut child) => {
                    let _ = started.send(Ok(child.id()));
                    read(&mut child, &seen);
                    let status = child.wait().unwrap_or_default();
                    seen.change(|state| state.ended = Some(status));
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        })?;
    start
        .recv()?
        .with_context(|| "cannot start tls-trace".to_owned())
}

fn read(child: &mut Child, seen: &Arc<Seen>) {
    let stderr = child.stderr.take().map(|stderr| {
        let seen = Arc::clone(seen);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                seen.change(|state| {
                    state.stderr.push_str(&line);
                    state.stderr.push('\n');
                });
            }
        })
    });
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            seen.change(|state| take_line(state, &line));
        }
    }
    if let Some(stderr) = stderr {
        let _ = stderr.join();
    }
}

fn take_line(state: &mut State, line: &str) {
    if let Ok(report) = serde_json::from_str::<Report>(line) {
        state.reports.push((Instant::now(), Arc::new(report)));
        return;
    }
    if let Ok(flap) = serde_json::from_str(line) {
        state.flaps.push(flap);
        return;
    }
    match serde_json::from_str::<serde_json::Value>(line) {
        Ok(ready) if ready["ready"] == true => state.ready = Some(ready),
        _ => state.strange.push(line.to_owned()),
    }
}
