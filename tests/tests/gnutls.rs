//! GnuTLS on both ends, which encrypts its objections in TLS 1.3: what its library says of them.

use anyhow::Result;
use tls_trace::{
    event::LibraryName,
    report::{
        Cause, EarlyDataOutcome as Outcome, EarlyDataReason as Reason, Initiator, Notice, Phase,
    },
};
use tls_trace_tests::{
    Case, Expected, both,
    certificates::Certificates,
    client, clients,
    program::{Finished, Program},
    scratch, server, servers, truth,
    words::{early_data, said, verified},
};

const CERTIFICATE_ERROR: u32 = 43;
const ALERT_RECEIVED: u32 = 12;

/// Its alert says `bad_certificate`, whatever was bad about it.
#[test]
fn certificate_rejected() {
    rejected_by_client(
        Certificates::expired,
        "expired",
        (1 << 10, "expired", Cause::CertificateExpired),
    );
    rejected_by_client(
        Certificates::untrusted,
        "issuer is unknown",
        (1 << 6, "signer_not_found", Cause::CertificateUnknownCa),
    );
    rejected_by_client(
        Certificates::wrong_name,
        "name in the certificate does not match",
        (
            1 << 14,
            "unexpected_owner",
            Cause::CertificateHostnameMismatch,
        ),
    );
}

fn rejected_by_client(
    certificate: impl Fn(&Certificates) -> String,
    says: &str,
    (status, name, found): (u32, &'static str, Cause),
) {
    const INVALID: u32 = 1 << 1;
    for (priority, phase) in [
        ("NORMAL", Phase::EncryptedHandshake),
        ("NORMAL:-VERS-TLS1.3", Phase::ServerHello),
    ] {
        truth(&["gnutls-cli", "gnutls-serv"], |case| {
            let certificate = certificate(Certificates::shared()?);
            let server_program = servers::gnutls(case.port(), &certificate);
            let client_program = gnutls_client(case, priority)?;
            shake_hands(case, server_program, client_program)?.said(says)?;
            let end = |end: Expected, cause| end.failed(phase, Initiator::ClientApp, cause);
            case.expect([
                end(client(), found)
                    .and("reason", said(CERTIFICATE_ERROR, "certificate_error"))
                    .and("verify status", verified(status | INVALID, name)),
                end(server(), Cause::CertificateBad)
                    .and("alert", said(ALERT_RECEIVED, "alert_bad_certificate")),
            ])
        });
    }
}

/// GnuTLS looks for a cipher suite first: those of TLS 1.2 and 1.3 are others.
#[test]
fn protocol_version() {
    let why = (87, "no_cipher_suites", Cause::NoSharedCipher);
    let alert = ("alert_handshake_failure", Cause::HandshakeFailure);
    let (old, new) = ("NORMAL:-VERS-TLS1.3", "NORMAL:-VERS-ALL:+VERS-TLS1.3");
    refused_by_server("", old, new, why, alert);
    refused_by_server("", new, old, why, alert);
}

#[test]
fn no_shared_cipher() {
    refused_by_server(
        "",
        "NORMAL:-CIPHER-ALL:+AES-256-GCM",
        "NORMAL:-CIPHER-ALL:+AES-128-GCM",
        (87, "no_cipher_suites", Cause::NoSharedCipher),
        ("alert_handshake_failure", Cause::HandshakeFailure),
    );
}

#[test]
fn no_shared_group() {
    refused_by_server(
        "",
        "NORMAL:-GROUP-ALL:+GROUP-SECP256R1",
        "NORMAL:-GROUP-ALL:+GROUP-X25519",
        (423, "no_common_key_share", Cause::NoSharedGroup),
        ("alert_handshake_failure", Cause::HandshakeFailure),
    );
}

#[test]
fn no_application_protocol() {
    let why = Cause::NoApplicationProtocol;
    refused_by_server(
        "--alpn h2 --alpn-fatal",
        "NORMAL",
        "NORMAL --alpn http/1.1",
        (344, "no_application_protocol", why),
        ("alert_no_application_protocol", why),
    );
}

fn refused_by_server(
    server_options: &str,
    server_priority: &str,
    client_priority: &str,
    (reason, reason_name, found): (u32, &'static str, Cause),
    (alert, told): (&'static str, Cause),
) {
    truth(&["gnutls-cli", "gnutls-serv"], |case| {
        let server_program = servers::gnutls(case.port(), &Certificates::shared()?.good())
            .args(&format!("{server_options} --priority {server_priority}"));
        let client_program = gnutls_client(case, client_priority)?;
        shake_hands(case, server_program, client_program)?.said("Received alert")?;
        let end =
            |end: Expected, cause| end.failed(Phase::ClientHello, Initiator::ServerApp, cause);
        case.expect([
            end(server(), found).and("reason", said(reason, reason_name)),
            end(client(), told).and("alert", said(ALERT_RECEIVED, alert)),
        ])
    });
}

/// The client finds out only when it reads, after its handshake seemed complete.
#[test]
fn client_certificate_missing() {
    client_without_certificate(
        "NORMAL",
        Phase::Finished,
        (112, "certificate_required"),
        (
            "[116]",
            "alert_certificate_required",
            Cause::CertificateRequired,
        ),
    );
}

/// Of TLS 1.2 GnuTLS has no alert for it.
#[test]
fn client_certificate_missing_in_tls_1_2() {
    client_without_certificate(
        "NORMAL:-VERS-TLS1.3",
        Phase::EncryptedHandshake,
        (49, "no_certificate_found"),
        ("[50]", "alert_decode_error", Cause::DecodeError),
    );
}

fn client_without_certificate(
    priority: &str,
    phase: Phase,
    (reason, reason_name): (u32, &'static str),
    (alert, alert_name, told): (&str, &'static str, Cause),
) {
    truth(&["gnutls-cli", "gnutls-serv"], |case| {
        let _server = servers::gnutls(case.port(), &Certificates::shared()?.good())
            .args("--require-client-cert")
            .listening(case.port())?;
        // It leaves when its input ends, which must not be before the alert is there.
        let client_program = gnutls_client(case, priority)?.start()?;
        client_program.until(&format!("Received alert {alert}"))?;
        client_program.finish()?;
        let end = |end: Expected, cause| end.failed(phase, Initiator::ServerApp, cause);
        case.expect([
            end(server(), Cause::CertificateRequired).and("reason", said(reason, reason_name)),
            end(client(), told).and("alert", said(ALERT_RECEIVED, alert_name)),
        ])
    });
}

/// Selected, silently none and not asked for: TLS 1.3 encrypts the answer.
#[test]
fn application_protocol_in_tls_1_3() {
    for (offer, selected) in [("--alpn h2", Some("h2")), ("--alpn h3", None), ("", None)] {
        truth(&["gnutls-cli", "gnutls-serv"], |case| {
            let server_program =
                servers::gnutls(case.port(), &Certificates::shared()?.good()).args("--alpn h2");
            let _server = server_program.listening(case.port())?;
            let mut client_program = gnutls_client(case, "NORMAL")?.args(offer).start()?;
            client_program.say("abc\n")?;
            client_program.until("\nabc")?;
            client_program.finish()?.success()?;
            let notices = if selected.is_none() && !offer.is_empty() {
                vec![Notice::AlpnNotNegotiated]
            } else {
                Vec::new()
            };
            case.expect(both(|end| {
                end.ended_by_either()
                    .notices(notices.clone())
                    .version("TLS 1.3")
                    .and("protocol", move |report| {
                        report.alpn.selected.as_deref() == selected
                    })
                    .and("library", |report| {
                        let library = report.library.as_ref();
                        library.is_some_and(|library| library.name == LibraryName::Gnutls)
                    })
            }))
        });
    }
}

#[test]
fn early_data_accepted() {
    truth(&["gnutls-cli", "gnutls-serv"], |case| {
        let server_program = servers::gnutls(case.port(), &Certificates::shared()?.good());
        let server_program = server_program.args("--earlydata --disable-client-cert");
        resume_with_early_data(case, server_program)?;
        let ends = early_data(case, Outcome::Accepted, [None; 2])?;
        let by_gnutls = |end: &tls_trace::report::Report| end.library.as_ref().map(|it| it.name);
        anyhow::ensure!(
            ends.iter()
                .all(|end| by_gnutls(end) == Some(LibraryName::Gnutls))
        );
        Ok(())
    });
}

/// The client does not learn why.
#[test]
fn early_data_refused_by_openssl() {
    truth(&["gnutls-cli", "python3"], |case| {
        let certificate = Certificates::shared()?.good();
        let server_program = Program::new("python3")
            .arg("-c")
            .arg(include_str!("../programs/early_data.py"))
            .args(&format!("server {} {certificate} deny=1", case.port()));
        resume_with_early_data(case, server_program)?;
        let reasons = [None, Some(Reason::ServerPolicy)];
        early_data(case, Outcome::Rejected, reasons)?;
        Ok(())
    });
}

/// A server that was started again cannot read its tickets.
#[test]
fn early_data_refused_by_gnutls() {
    truth(&["openssl", "gnutls-serv"], |case| {
        let start = || {
            let program = servers::gnutls(case.port(), &Certificates::shared()?.good());
            let program = program.args("--earlydata --disable-client-cert");
            program.listening(case.port())
        };
        let folder = scratch()?.join(format!("gnutls-{}", case.port()));
        std::fs::create_dir_all(&folder)?;
        let (ticket, data) = (folder.join("ticket"), folder.join("data"));
        std::fs::write(&data, "abc\n")?;
        let connect = |options: &str| -> Result<Finished> {
            let mut client_program = clients::openssl(case.address()).args(options).start()?;
            client_program.say("abc\n")?;
            client_program.until("\nabc")?;
            client_program.finish()
        };
        let first = start()?;
        connect(&format!("-sess_out {}", ticket.display()))?;
        case.wait_for(2)?;
        first.kill()?;
        let _second = start()?;
        let (ticket, data) = (ticket.display(), data.display());
        connect(&format!("-sess_in {ticket} -early_data {data}"))?
            .said("Early data was rejected")?;
        let refused = Some(Reason::PskNotAccepted);
        early_data(case, Outcome::Rejected, [refused; 2])?;
        Ok(())
    });
}

/// Connects twice, the second time with early data.
fn resume_with_early_data(case: &Case, server_program: Program) -> Result<()> {
    let _server = server_program.listening(case.port())?;
    let file = scratch()?.join(format!("early-{}", case.port()));
    std::fs::write(&file, "abc\n")?;
    let options = format!("--resume --waitresumption --earlydata {}", file.display());
    gnutls_client(case, "NORMAL")?
        .args(&options)
        .run()?
        .said("This is a resumed session")?;
    case.wait_for(4)
}

fn gnutls_client(case: &Case, priority: &str) -> Result<Program> {
    let program = clients::gnutls(case.address(), &Certificates::shared()?.ca());
    Ok(program.args(&format!("--priority {priority}")))
}

/// Runs the client against the server until the client ends.
fn shake_hands(case: &Case, server: Program, client: Program) -> Result<Finished> {
    let _server = server.listening(case.port())?;
    let finished = client.run()?;
    // The server may be slower to see the end.
    case.wait_for(2)?;
    Ok(finished)
}
