//! gRPC in Java: as a server whose limits end connections, and as a client. By sizes and times of records alone: its
//! BoringSSL is in a file that it unpacks when it starts. It pings every ten seconds at most, which is too long here.

use anyhow::{Result, ensure};
use tls_trace::report::{Cause, Confidence, Initiator, Notice, Outcome, Phase, Report, Role};
use tls_trace_tests::{
    Case, Expected, both,
    certificates::Certificates,
    client, describe,
    grpc::{self, Build},
    grpcjava, milliseconds,
    program::{Program, Running},
    server, truth, words,
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
        case.expect_of(&[&server_end, &client_end], expected)
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
            case.expect_of(&[&server_end, &client_end], expected)
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
        case.expect_of(&[&server_end, &client_end], expected)
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
        case.expect_of(&[&server_end, &client_end], expected)
    });
}

/// It leaves at once, perhaps without its Finished. That no protocol was selected TLS 1.3 hides: an end without a word of
/// its library, which is in a file that is new each time, has no reason.
#[test]
fn no_protocol_selected() {
    truth(&[grpcjava::program(), "python3"], |case| {
        let server_end = Program::new("python3")
            .arg("-c")
            .arg(include_str!("../programs/http2.py"))
            .args(&format!(
                "server 127.0.0.1 {} {} alpn=none",
                case.port(),
                Certificates::shared()?.good()
            ))
            .start()?;
        server_end.until("listens")?;
        let client_end = connect(case, "wait=1")?;
        client_end.until("failed")?;
        let reports = case.all(2)?;
        for report in &reports {
            let verdict = &report.verdict;
            let finished = verdict.phase >= Phase::Finished;
            let told = report.notices.contains(&Notice::AlpnNotNegotiated);
            let (outcome, cause) = match report.role {
                _ if told => (Outcome::Failed, Cause::AlpnRejectedByApp),
                _ if finished => (Outcome::Established, Cause::None),
                Role::Client => (Outcome::Failed, Cause::ClosedByApp),
                _ => (Outcome::Failed, Cause::ClosedByPeer),
            };
            let expected = (Initiator::ClientApp, outcome, cause);
            ensure!(
                (verdict.initiator, verdict.outcome, verdict.cause) == expected
                    && verdict.phase >= Phase::EncryptedHandshake
                    && (told || report.role == Role::Server || report.library.is_none()),
                "{}",
                describe(report)
            );
        }
        ensure!(reports.len() == 2, "{} reports", reports.len());
        Ok(())
    });
}

/// A virtual machine that just began takes its time for a handshake.
const BUSY: [Notice; 1] = [Notice::SlowHandshake];

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
    words::goaway(report, code, confidence, |said| said == Some(text))
}
