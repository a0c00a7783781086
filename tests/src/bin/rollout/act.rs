//! One rollout: what runs, and what is gathered of it.

use std::{env, fs, net::Ipv4Addr, path::PathBuf, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tls_trace::{flap::Flap, report::Report};
use tls_trace_tests::{
    Tracer, actor, free_port,
    grpc::Build,
    program::{Program, Running},
    scratch,
};

use crate::BAD;

/// Connections of the load: three for each server.
const CONNECTIONS: usize = 9;
/// A new server is in use for so long before the next one is replaced, as `minReadySeconds` of a Deployment.
const READY: Duration = Duration::from_secs(2);
/// What `ghz` calls.
const HEALTH: &str = r#"syntax = "proto3";
package grpc.health.v1;
message HealthCheckRequest { string service = 1; }
message HealthCheckResponse { int32 status = 1; }
service Health { rpc Check(HealthCheckRequest) returns (HealthCheckResponse); }
"#;

/// A rollout.
pub struct Act {
    pub name: &'static str,
    /// What the server in the middle is replaced by, instead of the same again.
    pub bad: Option<Version>,
}

/// A version that is not as it should be.
pub struct Version {
    pub environment: &'static [(&'static str, &'static str)],
    /// Whether that shows in connections.
    pub fails_connections: bool,
}

/// What happened.
pub struct Played {
    /// Where the servers listen.
    pub ports: [u16; 3],
    /// Their processes before.
    pub old: Vec<u32>,
    /// What tls-trace reported of connections to the servers that ended under load.
    pub reports: Vec<Arc<Report>>,
    /// The same of those that were open until the load ended.
    pub open: Vec<Arc<Report>>,
    /// What it said of the load's connections as a whole.
    pub flaps: Vec<Flap>,
    /// What `ghz` counted: status of calls, and how many.
    pub calls: Vec<(String, u64)>,
}

impl Act {
    /// Lets it happen.
    ///
    /// # Errors
    /// A program does not do what it is for.
    pub fn play(&self) -> Result<Played> {
        let tracer = Tracer::shared()?;
        let peer = Build::Now.hooked()?;
        let ports = [free_port()?, free_port()?, free_port()?];
        let mut servers = ports
            .iter()
            .map(|&port| peer.serve(port, "server"))
            .collect::<Result<Vec<_>>>()?;
        let old = servers.iter().map(Running::pid).collect();
        let front = free_port()?;
        let _proxy = proxy(front, ports)?;
        let load = load(front)?;
        thread::sleep(READY);
        for (index, &port) in ports.iter().enumerate() {
            let version = self.bad.as_ref().filter(|_| index == BAD);
            let environment = version.map_or(&[][..], |version| version.environment);
            stop(servers.remove(index))?;
            servers.insert(index, peer.serve_with(port, "server", environment)?);
            thread::sleep(READY);
        }
        let reports = reports(tracer, ports)?;
        load.signal(Signal::SIGINT)?;
        let calls = calls(&load.finish()?.output)?;
        for server in servers {
            stop(server)?;
        }
        let mut open = self::reports(tracer, ports)?;
        open.retain(|end| reports.iter().all(|report| report.id != end.id));
        Ok(Played {
            ports,
            old,
            reports,
            open,
            flaps: tracer.flaps(front, 0)?,
            calls,
        })
    }
}

/// What has been reported of connections to these ports.
fn reports(tracer: &Tracer, ports: [u16; 3]) -> Result<Vec<Arc<Report>>> {
    fence(tracer)?;
    let mut reports = Vec::new();
    for port in ports {
        reports.extend(tracer.reports_of(port, 0)?);
    }
    Ok(reports)
}

/// Waits for the report of a connection that is refused: what happened before has been judged by then.
fn fence(tracer: &Tracer) -> Result<()> {
    let port = free_port()?;
    let refused = actor::connect((Ipv4Addr::LOCALHOST, port).into());
    ensure!(refused.is_err(), "port {port} was free a moment ago");
    let reports = tracer.reports_of(port, 1)?;
    ensure!(!reports.is_empty(), "no report of a refused connection");
    Ok(())
}

/// It answers what it was asked, and no more.
fn stop(mut server: Running) -> Result<()> {
    server.say("graceful\n")?;
    server.finish()?.success()?;
    Ok(())
}

/// Forwards TLS without looking into it, to each server in turn; what it cannot reach, another one gets.
fn proxy(front: u16, ports: [u16; 3]) -> Result<Running> {
    let file = scratch()?.join(format!("haproxy-{front}.cfg"));
    let servers = ports.map(|port| format!(" server at-{port} 127.0.0.1:{port}\n"));
    let text = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         listen front\n bind 127.0.0.1:{front}\n balance roundrobin\n retries 3\n option redispatch 1\n{}",
        servers.concat()
    );
    fs::write(&file, text)?;
    let proxy = Program::new("haproxy").args("-db -f").arg(file);
    proxy.listening(front)
}

/// Calls without end, over connections that stay.
fn load(front: u16) -> Result<Running> {
    let ghz = env::var_os("TLS_TRACE_GHZ").context("TLS_TRACE_GHZ does not name ghz")?;
    let proto = scratch()?.join("health.proto");
    fs::write(&proto, HEALTH)?;
    let ghz = Program::at(&PathBuf::from(ghz));
    let address = std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, front));
    ghz.arg("--proto")
        .arg(proto)
        .args(
            "--call grpc.health.v1.Health.Check --skipTLS --format json --rps 300 --duration 600s",
        )
        .args(&format!(
            "--connections {CONNECTIONS} --concurrency {CONNECTIONS} {address}"
        ))
        .start()
}

fn calls(output: &str) -> Result<Vec<(String, u64)>> {
    let start = output.find('{').with_context(|| output.to_owned())?;
    let summary: Value = serde_json::from_str(&output[start..])?;
    let calls = summary["statusCodeDistribution"].as_object();
    let calls = calls.with_context(|| output.to_owned())?.iter();
    Ok(calls
        .map(|(status, count)| (status.clone(), count.as_u64().unwrap_or(0)))
        .collect())
}
