//! What the tracer costs a server.

use std::{
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use tls_trace_tests::{
    certificates::Certificates,
    program::{Program, Running},
    servers,
};

use crate::{
    Effort, Subject,
    alternate::{Pair, alternate},
    daemon::Daemon,
    figure::{Figure, Section, median},
    programs::count,
    usage,
};

/// nginx with one worker, and clients for the other core.
pub struct Server {
    nginx: Running,
    port: u16,
}

/// What clients did with it.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    pub handshakes: f64,
    /// A second.
    pub rate: f64,
    /// Microseconds of CPU time per handshake of server and clients.
    programs: f64,
    /// Microseconds of CPU time per handshake of the tracer.
    tracer: f64,
}

impl Server {
    pub fn start() -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let certificate = Certificates::shared()?.good();
        let nginx = servers::nginx_tls(port, 1, &certificate)?;
        Ok(Self { nginx, port })
    }

    /// New TLS 1.3 handshakes as fast as they go, for about so many seconds.
    pub fn load(&self, seconds: u32, daemon: Option<&Daemon>) -> Result<Run> {
        let tracer = || daemon.map_or(Ok(Duration::ZERO), |daemon| usage::cpu(daemon.pid()));
        let cpu = || anyhow::Ok(usage::cpu(self.nginx.pid())? + usage::children_cpu()?);
        let (programs_before, tracer_before, started) = (cpu()?, tracer()?, Instant::now());
        let handshakes = count(self.clients(seconds)?);
        let elapsed = started.elapsed();
        let each = |time: Duration| time.as_secs_f64() * 1e6 / handshakes.max(1.0);
        Ok(Run {
            handshakes,
            rate: handshakes / elapsed.as_secs_f64(),
            programs: each(cpu()?.saturating_sub(programs_before)),
            tracer: each(tracer()?.saturating_sub(tracer_before)),
        })
    }

    fn clients(&self, seconds: u32) -> Result<u64> {
        let arguments = format!(
            "s_time -new -connect 127.0.0.1:{} -time {seconds}",
            self.port
        );
        let clients = [(); 2].map(|()| {
            let arguments = arguments.clone();
            thread::spawn(move || Program::new("openssl").args(&arguments).run())
        });
        let mut handshakes = 0;
        for client in clients {
            let finished = client.join().map_err(|_| anyhow!("a client panicked"))??;
            let output = finished.success()?.output;
            // "1234 connections in 0.56s; 2203.57 connections/user sec, bytes read 0"
            let number = output
                .split_once(" connections in")
                .and_then(|(before, _)| before.rsplit(['\n', ' ']).next()?.parse::<u64>().ok());
            handshakes += number.with_context(|| format!("openssl said: {output}"))?;
        }
        Ok(handshakes)
    }
}

pub fn measure(subject: &Subject, effort: Effort) -> Result<Section> {
    let seconds = effort.pick(4, 2);
    let pairs = effort.pick(8, 3);
    let server = Server::start()?;
    server.load(1, None)?;
    let runs = alternate(subject, pairs, |daemon| server.load(seconds, daemon))?;
    let with = |value: fn(&Run) -> f64| median(runs.iter().map(|pair| value(&pair.with)).collect());
    let without =
        |value: fn(&Run) -> f64| median(runs.iter().map(|pair| value(&pair.without)).collect());
    let ratio = |value: fn(&Run) -> f64| {
        let ratio = |pair: &Pair<Run>| value(&pair.with) / value(&pair.without);
        median(runs.iter().map(ratio).collect())
    };
    Ok(Section {
        title: "nginx",
        method: format!(
            "New TLS 1.3 handshakes (ECDSA P-256) of 2 × `openssl s_time -new` with nginx, one \
             worker, all on this machine and fighting for its cores with the tracer, which traces \
             both ends of each connection. {pairs} pairs of runs of {seconds} s, with and without \
             the tracer in turns; medians, and medians of the ratios of the pairs. CPU time is \
             user and system, from /proc/PID/task/*/schedstat and getrusage(2)."
        ),
        figures: vec![
            Figure::new(
                "handshakes/s without the tracer",
                without(|run| run.rate),
                "",
            ),
            Figure::new("handshakes/s with the tracer", with(|run| run.rate), ""),
            Figure::new("handshakes/s, ratio", ratio(|run| run.rate), "").at_least(0.99),
            Figure::new(
                "CPU per handshake of server and client without",
                without(|run| run.programs),
                "µs",
            ),
            Figure::new(
                "CPU per handshake of server and client with",
                with(|run| run.programs),
                "µs",
            ),
            Figure::new(
                "CPU per handshake of server and client, ratio",
                ratio(|run| run.programs),
                "",
            )
            .at_most(1.01),
            Figure::new(
                "CPU per handshake of the tracer, both ends",
                with(|run| run.tracer),
                "µs",
            ),
        ],
    })
}
