//! Early data with OpenSSL on both ends: what became of it and why, as each end can know it.

use std::{collections::BTreeSet, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use tls_trace::report::{
    Cause, EarlyData, EarlyDataOutcome as Outcome, EarlyDataReason as Reason, Initiator, Notice,
    Phase, Report, Role,
};
use tls_trace_tests::{
    Case, certificates::Certificates, describe, program::Program, scratch, servers, truth,
};

const SCRIPT: &str = include_str!("../programs/early_data.py");

#[test]
fn accepted() {
    second(
        "",
        "",
        "early data accepted resumed 1",
        Outcome::Accepted,
        [None; 2],
    );
}

/// OpenSSL forgets a ticket once its early data was taken.
#[test]
fn replayed_ticket() {
    truth(&["python3"], |case| {
        let says = "early data rejected resumed 0";
        let reports = connections(case, "", "again=1", says, 3)?;
        let refused = Some(Reason::PskNotAccepted);
        let expected = [(Outcome::Accepted, None), (Outcome::Rejected, refused)];
        for (pair, (outcome, reason)) in reports.chunks(2).skip(1).zip(expected) {
            check(pair, outcome, [reason; 2])?;
        }
        Ok(())
    });
}

#[test]
fn server_restarted() {
    truth(&["python3"], |case| {
        let server_program = early_data_server(case, "")?;
        let first = server_program.start()?.listening(case.port())?;
        let mut client = early_data_client(case, "wait=1")?.start()?;
        client.until("ticket")?;
        first.kill()?;
        let _second = early_data_server(case, "")?
            .start()?
            .listening(case.port())?;
        client.say("\n")?;
        let finished = client.finish()?.said("early data rejected resumed 0")?;
        let reports = in_order(case, &ports(&finished.output)?)?;
        check(
            &reports[2..],
            Outcome::Rejected,
            [Some(Reason::PskNotAccepted); 2],
        )
    });
}

#[test]
fn hello_retry_request() {
    let reason = Some(Reason::HelloRetryRequest);
    let says = "early data rejected resumed 1";
    second(
        "stateless=1 groups=P-256",
        "",
        says,
        Outcome::Rejected,
        [reason; 2],
    );
}

#[test]
fn application_protocol_changed() {
    let reason = Some(Reason::AlpnMismatch);
    let says = "early data rejected resumed 1";
    let client_options = "alpn=h2,http/1.1";
    second(
        "alpn=http/1.1",
        client_options,
        says,
        Outcome::Rejected,
        [reason; 2],
    );
}

/// The client does not learn why.
#[test]
fn ticket_too_old() {
    let reasons = [None, Some(Reason::TicketAge)];
    let says = "early data rejected resumed 1";
    second("", "age=60", says, Outcome::Rejected, reasons);
}

#[test]
fn server_policy() {
    let reasons = [None, Some(Reason::ServerPolicy)];
    for options in ["stateless=1 max=0", "read=0", "deny=1"] {
        let says = "early data rejected resumed 1";
        second(options, "", says, Outcome::Rejected, reasons);
    }
}

#[test]
fn too_much() {
    truth(&["python3"], |case| {
        let says = "alert unexpected message";
        let reports = connections(case, "recv=100", "size=2000", says, 2)?;
        let [caller, answerer] = &reports[2..] else {
            anyhow::bail!("two ends expected");
        };
        let data = EarlyData {
            outcome: Outcome::Aborted,
            reason: Some(Reason::TooMuchData),
        };
        ensure!(answerer.early_data == Some(data), "{}", describe(answerer));
        for report in [caller, answerer] {
            let verdict = &report.verdict;
            ensure!(
                verdict.cause == Cause::UnexpectedMessage
                    && verdict.initiator == Initiator::ServerApp,
                "{}",
                describe(report)
            );
        }
        Ok(())
    });
}

/// OpenSSL does not look at the name again where the server accepts the session for it.
#[test]
fn server_name_changed() {
    second(
        "",
        "name=other.test",
        "early data accepted resumed 1",
        Outcome::Accepted,
        [None; 2],
    );
}

/// A client's library refuses to send early data to another name than the session's: it sends an alert
/// where the ClientHello should be.
#[test]
fn server_name_changed_and_known() {
    truth(&["python3"], |case| {
        let says = "inconsistent early data sni";
        let reports = connections(case, "sni=1", "name=other.test", says, 2)?;
        for report in &reports[2..] {
            ensure!(
                report.verdict.initiator == Initiator::ClientApp
                    && report.verdict.phase < Phase::ClientHello,
                "{}",
                describe(report)
            );
        }
        Ok(())
    });
}

/// `s_client` against nginx: accepted, then with a ticket from before a restart.
#[test]
fn openssl_and_nginx() {
    truth(&["openssl", "nginx"], |case| {
        let certificates = Certificates::shared()?;
        let certificate = certificates.good();
        let settings = format!(
            "listen {} ssl; ssl_certificate {certificate}; ssl_certificate_key {certificate};\n\
             ssl_protocols TLSv1.3; ssl_early_data on;",
            case.port()
        );
        let start = || {
            let program = servers::nginx(case.port(), 1, &settings)?;
            program.start()?.listening(case.port())
        };
        let server = start()?;
        let folder = scratch()?.join(format!("early-{}", case.port()));
        std::fs::create_dir_all(&folder)?;
        let (ticket, request) = (folder.join("ticket"), folder.join("request"));
        let text = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        std::fs::write(&request, text)?;
        let connect = |options: &str| {
            let client = Program::new("openssl").args(&format!(
                "s_client -connect {} -servername localhost -ign_eof {options}",
                case.address()
            ));
            client.start()
        };
        let mut first = connect(&format!("-sess_out {}", ticket.display()))?;
        first.say(text)?;
        first.finish()?.said("HTTP/1.1 200")?;
        case.wait_for(2)?;
        let early = format!(
            "-sess_in {} -early_data {}",
            ticket.display(),
            request.display()
        );
        connect(&early)?.finish()?.said("Early data was accepted")?;
        case.wait_for(4)?;
        server.kill()?;
        let _restarted = start()?;
        // It does not send again what was rejected, and both ends wait.
        let last = connect(&early)?;
        last.until("Early data was rejected")?;
        last.kill()?;
        case.wait_for(6)?;
        // One after the other, so they were reported.
        let mut ports: Vec<_> = case
            .reports()
            .iter()
            .map(|report| port_of_client(report))
            .collect();
        let mut seen = BTreeSet::new();
        ports.retain(|port| seen.insert(*port));
        let reports = in_order(case, &ports)?;
        check(&reports[2..4], Outcome::Accepted, [None; 2])?;
        check(
            &reports[4..],
            Outcome::Rejected,
            [Some(Reason::PskNotAccepted); 2],
        )
    });
}

/// Asserts what both ends say of the second connection: outcome, and reason of client and server.
fn second(
    server_options: &str,
    client_options: &str,
    says: &str,
    outcome: Outcome,
    reasons: [Option<Reason>; 2],
) {
    truth(&["python3"], |case| {
        let reports = connections(case, server_options, client_options, says, 2)?;
        for end in &reports {
            ensure!(end.library.is_some(), "no library: {}", describe(end));
        }
        check(&reports[2..], outcome, reasons)
    });
}

/// Runs both programs; reports of their `count` connections, one after the other, the client's end first.
fn connections(
    case: &Case,
    server_options: &str,
    client_options: &str,
    says: &str,
    count: usize,
) -> Result<Vec<Arc<Report>>> {
    let _server = early_data_server(case, server_options)?
        .start()?
        .listening(case.port())?;
    let finished = early_data_client(case, client_options)?.run()?;
    let finished = finished.said(says)?;
    let ports = ports(&finished.output)?;
    ensure!(ports.len() == count, "{}", finished.output);
    in_order(case, &ports)
}

fn early_data_server(case: &Case, options: &str) -> Result<Program> {
    let certificate = Certificates::shared()?.good();
    let program = Program::new("python3").arg("-c").arg(SCRIPT);
    Ok(program.args(&format!("server {} {certificate} {options}", case.port())))
}

fn early_data_client(case: &Case, options: &str) -> Result<Program> {
    let ca = Certificates::shared()?.ca();
    let program = Program::new("python3").arg("-c").arg(SCRIPT);
    Ok(program.args(&format!("client 127.0.0.1 {} {ca} {options}", case.port())))
}

/// Reports of the connections from these ports, the client's end first.
fn in_order(case: &Case, ports: &[u16]) -> Result<Vec<Arc<Report>>> {
    let reports = case.all(2 * ports.len())?;
    ensure!(
        reports.len() == 2 * ports.len(),
        "{} reports",
        reports.len()
    );
    let keys = ports
        .iter()
        .flat_map(|port| [(Role::Client, *port), (Role::Server, *port)]);
    keys.map(|key| {
        let found = reports
            .iter()
            .find(|report| (report.role, port_of_client(report)) == key);
        found.cloned().with_context(|| format!("no {key:?}"))
    })
    .collect()
}

fn port_of_client(report: &Report) -> u16 {
    match report.role {
        Role::Client => report.local.port(),
        _ => report.remote.port(),
    }
}

/// The ports that the client told, in their order.
fn ports(output: &str) -> Result<Vec<u16>> {
    let lines = output.lines().filter_map(|line| line.strip_prefix("port "));
    Ok(lines.map(str::parse).collect::<Result<_, _>>()?)
}

/// Asserts what the two ends of one connection say.
fn check(pair: &[Arc<Report>], outcome: Outcome, reasons: [Option<Reason>; 2]) -> Result<()> {
    for (end, reason) in pair.iter().zip(reasons) {
        let expected = EarlyData { outcome, reason };
        let data = end.early_data.context("no ClientHello was seen")?;
        let rejected = outcome == Outcome::Rejected;
        let noticed = end.notices.contains(&Notice::EarlyDataRejected);
        let contradiction = end.notices.contains(&Notice::Contradiction);
        ensure!(
            data == expected && rejected == noticed && !contradiction,
            "{data:?}, not {expected:?}; {:?}\n{}",
            end.notices,
            describe(end)
        );
    }
    let [caller, answerer] = pair else {
        anyhow::bail!("two ends expected");
    };
    ensure!(caller.role == Role::Client && answerer.role == Role::Server);
    Ok(())
}
