//! gRPC in JavaScript, whose HTTP/2 is Node's: as a client and as a server, among its own kind and with others. It waits
//! for SETTINGS for ever, and does not mind that no protocol was selected.

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use tls_trace::report::{Cause, Confidence, Initiator, Notice, Outcome, Phase, Report, Role};
use tls_trace_tests::{
    Case, Expected, both,
    certificates::Certificates,
    client, describe, fault,
    grpc::{self, Build},
    grpcio, grpcjs, milliseconds,
    netns::Pair,
    program::{Program, Running},
    server, truth,
    vantage::fields,
    words,
};

#[test]
fn too_many_pings() {
    truth(&[grpcjs::program(), grpc::program()], |case| {
        let server_end = Build::Now.hooked()?.serve(case.port(), "server")?;
        let pinging = format!(
            "wait=1 keepalive_time_ms={} keepalive_permit_without_calls=1",
            milliseconds(0.2)
        );
        let client_end = connect(case, &pinging)?;
        lost(case, &client_end)?;
        client_end.until("GOAWAY with code 11 and data too_many_pings")?;
        let pinged = |end: Expected| {
            ready(end.broken(Initiator::ServerApp, Cause::H2GoawayTooManyPings))
                .and("GOAWAY", |report| {
                    goaway(report, 11, Some("too_many_pings"))
                })
        };
        // The server, which is in Go, says so itself.
        let expected = [pinged(client()).likely(), pinged(server())];
        case.expect_of(&[&server_end, &client_end], expected)
    });
}

/// With its own client, which says GOAWAY to GOAWAY, and with one that does not.
#[test]
fn server_with_limits() {
    let limits = [
        ("age", Cause::H2GoawayMaxAge, Some("max_age")),
        ("idle", Cause::H2GoawayGraceful, None),
    ];
    for (limit, cause, text) in limits {
        for core in [false, true] {
            let programs = [
                grpcjs::program(),
                if core { grpcio::program() } else { "node" },
            ];
            truth(&programs, |case| {
                let limit = format!("max_connection_{limit}_ms={}", milliseconds(1.0));
                let server_end = serve(case, &limit)?;
                let client_end = if core {
                    let ca = Certificates::shared()?.ca();
                    grpcio::start("client", &case.address().to_string(), &ca, "")?
                } else {
                    connect(case, "")?
                };
                lost(case, &client_end)?;
                let expected = both(|end| asked_to_leave(end, cause, text));
                case.expect_of(&[&server_end, &client_end], expected)
            });
        }
    }
}

#[test]
fn graceful_shutdown() {
    truth(&[grpcjs::program()], |case| {
        let server_end = serve(case, &format!("stop={}", milliseconds(0.7)))?;
        let client_end = connect(case, "")?;
        lost(case, &client_end)?;
        let expected = both(|end| asked_to_leave(end, Cause::H2GoawayGraceful, None));
        case.expect_of(&[&server_end, &client_end], expected)
    });
}

/// Its GOAWAY goes with the end of the answer, and cannot be told from it.
#[test]
fn graceful_shutdown_in_use() {
    truth(&[grpcjs::program()], |case| {
        let server_end = serve(case, "stop=0")?;
        let client_end = connect(case, "")?;
        lost(case, &client_end)?;
        let expected = both(|end| ready(end.established(Initiator::ServerApp)));
        case.expect_of(&[&server_end, &client_end], expected)
    });
}

/// At once after a call, and later; its server closes first.
#[test]
fn channel_closed_by_the_client() {
    for after in [0.0, 0.7] {
        truth(&[grpcjs::program()], |case| {
            let server_end = serve(case, "")?;
            let client_end = connect(case, &format!("leave={}", milliseconds(after)))?;
            client_end.until("answered")?;
            case.wait_for(2)?;
            let expected = both(|end| ready(end).perhaps_likely());
            case.expect_of(&[&server_end, &client_end], expected)
        });
    }
}

#[test]
fn server_killed() {
    truth(&[grpcjs::program()], |case| {
        let server_end = serve(case, "")?;
        let client_end = connect(case, "")?;
        client_end.until("answered")?;
        server_end.signal(Signal::SIGKILL)?;
        lost(case, &client_end)?;
        let killed = |end: Expected, cause| ready(end.broken(Initiator::ServerApp, cause));
        let expected = [
            killed(client(), Cause::ClosedByPeer),
            killed(server(), Cause::ProcessKilled),
        ];
        case.expect_of(&[&server_end, &client_end], expected)
    });
}

/// What is sent to the server is lost: a PING of the client, or the answer to the server's.
#[test]
fn ping_in_a_black_hole() {
    for role in [Role::Client, Role::Server] {
        truth(&[grpcjs::program(), "ip", "nft"], |case| {
            let pair = Pair::create()?;
            let address = pair.address(case.port()).to_string();
            let certificates = Certificates::shared()?;
            let pings = "keepalive_time_ms=1000 keepalive_timeout_ms=1000 \
                         keepalive_permit_without_calls=1";
            let of = |end| if end == role { pings } else { "" };
            let server_end =
                grpcjs::end("server", &address, &certificates.good(), of(Role::Server))?;
            let server_end = server_end.within(&pair.server).start()?;
            server_end.until("listens")?;
            let client_end = grpcjs::end("client", &address, &certificates.ca(), of(Role::Client))?;
            let client_end = client_end.within(&pair.client).start()?;
            client_end.until("answered")?;
            let rules = fault::blackhole(&pair.server)?;
            let (pinger, by) = match role {
                Role::Client => (&client_end, Initiator::ClientApp),
                _ => (&server_end, Initiator::ServerApp),
            };
            pinger.until("Ping timeout passed without response")?;
            rules.hit(1)?;
            drop(rules);
            let reports = case.all(2)?;
            let report = reports.iter().find(|report| report.role == role);
            let report = report.context("no report of the end that pings")?;
            let expected = (
                Cause::H2PingTimeout,
                Outcome::Broken,
                by,
                Confidence::Likely,
                Phase::H2Ready,
            );
            ensure!(
                fields(&report.verdict) == expected,
                "{}\n{}",
                describe(report),
                pinger.output()
            );
            Ok(())
        });
    }
}

/// Servers that selected HTTP/2 and do not speak it.
#[test]
fn not_ready() {
    let answers = [
        ("http1", Cause::Http1OnH2),
        ("nothing", Cause::H2ClosedBeforeSettings),
    ];
    for (answer, cause) in answers {
        truth(&[grpcjs::program(), "python3"], |case| {
            let server_end = python(case, answer)?;
            let client_end = connect(case, "wait=1")?;
            client_end.until("failed")?;
            case.wait_for(2)?;
            let expected = both(|end| {
                end.broken(Initiator::ServerApp, cause)
                    .phase(Phase::H2PrefaceSent)
                    .likely()
            });
            case.expect_of(&[&server_end, &client_end], expected)
        });
    }
}

/// Others leave then. Where a library says so, nobody looks for HTTP/2, and who is first to close when the client leaves
/// is chance.
#[test]
fn no_protocol_selected() {
    truth(&[grpcjs::program(), "python3"], |case| {
        let _server = python(case, "http2 alpn=none")?;
        let client_end = connect(case, &format!("wait=1 leave={}", milliseconds(0.7)))?;
        client_end.until("state READY")?;
        let reports = case.all(2)?;
        ensure!(reports.len() == 2, "{} reports", reports.len());
        for report in &reports {
            let verdict = &report.verdict;
            let by_either = [Initiator::ClientApp, Initiator::ServerApp];
            ensure!(
                (verdict.outcome, verdict.cause) == (Outcome::Established, Cause::None)
                    && by_either.contains(&verdict.initiator)
                    && verdict.phase >= Phase::Established,
                "{}\n{}",
                describe(report),
                client_end.output()
            );
        }
        Ok(())
    });
}

fn serve(case: &Case, arguments: &str) -> Result<Running> {
    let certificate = Certificates::shared()?.good();
    let server = grpcjs::end(
        "server",
        &case.address().to_string(),
        &certificate,
        arguments,
    )?;
    let server = server.start()?;
    server.until("listens")?;
    Ok(server)
}

fn connect(case: &Case, arguments: &str) -> Result<Running> {
    let ca = Certificates::shared()?.ca();
    grpcjs::end("client", &case.address().to_string(), &ca, arguments)?.start()
}

/// A server with this answer to a preface.
fn python(case: &Case, answer: &str) -> Result<Running> {
    let server = Program::new("python3")
        .arg("-c")
        .arg(include_str!("../programs/http2.py"))
        .args(&format!(
            "server 127.0.0.1 {} {} answer={answer}",
            case.port(),
            Certificates::shared()?.good()
        ))
        .start()?;
    server.until("listens")?;
    Ok(server)
}

/// Waits until a client has lost its connection, and both ends are reported: the server may be slower to see the end.
fn lost(case: &Case, client: &Running) -> Result<()> {
    client.until("lost")?;
    case.wait_for(2)
}

fn ready(end: Expected) -> Expected {
    end.phase(Phase::H2Ready)
}

fn asked_to_leave(end: Expected, cause: Cause, text: Option<&'static str>) -> Expected {
    ready(end.established(Initiator::ServerApp).because(cause))
        .likely()
        .notices([Notice::H2Goaway])
        .and("GOAWAY", move |report| goaway(report, 0, text))
}

/// The report tells of a GOAWAY of the server, as surely as of the end.
fn goaway(report: &Report, code: u32, text: Option<&str>) -> bool {
    words::goaway(report, code, report.verdict.confidence, |said| said == text)
}
