//! Proxies that cut HTTP/2 connections, as they were told to: idle ones, and those that had their number of requests.
//! A client in Go says so itself; gRPC's C core does not, and sizes and silence have to do.

use std::fs;

use anyhow::Result;
use tls_trace::report::{Cause, Initiator, Notice, Phase, Report};
use tls_trace_tests::{
    Case, Expected, both,
    certificates::Certificates,
    client,
    envoy::{self, Settings},
    free_port,
    grpc::{self, Build},
    grpcio,
    program::{Program, Running},
    scratch, seconds, server, servers, truth, words,
};

#[test]
fn nginx_keepalive_timeout() {
    truth(&[grpc::program(), "nginx"], |case| {
        let timeout = format!("keepalive_timeout {}ms;", idle_ms());
        let _proxy = nginx(case.port(), MODERN, &timeout)?;
        get(case)
    });
}

/// In both versions, whose records are not of the same sizes.
#[test]
fn nginx_keepalive_timeout_by_size() {
    for versions in ["TLSv1.2", "TLSv1.3"] {
        truth(&[grpcio::program(), "nginx"], |case| {
            let behind = free_port()?;
            let _server = serve(behind)?;
            let settings = format!("keepalive_timeout {}ms; {}", idle_ms(), pass(behind));
            let _proxy = nginx(case.port(), versions, &settings)?;
            lose(case, "")
        });
    }
}

/// A channel of gRPC goes on with another connection.
#[test]
fn nginx_keepalive_requests() {
    truth(&[grpc::program(), "nginx"], |case| {
        let peer = Build::Now.hooked()?;
        let behind = free_port()?;
        let _server = peer.serve(behind, "server")?;
        let settings = format!("keepalive_requests 3; {}", pass(behind));
        let _proxy = nginx(case.port(), MODERN, &settings)?;
        let client_end = peer.connect(case.address(), "client calls=5")?;
        client_end.until("ready")?;
        client_end.finish()?.success()?;
        case.expect([
            asked_to_leave(client()),
            ready(client()),
            ready(server()),
            // Both close when the last call is done.
            ready(server().ended_by_either()),
        ])
    });
}

/// What has the size of a GOAWAY comes in the middle of a call: it may as well be the answer to a PING. That the
/// server left is sure, why is not.
#[test]
fn nginx_keepalive_requests_by_size() {
    truth(&[grpcio::program(), "nginx"], |case| {
        let behind = free_port()?;
        let _server = serve(behind)?;
        let settings = format!("keepalive_requests 2; {}", pass(behind));
        let _proxy = nginx(case.port(), MODERN, &settings)?;
        connect(case, "calls=2")?;
        case.expect(both(|end| ready(end.established(Initiator::ServerApp))))
    });
}

#[test]
fn haproxy_timeout_client() {
    truth(&[grpc::program(), "haproxy"], |case| {
        let _proxy = haproxy(case.port(), HTTP)?;
        get(case)
    });
}

#[test]
fn haproxy_timeout_client_by_size() {
    truth(&[grpcio::program(), "haproxy"], |case| {
        let _proxy = haproxy(case.port(), HTTP)?;
        lose(case, "wait=1")
    });
}

/// It forwards what it cannot read, and so cannot say GOAWAY either: how long nobody had said anything is all there is.
#[test]
fn haproxy_that_forwards_tls() {
    truth(&[grpcio::program(), "haproxy"], |case| {
        let behind = free_port()?;
        let _server = serve(behind)?;
        let forward = format!("mode tcp\n bind 127.0.0.1:PORT\n server one 127.0.0.1:{behind}\n");
        let _proxy = haproxy(case.port(), &forward)?;
        connect(case, "")?;
        case.expect(both(|end| {
            ready(end.established(Initiator::ServerApp))
                .notices([Notice::NoCloseNotify])
                .and("silence", was_idle)
        }))
    });
}

#[test]
fn envoy_idle_timeout() {
    truth(&[grpc::program(), envoy::program()], |case| {
        let _proxy = impatient_envoy(case.port())?;
        get(case)
    });
}

/// It leaves it to the client to close.
#[test]
fn envoy_idle_timeout_by_size() {
    truth(&[grpcio::program(), envoy::program()], |case| {
        let _proxy = impatient_envoy(case.port())?;
        lose(case, "wait=1")
    });
}

/// Connections are cut after so much silence, in milliseconds.
fn idle_ms() -> u128 {
    seconds(1.0).as_millis()
}

/// Lets a client in Go make one request and then wait: it hears the GOAWAY.
fn get(case: &Case) -> Result<()> {
    let client_end = Build::Now.hooked()?.connect(case.address(), "get")?;
    client_end.until("ready HTTP/2.0")?;
    case.wait_for(2)?;
    // It offers HTTP/1.1, too: what is spoken then only a library knows.
    case.expect([asked_to_leave(client()), server().ended_by_either()])
}

/// Lets a client of gRPC's C core wait until its connection is lost.
fn lose(case: &Case, options: &str) -> Result<()> {
    connect(case, options)?;
    case.expect(both(|end| {
        asked_to_leave(end.likely()).and("silence", was_idle)
    }))
}

fn connect(case: &Case, options: &str) -> Result<()> {
    let ca = Certificates::shared()?.ca();
    let client_end = grpcio::start("client", &case.address().to_string(), &ca, options)?;
    client_end.until("lost")?;
    client_end.finish()?.success()?;
    case.wait_for(2)
}

fn serve(port: u16) -> Result<Running> {
    let certificate = Certificates::shared()?.good();
    grpcio::start("server", &port.to_string(), &certificate, "")
}

const MODERN: &str = "TLSv1.2 TLSv1.3";

fn nginx(port: u16, versions: &str, settings: &str) -> Result<Running> {
    let certificate = Certificates::shared()?.good();
    let settings = format!(
        "listen {port} ssl http2; ssl_certificate {certificate}; ssl_certificate_key {certificate}; \
         ssl_protocols {versions}; {settings}"
    );
    servers::nginx(port, 1, &settings)?.listening(port)
}

/// Where calls of the programs go.
fn pass(port: u16) -> String {
    let pass = format!("grpc_pass grpcs://127.0.0.1:{port};");
    format!("location /grpc.health.v1.Health {{ {pass} }} location /test.Echo {{ {pass} }}")
}

const HTTP: &str = "mode http\n bind 127.0.0.1:PORT ssl crt CERTIFICATE alpn h2,http/1.1\n \
                    http-request return status 200 content-type text/plain string hello\n";

fn haproxy(port: u16, settings: &str) -> Result<Running> {
    let certificate = Certificates::shared()?.good();
    let settings = settings.replace("PORT", &port.to_string());
    let settings = settings.replace("CERTIFICATE", &certificate);
    let file = scratch()?.join(format!("haproxy-{port}.cfg"));
    let timeouts = format!(
        "timeout connect 5s\n timeout server 60s\n timeout client {}ms",
        idle_ms()
    );
    let text = format!("defaults\n {timeouts}\nlisten all\n {settings}");
    fs::write(&file, text)?;
    let proxy = Program::new("haproxy").args("-db -f").arg(file);
    proxy.listening(port)
}

fn impatient_envoy(port: u16) -> Result<Running> {
    let settings = Settings {
        protocols: "h2",
        http: "common_http_protocol_options: {idle_timeout: 1s}",
        ..Settings::default()
    };
    envoy::server(port, &Certificates::shared()?.good(), &settings)
}

fn ready(end: Expected) -> Expected {
    end.phase(Phase::H2Ready)
}

fn asked_to_leave(end: Expected) -> Expected {
    ready(end.established(Initiator::ServerApp))
        .because(Cause::H2GoawayGraceful)
        .notices([Notice::H2Goaway])
        .and("GOAWAY", goaway)
}

fn goaway(report: &Report) -> bool {
    words::goaway(report, 0, report.verdict.confidence, |_| true)
}

/// The evidence has the length of the timer, within a quarter.
fn was_idle(report: &Report) -> bool {
    let expected = seconds(1.0).as_secs_f64();
    let silence = |fact: &str| {
        let rest = fact.strip_prefix("nobody had said anything for ")?;
        rest.split_once(" s")?.0.parse::<f64>().ok()
    };
    let mut evidence = report.verdict.evidence.iter();
    evidence.any(|fact| {
        silence(&fact.fact).is_some_and(|silence| (expected..expected * 1.25).contains(&silence))
    })
}
