//! Why HTTP/2 connections of Node end, which has nghttp2 inside and is not asked: sizes and times of records tell.

use anyhow::Result;
use tls_trace::report::{Cause, Initiator, Notice, Phase, Report};
use tls_trace_tests::{
    Case, Expected, both,
    certificates::Certificates,
    client,
    grpc::{self, Build},
    grpcio, milliseconds,
    program::{Program, Running},
    server, truth, words,
};

/// It says GOAWAY without text; C-core's client leaves without a word.
#[test]
fn server_with_an_idle_timer() {
    truth(&["node", grpcio::program()], |case| {
        let _server = serve(case)?;
        let ca = Certificates::shared()?.ca();
        let client = grpcio::start("client", &case.address().to_string(), &ca, "wait=1")?;
        client.until("lost")?;
        client.finish()?.success()?;
        case.wait_for(2)?;
        case.expect(both(left_idle))
    });
}

/// Its own client says GOAWAY in answer, which has the size of an answer to a PING.
#[test]
fn server_with_an_idle_timer_and_its_own_client() {
    truth(&["node"], |case| {
        let _server = serve(case)?;
        lose(case, "")?;
        case.expect(both(left_idle))
    });
}

/// It says GOAWAY, too, and nobody asked it to. A server that hears it does the same, and is the first to close: who
/// broke the silence has ended it.
#[test]
fn client_that_leaves() {
    truth(&["node"], |case| {
        let _server = serve(case)?;
        lose(case, &format!("leave={}", milliseconds(0.7)))?;
        case.expect(both(|end| ready(end).perhaps_likely()))
    });
}

/// It says GOAWAY before anybody answered its preface.
#[test]
fn client_without_settings() {
    truth(&["node", "python3"], |case| {
        let certificate = Certificates::shared()?.good();
        let server = Program::new("python3")
            .arg("-c")
            .arg(include_str!("../programs/http2.py"))
            .args(&format!(
                "server 127.0.0.1 {} {certificate} answer=silent",
                case.port()
            ))
            .start()?;
        server.until("listens")?;
        lose(case, &format!("patience={}", milliseconds(1.0)))?;
        case.expect(both(|end| {
            end.broken(Initiator::ClientApp, Cause::H2SettingsTimeout)
                .phase(Phase::H2PrefaceSent)
                .likely()
        }))
    });
}

#[test]
fn client_that_pings_too_often() {
    truth(&["node", grpc::program()], |case| {
        let _server = Build::Now.hooked()?.serve(case.port(), "server")?;
        lose(case, &format!("ping={}", milliseconds(0.2)))?;
        let why = Cause::H2GoawayTooManyPings;
        case.expect(with_go(|end| {
            ready(end.broken(Initiator::ServerApp, why))
                .and("GOAWAY", |report| said(report, 11, Some("too_many_pings")))
        }))
    });
}

#[test]
fn client_of_a_server_with_limits() {
    let limits = [
        ("age", "max_age", Cause::H2GoawayMaxAge),
        ("idle", "max_idle", Cause::H2GoawayMaxIdle),
    ];
    for (limit, text, why) in limits {
        truth(&["node", grpc::program()], |case| {
            let role = format!("server {limit}={}", milliseconds(1.0));
            let _server = Build::Now.hooked()?.serve(case.port(), &role)?;
            lose(case, "")?;
            case.expect(with_go(|end| {
                asked_to_leave(end, why).and("GOAWAY", move |report| said(report, 0, Some(text)))
            }))
        });
    }
}

fn serve(case: &Case) -> Result<Running> {
    let certificate = Certificates::shared()?.good();
    let port = case.port();
    let idle = milliseconds(1.0);
    let server = node(&format!("server {port} {certificate} idle={idle}")).start()?;
    server.until("listens")?;
    Ok(server)
}

/// Runs a client until its session is closed.
fn lose(case: &Case, options: &str) -> Result<()> {
    let client = node(&format!("client {} {options}", case.port())).start()?;
    client.until("lost")?;
    client.finish()?.success()?;
    // The server may be slower to see the end.
    case.wait_for(2)
}

fn node(arguments: &str) -> Program {
    Program::new("node")
        .arg("-e")
        .arg(include_str!("../programs/http2.js"))
        .args(&format!("-- {arguments}"))
}

fn ready(end: Expected) -> Expected {
    end.phase(Phase::H2Ready)
}

fn asked_to_leave(end: Expected, why: Cause) -> Expected {
    ready(end.established(Initiator::ServerApp).because(why)).notices([Notice::H2Goaway])
}

fn left_idle(end: Expected) -> Expected {
    asked_to_leave(end.likely(), Cause::H2GoawayGraceful)
        .and("GOAWAY", |report| said(report, 0, None))
}

/// Both ends alike, but that the server, which is in Go, says so itself.
fn with_go(expected: impl Fn(Expected) -> Expected) -> [Expected; 2] {
    [expected(client()).likely(), expected(server())]
}

/// The report tells of a GOAWAY of the server, as surely as of the end.
fn said(report: &Report, code: u32, text: Option<&str>) -> bool {
    words::goaway(report, code, report.verdict.confidence, |said| said == text)
}
