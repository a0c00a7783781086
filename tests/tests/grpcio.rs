//! Why HTTP/2 connections end where no library can be asked: gRPC's C core, which has no symbols. The sizes and
//! times of records tell.

use std::{env, path::Path};

use anyhow::{Context as _, Result};
use tls_trace::report::{Cause, Confidence, Initiator, Notice, Phase, Report, Sender};
use tls_trace_tests::{
    Case, Expected, both,
    certificates::Certificates,
    program::{Program, Running},
    truth,
};

/// The folder that Python finds gRPC in.
const FOLDER: &str = "TLS_TRACE_TEST_GRPCIO";
/// Where set-up puts it.
const INSTALLED: &str = "../target/tools/grpcio";

#[test]
fn too_many_pings() {
    truth(&[program()], |case| {
        // The client pings once a second, whatever less it is told.
        let client = "keepalive_time_ms=1000 keepalive_permit_without_calls=1 \
                      http2.max_pings_without_data=0";
        lose(case, "", client)?;
        case.expect(both(|end| {
            let cause = Cause::H2GoawayTooManyPings;
            ready(end.broken(Initiator::ServerApp, cause))
                .and("GOAWAY", |report| said(report, 11, "too_many_pings"))
        }))
    });
}

#[test]
fn max_connection_age() {
    truth(&[program()], |case| {
        let server = "max_connection_age_ms=500 max_connection_age_grace_ms=300";
        lose(case, server, "")?;
        case.expect(both(|end| {
            asked_to_leave(end, Cause::H2GoawayMaxAge, (0, "max_age"))
        }))
    });
}

#[test]
fn max_connection_idle() {
    truth(&[program()], |case| {
        lose(case, "max_connection_idle_ms=500", "")?;
        // The C core calls it an internal error.
        let said = (2, "connection idle");
        case.expect(both(|end| {
            asked_to_leave(end, Cause::H2GoawayMaxIdle, said)
        }))
    });
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

/// Starts an end; a server listens then.
fn start(role: &str, place: &str, file: &str, arguments: &str) -> Result<Running> {
    let folder = folder().context("no gRPC")?;
    let program = Program::new("python3")
        .env("PYTHONPATH", &folder)
        .arg("-c")
        .arg(include_str!("../programs/grpcio.py"))
        .args(&format!("{role} {place} {file} {arguments}"));
    let running = program.start()?;
    if role == "server" {
        running.until("listens")?;
    }
    Ok(running)
}

/// The program that [`start`] needs, and where gRPC is missing, its name.
fn program() -> &'static str {
    match folder() {
        Some(_) => "python3",
        None => "grpcio",
    }
}

fn folder() -> Option<String> {
    let installed = || {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(INSTALLED);
        Some(folder.canonicalize().ok()?.display().to_string())
    };
    env::var(FOLDER).ok().or_else(installed)
}

fn ready(end: Expected) -> Expected {
    end.phase(Phase::H2Ready).likely()
}

fn asked_to_leave(end: Expected, cause: Cause, (code, text): (u32, &'static str)) -> Expected {
    ready(end.established(Initiator::ServerApp).because(cause))
        .notices([Notice::H2Goaway])
        .and("GOAWAY", move |report| said(report, code, text))
}

/// The report tells of a GOAWAY of the server, by its size.
fn said(report: &Report, code: u32, text: &str) -> bool {
    let mut goaways = report.http2.iter().flat_map(|http2| &http2.goaways);
    goaways.any(|goaway| {
        (goaway.from, goaway.code, goaway.confidence) == (Sender::Server, code, Confidence::Likely)
            && goaway.debug.as_deref() == Some(text)
    })
}
