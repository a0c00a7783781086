//! The daemon as a service would run it: failures as JSON lines, metrics, a socket for `tail`.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, ChildStdout, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::Subject;

/// A running `tls-trace run`; killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    lines: Lines,
    socket: PathBuf,
    metrics: String,
    /// From exec to the line that says it traces.
    pub started_in: Duration,
}

impl Daemon {
    /// Starts it and waits until it traces.
    pub fn start(subject: &Subject) -> Result<Self> {
        Self::start_with(subject, &[])
    }

    /// As [`Self::start`], but it asks no TLS library.
    pub fn without_libraries(subject: &Subject) -> Result<Self> {
        Self::start_with(subject, &["--no-library-probes"])
    }

    fn start_with(subject: &Subject, arguments: &[&str]) -> Result<Self> {
        let socket = env::temp_dir().join(format!("tls-trace-bench-{}.sock", std::process::id()));
        let mut command = Command::new(&subject.daemon);
        command
            .args(["run", "--json", "--metrics", "127.0.0.1:0", "--socket"])
            .arg(&socket)
            .args(arguments);
        let started = Instant::now();
        let lines = Lines::start(&mut command)?;
        let (at, ready) = lines.next(Duration::from_secs(30))?;
        let ready: serde_json::Value = serde_json::from_str(&ready)?;
        ensure!(ready["ready"] == true, "unexpected first line {ready}");
        let metrics = ready["metrics"].as_str().context("no metrics address")?;
        let daemon = Self {
            lines,
            socket,
            metrics: metrics.to_owned(),
            started_in: at - started,
        };
        // Until it has read what was there before, events only wait.
        daemon.until("it is at work", |metrics| {
            metrics.text.contains("tls_trace_map_entries{")
        })?;
        Ok(daemon)
    }

    pub fn pid(&self) -> u32 {
        self.lines.child.id()
    }

    /// The next line of standard output about a failure, and when it came.
    pub fn next_line(&self, longest: Duration) -> Result<(Instant, String)> {
        self.lines.next(longest)
    }

    /// A `tls-trace tail` of this daemon.
    pub fn tail(&self, subject: &Subject) -> Result<Lines> {
        let mut command = Command::new(&subject.daemon);
        command
            .args(["tail", "--json", "--socket"])
            .arg(&self.socket);
        let tail = Lines::start(&mut command)?;
        self.until("tail is connected", |metrics| {
            metrics.sum("tls_trace_tail_readers") >= 1.0
        })?;
        Ok(tail)
    }

    pub fn metrics(&self) -> Result<Metrics> {
        let text = tls_trace_tests::scrape(&self.metrics)?;
        Ok(Metrics { text })
    }

    /// Waits for a condition on its metrics.
    pub fn until(&self, what: &str, condition: impl Fn(&Metrics) -> bool) -> Result<Metrics> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let metrics = self.metrics()?;
            if condition(&metrics) {
                return Ok(metrics);
            }
            if Instant::now() > deadline {
                bail!("waited in vain until {what}:\n{}", metrics.text);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Lets it end by itself, so that nothing of it disturbs what is measured next.
    pub fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(self.pid().cast_signed()), Signal::SIGTERM)?;
        let status = self.lines.child.wait()?;
        ensure!(status.success(), "the daemon ended with {status}");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A daemon that was killed leaves it behind.
        let _ = fs::remove_file(&self.socket);
    }
}

/// A program and the lines it writes; killed when dropped.
#[derive(Debug)]
pub struct Lines {
    child: Child,
    lines: Receiver<(Instant, String)>,
}

impl Lines {
    fn start(command: &mut Command) -> Result<Self> {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let stdout = child.stdout.take();
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in stdout.into_iter().flat_map(read_lines) {
                // Nobody listens any more: the rest is read all the same.
                let _ = sender.send((Instant::now(), line));
            }
        });
        Ok(Self { child, lines })
    }

    /// The next line and when it came.
    pub fn next(&self, longest: Duration) -> Result<(Instant, String)> {
        match self.lines.recv_timeout(longest) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => bail!("no line within {longest:?}"),
            Err(RecvTimeoutError::Disconnected) => bail!("ended; run it by hand to see why"),
        }
    }
}

fn read_lines(stdout: ChildStdout) -> impl Iterator<Item = String> {
    BufReader::new(stdout).lines().map_while(Result::ok)
}

impl Drop for Lines {
    fn drop(&mut self) {
        // Gone already, or its end is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a scrape returned.
#[derive(Debug)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// The sum over all series of a name.
    pub fn sum(&self, name: &str) -> f64 {
        self.text
            .lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Events lost, anywhere.
    pub fn lost(&self) -> f64 {
        self.sum("tls_trace_events_lost_total")
    }
}
