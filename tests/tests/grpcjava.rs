//! gRPC in Java: as a server whose limits end connections, and as a client. By sizes and times of records alone: its
//! BoringSSL is in a file that it unpacks when it starts.

use anyhow::{Context as _, Result};
use tls_trace::report::{Cause, Confidence, Initiator, Notice, Phase, Report, Sender};
use tls_trace_tests::{
    Case, Expected, both,
    certificates::Certificates,
    client,
    grpc::{self, Build},
    grpcjava,
    program::Running,
    seconds, server, truth,
};

#[test]
fn too_many_pings() {
    truth(&[grpcjava::program(), grpc::program()], |case| {
        let peer = Build::Now.hooked()?;
        let server_end = serve(case, "")?;
        let role = format!("client ping={}", milliseconds(0.2));
        let client_end = peer.connect(case.address(), &role)?;
        client_end.until("state IDLE")?;
        case.wait_for(2)?;
        let pinged = |end: Expected, confidence| {
            ready(end.broken(Initiator::ServerApp, Cause::H2GoawayTooManyPings))
                .and("GOAWAY", move |report| {
                    goaway(report, 11, "too_many_pings", confidence)
                })
        };
        // The client, which is in Go, says so itself.
        let expected = [
            pinged(client(), Confidence::Certain),
            pinged(server().likely(), Confidence::Likely),
        ];
        check(case, expected, &[&server_end, &client_end])
    });
}

#[test]
fn server_with_limits() {
    let limits = [
        ("age", "max_age", Cause::H2GoawayMaxAge),
        ("idle", "max_idle", Cause::H2GoawayMaxIdle),
    ];
    for (limit, text, cause) in limits {
        truth(&[grpcjava::program()], |case| {
            let server_end = serve(case, &format!("{limit}={}", milliseconds(1.5)))?;
            let client_end = connect(case, "")?;
            client_end.until("lost")?;
            case.wait_for(2)?;
            let expected = both(|end| asked_to_leave(end, cause, text));
            check(case, expected, &[&server_end, &client_end])
        });
    }
}

#[test]
fn graceful_shutdown() {
    truth(&[grpcjava::program()], |case| {
        let mut server_end = serve(case, "")?;
        let client_end = connect(case, "")?;
        client_end.until("ready")?;
        server_end.end_input();
        client_end.until("lost")?;
        case.wait_for(2)?;
        let cause = Cause::H2GoawayGraceful;
        let expected = both(|end| asked_to_leave(end, cause, "graceful_stop"));
        check(case, expected, &[&server_end, &client_end])
    });
}

#[test]
fn channel_closed_by_the_client() {
    truth(&[grpcjava::program()], |case| {
        let server_end = serve(case, "")?;
        let client_end = connect(case, "leave=0")?;
        client_end.until("state SHUTDOWN")?;
        case.wait_for(2)?;
        let expected = both(|end| ready(end).perhaps(BUSY));
        check(case, expected, &[&server_end, &client_end])
    });
}

/// A virtual machine that just began takes its time for a handshake.
const BUSY: [Notice; 1] = [Notice::SlowHandshake];

fn milliseconds(of: f64) -> u128 {
    seconds(of).as_millis()
}

fn serve(case: &Case, arguments: &str) -> Result<Running> {
    let certificate = Certificates::shared()?.good();
    let server = grpcjava::end("server", &case.port().to_string(), &certificate, arguments)?;
    let server = server.start()?;
    server.until("listens")?;
    Ok(server)
}

fn connect(case: &Case, arguments: &str) -> Result<Running> {
    let ca = Certificates::shared()?.ca();
    grpcjava::end("client", &case.address().to_string(), &ca, arguments)?.start()
}

/// Checks the reports; if they are wrong, shows what the programs say themselves.
fn check(case: &Case, expected: [Expected; 2], programs: &[&Running]) -> Result<()> {
    case.expect(expected).with_context(|| {
        let said: Vec<_> = programs.iter().map(|program| program.output()).collect();
        said.join("\n")
    })
}

fn ready(end: Expected) -> Expected {
    end.phase(Phase::H2Ready)
}

fn asked_to_leave(end: Expected, cause: Cause, text: &'static str) -> Expected {
    ready(end.established(Initiator::ServerApp).because(cause))
        .likely()
        .notices([Notice::H2Goaway])
        .perhaps(BUSY)
        .and("GOAWAY", move |report| {
            goaway(report, 0, text, Confidence::Likely)
        })
}

/// The report tells of a GOAWAY of the server.
fn goaway(report: &Report, code: u32, text: &str, confidence: Confidence) -> bool {
    let mut goaways = report.http2.iter().flat_map(|http2| &http2.goaways);
    goaways.any(|goaway| {
        (goaway.from, goaway.code, goaway.confidence) == (Sender::Server, code, confidence)
            && goaway.debug.as_deref() == Some(text)
    })
}
