//! BoringSSL on both ends: reasons of its own numbers, and what it states of early data.

use anyhow::{Result, ensure};
use tls_trace::{
    event::LibraryName,
    report::{
        Cause, EarlyDataOutcome as Outcome, EarlyDataReason as Reason, Initiator, Notice, Phase,
    },
};
use tls_trace_tests::{
    Case, Expected, boringssl, both,
    certificates::Certificates,
    client, describe,
    program::Finished,
    server, truth,
    words::{early_data, said},
};

const VERIFY_FAILED: u32 = 125;

/// A case for which the library is hooked.
fn hooked(body: impl FnOnce(&Case, &Certificates) -> Result<()>) {
    truth(&[boringssl::program()], |case| {
        boringssl::hook()?;
        body(case, Certificates::shared()?)
    });
}

/// Runs the client against the server until the client ends, which says that.
fn shake_hands(
    case: &Case,
    certificate: &str,
    [server_options, client_options]: [&str; 2],
    says: &str,
) -> Result<Finished> {
    let ca = Certificates::shared()?.ca();
    let server_program = boringssl::server(case.port(), certificate, server_options)?;
    let _server = server_program.listening(case.port())?;
    let client_program = boringssl::client(case.address(), &ca, client_options)?;
    let finished = client_program.run()?.said(says)?;
    case.wait_for(2)?;
    Ok(finished)
}

/// Selected, silently none and not asked for: TLS 1.3 encrypts the answer.
#[test]
fn application_protocol_in_tls_1_3() {
    for (offer, selected) in [("alpn=h2", Some("h2")), ("alpn=h3", None), ("", None)] {
        hooked(|case, certificates| {
            let options = ["alpn=h2", offer];
            shake_hands(case, &certificates.good(), options, "ok")?;
            let notices = if selected.is_none() && !offer.is_empty() {
                vec![Notice::AlpnNotNegotiated]
            } else {
                Vec::new()
            };
            case.expect(both(|end| {
                end.notices(notices.clone())
                    .version("TLS 1.3")
                    .and("protocol", move |report| {
                        report.alpn.selected.as_deref() == selected
                    })
                    .and("library", |report| {
                        let library = report.library.as_ref();
                        library.is_some_and(|library| library.name == LibraryName::Boringssl)
                    })
            }))
        });
    }
}

/// Its alert says as much as its error: of a wrong name, too, that the certificate is bad.
#[test]
fn certificate_rejected() {
    for (certificate, alert, alert_name, cause) in [
        (
            Certificates::expired as fn(&_) -> _,
            1045,
            "alert_certificate_expired",
            Cause::CertificateExpired,
        ),
        (
            Certificates::untrusted,
            1048,
            "alert_unknown_ca",
            Cause::CertificateUnknownCa,
        ),
        (
            Certificates::wrong_name,
            1042,
            "alert_bad_certificate",
            Cause::CertificateBad,
        ),
    ] {
        hooked(|case, certificates| {
            let says = "CERTIFICATE_VERIFY_FAILED";
            shake_hands(case, &certificate(certificates), ["", ""], says)?;
            let end =
                |end: Expected| end.failed(Phase::EncryptedHandshake, Initiator::ClientApp, cause);
            case.expect([
                end(client()).and("reason", said(VERIFY_FAILED, "certificate_verify_failed")),
                end(server()).and("alert", said(alert, alert_name)),
            ])
        });
    }
}

#[test]
fn no_shared_cipher() {
    refused_by_server(
        "max=1.2 ciphers=ECDHE-RSA-AES128-GCM-SHA256",
        "max=1.2 ciphers=ECDHE-RSA-AES256-GCM-SHA384",
        (184, "no_shared_cipher", Cause::NoSharedCipher),
        (1040, "alert_handshake_failure", Cause::HandshakeFailure),
    );
}

#[test]
fn no_shared_group() {
    refused_by_server(
        "groups=P-256",
        "groups=X25519",
        (266, "no_shared_group", Cause::NoSharedGroup),
        (1040, "alert_handshake_failure", Cause::HandshakeFailure),
    );
}

#[test]
fn no_application_protocol() {
    let why = Cause::NoApplicationProtocol;
    refused_by_server(
        "alpn=h2 fatal=1",
        "alpn=http/1.1",
        (307, "no_application_protocol", why),
        (1120, "alert_no_application_protocol", why),
    );
}

fn refused_by_server(
    server_options: &str,
    client_options: &str,
    (reason, reason_name, found): (u32, &'static str, Cause),
    (alert, alert_name, told): (u32, &'static str, Cause),
) {
    hooked(|case, certificates| {
        let options = [server_options, client_options];
        shake_hands(case, &certificates.good(), options, "failed")?;
        let end =
            |end: Expected, cause| end.failed(Phase::ClientHello, Initiator::ServerApp, cause);
        case.expect([
            end(server(), found).and("reason", said(reason, reason_name)),
            end(client(), told).and("alert", said(alert, alert_name)),
        ])
    });
}

/// The server refuses the ClientHello before it keeps anything of it: only the client's library speaks.
#[test]
fn protocol_version() {
    hooked(|case, certificates| {
        let options = ["min=1.3", "max=1.2"];
        shake_hands(case, &certificates.good(), options, "failed")?;
        let why = Cause::ProtocolVersion;
        let end = |end: Expected| end.failed(Phase::ClientHello, Initiator::ServerApp, why);
        case.expect([
            end(server()),
            end(client()).and("alert", said(1070, "alert_protocol_version")),
        ])
    });
}

/// The client finds out only when it reads, after its handshake seemed complete.
#[test]
fn client_certificate_missing() {
    hooked(|case, certificates| {
        let options = [&format!("ca={}", certificates.ca()), ""];
        let says = "ALERT_CERTIFICATE_REQUIRED";
        shake_hands(case, &certificates.good(), options, says)?;
        let why = Cause::CertificateRequired;
        let end = |end: Expected| end.failed(Phase::Finished, Initiator::ServerApp, why);
        case.expect([
            end(client()).and("alert", said(1116, "alert_certificate_required")),
            end(server()).and("reason", said(192, "peer_did_not_return_a_certificate")),
        ])
    });
}

#[test]
fn early_data_accepted() {
    second("", "accepted", Outcome::Accepted, [None; 2]);
}

#[test]
fn early_data_and_hello_retry_request() {
    let reason = Some(Reason::HelloRetryRequest);
    let says = "hello_retry_request";
    second("groups=P-384", says, Outcome::Rejected, [reason; 2]);
}

/// The client only knows that its peer declined.
#[test]
fn early_data_and_another_protocol() {
    let reasons = [None, Some(Reason::AlpnMismatch)];
    second("alpn=h2", "peer_declined", Outcome::Rejected, reasons);
}

#[test]
fn early_data_with_an_old_ticket() {
    let reasons = [None, Some(Reason::TicketAge)];
    second("age=100", "peer_declined", Outcome::Rejected, reasons);
}

#[test]
fn early_data_disabled() {
    let reasons = [None, Some(Reason::ServerPolicy)];
    second("refuse=1", "peer_declined", Outcome::Rejected, reasons);
}

/// Asserts what both ends say of the second of two connections, on which the client offers early data.
fn second(server_options: &str, stated: &str, outcome: Outcome, reasons: [Option<Reason>; 2]) {
    hooked(|case, certificates| {
        let options = [
            &format!("early=1 later=1 {server_options}"),
            "early=1 connections=2 alpn=h2,http/1.1",
        ];
        let says = format!("early {stated}");
        shake_hands(case, &certificates.good(), options, &says)?;
        for end in early_data(case, outcome, reasons)? {
            let library = end.library.as_ref().map(|library| library.name);
            let says_so = library == Some(LibraryName::Boringssl);
            ensure!(says_so, "not its library: {}", describe(&end));
        }
        Ok(())
    });
}
