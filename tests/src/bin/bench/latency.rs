//! How soon the tracer is there, and how soon it says what happened.

use std::{
    net::{TcpListener, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tls_trace_tests::actor;

use crate::{
    Effort, Subject,
    daemon::Daemon,
    figure::{Figure, Section, median},
};

pub fn measure(subject: &Subject, effort: Effort) -> Result<Section> {
    let starts = effort.pick(10, 4);
    let failures = effort.pick(30, 8);
    let mut started = Vec::new();
    for _ in 0..starts {
        let daemon = Daemon::start(subject)?;
        started.push(milliseconds(daemon.started_in));
        daemon.stop()?;
    }
    let daemon = Daemon::start(subject)?;
    let tail = daemon.tail(subject)?;
    let (mut in_output, mut in_tail) = (Vec::new(), Vec::new());
    for _ in 0..failures {
        let (closed, port) = failure()?;
        in_output.push(line_after(closed, port, |longest| {
            daemon.next_line(longest)
        })?);
        in_tail.push(line_after(closed, port, |longest| tail.next(longest))?);
    }
    drop(tail);
    daemon.stop()?;
    let slowest = in_tail.iter().copied().fold(0.0, f64::max);
    Ok(Section {
        title: "Latency",
        method: format!(
            "Start: from exec to the line that says that every connection is traced, {starts} \
             starts. Failure: a server closes instead of answering a ClientHello; from its close() \
             to the line about that connection on standard output and in `tls-trace tail`, \
             {failures} times."
        ),
        figures: vec![
            Figure::new("start, median", median(started), "ms").at_most(300.0),
            Figure::new(
                "failure to line on standard output, median",
                median(in_output),
                "ms",
            )
            .at_most(1000.0),
            Figure::new("failure to line in tail, median", median(in_tail), "ms").at_most(1000.0),
            Figure::new("failure to line in tail, slowest", slowest, "ms").at_most(1000.0),
        ],
    })
}

/// A handshake that fails: the moment of its end, and the client's port.
fn failure() -> Result<(Instant, u16)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let client = actor::hello(listener.local_addr()?)?;
    let port = client.local_addr()?.port();
    let server: TcpStream = actor::accept_hello(&listener)?;
    let closed = Instant::now();
    drop(server);
    drop(client);
    Ok((closed, port))
}

/// Milliseconds until the line about the client's end.
fn line_after(
    closed: Instant,
    port: u16,
    next: impl Fn(Duration) -> Result<(Instant, String)>,
) -> Result<f64> {
    let local = format!(":{port}");
    let deadline = closed + Duration::from_secs(5);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("nothing was said about the connection of port {port}");
        }
        let (at, line) = next(left)?;
        let report: serde_json::Value = serde_json::from_str(&line)?;
        if report["local"]
            .as_str()
            .is_some_and(|address| address.ends_with(&local))
        {
            return Ok(milliseconds(at - closed));
        }
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
