//! Why HTTP/2 connections of Go programs end: what grpc-go and net/http say themselves.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tls_trace::report::{Cause, Confidence, Initiator, Notice, Outcome, Phase, Report, Role};
use tls_trace_tests::{
    Case, Expected, both,
    certificates::Certificates,
    clients, describe,
    grpc::{self, Build},
    milliseconds, truth, words,
};

#[test]
fn too_many_pings() {
    for build in [Build::Now, Build::Stripped, Build::Before] {
        truth(&[grpc::program()], |case| {
            let client = format!("client calls=1 ping={}", milliseconds(0.05));
            flap(case, build, "server", &client)?;
            case.expect(both(|end| {
                let cause = Cause::H2GoawayTooManyPings;
                ready(end.broken(Initiator::ServerApp, cause))
                    .and("GOAWAY", |report| said(report, 11, "too_many_pings"))
                    .and("gRPC's words", grpc_was_ready)
            }))
        });
    }
}

#[test]
fn max_connection_age() {
    for build in [Build::Now, Build::Before] {
        truth(&[grpc::program()], |case| {
            let server = format!("server age={}", milliseconds(0.3));
            flap(case, build, &server, "client calls=1")?;
            case.expect(both(|end| graceful(end, Cause::H2GoawayMaxAge, "max_age")))
        });
    }
}

#[test]
fn max_connection_idle() {
    truth(&[grpc::program()], |case| {
        let server = format!("server idle={}", milliseconds(0.3));
        flap(case, Build::Stripped, &server, "client calls=1")?;
        case.expect(both(|end| {
            graceful(end, Cause::H2GoawayMaxIdle, "max_idle")
        }))
    });
}

/// Runs both ends until the client's channel is not ready any more.
fn flap(case: &Case, build: Build, role: &str, client: &str) -> Result<()> {
    let peer = build.hooked()?;
    let _server = peer.serve(case.port(), role)?;
    let client = peer.connect(case.address(), client)?;
    client.until("state IDLE")?;
    client.finish()?.success()?;
    // The server may be slower to see the end.
    case.wait_for(2)
}

#[test]
fn graceful_stop() {
    truth(&[grpc::program()], |case| {
        let peer = Build::Now.hooked()?;
        let mut server = peer.serve(case.port(), "server")?;
        let client = peer.connect(case.address(), "client calls=1")?;
        client.until("ready")?;
        server.say("graceful\n")?;
        client.until("state IDLE")?;
        case.wait_for(2)?;
        case.expect(both(|end| {
            graceful(end, Cause::H2GoawayGraceful, "graceful_stop")
        }))
    });
}

/// Without any GOAWAY, and nothing to blame HTTP/2 for.
#[test]
fn stopped_or_killed() {
    truth(&[grpc::program()], |case| {
        let peer = Build::Now.hooked()?;
        let mut server = peer.serve(case.port(), "server")?;
        let client = peer.connect(case.address(), "client calls=1")?;
        client.until("ready")?;
        server.say("stop\n")?;
        client.until("state IDLE")?;
        case.wait_for(2)?;
        // Go leaves out its goodbye where a write is under way (tls.Conn.Close).
        case.expect(both(|end| {
            ready(end.established(Initiator::ServerApp)).perhaps([Notice::NoCloseNotify])
        }))
    });
    truth(&[grpc::program()], |case| {
        let peer = Build::Now.hooked()?;
        let server_end = peer.serve(case.port(), "server")?;
        let client_end = peer.connect(case.address(), "client calls=1")?;
        client_end.until("ready")?;
        server_end.signal(Signal::SIGKILL)?;
        client_end.until("state IDLE")?;
        case.wait_for(2)?;
        for report in case.all(2)? {
            let (outcome, phase, initiator, cause, _) = verdict(&report);
            // A reset where the server had not read everything.
            let causes: &[Cause] = match report.role {
                Role::Server => &[Cause::ProcessKilled],
                _ => &[Cause::ClosedByPeer, Cause::ResetByPeer],
            };
            ensure!(
                (outcome, phase, initiator)
                    == (Outcome::Broken, Phase::H2Ready, Initiator::ServerApp)
                    && causes.contains(&cause),
                "{}",
                describe(&report)
            );
        }
        Ok(())
    });
}

/// The program's own wish, whose GOAWAY is a goodbye.
#[test]
fn channel_closed_by_the_client() {
    truth(&[grpc::program()], |case| {
        let peer = Build::Now.hooked()?;
        let _server = peer.serve(case.port(), "server")?;
        let client = peer.connect(case.address(), "client calls=1")?;
        client.until("ready")?;
        client.finish()?.success()?;
        case.expect(both(ready))
    });
}

/// A server that accepts and shakes hands, and is not there.
#[test]
fn settings_never_come() {
    for (build, server) in [(Build::Now, "silent"), (Build::Before, "silent alpn=none")] {
        truth(&[grpc::program()], |case| {
            let peer = build.hooked()?;
            let _server = peer.serve(case.port(), server)?;
            // A busy machine needs some of it for the handshake.
            let role = format!("client patience={}", milliseconds(2.0));
            let client = peer.connect(case.address(), &role)?;
            client.until("state TRANSIENT_FAILURE")?;
            client.finish()?.success()?;
            let report = client_end(case)?;
            let expected = (
                Outcome::Broken,
                Phase::H2PrefaceSent,
                Initiator::ClientApp,
                Cause::H2SettingsTimeout,
                Confidence::Certain,
            );
            ensure!(verdict(&report) == expected, "{}", describe(&report));
            Ok(())
        });
    }
}

/// From 1.67 on grpc-go does not even begin then.
#[test]
fn no_protocol_selected() {
    truth(&[grpc::program()], |case| {
        let peer = Build::Now.hooked()?;
        let _server = peer.serve(case.port(), "silent alpn=none")?;
        let client = peer.connect(case.address(), "client")?;
        client.until("state TRANSIENT_FAILURE")?;
        client.finish()?.success()?;
        let report = client_end(case)?;
        ensure!(
            report.http2.is_none()
                && report.notices.contains(&Notice::AlpnNotNegotiated)
                && report.verdict.phase < Phase::H2PrefaceSent,
            "{}",
            describe(&report)
        );
        Ok(())
    });
}

/// A proxy or a health check that speaks HTTP/1.1: Go's TLS selects nothing, and gRPC hangs up without reading.
#[test]
fn client_without_http2_is_refused() {
    truth(&[grpc::program(), "curl"], |case| {
        let _server = Build::Now.hooked()?.serve(case.port(), "server")?;
        let ca = Certificates::shared()?.ca();
        let curl = clients::curl(case.address(), "/").args(&format!("--http1.1 --cacert {ca}"));
        ensure!(curl.run()?.success().is_err(), "curl got an answer");
        case.expect(both(|end| {
            end.failed(
                Phase::Finished,
                Initiator::ServerApp,
                Cause::AlpnRejectedByApp,
            )
            .likely()
            .notices([Notice::AlpnNotNegotiated])
        }))
    });
}

#[test]
fn pings_are_not_answered() {
    truth(&[grpc::program()], |case| {
        let peer = Build::Now.hooked()?;
        let _server = peer.serve(case.port(), "silent settings=1")?;
        let client = peer.connect(case.address(), "client ping=50 timeout=100")?;
        client.until("state IDLE")?;
        client.finish()?.success()?;
        let report = client_end(case)?;
        let expected = (
            Outcome::Broken,
            Phase::H2Ready,
            Initiator::ClientApp,
            Cause::H2PingTimeout,
            Confidence::Certain,
        );
        ensure!(verdict(&report) == expected, "{}", describe(&report));
        Ok(())
    });
}

/// By the other copy of the http2 package in the same program.
#[test]
fn net_http_shuts_down() {
    truth(&[grpc::program()], |case| {
        let peer = Build::Stripped.hooked()?;
        let mut server = peer.serve(case.port(), "web")?;
        let client = peer.connect(case.address(), "get")?;
        client.until("ready HTTP/2.0")?;
        server.say("graceful\n")?;
        case.wait_for(2)?;
        case.expect(both(|end| graceful(end, Cause::H2GoawayGraceful, "")))
    });
}

/// 16 KiB of what a terminal would obey.
#[test]
fn debug_data_of_a_stranger() {
    truth(&[grpc::program()], |case| {
        let peer = Build::Now.hooked()?;
        let _server = peer.serve(case.port(), "rude")?;
        let client_end = peer.connect(case.address(), "client")?;
        client_end.until("state IDLE")?;
        client_end.finish()?.success()?;
        case.wait_for(2)?;
        let rude = |end: Expected| {
            end.broken(Initiator::ServerApp, Cause::H2GoawayError)
                .and("GOAWAY", |report| said(report, 12, "\u{1b}[2J"))
                .and("bounded", |report| {
                    let goaways = report.http2.iter().flat_map(|http2| &http2.goaways);
                    let mut texts = goaways.filter_map(|goaway| goaway.debug.as_ref());
                    texts.all(|text| text.len() <= 256)
                })
                .and("escaped", |report| {
                    let mut facts = report.verdict.evidence.iter();
                    facts.all(|evidence| !evidence.fact.contains(char::is_control))
                })
        };
        case.expect(both(|end| ready(rude(end))))
    });
}

/// Calls pass no probe, though gRPC pings while they run.
#[test]
fn calls_cost_nothing() {
    truth(&[grpc::program()], |case| {
        const CALLS: u64 = 3000;
        let peer = Build::Now.hooked()?;
        let _server = peer.serve(case.port(), "server")?;
        let before = events(case)?;
        let client = peer.connect(case.address(), &format!("client calls={CALLS}"))?;
        client.until("ready")?;
        client.finish()?.success()?;
        case.wait_for(2)?;
        // Those of other cases that run at the same time are among them.
        let events = events(case)? - before;
        ensure!(events < CALLS / 4, "{events} events");
        Ok(())
    });
}

/// Events of HTTP/2 that the tracer has taken so far.
fn events(case: &Case) -> Result<u64> {
    let metrics = case.tracer().metrics()?;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("tls_trace_events_total{kind=\"http2\"} "));
    Ok(line.map_or(Ok(0), str::parse)?)
}

fn ready(end: Expected) -> Expected {
    end.phase(Phase::H2Ready)
}

fn graceful(end: Expected, cause: Cause, debug: &'static str) -> Expected {
    ready(end.established(Initiator::ServerApp).because(cause))
        .notices([Notice::H2Goaway])
        .and("GOAWAY", move |report| said(report, 0, debug))
}

/// The report tells of a GOAWAY of the server.
fn said(report: &Report, code: u32, debug: &str) -> bool {
    words::goaway(report, code, Confidence::Certain, |text| {
        let text = text.unwrap_or_default();
        text.starts_with(debug) && text.is_empty() == debug.is_empty()
    })
}

/// gRPC itself took the client's end for ready, and then for lost.
fn grpc_was_ready(report: &Report) -> bool {
    let states = report.verdict.evidence.iter();
    let states = states.filter_map(|evidence| evidence.fact.strip_prefix("gRPC: "));
    let states: Vec<_> = states.collect();
    report.role == Role::Server || states == ["READY", "IDLE"]
}

fn client_end(case: &Case) -> Result<Arc<Report>> {
    let reports = case.all(2)?;
    let mut ends = reports.into_iter();
    let client = ends.find(|report| report.role == Role::Client);
    client.context("no report of the client's end")
}

fn verdict(report: &Report) -> (Outcome, Phase, Initiator, Cause, Confidence) {
    let verdict = &report.verdict;
    (
        verdict.outcome,
        verdict.phase,
        verdict.initiator,
        verdict.cause,
        verdict.confidence,
    )
}
