//! Ends of HTTP/2 connections that their kernels or the network make, seen from outside.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use tls_trace::report::{Cause, Confidence, Initiator, Outcome, Phase, Report, Role};
use tls_trace_tests::{
    Case,
    certificates::Certificates,
    describe, fault,
    fault::Rules,
    netns::Pair,
    program::{Program, Running},
    seconds, truth,
    vantage::fields,
};

/// One lost keepalive probe, and the connection is given up: `TCP_USER_TIMEOUT` is shorter than the probes are
/// apart, as gRPC sets it (grpc-go#6250).
#[test]
fn tcp_user_timeout() {
    truth(&["ip", "nft", "python3"], |case| {
        let pair = Pair::create()?;
        let _server = serve(case, &pair)?;
        let client = connect(case, &pair, "timeout=1000 keepalive=1")?;
        client.until("ready")?;
        let rules = fault::blackhole(&pair.server)?;
        client.until("lost")?;
        rules.hit(1)?;
        drop(rules);
        let report = client_end(case)?;
        let (by, cause) = (Initiator::ClientKernel, Cause::TcpUserTimeout);
        check(&report, by, cause, Confidence::Likely)
    });
}

/// A firewall forgets a connection on which nobody says anything, and answers what comes then with a reset.
#[test]
fn idle_timeout_middlebox() {
    truth(&["ip", "nft", "python3"], |case| {
        let pair = Pair::create()?;
        let _server = serve(case, &pair)?;
        // Longer than what counts as silence, by what this machine may need to set the rule.
        let pause = Duration::from_secs(5) + seconds(1.0);
        let pause = format!("pause={}", pause.as_secs_f64());
        let client = connect(case, &pair, &pause)?;
        client.until("ready")?;
        // Not an acknowledgement that was on its way.
        let matching = format!("tcp dport {} tcp flags & psh == psh", case.port());
        let rules = Rules::input(&pair.server, &matching, "reject with tcp reset")?;
        client.until("lost")?;
        rules.hit(1)?;
        drop(rules);
        let report = client_end(case)?;
        // The other end is here, and sent no reset.
        let (by, cause) = (Initiator::Network, Cause::IdleTimeoutMiddlebox);
        check(&report, by, cause, Confidence::Certain)?;
        let mut evidence = report.verdict.evidence.iter();
        let silence = evidence.any(|fact| fact.fact.contains("nobody had said anything for"));
        ensure!(silence, "{}", describe(&report));
        Ok(())
    });
}

fn serve(case: &Case, pair: &Pair) -> Result<Running> {
    let certificate = Certificates::shared()?.good();
    let address = pair.address(case.port());
    let server = program(&format!(
        "server {} {} {certificate}",
        address.ip(),
        address.port()
    ));
    let server = server.within(&pair.server).start()?;
    server.until("listens")?;
    Ok(server)
}

fn connect(case: &Case, pair: &Pair, options: &str) -> Result<Running> {
    let address = pair.address(case.port());
    let client = program(&format!(
        "client {} {} {options}",
        address.ip(),
        address.port()
    ));
    client.within(&pair.client).start()
}

fn program(arguments: &str) -> Program {
    Program::new("python3")
        .arg("-c")
        .arg(include_str!("../programs/http2.py"))
        .args(arguments)
}

/// The server's end may not even know.
fn client_end(case: &Case) -> Result<Arc<Report>> {
    let reports = case.all(1)?;
    let mut ends = reports.into_iter();
    let client = ends.find(|report| report.role == Role::Client);
    client.context("no report of the client's end")
}

fn check(
    report: &Report,
    initiator: Initiator,
    cause: Cause,
    confidence: Confidence,
) -> Result<()> {
    let (broken, ready) = (Outcome::Broken, Phase::H2Ready);
    let expected = (cause, broken, initiator, confidence, ready);
    ensure!(fields(&report.verdict) == expected, "{}", describe(report));
    Ok(())
}
