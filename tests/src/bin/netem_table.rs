//! Prints what delay and loss do to handshakes, as the tracer reports it: the table of
//! docs/netem.md. Needs root and a kernel with netem.

use std::sync::Arc;

use anyhow::{Result, ensure};
use tls_trace::report::{Notice, Report, Role};
use tls_trace_tests::{
    Case, certificates::Certificates, clients, netns::Pair, seconds, servers, truth,
};

/// Handshakes for each row.
const HANDSHAKES: usize = 100;
/// Clients that share them. Few, and with pauses: the processor shall be no part of the waiting.
const CLIENTS: usize = 10;
/// A client waits about so many seconds before each handshake.
const PAUSE: u64 = 2;
/// A client gives up after so many seconds.
const PATIENCE: u64 = 30;

fn main() {
    println!(
        "{HANDSHAKES} handshakes a row, {CLIENTS} clients, patience {PATIENCE} s, Linux {}",
        std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()
    );
    println!(
        "| delay, jitter each way | loss each way | handshakes that succeed | ClientHello sent again | most often by one client | ClientHello to ServerHello, median | 90th percentile |"
    );
    println!("|---|---|---|---|---|---|---|");
    for delay in [0, 50, 200] {
        for loss in [0, 10, 30] {
            truth(&["ip", "tc", "python3"], |case| {
                let row = measure(case, delay, loss)?;
                println!("| {delay} ± {delay} ms | {loss} % | {row} |");
                Ok(())
            });
        }
    }
}

/// Fills the other columns.
fn measure(case: &Case, delay: u32, loss: u32) -> Result<String> {
    let pair = Pair::create()?;
    let certificates = Certificates::shared()?;
    let _server = servers::python(case.port(), &certificates.good(), "bind=10.77.0.2")
        .within(&pair.server)
        .listening(case.port())?;
    for end in [&pair.client, &pair.server] {
        end.netem(&format!(
            "delay {delay}ms {delay}ms loss {loss}% limit 100000"
        ))?;
    }
    let options = format!(
        "ca={} end=close count={HANDSHAKES} parallel={CLIENTS} pause={PAUSE} patience={PATIENCE}",
        certificates.ca()
    );
    let told = clients::python(pair.address(case.port()), &options)
        .within(&pair.client)
        .run_for(seconds(240.0))?
        .output;
    ensure!(told.lines().count() == HANDSHAKES, "{told}");
    let succeeded = told.lines().filter(|line| line.starts_with("ok")).count();
    let reports: Vec<_> = case
        .all(2 * HANDSHAKES)?
        .into_iter()
        .filter(|report| report.role == Role::Client)
        .collect();
    Ok(summary(&reports, succeeded))
}

fn summary(reports: &[Arc<Report>], succeeded: usize) -> String {
    let again = |report: &&Arc<Report>| report.notices.contains(&Notice::ClientHelloRetransmitted);
    let repeated = reports.iter().filter(again).count();
    let most = reports
        .iter()
        .map(|report| report.tcp.client_hello_retransmits)
        .max()
        .unwrap_or_default();
    let mut waits: Vec<_> = reports
        .iter()
        .filter_map(|report| report.phases_ms.server_hello)
        .collect();
    waits.sort_by(f64::total_cmp);
    format!(
        "{} % | by {} % | {most} times | {} | {}",
        succeeded * 100 / HANDSHAKES,
        repeated * 100 / reports.len().max(1),
        quantile(&waits, 50),
        quantile(&waits, 90)
    )
}

fn quantile(sorted: &[f64], percent: usize) -> String {
    let last = sorted.len().saturating_sub(1);
    sorted
        .get(last * percent / 100)
        .map_or("–".to_owned(), |ms| format!("{ms:.0} ms"))
}
