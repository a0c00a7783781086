//! How many connections the tracer can follow.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    Effort, Subject,
    daemon::Daemon,
    figure::{Figure, Section},
    handshake::{Server, Then, load},
    programs::count,
    usage,
};

/// Connections a second, the last as fast as it goes.
const STEPS: [f64; 5] = [1_000.0, 4_000.0, 8_000.0, 16_000.0, f64::INFINITY];
/// Each with a thread of the server.
const CLIENTS: u32 = 4;

struct Step {
    /// Ends of connections a second, as they came about.
    rate: f64,
    lost: f64,
    /// Ends that got a report, of those that there were.
    reported: f64,
    /// Microseconds of the tracer's CPU time per end.
    cpu: f64,
    /// Part of one core that the tracer used.
    share: f64,
}

pub fn measure(subject: &Subject, effort: Effort) -> Result<Section> {
    let time = effort.pick(Duration::from_secs(4), Duration::from_secs(2));
    let server = Server::start(CLIENTS as usize, Then::Close)?;
    let daemon = Daemon::start(subject)?;
    let mut steps = Vec::new();
    for rate in STEPS {
        steps.push(step(&daemon, server.port, rate, time)?);
    }
    daemon.stop()?;
    let mut figures = Vec::new();
    for step in &steps {
        let Step {
            rate,
            lost,
            reported,
            share,
            ..
        } = step;
        let what = format!(
            "at {rate:.0} connections/s, with {:.0} % of a core: events lost; reported {:.3} %",
            share * 100.0,
            reported * 100.0
        );
        figures.push(Figure::new(what, *lost, ""));
    }
    let without_loss = steps.iter().take_while(|step| step.lost == 0.0);
    let highest = without_loss.map(|step| step.rate).fold(0.0, f64::max);
    figures.push(Figure::new("highest rate without loss", highest, "/s").at_least(122_000.0));
    if let Some(last) = steps.last() {
        figures.push(Figure::new(
            "CPU of the tracer, a connection",
            last.cpu,
            "µs",
        ));
        let core = 1e6 / last.cpu;
        figures.push(
            Figure::new("connections/s that fill one core, by that", core, "/s")
                .at_least(122_000.0),
        );
    }
    Ok(Section {
        title: "Connection rate",
        method: format!(
            "{CLIENTS} clients open, complete the messages of a TLS 1.3 handshake (real bytes, no \
             cryptography) and close, {time:?} at each rate, the last as fast as they can; clients, \
             server and tracer share the cores. Losses are those in /metrics. A connection is one \
             end of it: both are here, and each is tracked and reported."
        ),
        figures,
    })
}

fn step(daemon: &Daemon, port: u16, rate: f64, time: Duration) -> Result<Step> {
    let before = daemon.metrics()?;
    let (cpu, started) = (usage::cpu(daemon.pid())?, Instant::now());
    let ends = 2.0 * count(load(port, CLIENTS, rate, time)?);
    let elapsed = started.elapsed().as_secs_f64();
    // Until the last was reported; the gauge is refreshed every second.
    let connections = "tls_trace_connections_total";
    let reported =
        |metrics: &crate::daemon::Metrics| metrics.sum(connections) - before.sum(connections);
    let after = daemon.until("all is reported", |metrics| {
        reported(metrics) >= ends || metrics.lost() > before.lost() || started.elapsed() > time * 3
    })?;
    let cpu = usage::cpu(daemon.pid())?.saturating_sub(cpu).as_secs_f64();
    Ok(Step {
        rate: ends / elapsed,
        lost: after.lost() - before.lost(),
        reported: reported(&after) / ends,
        cpu: cpu * 1e6 / ends,
        share: cpu / elapsed,
    })
}
