//! Processes that live for one connection: a server forks for each, a client forks or runs a program for each.

use std::{collections::BTreeMap, env, fs, time::Instant};

use anyhow::{Result, ensure};
use tls_trace::{
    event::LibraryName,
    report::{Cause, Outcome},
};
use tls_trace_tests::{
    Case, KernelObjects, certificates::Certificates, describe, is_slow, program::Program, seconds,
    truth,
};

/// How many connections, if not the default.
const CONNECTIONS: &str = "TLS_TRACE_TEST_CONNECTIONS";

/// None fails, each is known as what it was, by its library too, and the tracer holds on to nothing.
#[test]
fn fork_and_exec_for_each_connection() {
    truth(&["python3", "openssl"], |case| {
        let connections = env::var(CONNECTIONS).ok();
        let connections = connections.map(|number| number.parse()).transpose()?;
        let connections = connections.unwrap_or(if is_slow() { 20 } else { 160 });
        let certificates = Certificates::shared()?;
        let server = forking(&format!("server {} {}", case.port(), certificates.good()))
            .listening(case.port())?;
        // Whatever is opened at first use.
        talk(case, &certificates.ca(), 10)?;
        let before = Held::by(case)?;
        talk(case, &certificates.ca(), connections)?;
        ensure!(!server.output().contains("error"), "{}", server.output());
        is_known(case, connections + 10)?;
        before.is_all_there_is(case)
    });
}

fn forking(arguments: &str) -> Program {
    let script = include_str!("../programs/forking.py");
    Program::new("python3")
        .arg("-c")
        .arg(script)
        .args(arguments)
}

fn talk(case: &Case, ca: &str, connections: usize) -> Result<()> {
    let client = forking(&format!(
        "client 127.0.0.1 {} {ca} {connections} 2",
        case.port()
    ));
    let output = client.run_for(seconds(600.0))?.success()?.output;
    let good = output.lines().filter(|line| *line == "ok").count();
    ensure!(good == connections, "{output}");
    Ok(())
}

/// Both ends of each connection, as its library saw it.
fn is_known(case: &Case, connections: usize) -> Result<()> {
    let reports = case.all(2 * connections)?;
    let count = reports.len();
    ensure!(
        count == 2 * connections,
        "{count} reports of {connections} connections"
    );
    for report in reports {
        let verdict = &report.verdict;
        let good = (verdict.outcome, verdict.cause) == (Outcome::Established, Cause::None);
        let library = report.library.as_ref().map(|library| library.name);
        ensure!(
            good && library == Some(LibraryName::Openssl),
            "{}",
            describe(&report)
        );
    }
    Ok(())
}

/// What the tracer has open.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    /// Descriptors but files, by what they lead to.
    descriptors: BTreeMap<String, usize>,
    /// Probes, by the number of libraries that they are in: those of others come and go.
    links: BTreeMap<usize, usize>,
}

impl Held {
    fn by(case: &Case) -> Result<Self> {
        let pid = case.tracer().pid();
        let mut descriptors = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
            // It may be closed by now.
            let Ok(target) = fs::read_link(entry?.path()) else {
                continue;
            };
            let target = target.to_string_lossy();
            // Sockets and pipes have numbers.
            let kind = target.split(":[").next().unwrap_or_default();
            if !kind.starts_with('/') && kind != "anon_inode:bpf_link" {
                *descriptors.entry(kind.to_owned()).or_default() += 1;
            }
        }
        let libraries = case.tracer().hooked()?;
        let links = KernelObjects::of(pid)?.links.len();
        Ok(Self {
            descriptors,
            links: BTreeMap::from([(libraries, links)]),
        })
    }

    /// Waits until the tracer has no more open than this: it looks at processes a moment after they are gone.
    fn is_all_there_is(&self, case: &Case) -> Result<()> {
        let deadline = Instant::now() + seconds(10.0);
        loop {
            let now = Self::by(case)?;
            let others = self.links.keys().ne(now.links.keys());
            if self.descriptors == now.descriptors && (self.links == now.links || others) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "before: {self:?}; now: {now:?}");
            std::thread::yield_now();
        }
    }
}
