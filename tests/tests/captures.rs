//! Real handshakes, captured while they are traced: what `analyze` reads in the capture, what tshark reads
//! in it, and what the tracer said live are the same.

use std::{
    collections::BTreeMap,
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Result, ensure};
use tls_trace::report::{Report, Role};
use tls_trace_tests::{
    capture::{Capture, analyze},
    certificates::Certificates,
    clients, describe, go, nss,
    program::Program,
    say_skipped, servers, truth_on_wire,
    tshark::{self, Ends, Fields},
    vantage,
};

const PROGRAMS: [&str; 9] = [
    "tcpdump",
    "tshark",
    "openssl",
    "python3",
    "curl",
    "gnutls-cli",
    "nginx",
    "node",
    "java",
];

/// Ports of servers in the captures of others.
const PORTS_OF_OTHERS: [u16; 2] = [443, 5228];

/// Connections compared at least.
const ENOUGH: usize = 120;

#[test]
fn as_tshark_and_as_live() {
    let programs = [&PROGRAMS[..], &nss::PROGRAMS, &[go::program()]].concat();
    truth_on_wire(&programs, |case| {
        let capture = Capture::of_port(case.port())?;
        let servers = servers_on(case.port())?
            .into_iter()
            .map(|server| (server, true));
        let nss = nss::Database::shared()?.server(case.port());
        // It answers HTTP only, and waits for the rest of anything else.
        for (server, answers_all) in servers.chain([(nss, false)]) {
            let server = server.listening(case.port())?;
            let mut clients = clients_of(case.address())?;
            if answers_all {
                clients.extend(talking_clients_of(case.address())?);
            }
            for client in clients {
                let before = case.reports().len();
                client.run()?;
                case.wait_for(before + 2)?;
            }
            server.kill()?;
        }
        let live = by_ends(case.all(0)?, Role::Client);
        let file = capture.stop()?;
        let seen = by_ends(analyze(&file)?, Role::Observer);
        let theirs = tshark::read(&file, &[case.port()])?;
        println!("{} connections compared", live.len());
        ensure!(live.len() >= ENOUGH, "only {} connections", live.len());
        let differences: Vec<_> = live
            .iter()
            .flat_map(|(ends, live)| differences(live, seen.get(ends), theirs.get(ends)))
            .collect();
        ensure!(differences.is_empty(), "{}", differences.join("\n"));
        ensure!(seen.keys().eq(live.keys()) && theirs.keys().eq(live.keys()));
        Ok(())
    });
}

/// The captures of others, where they are at hand.
#[test]
fn of_others_as_tshark() {
    let folder = env::var_os("TLS_TRACE_CAPTURES").map(PathBuf::from);
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/captures");
    let folder = folder.unwrap_or(beside);
    if !folder.exists() {
        return say_skipped("of_others_as_tshark", "TLS_TRACE_CAPTURES names no folder");
    }
    truth_on_wire(&["tshark"], |_| {
        let mut differences = Vec::new();
        let mut compared = 0;
        for entry in fs::read_dir(folder)? {
            let file = entry?.path();
            if !file.to_string_lossy().contains(".pcap") {
                continue;
            }
            let seen = by_ends(analyze(&file)?, Role::Observer);
            for (ends, theirs) in tshark::read(&file, &PORTS_OF_OTHERS)? {
                compared += 1;
                match seen.get(&ends) {
                    Some(seen) => differences.extend(difference(seen, &theirs)),
                    None => differences.push(format!("{}: {ends:?} is missing", file.display())),
                }
            }
        }
        println!("{compared} connections compared");
        ensure!(
            compared > 0 && differences.is_empty(),
            "{}",
            differences.join("\n")
        );
        Ok(())
    });
}

fn servers_on(port: u16) -> Result<Vec<Program>> {
    let certificates = Certificates::shared()?;
    let good = certificates.good();
    let settings = format!(
        "listen {port} ssl http2; ssl_certificate {good}; ssl_certificate_key {good};\n\
         ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:SSL:1m;"
    );
    Ok(vec![
        servers::openssl(port, &good).args("-alpn http/1.1"),
        // HelloRetryRequest for almost everybody.
        servers::openssl(port, &good).args("-groups P-384"),
        servers::python(
            port,
            &good,
            &format!("alpn=h2 max=1.2 ca={}", certificates.ca()),
        ),
        servers::nginx(port, 1, &settings)?,
        servers::gnutls(port, &good),
        rustls("server", &port.to_string())
            .arg(format!("certificate={good}"))
            .arg("alpn=http/1.1"),
    ])
}

fn clients_of(server: SocketAddr) -> Result<Vec<Program>> {
    let certificates = Certificates::shared()?;
    let ca = certificates.ca();
    let openssl = |options: &str| clients::openssl(server).args(options);
    let gnutls = |priority: &str| clients::gnutls(server, &ca).arg("--priority").arg(priority);
    let curl = |options: &str| {
        clients::curl(server, "/").args(&format!("{options} --max-time 5 --cacert {ca}"))
    };
    let nss = nss::Database::shared()?;
    let rustls = |options: &str| {
        let peer = rustls("client", &server.to_string());
        peer.arg(format!("ca={ca}")).args(options)
    };
    let mut clients = vec![
        openssl("-tls1_2 -servername one.test"),
        openssl("-tls1_3 -alpn h2,http/1.1 -groups P-256"),
        openssl(
            "-tls1_2 -alpn h2 -cipher ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256",
        ),
        openssl("-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256 -noservername"),
        openssl("-tls1_1 -cipher DEFAULT@SECLEVEL=0"),
        openssl(&format!(
            "-tls1_2 -verify_return_error -verify_hostname other.test -CAfile {ca}"
        )),
        gnutls("NORMAL"),
        gnutls("NORMAL:-VERS-TLS1.3:-GROUP-ALL:+GROUP-SECP384R1"),
        curl(""),
        curl("--tls-max 1.2 --http1.1"),
        nss.client(server, "-V tls1.2:tls1.2 -u"),
        nss.client(server, "-V tls1.3:tls1.3 -a two.test"),
        rustls("count=2 alpn=h2,http/1.1"),
        rustls("count=2 max=1.2"),
        rustls("name=other.test"),
    ];
    match env::var("TLS_TRACE_TEST_BORINGSSL") {
        Ok(folder) => {
            let browsers = ["chrome", "firefox", "safari"];
            clients.extend(browsers.map(|name| clients::browser(server, &ca, &folder, name)));
        }
        Err(_) => say_skipped("BoringSSL", "TLS_TRACE_TEST_BORINGSSL names no folder"),
    }
    Ok(clients)
}

/// Those that say a line and want an answer.
fn talking_clients_of(server: SocketAddr) -> Result<Vec<Program>> {
    let ca = Certificates::shared()?.ca();
    let python = |options: &str| clients::python(server, &format!("ca={ca} {options}"));
    Ok(vec![
        python("max=1.2 count=2 reuse=1"),
        python("min=1.3 count=2 reuse=1 alpn=http/1.1"),
        clients::node(server, &ca),
        clients::java(server, &ca)?,
        go::client(server, &format!("ca={ca}"))?,
    ])
}

fn rustls(role: &str, place: &str) -> Program {
    let program = Path::new(env!("CARGO_BIN_EXE_rustls_peer"));
    Program::at(program).arg(role).arg(place)
}

fn by_ends(reports: Vec<Arc<Report>>, role: Role) -> BTreeMap<Ends, Arc<Report>> {
    let reports = reports.into_iter().filter(|report| report.role == role);
    tshark::by_ends(reports.map(|report| (report.local, report.remote, report)))
}

/// What tshark reads otherwise.
fn difference(seen: &Report, theirs: &Fields) -> Option<String> {
    let ours = Fields::from(seen);
    let show = || format!("analyze: {ours:?}\n tshark: {theirs:?}\n{}", describe(seen));
    (ours != *theirs).then(show)
}

/// What is not the same for one connection.
fn differences(live: &Report, seen: Option<&Arc<Report>>, theirs: Option<&Fields>) -> Vec<String> {
    let Some((seen, theirs)) = seen.zip(theirs) else {
        return vec![format!("not in the capture: {}", describe(live))];
    };
    let ours = Fields::from(&**seen);
    let mut found = Vec::from_iter(difference(seen, theirs));
    let there = Fields::from(live);
    if there != ours {
        found.push(format!(
            "   live: {there:?}\nanalyze: {ours:?}\n{}",
            describe(live)
        ));
    }
    if !vantage::agree(&live.verdict, &seen.verdict) {
        found.push(format!(
            "live:\n{}capture:\n{}",
            describe(live),
            describe(seen)
        ));
    }
    found
}
