//! gRPC's C core, which has BoringSSL in it and no symbols. Why its handshakes fail, its library says all the same,
//! though gRPC keeps the alert from the peer; why its HTTP/2 connections end, the sizes and times of records tell.

use std::sync::OnceLock;

use anyhow::Result;
use tls_trace::{
    event::LibraryName,
    report::{Cause, Confidence, Initiator, Notice, Phase, Report},
};
use tls_trace_tests::{
    Case, Expected, both,
    certificates::Certificates,
    client, clients,
    grpcio::{program, start},
    hooked,
    program::{Program, Running},
    seconds, server, truth,
    words::{self, of_library, said},
};

/// The server sees no alert, only that the client left.
#[test]
fn certificate_of_an_unknown_ca() {
    truth(&[program()], |case| {
        hook()?;
        let certificates = Certificates::shared()?;
        let _server = start(
            "server",
            &case.port().to_string(),
            &certificates.untrusted(),
            "",
        )?;
        let address = case.address().to_string();
        let client_end = start("client", &address, &certificates.ca(), "wait=1")?;
        client_end.until("failed")?;
        client_end.finish()?.success()?;
        case.wait_for(2)?;
        let end = |end: Expected, cause| {
            end.failed(Phase::EncryptedHandshake, Initiator::ClientApp, cause)
        };
        case.expect([
            end(client(), Cause::CertificateUnknownCa)
                .and("reason", said(125, "certificate_verify_failed"))
                .and("library", of_library(LibraryName::Boringssl)),
            end(server(), Cause::ClosedByPeer),
        ])
    });
}

/// The client, which cannot use an ECDSA certificate, sees no alert, only that the server left.
#[test]
fn no_shared_cipher() {
    truth(&[program(), "openssl"], |case| {
        hook()?;
        let certificates = Certificates::shared()?;
        let _server = start("server", &case.port().to_string(), &certificates.good(), "")?;
        clients::openssl(case.address())
            .args("-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256")
            .run()?;
        case.wait_for(2)?;
        let end =
            |end: Expected, cause| end.failed(Phase::ClientHello, Initiator::ServerApp, cause);
        case.expect([
            end(client(), Cause::ClosedByPeer),
            end(server(), Cause::NoSharedCipher)
                .and("reason", said(184, "no_shared_cipher"))
                .and("library", of_library(LibraryName::Boringssl)),
        ])
    });
}

/// Waits until the tracer has hooked the library, which stays so.
fn hook() -> Result<()> {
    static HOOKED: OnceLock<Result<(), String>> = OnceLock::new();
    hooked::keep_once(&HOOKED, wait_until_hooked)
}

fn wait_until_hooked() -> Result<Running> {
    let certificates = Certificates::shared()?;
    let serve = |port: u16| start("server", &port.to_string(), &certificates.good(), "");
    let shake_hands = |port: u16| {
        let address = format!("127.0.0.1:{port}");
        let mut client = start("client", &address, &certificates.ca(), "stay=1")?;
        client.until("ready")?;
        client.end_input();
        client.finish()?.success().map(drop)
    };
    hooked::wait_until_hooked(serve, shake_hands)
}

/// The client pings once a second, whatever less it is told.
const PINGING: &str = "keepalive_time_ms=1000 keepalive_permit_without_calls=1 \
                       http2.max_pings_without_data=0";
/// Calls after which nobody watches every packet any more.
const LONG: &str = " calls=1000";

#[test]
fn too_many_pings() {
    truth(&[program()], |case| {
        lose(case, "", PINGING)?;
        case.expect(both(pinged))
    });
}

#[test]
fn too_many_pings_after_thousands_of_calls() {
    truth(&[program()], |case| {
        lose(case, "", &(PINGING.to_owned() + LONG))?;
        case.expect(both(|end| after_calls(pinged(end))))
    });
}

fn pinged(end: Expected) -> Expected {
    let cause = Cause::H2GoawayTooManyPings;
    ready(end.broken(Initiator::ServerApp, cause))
        .and("GOAWAY", |report| goaway(report, 11, "too_many_pings"))
}

#[test]
fn max_connection_age() {
    truth(&[program()], |case| {
        let server = "max_connection_age_ms=500 max_connection_age_grace_ms=300";
        lose(case, server, "")?;
        case.expect(both(aged))
    });
}

/// It comes of age when the last call is long over.
#[test]
fn max_connection_age_after_thousands_of_calls() {
    truth(&[program()], |case| {
        let age = seconds(10.0).as_millis();
        let server = format!("max_connection_age_ms={age} max_connection_age_grace_ms=300");
        lose(case, &server, LONG)?;
        case.expect(both(|end| after_calls(aged(end))))
    });
}

fn aged(end: Expected) -> Expected {
    asked_to_leave(end, Cause::H2GoawayMaxAge, (0, "max_age"))
}

#[test]
fn max_connection_idle() {
    truth(&[program()], |case| {
        lose(case, "max_connection_idle_ms=500", "")?;
        case.expect(both(idle))
    });
}

#[test]
fn max_connection_idle_after_thousands_of_calls() {
    truth(&[program()], |case| {
        lose(case, "max_connection_idle_ms=1000", LONG)?;
        case.expect(both(|end| after_calls(idle(end))))
    });
}

/// The C core calls it an internal error.
fn idle(end: Expected) -> Expected {
    asked_to_leave(end, Cause::H2GoawayMaxIdle, (2, "connection idle"))
}

/// Said by the last packets, which were not watched.
fn after_calls(end: Expected) -> Expected {
    end.and("evidence of the last packets", |report| {
        let mut evidence = report.verdict.evidence.iter();
        evidence.any(|fact| fact.fact.starts_with("from here on"))
    })
}

/// A server that selected HTTP/2 and does not speak it.
#[test]
fn http_1_answered() {
    truth(&[program()], |case| {
        refused(case, "http1")?;
        case.expect(both(|end| not_ready(end, Cause::Http1OnH2)))
    });
}

/// One that closes in good order, and one that resets, as it does not even read.
#[test]
fn closed_before_settings() {
    for answer in ["nothing", "deaf"] {
        truth(&[program()], |case| {
            refused(case, answer)?;
            case.expect(both(|end| not_ready(end, Cause::H2ClosedBeforeSettings)))
        });
    }
}

/// Lets a client meet a server with this answer to its preface.
fn refused(case: &Case, answer: &str) -> Result<()> {
    let certificates = Certificates::shared()?;
    let server = Program::new("python3")
        .arg("-c")
        .arg(include_str!("../programs/http2.py"))
        .args(&format!(
            "server 127.0.0.1 {} {} answer={answer}",
            case.port(),
            certificates.good()
        ))
        .start()?;
    server.until("listens")?;
    let address = case.address().to_string();
    let client = start("client", &address, &certificates.ca(), "wait=1")?;
    client.until("failed")?;
    client.finish()?.success()?;
    case.wait_for(2)
}

fn not_ready(end: Expected, cause: Cause) -> Expected {
    end.broken(Initiator::ServerApp, cause)
        .phase(Phase::H2PrefaceSent)
        .likely()
}

/// Runs both ends, with arguments of gRPC's channels, until the client's has lost its connection.
fn lose(case: &Case, server: &str, client: &str) -> Result<()> {
    let certificates = Certificates::shared()?;
    let _server = start(
        "server",
        &case.port().to_string(),
        &certificates.good(),
        server,
    )?;
    let address = case.address().to_string();
    let client = start("client", &address, &certificates.ca(), client)?;
    client.until("lost")?;
    client.finish()?.success()?;
    // The server may be slower to see the end.
    case.wait_for(2)
}

fn ready(end: Expected) -> Expected {
    end.phase(Phase::H2Ready).likely()
}

fn asked_to_leave(end: Expected, cause: Cause, (code, text): (u32, &'static str)) -> Expected {
    ready(end.established(Initiator::ServerApp).because(cause))
        .notices([Notice::H2Goaway])
        .and("GOAWAY", move |report| goaway(report, code, text))
}

/// The report tells of a GOAWAY of the server, by its size.
fn goaway(report: &Report, code: u32, text: &str) -> bool {
    words::goaway(report, code, Confidence::Likely, |said| said == Some(text))
}
