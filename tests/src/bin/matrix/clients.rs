//! The clients.

use std::{fs, path::Path};

use anyhow::Result;
use tls_trace_tests::{
    certificates::Certificates,
    program::{Finished, Program, Running},
    scratch, seconds,
};

use crate::{own_program, scenario::Scenario, servers::Server, source};

/// Releases of Go, oldest first; the set-up builds one program with each.
pub const GO: [&str; 7] = [
    "go1.21", "go1.22", "go1.23", "go1.24", "go1.25", "go1.26", "go1.27",
];

/// How a program is used, and how it says that its handshake was good.
#[derive(Clone, Copy)]
enum Kind {
    /// Prints "ok".
    Plain,
    /// Is typed into, and shows the answer.
    Typed,
    /// Exits with 0.
    Curl,
    /// Makes a call, which a server without gRPC refuses after the handshake.
    Grpc,
}

pub struct Client {
    pub name: &'static str,
    kind: Kind,
    program: fn(&Asked) -> Result<Option<Program>>,
}

/// Programs that bring their library along, as they do nothing: the tracer finds such a program when it runs, and
/// lets it go when nobody runs it any more.
pub fn hold(tools: &Path) -> Result<Vec<Running>> {
    let names = GO.iter().copied().chain(["grpc-go"]);
    let peers = names.map(|name| tools.join(name).join("peer"));
    let peers = peers.filter(|peer| peer.is_file());
    let mut held: Vec<_> = peers.map(|peer| Program::at(&peer).args("hold")).collect();
    held.push(Program::new("node").args("-e process.stdin.resume()"));
    held.extend(grpcio_program(tools).map(|python| {
        let script = "import sys, grpc; sys.stdin.read()";
        python.arg("-c").arg(script)
    }));
    held.into_iter().map(Program::start).collect()
}

/// What a client is asked to do.
pub struct Asked<'a> {
    name: &'static str,
    scenario: &'a Scenario,
    server: &'a Server,
    port: u16,
    ca: String,
    tools: &'a Path,
}

/// What the programs say of a handshake.
#[derive(Debug)]
pub struct Told {
    /// Whether the client got what it wanted.
    pub good: bool,
    /// The client's words.
    pub output: String,
    /// The server's.
    pub server: String,
}

/// Every client.
pub fn all() -> Vec<Client> {
    let client = |name, kind, program| Client {
        name,
        kind,
        program,
    };
    let mut all = vec![
        client("openssl", Kind::Typed, openssl as fn(&Asked) -> _),
        client("curl", Kind::Curl, curl),
        client("Python", Kind::Plain, python),
        client("Node", Kind::Plain, node),
    ];
    all.extend(GO.map(|name| client(name, Kind::Plain, go)));
    all.extend([
        client("grpc-go", Kind::Grpc, grpc_go as fn(&Asked) -> _),
        client("grpcio", Kind::Grpc, grpcio),
        client("gnutls-cli", Kind::Typed, gnutls),
        client("Java", Kind::Plain, java),
        client("rustls", Kind::Plain, rustls),
    ]);
    all
}

impl Client {
    /// Whether it brings a library along that speaks of good handshakes, too: its first may come before it is hooked.
    /// Node's speaks of failures only.
    pub fn is_hooked_late(&self) -> bool {
        GO.contains(&self.name) || ["grpc-go", "grpcio"].contains(&self.name)
    }

    /// Shakes hands; nothing if it is not here or cannot do this.
    pub fn run(
        &self,
        scenario: &Scenario,
        server: &Server,
        port: u16,
        tools: &Path,
    ) -> Result<Option<Told>> {
        let speaks_http = matches!(self.kind, Kind::Curl | Kind::Grpc);
        if speaks_http && !server.http {
            return Ok(None);
        }
        let asked = Asked {
            name: self.name,
            scenario,
            server,
            port,
            ca: Certificates::shared()?.ca(),
            tools,
        };
        let Some(program) = (self.program)(&asked)? else {
            return Ok(None);
        };
        Ok(Some(match self.kind {
            Kind::Plain => told(program.run()?, |finished| {
                finished.output.lines().any(|line| line.starts_with("ok"))
            }),
            Kind::Curl => told(program.run()?, |finished| finished.status.success()),
            Kind::Grpc => told(program.run()?, |finished| {
                !finished.output.to_lowercase().contains("unavailable")
            }),
            Kind::Typed => type_into(program, &asked)?,
        }))
    }
}

fn told(finished: Finished, good: impl Fn(&Finished) -> bool) -> Told {
    Told {
        good: good(&finished),
        output: finished.output,
        server: String::new(),
    }
}

/// Greets, and waits for an answer.
fn type_into(program: Program, asked: &Asked) -> Result<Told> {
    const H2: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const HTTP: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let h2 = asked.scenario.selects_h2();
    let mut running = program.start()?;
    // It may have ended already.
    let _ = running.say(if h2 { H2 } else { HTTP });
    let answer = match (asked.server.name, h2) {
        // It reverses lines.
        ("openssl", _) => "PTTH",
        ("rustls", _) | (_, false) => "HTTP/",
        (_, true) => "\0",
    };
    let good = running.says_within(answer, seconds(5.0));
    Ok(told(running.finish()?, |_| good))
}

impl Asked<'_> {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// HOST PORT CA OFFER MAX
    fn arguments(&self) -> String {
        format!(
            "127.0.0.1 {} {} {} {}",
            self.port,
            self.ca,
            Scenario::list(self.scenario.offer),
            self.scenario.most
        )
    }

    fn is_tls_1_2(&self) -> bool {
        self.scenario.most == "1.2"
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one of several")]
fn openssl(asked: &Asked) -> Result<Option<Program>> {
    let version = if asked.is_tls_1_2() { "-tls1_2" } else { "" };
    Ok(Some(Program::new("openssl").args(&format!(
        "s_client -connect {} -servername localhost -verify_hostname localhost -verify_return_error -quiet \
         -no_ign_eof -CAfile {} -alpn {} {version}",
        asked.address(),
        asked.ca,
        asked.scenario.offer.join(",")
    ))))
}

/// It cannot offer h2 alone.
#[expect(clippy::unnecessary_wraps, reason = "one of several")]
fn curl(asked: &Asked) -> Result<Option<Program>> {
    let protocol = match asked.scenario.offer {
        ["h2", "http/1.1"] => "--http2",
        ["http/1.1"] => "--http1.1",
        _ => return Ok(None),
    };
    let version = if asked.is_tls_1_2() {
        "--tls-max 1.2"
    } else {
        ""
    };
    Ok(Some(Program::new("curl").args(&format!(
        "-sS --noproxy * --max-time 10 -o /dev/null --resolve localhost:{0}:127.0.0.1 --cacert {1} {protocol} \
         {version} https://localhost:{0}/",
        asked.port, asked.ca
    ))))
}

#[expect(clippy::unnecessary_wraps, reason = "one of several")]
fn python(asked: &Asked) -> Result<Option<Program>> {
    let program = Program::new("python3").arg("-c").arg(source::PYTHON_CLIENT);
    Ok(Some(program.args(&asked.arguments())))
}

#[expect(clippy::unnecessary_wraps, reason = "one of several")]
fn node(asked: &Asked) -> Result<Option<Program>> {
    let program = Program::new("node").arg("-e").arg(source::NODE_CLIENT);
    Ok(Some(program.args(&format!("-- {}", asked.arguments()))))
}

#[expect(clippy::unnecessary_wraps, reason = "one of several")]
fn go(asked: &Asked) -> Result<Option<Program>> {
    let peer = asked.tools.join(asked.name).join("peer");
    Ok(peer.is_file().then(|| {
        Program::at(&peer).args(&format!(
            "client {} {} {} {}",
            asked.address(),
            asked.ca,
            Scenario::list(asked.scenario.offer),
            asked.scenario.most
        ))
    }))
}

/// It always offers h2 and nothing else, and so stands for a client that offers it among others.
#[expect(clippy::unnecessary_wraps, reason = "one of several")]
fn grpc_go(asked: &Asked) -> Result<Option<Program>> {
    let peer = asked.tools.join("grpc-go/peer");
    let able = asked.scenario.offer.contains(&"h2") && peer.is_file();
    Ok(able.then(|| {
        let arguments = format!(
            "client {} {} {}",
            asked.address(),
            asked.ca,
            asked.scenario.most
        );
        Program::at(&peer).args(&arguments)
    }))
}

/// So does this one, which cannot be told versions.
#[expect(clippy::unnecessary_wraps, reason = "one of several")]
fn grpcio(asked: &Asked) -> Result<Option<Program>> {
    let able = asked.scenario.offer.contains(&"h2") && !asked.is_tls_1_2();
    let python = grpcio_program(asked.tools).filter(|_| able);
    Ok(python.map(|python| {
        let python = python.arg("-c").arg(source::GRPCIO_CLIENT);
        python.args(&format!("127.0.0.1 {} {}", asked.port, asked.ca))
    }))
}

/// A Python that has it, if it is here.
fn grpcio_program(tools: &Path) -> Option<Program> {
    let folder = tools.join("grpcio");
    let python = || Program::new("python3").env("PYTHONPATH", &folder.display().to_string());
    folder.is_dir().then(python)
}

#[expect(clippy::unnecessary_wraps, reason = "one of several")]
fn gnutls(asked: &Asked) -> Result<Option<Program>> {
    let priority = if asked.is_tls_1_2() {
        "NORMAL:-VERS-TLS1.3"
    } else {
        "NORMAL"
    };
    let protocols = asked.scenario.offer.join(" --alpn=");
    Ok(Some(Program::new("gnutls-cli").args(&format!(
        "--port {} --x509cafile {} --sni-hostname localhost --verify-hostname localhost --priority {priority} \
         --alpn={protocols} 127.0.0.1",
        asked.port, asked.ca
    ))))
}

fn java(asked: &Asked) -> Result<Option<Program>> {
    let file = scratch()?.join("MatrixClient.java");
    fs::write(&file, source::JAVA_CLIENT)?;
    let program = Program::new("java").args("-XX:TieredStopAtLevel=1 -XX:+UseSerialGC");
    Ok(Some(program.arg(file).args(&asked.arguments())))
}

fn rustls(asked: &Asked) -> Result<Option<Program>> {
    Ok(Some(
        own_program()?.args(&format!("rustls-client {}", asked.arguments())),
    ))
}
