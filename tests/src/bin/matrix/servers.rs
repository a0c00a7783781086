//! The servers.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Result;
use tls_trace_tests::{
    certificates::Certificates,
    program::{Program, Running},
    scratch, servers,
};

use crate::{own_program, scenario::Scenario, source};

/// A server, and how it is started; nothing if it cannot do what is asked.
pub struct Server {
    pub name: &'static str,
    /// Speaks HTTP/2 and HTTP/1.1 rather than some lines.
    pub http: bool,
    start: fn(&Asked) -> Result<Option<Program>>,
}

/// What a server is asked to do.
pub struct Asked<'a> {
    scenario: &'a Scenario,
    port: u16,
    certificate: String,
    ca: String,
    tools: &'a Path,
}

const fn http(name: &'static str, start: fn(&Asked) -> Result<Option<Program>>) -> Server {
    Server {
        name,
        http: true,
        start,
    }
}

pub const ALL: [Server; 8] = [
    Server {
        http: false,
        ..http("openssl", openssl)
    },
    http("nginx", nginx),
    http("haproxy", haproxy),
    http("Envoy", envoy),
    http("Go", go),
    http("grpc-go", grpc_go),
    http("Node", node),
    Server {
        http: false,
        ..http("rustls", rustls)
    },
];

impl Server {
    /// As of [`crate::clients::Client`].
    pub fn is_hooked_late(&self) -> bool {
        ["Envoy", "Go", "grpc-go"].contains(&self.name)
    }

    /// Starts it; nothing if it is not here or cannot do this.
    pub fn start(&self, scenario: &Scenario, port: u16, tools: &Path) -> Result<Option<Running>> {
        let certificates = Certificates::shared()?;
        let certificate = if scenario.untrusted {
            certificates.untrusted()
        } else {
            certificates.good()
        };
        let asked = Asked {
            scenario,
            port,
            certificate,
            ca: certificates.ca(),
            tools,
        };
        let program = (self.start)(&asked)?;
        program.map(|program| program.listening(port)).transpose()
    }
}

impl Asked<'_> {
    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The authority whose certificates it demands, if any.
    fn demanded(&self) -> &str {
        if self.scenario.demand { &self.ca } else { "" }
    }

    fn file(&self, name: &str, content: &str) -> Result<std::path::PathBuf> {
        let file = scratch()?.join(format!("{}-{name}", self.port));
        fs::write(&file, content)?;
        Ok(file)
    }
}

#[expect(clippy::unnecessary_wraps, reason = "one of several")]
fn openssl(asked: &Asked) -> Result<Option<Program>> {
    let mut program = servers::openssl(asked.port, &asked.certificate);
    if !asked.scenario.take.is_empty() {
        program = program.args(&format!("-alpn {}", asked.scenario.take.join(",")));
    }
    if asked.scenario.least == "1.3" {
        program = program.args("-tls1_3");
    }
    if asked.scenario.demand {
        program = program.args(&format!("-Verify 1 -CAfile {}", asked.ca));
    }
    Ok(Some(program))
}

/// It always has http/1.1, and h2 where that is switched on.
fn nginx(asked: &Asked) -> Result<Option<Program>> {
    let http2 = match asked.scenario.take {
        ["h2", "http/1.1"] => " http2",
        ["http/1.1"] => "",
        _ => return Ok(None),
    };
    let versions = match asked.scenario.least {
        "1.3" => "TLSv1.3",
        _ => "TLSv1.2 TLSv1.3",
    };
    let mut settings = format!(
        "listen {} ssl{http2}; ssl_certificate {1}; ssl_certificate_key {1};\nssl_protocols {versions}; \
         error_log stderr info;",
        asked.address(),
        asked.certificate,
    );
    if asked.scenario.demand {
        write!(
            settings,
            "ssl_client_certificate {}; ssl_verify_client on;",
            asked.ca
        )?;
    }
    servers::nginx(asked.port, 1, &settings).map(Some)
}

fn haproxy(asked: &Asked) -> Result<Option<Program>> {
    let mut bind = format!("bind {} ssl crt {}", asked.address(), asked.certificate);
    if !asked.scenario.take.is_empty() {
        write!(bind, " alpn {}", asked.scenario.take.join(","))?;
    }
    if asked.scenario.least == "1.3" {
        bind += " ssl-min-ver TLSv1.3";
    }
    if asked.scenario.demand {
        write!(bind, " ca-file {} verify required", asked.ca)?;
    }
    let file = asked.file(
        "haproxy.cfg",
        &format!(
            "global\n maxconn 100\n log stdout format raw local0\n\
             defaults\n mode http\n log global\n option dontlog-normal\n timeout client 20s\n timeout http-keep-alive 1s\n\
             error-log-format \"error %[fc_err_str] %[ssl_fc_err_str]\"\n\
             frontend all\n {bind}\n http-request return status 200 content-type text/plain string hello\n"
        ),
    )?;
    Ok(Some(Program::new("haproxy").args("-db -f").arg(file)))
}

fn envoy(asked: &Asked) -> Result<Option<Program>> {
    let binary = asked.tools.join("envoy/envoy/_bin/envoy");
    if !binary.is_file() {
        return Ok(None);
    }
    let file = asked.file("envoy.yaml", &envoy_configuration(asked))?;
    let program = Program::at(&binary)
        .args("--use-dynamic-base-id --concurrency 1 -l error --file-flush-interval-msec 5 -c");
    Ok(Some(program.arg(file)))
}

fn envoy_configuration(asked: &Asked) -> String {
    let least = if asked.scenario.least == "1.3" {
        "TLSv1_3"
    } else {
        "TLSv1_2"
    };
    let (port, certificate, ca) = (asked.port, &asked.certificate, &asked.ca);
    let demand = if asked.scenario.demand {
        format!("validation_context: {{trusted_ca: {{filename: {ca}}}}}")
    } else {
        "# no client certificates".to_owned()
    };
    format!(
        r#"static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    access_log:
    - name: stdout
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog
        log_format: {{text_format_source: {{inline_string: "downstream %DOWNSTREAM_TRANSPORT_FAILURE_REASON%\n"}}}}
    filter_chains:
    - transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: {required}
          common_tls_context:
            alpn_protocols: {take:?}
            tls_params: {{tls_minimum_protocol_version: {least}, tls_maximum_protocol_version: TLSv1_3}}
            tls_certificates: [{{certificate_chain: {{filename: {certificate}}}, private_key: {{filename: {certificate}}}}}]
            {demand}
      filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: all
          route_config:
            virtual_hosts:
            - {{name: all, domains: ["*"], routes: [{{match: {{prefix: /}}, direct_response: {{status: 200, body: {{inline_string: hello}}}}}}]}}
          http_filters:
          - name: router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
"#,
        required = asked.scenario.demand,
        take = asked.scenario.take,
    )
}

#[expect(clippy::unnecessary_wraps, reason = "one of several")]
fn go(asked: &Asked) -> Result<Option<Program>> {
    let peer = asked.tools.join("go1.26/peer");
    Ok(peer.is_file().then(|| {
        Program::at(&peer).args(&format!(
            "server {} {} {} {} {}",
            asked.address(),
            asked.certificate,
            Scenario::list(asked.scenario.take),
            asked.scenario.least,
            asked.demanded()
        ))
    }))
}

/// It always insists on h2.
#[expect(clippy::unnecessary_wraps, reason = "one of several")]
fn grpc_go(asked: &Asked) -> Result<Option<Program>> {
    let peer = asked.tools.join("grpc-go/peer");
    let able = asked.scenario.take.contains(&"h2") && peer.is_file();
    Ok(able.then(|| {
        let program = Program::at(&peer).env("GRPC_GO_LOG_SEVERITY_LEVEL", "info");
        program.args(&format!(
            "server {} {} {} {}",
            asked.address(),
            asked.certificate,
            asked.scenario.least,
            asked.demanded()
        ))
    }))
}

#[expect(clippy::unnecessary_wraps, reason = "one of several")]
fn node(asked: &Asked) -> Result<Option<Program>> {
    Ok(Some(
        Program::new("node")
            .arg("-e")
            .arg(source::NODE_SERVER)
            .args(&format!(
                "-- {} {} {} {} {}",
                asked.port,
                asked.certificate,
                Scenario::list(asked.scenario.take),
                asked.scenario.least,
                asked.demanded()
            )),
    ))
}

fn rustls(asked: &Asked) -> Result<Option<Program>> {
    Ok(Some(own_program()?.args(&format!(
        "rustls-server {} {} {} {} {}",
        asked.address(),
        asked.certificate,
        Scenario::list(asked.scenario.take),
        asked.scenario.least,
        asked.demanded()
    ))))
}
