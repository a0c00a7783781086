//! Many connections: none is mistaken for another, none is lost, none fails that did not.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};
use tls_trace::report::{Cause, Initiator, Notice, Outcome, Phase, Report, Role};
use tls_trace_tests::{
    Case, Expected,
    certificates::Certificates,
    client, clients, describe, is_slow,
    program::{Program, Running},
    server, servers, truth,
};

#[test]
fn two_hundred_at_once_with_three_causes() {
    truth(&["nginx", "python3"], |case| {
        let _alone = alone();
        let certificates = Certificates::shared()?;
        let good = certificates.good();
        let settings = format!(
            "listen {} ssl http2 backlog=512; ssl_certificate {good}; ssl_certificate_key {good};\n\
             ssl_protocols TLSv1.3;",
            case.port()
        );
        let _server = servers::nginx(case.port(), 1, &settings)?.listening(case.port())?;
        let crowd = Program::new("python3")
            .arg("-c")
            .arg(include_str!("../programs/crowd.py"))
            .args(&format!(
                "127.0.0.1 {} {} {} 200",
                case.port(),
                certificates.ca(),
                certificates.client()
            ))
            .run()?
            .success()?;
        let mut expected = Vec::new();
        for line in crowd.output.lines() {
            expected.extend(member_of_crowd(line)?);
        }
        ensure!(expected.len() == 400, "{}", crowd.output);
        case.expect(expected)
    });
}

/// What is expected of both ends of a connection that the crowd tells of.
fn member_of_crowd(line: &str) -> Result<[Expected; 2]> {
    let [port, kind, result] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else {
        bail!("not a line of the crowd: {line}");
    };
    let from = ([127, 0, 0, 1], port.parse()?).into();
    let as_told = |end: Expected| {
        // Two hundred at once keep each other waiting.
        let end = end.from(from).perhaps([Notice::SlowHandshake]);
        match kind {
            // nginx closes. In a slow guest its close_notify may come when the payload is no longer watched, and
            // a client that has read it may close TCP first.
            "good" if result == "ok" && is_slow() => Ok(end.ended_by_either()),
            "good" if result == "ok" => Ok(end.established(Initiator::ServerApp)),
            "version" if result.contains("alert protocol version") => Ok(end.failed(
                Phase::ClientHello,
                Initiator::ServerApp,
                Cause::ProtocolVersion,
            )),
            "ca" if result.contains("certificate verify failed") => Ok(end.failed(
                Phase::EncryptedHandshake,
                Initiator::ClientApp,
                Cause::CertificateUnknownCa,
            )),
            "alpn" if result.contains("no application protocol") => Ok(end.failed(
                Phase::ClientHello,
                Initiator::ServerApp,
                Cause::NoApplicationProtocol,
            )),
            _ => bail!("unexpected result: {line}"),
        }
    };
    Ok([as_told(client())?, as_told(server())?])
}

/// Full and resumed handshakes, blocking and non-blocking clients, clients that leave at once.
#[test]
fn five_thousand_handshakes_and_no_failure() {
    truth(&["nginx", "openssl", "python3"], |case| {
        let _alone = alone();
        let wanted = wanted();
        let certificates = Certificates::shared()?;
        let nginx = Nginx::start(case, &certificates.good())?;
        let mut made = 0;
        for options in [
            "mode=sync end=leave",
            "mode=nonblocking end=leave",
            "mode=sync end=close",
            "mode=nonblocking end=close max=1.2",
            "mode=sync end=leave reuse=1",
            "mode=sync end=close reuse=1 max=1.2",
        ] {
            let count = wanted / 10;
            let options = format!("ca={} count={count} {options}", certificates.ca());
            let finished = clients::python(case.address(), &options).run()?;
            let good = finished
                .output
                .lines()
                .filter(|line| line.starts_with("ok"));
            ensure!(good.count() == count, "{options}: {}", finished.output);
            made += count;
        }
        for options in ["-new", "-reuse", "-new -tls1_2", "-reuse -tls1_2"]
            .iter()
            .cycle()
        {
            if made >= wanted {
                break;
            }
            made += s_time(case, options)?;
        }
        let reports = case.all(2 * made)?;
        nothing_lost(case)?;
        nginx.accounts_for(&reports)?;
        let good = |report: &Report| {
            let verdict = &report.verdict;
            (verdict.outcome, verdict.cause) == (Outcome::Established, Cause::None)
        };
        if let Some(bad) = reports.iter().find(|report| !good(report)) {
            bail!(
                "{made} made: {:?}, such as\n{}",
                tally(&reports),
                describe(bad)
            );
        }
        for role in [Role::Client, Role::Server] {
            let count = reports.iter().filter(|report| report.role == role).count();
            ensure!(count == made, "{made} made, {count} reports of the {role}");
        }
        Ok(())
    });
}

/// Good and bad clients side by side.
#[test]
fn busy_nginx_is_accounted_for() {
    truth(&["nginx", "openssl", "python3"], |case| {
        let _alone = alone();
        let certificates = Certificates::shared()?;
        let nginx = Nginx::start(case, &certificates.good())?;
        let (ca, untrusting) = (certificates.ca(), certificates.client());
        let mut running = Vec::new();
        for options in [
            format!("ca={ca} end=leave"),
            format!("ca={untrusting}"),
            format!("ca={ca} alpn=smtp"),
            format!("ca={ca} end=close mode=nonblocking"),
        ] {
            let options = format!("{options} count={}", wanted() / 20);
            running.push(clients::python(case.address(), &options).start()?);
        }
        let timed = s_time(case, "-new")?;
        let mut made = timed;
        for client in running {
            made += client.finish()?.output.lines().count();
        }
        let reports = case.all(2 * made)?;
        nothing_lost(case)?;
        nginx.accounts_for(&reports)?;
        ensure!(
            reports.len() == 2 * made,
            "{made} made: {:?}",
            tally(&reports)
        );
        let failed = |cause| move |report: &&Arc<Report>| report.verdict.cause == cause;
        for cause in [Cause::CertificateUnknownCa, Cause::NoApplicationProtocol] {
            let count = reports.iter().filter(failed(cause)).count();
            ensure!(
                count == wanted() / 10,
                "{cause}: {count} of {}",
                wanted() / 10
            );
        }
        nothing_lost(case)
    });
}

/// Each case may have the machine for itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many handshakes; a slow machine is given fewer.
fn wanted() -> usize {
    if is_slow() { 500 } else { 5000 }
}

/// `openssl s_time` for a second; says how many connections it made.
fn s_time(case: &Case, options: &str) -> Result<usize> {
    let finished = Program::new("openssl")
        .args(&format!(
            "s_time -connect {} -time 1 {options}",
            case.address()
        ))
        .run()?
        .success()?;
    // "832 connections in 2 real seconds, 0 bytes read per connection"; resuming begins with one
    // full handshake that is not counted.
    let counted: usize = finished
        .output
        .lines()
        .find_map(|line| line.split_once(" connections in ")?.0.parse().ok())
        .with_context(|| finished.output.clone())?;
    Ok(counted + usize::from(options.contains("-reuse")))
}

/// nginx with a status page that counts connections.
struct Nginx {
    _running: Running,
    status: SocketAddr,
}

impl Nginx {
    fn start(case: &Case, certificate: &str) -> Result<Self> {
        let status = ([127, 0, 0, 2], case.port()).into();
        let settings = format!(
            "listen 127.0.0.1:{} ssl http2; listen {status};\n\
             ssl_certificate {certificate}; ssl_certificate_key {certificate};\n\
             ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:all:10m;",
            case.port()
        );
        let running = servers::nginx(case.port(), 2, &settings)?.listening(case.port())?;
        Ok(Self {
            _running: running,
            status,
        })
    }

    /// nginx's own count and the reports agree, and no connection has two reports of one end.
    fn accounts_for(&self, reports: &[Arc<Report>]) -> Result<()> {
        let answer = clients::curl_in_the_clear(self.status, "/status")
            .run()?
            .success()?;
        let mut numbers = answer
            .output
            .split_whitespace()
            .filter_map(|word| word.parse::<usize>().ok());
        // "Active connections: 1 server accepts handled requests 4 4 4 …"; one is this query.
        let accepted = numbers.nth(1).with_context(|| answer.output.clone())? - 1;
        let servers = reports.iter().filter(|report| report.role == Role::Server);
        let ends: BTreeSet<_> = servers.clone().map(|report| report.id).collect();
        ensure!(
            servers.clone().count() == accepted && ends.len() == accepted,
            "nginx accepted {accepted}, {} reports of {} connections: {:?}",
            servers.count(),
            ends.len(),
            tally(reports)
        );
        Ok(())
    }
}

fn tally(reports: &[Arc<Report>]) -> BTreeMap<(Role, Outcome, Cause), usize> {
    let mut tally = BTreeMap::new();
    for report in reports {
        let verdict = &report.verdict;
        *tally
            .entry((report.role, verdict.outcome, verdict.cause))
            .or_default() += 1;
    }
    tally
}

/// Every counter of lost events is zero.
fn nothing_lost(case: &Case) -> Result<()> {
    let metrics = case.tracer().metrics()?;
    let lost: Vec<_> = metrics
        .lines()
        .filter(|line| line.starts_with("tls_trace_events_lost_total"))
        .collect();
    ensure!(!lost.is_empty(), "no counter of lost events in: {metrics}");
    let lost: Vec<_> = lost.iter().filter(|line| !line.ends_with(" 0")).collect();
    ensure!(lost.is_empty(), "events were lost: {lost:?}");
    Ok(())
}
