//! Captures taken beside what is traced, and what `analyze` reads in them.

use std::{
    cell::RefCell,
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tls_trace::report::Report;

use crate::{
    environment::{have_programs, scratch, seconds},
    netns::Netns,
    program::{Program, Running},
    tracer::binary,
};

/// Has cases captured and both verdicts compared.
const WANTED: &str = "TLS_TRACE_TEST_CAPTURES";
/// Test files whose cases are: the others' are too many connections for it, or no handshakes.
const FILES: [&str; 6] = ["broken", "not_tls", "preface", "silence", "tcp", "tls"];

thread_local! {
    /// Captures of the case that runs on this thread.
    static OF_CASE: RefCell<OfCase> = const { RefCell::new(OfCase { running: Vec::new(), files: Vec::new() }) };
}

#[derive(Debug, Default)]
struct OfCase {
    running: Vec<Capture>,
    /// Those that had to end before the case.
    files: Vec<Result<PathBuf>>,
}

/// tcpdump on one device.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Running,
    file: PathBuf,
    /// On loopback the kernel shows it each packet twice, on the way out and on the way in; libpcap drops
    /// the former.
    shown: u64,
    /// Packets it was shown before its filter was in place.
    before: u64,
    /// How often it was asked for its counts.
    asked: usize,
}

impl Capture {
    /// Captures a port on the loopback device.
    ///
    /// # Errors
    /// tcpdump cannot.
    pub fn of_port(port: u16) -> Result<Self> {
        let tcpdump = Program::new("tcpdump").args("-i lo");
        Self::start(tcpdump, &format!("tcp port {port}"), 2)
    }

    fn start(tcpdump: Program, filter: &str, shown: u64) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let file = scratch()?.join(format!("capture-{number}.pcap"));
        let tcpdump = tcpdump
            .args("--immediate-mode -U -n -B 16384 -Z root -w")
            .arg(&file)
            .args(filter)
            .start()?;
        tcpdump.until("listening on")?;
        let mut capture = Self {
            tcpdump,
            file,
            shown,
            before: 0,
            asked: 0,
        };
        let (taken, shown) = capture.counts()?;
        capture.before = shown.saturating_sub(taken * capture.shown);
        Ok(capture)
    }

    /// Packets it has taken, and packets it was shown.
    fn counts(&mut self) -> Result<(u64, u64)> {
        self.asked += 1;
        self.tcpdump.signal(Signal::SIGUSR1)?;
        let asked = self.asked;
        let counts = self.tcpdump.nth_line_with("received by filter", asked)?;
        let numbers = counts.split(|character: char| !character.is_ascii_digit());
        let mut numbers = numbers.filter_map(|digits| digits.parse().ok());
        let counts = numbers.next().zip(numbers.next());
        counts.context("tcpdump has another way to say it")
    }

    /// Ends it once the file has every packet that passed.
    ///
    /// # Errors
    /// tcpdump fails, or the kernel dropped packets.
    pub fn stop(mut self) -> Result<PathBuf> {
        let deadline = Instant::now() + seconds(20.0);
        loop {
            let (taken, shown) = self.counts()?;
            if taken * self.shown + self.before == shown {
                break;
            }
            ensure!(
                Instant::now() < deadline,
                "{taken} packets taken, {shown} shown, {} of these before",
                self.before
            );
        }
        self.tcpdump.signal(Signal::SIGINT)?;
        self.tcpdump.finish()?.said("0 packets dropped by kernel")?;
        Ok(self.file)
    }
}

/// Reports of `tls-trace analyze`.
///
/// # Errors
/// It cannot be run, or its reports are none.
pub fn analyze(capture: &Path) -> Result<Vec<Arc<Report>>> {
    let output = Command::new(binary()?)
        .args(["analyze", "--all", "--json"])
        .arg(capture)
        .output()?;
    let lines = String::from_utf8(output.stdout)?;
    // The summary comes last.
    let reports = lines.lines().filter(|line| line.contains("\"verdict\""));
    Ok(reports
        .map(serde_json::from_str)
        .map(|report| report.map(Arc::new))
        .collect::<Result<_, _>>()?)
}

/// Begins to capture the case of this thread, if that is wanted.
pub(crate) fn begin_case(name: &str, port: u16) -> Result<()> {
    OF_CASE.take();
    if is_wanted()? && have_programs(name, &["tcpdump"])? {
        let capture = Capture::of_port(port)?;
        OF_CASE.with_borrow_mut(|case| case.running.push(capture));
    }
    Ok(())
}

/// Captures what passes the cable of a namespace as well, where its case is captured.
pub(crate) fn also_in(netns: &Netns) -> Result<()> {
    if OF_CASE.with_borrow(|case| case.running.is_empty()) {
        return Ok(());
    }
    let tcpdump = Program::new("tcpdump").args("-i wire").within(netns);
    let capture = Capture::start(tcpdump, "tcp", 1)?;
    OF_CASE.with_borrow_mut(|case| case.running.push(capture));
    Ok(())
}

/// Ends the captures in namespaces, which are about to go.
pub(crate) fn end_in_namespaces() {
    let stop = |case: &mut OfCase| {
        let in_namespaces = case.running.drain(1.min(case.running.len())..);
        case.files.extend(in_namespaces.map(Capture::stop));
    };
    OF_CASE.with_borrow_mut(stop);
}

/// What the captures of this thread's case say; nothing where it was not captured.
pub(crate) fn end_case() -> Result<Option<Vec<Arc<Report>>>> {
    let OfCase { running, files } = OF_CASE.take();
    if running.is_empty() {
        return Ok(None);
    }
    let mut reports = Vec::new();
    for file in running.into_iter().map(Capture::stop).chain(files) {
        reports.extend(analyze(&file?)?);
    }
    Ok(Some(reports))
}

fn is_wanted() -> Result<bool> {
    let test = env::current_exe()?;
    let name = test.file_name().unwrap_or_default().to_string_lossy();
    let of_file = FILES.iter().any(|file| {
        // Cargo appends a hash.
        let rest = name.strip_prefix(file);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    });
    Ok(of_file && env::var_os(WANTED).is_some())
}
