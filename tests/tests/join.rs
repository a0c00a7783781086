//! What a library says belongs to its connection, however many there are at once: every connection's server name
//! tells what is to become of it, and both reports of it have to agree.

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use tls_trace::{
    event::LibraryName,
    report::{Cause, Initiator, Outcome, Report, Role},
};
use tls_trace_tests::{
    Case,
    certificates::Certificates,
    describe,
    go::{self, Peer},
    is_slow,
    program::{Program, Running},
    seconds, servers, truth,
};

/// Connections at once.
const AT_ONCE: usize = 250;

/// What drives an end, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    /// OpenSSL below Python's sockets.
    Socket,
    /// OpenSSL over memory.
    Memory,
    /// OpenSSL over memory by Python's asyncio, which drops the alert that OpenSSL wants to send last.
    Loop,
    /// Go.
    Go,
}

impl Driver {
    fn library(self) -> LibraryName {
        match self {
            Self::Socket | Self::Memory | Self::Loop => LibraryName::Openssl,
            Self::Go => LibraryName::Go,
        }
    }
}

#[test]
fn openssl_over_sockets_to_go() {
    truth(&["python3", go::program()], |case| {
        let _alone = alone();
        let server = Peer::shared()?.serve(case.port(), &certificate()?, "min=1.3 alpn=h2")?;
        let client = python_client(case, "sync", "ok,ca,name,version,alpn", 3000)?.start()?;
        agree(case, client, &server, [Driver::Socket, Driver::Go], 3000)
    });
}

#[test]
fn openssl_over_memory_to_itself() {
    truth(&["python3"], |case| {
        let _alone = alone();
        let server = asyncio_server(case)?;
        let client = python_client(case, "asyncio", "ok,ca,name,version", 2000)?.start()?;
        agree(case, client, &server, [Driver::Loop; 2], 2000)
    });
}

#[test]
fn go_to_openssl_over_sockets() {
    truth(&["python3", go::program()], |case| {
        let _alone = alone();
        let server =
            servers::python(case.port(), &certificate()?, "min=1.3").listening(case.port())?;
        let client = go_client(case, "ok,ca,name,version", 2000)?.start()?;
        agree(case, client, &server, [Driver::Go, Driver::Socket], 2000)
    });
}

#[test]
fn go_to_go() {
    truth(&[go::program()], |case| {
        let _alone = alone();
        let server = Peer::shared()?.serve(case.port(), &certificate()?, "min=1.3 alpn=h2")?;
        let client = go_client(case, "ok,ca,name,version,alpn", 2000)?.start()?;
        agree(case, client, &server, [Driver::Go; 2], 2000)
    });
}

/// One connection in many threads, many in each thread, in a process that believes to have another id.
#[test]
fn threads_take_turns_in_a_pid_namespace() {
    truth(&["python3", "unshare"], |case| {
        let _alone = alone();
        let server = asyncio_server(case)?;
        let unshare = Program::new("unshare").args("--pid --fork /usr/bin/python3");
        let options = crowd("ok,ca,name,version", 1000)?;
        let client = named(unshare, case).args(&format!("mode=hopping {options}"));
        let drivers = [Driver::Memory, Driver::Loop];
        agree(case, client.start()?, &server, drivers, 1000)
    });
}

/// Each case may have the machine for itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn certificate() -> Result<String> {
    Ok(Certificates::shared()?.many_names())
}

fn asyncio_server(case: &Case) -> Result<Running> {
    named(Program::new("python3"), case)
        .args(&format!("role=server cert={}", certificate()?))
        .listening(case.port())
}

fn python_client(case: &Case, mode: &str, kinds: &str, count: usize) -> Result<Program> {
    let options = crowd(kinds, count)?;
    let program = named(Program::new("python3"), case);
    Ok(program.args(&format!("mode={mode} {options}")))
}

fn named(python: Program, case: &Case) -> Program {
    python
        .arg("-c")
        .arg(include_str!("../programs/named.py"))
        .args(&format!("127.0.0.1 {}", case.port()))
}

fn go_client(case: &Case, kinds: &str, count: usize) -> Result<Program> {
    let options = crowd(kinds, count)?;
    Ok(Peer::shared()?.client(case.address(), &options))
}

fn crowd(kinds: &str, count: usize) -> Result<String> {
    let certificates = Certificates::shared()?;
    Ok(format!(
        "kinds={kinds} count={} parallel={AT_ONCE} ca={} stranger={}",
        wanted(count),
        certificates.ca(),
        certificates.client()
    ))
}

/// How many handshakes; a slow machine is given fewer.
fn wanted(count: usize) -> usize {
    if is_slow() { count / 10 } else { count }
}

/// Waits for the client's end, and compares both reports of each connection with its name.
fn agree(
    case: &Case,
    mut client: Running,
    server: &Running,
    drivers: [Driver; 2],
    count: usize,
) -> Result<()> {
    let count = wanted(count);
    let pids = [client_process(&client)?, server.pid()];
    // A tracer that is given no time loses events: the next ones have to wait for the reports.
    for begin in (0..count).step_by(AT_ONCE) {
        let made = count.min(begin + AT_ONCE);
        client.until(&format!("so far {made}\n"))?;
        case.wait_for(2 * made)?;
        client.say("\n")?;
    }
    let finished = client.finish()?.success()?;
    let mut kinds = BTreeMap::new();
    let told = finished.output.lines();
    for line in told.filter(|line| !line.starts_with("so far")) {
        let mut words = line.splitn(3, ' ');
        let (Some(number), Some(kind), Some(result)) = (words.next(), words.next(), words.next())
        else {
            bail!("not a line of the clients: {line}");
        };
        ensure!((kind == "ok") == (result == "ok"), "{line}");
        kinds.insert(format!("{number}.{kind}.test"), kind.to_owned());
    }
    ensure!(kinds.len() == count, "{} of {count} told", kinds.len());
    let reports = case.all(2 * count)?;
    let mut ends: BTreeMap<_, Arc<Report>> = BTreeMap::new();
    let mut wrong: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut unsaid = Vec::new();
    for report in reports {
        let name = report.sni.clone().with_context(|| describe(&report))?;
        let kind = kinds.get(&name).with_context(|| describe(&report))?;
        let role = usize::from(report.role == Role::Server);
        let mut result = fits(&report, kind, role, drivers);
        if result.is_ok() && report.pid != Some(pids[role]) {
            result = Err(anyhow!("another process than {}", pids[role]));
        }
        if let Ok(false) = result {
            unsaid.push(describe(&report));
        }
        if let Err(error) = result {
            let (count, example) = wrong.entry(error.to_string()).or_default();
            *count += 1;
            *example = describe(&report);
        }
        if let Some(first) = ends.insert((name, role), report) {
            bail!("one of two reports: {}", describe(&first));
        }
    }
    ensure!(wrong.is_empty(), "{}", show(&wrong));
    // On a busy machine about one error in tens of thousands is not heard. Why, is not known: a probe reads memory
    // without waiting for it, and may find none where the kernel moves a page.
    ensure!(unsaid.len() * 200 <= 2 * count, "{}", unsaid.join("\n"));
    let missing: Vec<_> = kinds
        .keys()
        .flat_map(|name| [(name.clone(), 0), (name.clone(), 1)])
        .filter(|end| !ends.contains_key(end))
        .collect();
    ensure!(
        missing.is_empty(),
        "no report of {missing:?}; {}",
        lost(case)?
    );
    Ok(())
}

/// What the tracer counts as lost.
fn lost(case: &Case) -> Result<String> {
    let metrics = case.tracer().metrics()?;
    let lost = metrics.lines().filter(|line| {
        !line.ends_with(" 0")
            && (line.starts_with("tls_trace_events_lost_total")
                || line.starts_with("tls_trace_connections_evicted_total"))
    });
    Ok(format!("lost: {:?}", lost.collect::<Vec<_>>()))
}

/// How often each thing was wrong, with an example.
fn show(wrong: &BTreeMap<String, (usize, String)>) -> String {
    let line = |(what, (count, example)): (&String, &(usize, String))| {
        format!("{count} times {what}, such as\n{example}")
    };
    wrong.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The process that shakes hands: itself, or the child of one that made a namespace for it.
fn client_process(client: &Running) -> Result<u32> {
    let folder = format!("/proc/{0}/task/{0}", client.pid());
    if fs::read_to_string(format!("{folder}/comm"))? != "unshare\n" {
        return Ok(client.pid());
    }
    let deadline = Instant::now() + seconds(10.0);
    loop {
        let children = fs::read_to_string(format!("{folder}/children"))?;
        if let Some(child) = children.split_whitespace().next() {
            return Ok(child.parse()?);
        }
        ensure!(Instant::now() < deadline, "no child");
    }
}

/// Whether a report may be of a connection of this kind; `false`: its cause is right, but the library was not
/// heard to say why. Role: 0 for the client.
fn fits(report: &Report, kind: &str, role: usize, drivers: [Driver; 2]) -> Result<bool> {
    let (own, other) = (drivers[role], drivers[1 - role]);
    let library = report.library.as_ref();
    let by_peer = match report.verdict.initiator {
        Initiator::ClientApp => role == 1,
        Initiator::ServerApp => role == 0,
        _ => false,
    };
    // Where the peer ends it or an alert is in the clear, the report may be due before a busy program goes on.
    let told_anyway = by_peer || !report.alerts.is_empty();
    ensure!(library.is_some() || told_anyway, "nothing of the library");
    ensure!(
        library.is_none_or(|library| library.name == own.library()),
        "another library"
    );
    let reason = library.and_then(|library| library.reason_name.as_deref());
    let outcome = report.verdict.outcome;
    let cause = report.verdict.cause;
    let wanted = match kind {
        "ok" => Outcome::Established,
        _ => Outcome::Failed,
    };
    ensure!(outcome == wanted, "{kind}: {outcome}");
    let told = told(kind, role == 0, own, other);
    let unsaid = reason.is_none() && told.iter().any(|&(told, _)| told == cause);
    ensure!(
        told.contains(&(cause, reason)) || unsaid,
        "{kind}: {cause}, {reason:?}: none of {told:?}"
    );
    if kind == "name" && role == 0 && own == Driver::Go {
        let named = library.and_then(|library| library.message.as_deref());
        ensure!(named == report.sni.as_deref(), "the name of another");
    }
    Ok(told.contains(&(cause, reason)) || library.is_none())
}

/// The causes and the library's reasons that an end of such a connection may have.
fn told(
    kind: &str,
    client: bool,
    own: Driver,
    other: Driver,
) -> &'static [(Cause, Option<&'static str>)] {
    let go = own == Driver::Go;
    let told_in_the_clear = matches!(other, Driver::Socket | Driver::Memory);
    match (kind, client) {
        ("ok", _) => &[(Cause::None, None)],
        ("version", true) if other == Driver::Loop => {
            &[(Cause::ClosedByPeer, Some("unexpected_eof_while_reading"))]
        }
        ("version", true) => &[(Cause::ProtocolVersion, Some("alert_protocol_version"))],
        ("version", false) if go => &[(Cause::ProtocolVersion, Some("error"))],
        ("version", false) => &[(Cause::ProtocolVersion, Some("unsupported_protocol"))],
        ("alpn", true) => &[(
            Cause::NoApplicationProtocol,
            Some("alert_no_application_protocol"),
        )],
        ("alpn", false) => &[(Cause::NoApplicationProtocol, Some("error"))],
        ("ca", true) if go => &[(
            Cause::CertificateUnknownCa,
            Some("x509.UnknownAuthorityError"),
        )],
        ("ca", true) => &[(
            Cause::CertificateUnknownCa,
            Some("certificate_verify_failed"),
        )],
        ("name", true) if go => &[(
            Cause::CertificateHostnameMismatch,
            Some("x509.HostnameError"),
        )],
        ("name", true) => &[(
            Cause::CertificateHostnameMismatch,
            Some("certificate_verify_failed"),
        )],
        // TLS 1.3 has no alerts in the clear any more: Go takes one for a bad record.
        ("ca", false) if go && told_in_the_clear => &[(Cause::CertificateUnknownCa, Some("error"))],
        ("name", false) if go && told_in_the_clear => &[(Cause::CertificateBad, Some("error"))],
        ("ca", false) if told_in_the_clear => {
            &[(Cause::CertificateUnknownCa, Some("alert_unknown_ca"))]
        }
        ("name", false) if told_in_the_clear => {
            &[(Cause::CertificateBad, Some("alert_bad_certificate"))]
        }
        ("ca" | "name", false) if other == Driver::Loop => {
            &[(Cause::ClosedByPeer, Some("unexpected_eof_while_reading"))]
        }
        // Go's reset follows its alert at once, and may come before the server has read it.
        ("ca" | "name", false) => &[
            (Cause::CertificateBad, Some("alert_bad_certificate")),
            (Cause::EncryptedAlert, None),
        ],
        _ => &[],
    }
}
