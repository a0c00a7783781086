//! Long and lossy ways: slow, but no failure.

use anyhow::{Result, ensure};
use tls_trace::report::{Outcome, Report, Role};
use tls_trace_tests::{
    Case, certificates::Certificates, clients, describe, netns::Pair, say_skipped, seconds,
    servers, truth,
};

const HANDSHAKES: usize = 20;

/// Half a round trip.
const DELAY_MS: u32 = 60;

#[test]
fn delay_and_loss() {
    truth(&["ip", "python3", "tc"], |case| {
        let pair = Pair::create()?;
        let settings = format!("delay {DELAY_MS}ms loss 10%");
        for end in [&pair.client, &pair.server] {
            if let Err(error) = end.netem(&settings) {
                say_skipped("delay_and_loss", &format!("no netem: {error:#}"));
                return Ok(());
            }
        }
        shake_hands(case, &pair)?;
        let reports = case.all(2 * HANDSHAKES)?;
        ensure!(reports.len() == 2 * HANDSHAKES, "{} reports", reports.len());
        for report in reports {
            ensure!(is_right(&report), "{}", describe(&report));
        }
        Ok(())
    });
}

fn shake_hands(case: &Case, pair: &Pair) -> Result<()> {
    let certificates = Certificates::shared()?;
    let _server = servers::python(case.port(), &certificates.good(), "bind=10.77.0.2")
        .within(&pair.server)
        .listening(case.port())?;
    let options = format!("ca={} count={HANDSHAKES} parallel=5", certificates.ca());
    let told = clients::python(pair.address(case.port()), &options)
        .within(&pair.client)
        .run_for(seconds(120.0))?
        .output;
    let succeeded = told.lines().filter(|line| line.starts_with("ok")).count();
    ensure!(succeeded == HANDSHAKES, "{told}");
    // The clients' last words are still on the way, or lost and sent again.
    case.wait_for(2 * HANDSHAKES)
}

/// Who ended it first is chance here: a FIN may be lost.
fn is_right(report: &Report) -> bool {
    let waited = report.phases_ms.server_hello;
    let far = waited.is_some_and(|ms| ms >= 2.0 * f64::from(DELAY_MS));
    // The server answers at once.
    let far = far || report.role == Role::Server;
    report.verdict.outcome == Outcome::Established && far
}
