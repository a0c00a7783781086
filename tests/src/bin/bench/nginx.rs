//! What the tracer costs a server.

use anyhow::Result;

use crate::{
    Effort, Subject,
    alternate::{Pair, alternate},
    daemon::Daemon,
    figure::{Figure, Section, median},
    load::{Run, Server},
};

pub fn measure(subject: &Subject, effort: Effort) -> Result<Section> {
    let seconds = effort.pick(4, 2);
    let pairs = effort.pick(8, 3);
    let server = Server::nginx()?;
    server.load(1, None)?;
    let runs = alternate(subject, pairs, |daemon| {
        server.load(seconds, daemon.map(Daemon::pid))
    })?;
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
                with(|run| run.watcher),
                "µs",
            ),
        ],
    })
}
