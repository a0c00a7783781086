//! What asking TLS libraries costs, beside what others cost that ask one.

use anyhow::Result;
use tls_trace::probe::HOOKS;
use tls_trace_tests::{boringssl, find, go};

use crate::{
    Effort, Subject,
    bpftrace::{self, Bpftrace},
    daemon::Daemon,
    figure::{Figure, Section, median},
    load::{Run, Server},
    programs::{self, Snapshot, Statistics, Work, count},
};

/// Bytes of a program's name that the kernel keeps.
const NAME: usize = 15;

/// Both ends of handshakes by one library.
struct Pair {
    name: &'static str,
    /// As in metrics.
    label: &'static str,
    /// Without it there is nothing to measure.
    program: &'static str,
    start: fn() -> Result<Server>,
}

/// Who watches while a load runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Nobody,
    /// The tracer, without asking libraries.
    Wire,
    /// The tracer.
    Tracer,
    Latency,
    Sniff,
}

enum Watcher {
    Nobody,
    Daemon(Daemon),
    Bpftrace(Bpftrace),
}

impl Who {
    fn name(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Wire => "the tracer, wire only",
            Self::Tracer => "the tracer with library probes",
            Self::Latency => "bpftrace like ssllatency",
            Self::Sniff => "bpftrace like sslsniff",
        }
    }

    /// Starts to watch, and waits until it does.
    fn start(self, subject: &Subject, pair: &Pair, server: &Server) -> Result<Watcher> {
        let bpftrace = |script| Bpftrace::start(script, server.pid()).map(Watcher::Bpftrace);
        match self {
            Self::Nobody => Ok(Watcher::Nobody),
            Self::Wire => Daemon::without_libraries(subject).map(Watcher::Daemon),
            Self::Tracer => {
                let daemon = Daemon::start(subject)?;
                let label = pair.label;
                let covered =
                    format!("tls_trace_processes{{coverage=\"covered\",library=\"{label}\"}}");
                daemon.until("the server is covered", |metrics| {
                    metrics.sum(&covered) >= 1.0
                })?;
                Ok(Watcher::Daemon(daemon))
            }
            Self::Latency => bpftrace(bpftrace::LATENCY),
            Self::Sniff => bpftrace(bpftrace::SNIFF),
        }
    }
}

impl Watcher {
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Nobody => None,
            Self::Daemon(daemon) => Some(daemon.pid()),
            Self::Bpftrace(bpftrace) => Some(bpftrace.pid()),
        }
    }

    fn stop(self) -> Result<()> {
        match self {
            Self::Nobody => Ok(()),
            Self::Daemon(daemon) => daemon.stop(),
            Self::Bpftrace(bpftrace) => bpftrace.stop(),
        }
    }
}

pub fn measure(subject: &Subject, effort: Effort) -> Result<Section> {
    let pairs = [
        Pair {
            name: "OpenSSL",
            label: "openssl_ssl",
            program: "nginx",
            start: Server::nginx,
        },
        Pair {
            name: "Go",
            label: "go",
            program: go::program(),
            start: Server::go,
        },
        Pair {
            name: "GnuTLS",
            label: "gnutls",
            program: "gnutls-serv",
            start: Server::gnutls,
        },
        Pair {
            name: "BoringSSL",
            label: "boringssl",
            program: boringssl::program(),
            start: Server::boringssl,
        },
    ];
    let seconds = effort.pick(4, 1);
    let rounds = effort.pick(6, 3);
    let mut figures = Vec::new();
    let mut missing = Vec::new();
    for pair in &pairs {
        if find(pair.program).is_none() {
            missing.push(format!("{}: {} is missing.", pair.name, pair.program));
            continue;
        }
        let mut watchers = vec![Who::Nobody, Who::Wire, Who::Tracer];
        if pair.name == "OpenSSL" {
            if find("bpftrace").is_some() {
                watchers.extend([Who::Latency, Who::Sniff]);
            } else {
                missing.push("bpftrace is missing.".to_owned());
            }
        }
        let server = (pair.start)()?;
        server.load(1, None)?;
        kernel_time(subject, pair, &server, &watchers, seconds, &mut figures)?;
        cpu_time(
            subject,
            pair,
            &server,
            &watchers,
            (rounds, seconds),
            &mut figures,
        )?;
    }
    Ok(Section {
        title: "TLS libraries",
        method: format!(
            "New TLS 1.3 handshakes (ECDSA P-256) as fast as two clients make them, the same \
             library on both ends: nginx, one worker, and `openssl s_time -new`; tests/programs/\
             peer.go; gnutls-serv and tests/programs/gnutls.py; tests/programs/boringssl.py. \
             Kernel time: `run_time_ns` of the programs at library functions (BPF_ENABLE_STATS), \
             less what an empty tp_btf program takes, over {seconds} s; getting there and back is \
             not in it, but in the CPU time. CPU time and rate: {rounds} rounds, in each {seconds} \
             s with each watcher, which begin in turns; medians of the ratios to the run without \
             one in the same round. CPU time is user and system, of server and clients. bpftrace \
             probes entry and return of SSL_do_handshake and keeps a histogram by thread (like \
             ssllatency), or of SSL_read, SSL_write and SSL_do_handshake and prints a line for \
             each (like sslsniff). {}",
            missing.join(" ")
        )
        .trim_end()
        .to_owned(),
        figures,
    })
}

/// Time of the programs themselves, for a handshake of one end.
fn kernel_time(
    subject: &Subject,
    pair: &Pair,
    server: &Server,
    watchers: &[Who],
    seconds: u32,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let statistics = Statistics::enable(&subject.empty)?;
    for who in watchers {
        if matches!(who, Who::Nobody | Who::Wire) {
            continue;
        }
        let watcher = who.start(subject, pair, server)?;
        let Some(pid) = watcher.pid() else { continue };
        server.load(1, None)?;
        let before = statistics.now(pid)?;
        let run = server.load(seconds, None)?;
        let after = statistics.now(pid)?;
        watcher.stop()?;
        let work = at_libraries(*who, &before, &after);
        let ends = run.handshakes * 2.0;
        let runs: f64 = work
            .programs
            .iter()
            .map(|program| count(program.runs))
            .sum();
        let (name, who_name, runs) = (pair.name, who.name(), runs / ends);
        let what = format!("{name}: kernel time of {who_name}, an end ({runs:.1} runs)");
        let figure = Figure::new(what, work.sum() / ends / 1e3, "µs");
        figures.push(if *who == Who::Tracer {
            figure.at_most(5.0)
        } else {
            figure
        });
    }
    Ok(())
}

/// What programs at library functions did; all that bpftrace has are.
fn at_libraries(who: Who, before: &Snapshot, after: &Snapshot) -> Work {
    let mut work = Work::between(before, after);
    if who == Who::Tracer {
        let libraries = HOOKS.iter().filter(|hook| hook.object.is_library());
        let names: Vec<_> = libraries
            .map(|hook| &hook.name[..hook.name.len().min(NAME)])
            .collect();
        let at_library =
            |program: &programs::Program| names.iter().any(|name| program.name.starts_with(name));
        work.programs.retain(at_library);
    }
    work
}

/// CPU time and rate beside the run without a watcher.
fn cpu_time(
    subject: &Subject,
    pair: &Pair,
    server: &Server,
    watchers: &[Who],
    (rounds, seconds): (usize, u32),
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let mut runs: Vec<Vec<Run>> = Vec::new();
    for round in 0..rounds {
        let mut of_round = vec![None; watchers.len()];
        for step in 0..watchers.len() {
            let number = (round + step) % watchers.len();
            let watcher = watchers[number].start(subject, pair, server)?;
            of_round[number] = Some(server.load(seconds, watcher.pid())?);
            watcher.stop()?;
        }
        runs.push(of_round.into_iter().flatten().collect());
    }
    let name = pair.name;
    let middle = |number: usize, value: fn(&Run) -> f64| {
        median(runs.iter().map(|round| value(&round[number])).collect())
    };
    let rate = |run: &Run| run.rate;
    let cpu = |run: &Run| run.programs;
    figures.extend([
        Figure::new(
            format!("{name}: handshakes/s, nobody watches"),
            middle(0, rate),
            "",
        ),
        Figure::new(
            format!("{name}: CPU per handshake, nobody watches"),
            middle(0, cpu),
            "µs",
        ),
    ]);
    for (number, who) in watchers.iter().enumerate().skip(1) {
        let who_name = who.name();
        let ratio = |value: fn(&Run) -> f64| {
            let ratios = runs
                .iter()
                .map(|round| value(&round[number]) / value(&round[0]));
            median(ratios.collect())
        };
        let rate = Figure::new(
            format!("{name}: handshakes/s, {who_name}, ratio"),
            ratio(rate),
            "",
        );
        let least = match (who, pair.name) {
            (Who::Tracer, "OpenSSL") => Some(0.97),
            (Who::Wire, "OpenSSL") => Some(0.99),
            _ => None,
        };
        figures.extend([
            match least {
                Some(least) => rate.at_least(least),
                None => rate,
            },
            Figure::new(
                format!("{name}: CPU per handshake, {who_name}, ratio"),
                ratio(cpu),
                "",
            ),
            Figure::new(
                format!("{name}: CPU of {who_name} itself, per handshake"),
                middle(number, |run| run.watcher),
                "µs",
            ),
        ]);
    }
    Ok(())
}
