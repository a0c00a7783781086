//! What the TLS library says, against real OpenSSL on both ends: TLS 1.3 hides most of it on the wire.

use anyhow::{Result, ensure};
use tls_trace::{
    event::LibraryName,
    report::{Cause, Initiator, Notice, Phase},
};
use tls_trace_tests::{
    Case, Expected, both,
    certificates::Certificates,
    client, clients,
    hooked::wait_until_hooked,
    program::{Finished, Program},
    server, servers, truth,
    words::{said, verified},
};

/// `SSL_R_CERTIFICATE_VERIFY_FAILED`.
const VERIFY_FAILED: u32 = 134;

#[test]
fn certificate_expired() {
    rejected_by_client(
        Certificates::expired,
        (10, "cert_has_expired", Cause::CertificateExpired),
        (1045, "alert_certificate_expired", Cause::CertificateExpired),
    );
}

#[test]
fn certificate_of_an_unknown_ca() {
    let unknown = Cause::CertificateUnknownCa;
    rejected_by_client(
        Certificates::untrusted,
        (20, "unable_to_get_issuer_cert_locally", unknown),
        (1048, "alert_unknown_ca", unknown),
    );
}

/// Only the client's library knows that it is the name; its alert says `bad_certificate`.
#[test]
fn certificate_for_another_name() {
    rejected_by_client(
        Certificates::wrong_name,
        (62, "hostname_mismatch", Cause::CertificateHostnameMismatch),
        (1042, "alert_bad_certificate", Cause::CertificateBad),
    );
}

/// `s_client` shakes hands by `SSL_write`, `s_server -rev` by `SSL_accept`, `-www` through a BIO.
fn rejected_by_client(
    certificate: impl Fn(&Certificates) -> String,
    (result, result_name, found): (u32, &'static str, Cause),
    (alert, alert_name, told): (u32, &'static str, Cause),
) {
    for server_options in ["", "-www"] {
        truth(&["openssl"], |case| {
            let certificates = Certificates::shared()?;
            let client_options = format!(
                "-tls1_3 -verify_return_error -verify_hostname localhost -CAfile {}",
                certificates.ca()
            );
            shake_hands(
                case,
                openssl_server(case, &certificate(certificates)).args(server_options),
                clients::openssl(case.address()).args(&client_options),
            )?;
            let end = |end: Expected, cause| {
                end.failed(Phase::EncryptedHandshake, Initiator::ClientApp, cause)
            };
            case.expect([
                end(client(), found)
                    .and("reason", said(VERIFY_FAILED, "certificate_verify_failed"))
                    .and("verify result", verified(result, result_name)),
                end(server(), told).and("alert", said(alert, alert_name)),
            ])
        });
    }
}

#[test]
fn no_shared_cipher() {
    let told = (193, "no_shared_cipher", Cause::NoSharedCipher);
    refused_by_server(
        "-tls1_2 -cipher ECDHE-ECDSA-AES128-SHA",
        "-tls1_2 -cipher ECDHE-RSA-AES256-GCM-SHA384",
        told,
        (1040, "alert_handshake_failure", Cause::HandshakeFailure),
    );
    refused_by_server(
        "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256",
        "-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384",
        told,
        (1040, "alert_handshake_failure", Cause::HandshakeFailure),
    );
}

#[test]
fn no_shared_group() {
    refused_by_server(
        "-tls1_3 -groups P-256",
        "-tls1_3 -groups X25519",
        (101, "no_suitable_key_share", Cause::NoSharedGroup),
        (1040, "alert_handshake_failure", Cause::HandshakeFailure),
    );
}

#[test]
fn protocol_version() {
    refused_by_server(
        "-tls1_3",
        "-tls1_2",
        (258, "unsupported_protocol", Cause::ProtocolVersion),
        (1070, "alert_protocol_version", Cause::ProtocolVersion),
    );
}

#[test]
fn no_application_protocol() {
    let why = Cause::NoApplicationProtocol;
    refused_by_server(
        "-alpn h2",
        "-alpn http/1.1",
        (235, "no_application_protocol", why),
        (1120, "alert_no_application_protocol", why),
    );
}

fn refused_by_server(
    server_options: &str,
    client_options: &str,
    (reason, reason_name, found): (u32, &'static str, Cause),
    (alert, alert_name, told): (u32, &'static str, Cause),
) {
    truth(&["openssl"], |case| {
        let certificates = Certificates::shared()?;
        shake_hands(
            case,
            openssl_server(case, &certificates.good()).args(server_options),
            clients::openssl(case.address()).args(client_options),
        )?;
        let end =
            |end: Expected, cause| end.failed(Phase::ClientHello, Initiator::ServerApp, cause);
        case.expect([
            end(server(), found).and("reason", said(reason, reason_name)),
            end(client(), told).and("alert", said(alert, alert_name)),
        ])
    });
}

/// The client finds out only when it reads, after its handshake seemed complete.
#[test]
fn client_certificate_missing() {
    truth(&["openssl"], |case| {
        let certificates = Certificates::shared()?;
        let _server = openssl_server(case, &certificates.good())
            .args("-tls1_3 -Verify 1")
            .start()?
            .listening(case.port())?;
        // It leaves when its input ends, which must not be before the alert is there.
        let client_program = clients::openssl(case.address()).args("-tls1_3").start()?;
        client_program.until("alert certificate required")?;
        client_program.finish()?;
        let end = |end: Expected| {
            let why = Cause::CertificateRequired;
            end.failed(Phase::Finished, Initiator::ServerApp, why)
        };
        case.expect([
            end(client()).and("alert", said(1116, "alert_certificate_required")),
            end(server()).and("reason", said(199, "peer_did_not_return_a_certificate")),
        ])
    });
}

/// Over a socket, over memory, step by step and by an event loop. Over memory Python throws the alert
/// away: the server's end only sees that the client leaves.
#[test]
fn python_over_sockets_and_memory() {
    for (mode, alert) in [
        ("sync", true),
        ("nonblocking", true),
        ("bio", true),
        ("asyncio", false),
    ] {
        truth(&["python3"], |case| {
            let certificates = Certificates::shared()?;
            let options = format!("ca={} mode={mode}", certificates.ca());
            shake_hands(
                case,
                servers::python(case.port(), &certificates.expired(), ""),
                clients::python(case.address(), &options),
            )?
            .said("certificate has expired")?;
            let end = |end: Expected, cause| {
                end.failed(Phase::EncryptedHandshake, Initiator::ClientApp, cause)
            };
            let told = if alert {
                let alert = said(1045, "alert_certificate_expired");
                end(server(), Cause::CertificateExpired).and("alert", alert)
            } else {
                let reason = said(294, "unexpected_eof_while_reading");
                end(server(), Cause::ClosedByPeer).and("reason", reason)
            };
            case.expect([
                end(client(), Cause::CertificateExpired)
                    .and("verify result", verified(10, "cert_has_expired")),
                told,
            ])
        });
    }
}

/// curl has a BIO of its own, which names no file descriptor.
#[test]
fn curl_through_its_own_bio() {
    truth(&["curl", "nginx"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::nginx_tls(case.port(), 1, &certificates.expired())?;
        clients::curl(case.address(), "/")
            .args(&format!("--cacert {}", certificates.ca()))
            .run()?
            .said("certificate has expired")?;
        case.expect([
            client()
                .failed(
                    Phase::EncryptedHandshake,
                    Initiator::ClientApp,
                    Cause::CertificateExpired,
                )
                .and("verify result", verified(10, "cert_has_expired")),
            server()
                .failed(
                    Phase::EncryptedHandshake,
                    Initiator::ClientApp,
                    Cause::CertificateExpired,
                )
                .and("alert", said(1045, "alert_certificate_expired")),
        ])
    });
}

/// Handshakes that take turns in one thread: each error belongs to its own.
#[test]
fn several_connections_in_one_thread() {
    const NAMES: &str = "localhost wrong.test localhost also-wrong.test localhost localhost \
                         wrong.test wrong.test localhost also-wrong.test";
    truth(&["python3"], |case| {
        let certificates = Certificates::shared()?;
        let program = Program::new("python3")
            .arg("-c")
            .arg(include_str!("../programs/interleaved.py"))
            .args(&format!("127.0.0.1 {} {}", case.port(), certificates.ca()))
            .args(NAMES);
        let server_program = servers::python(case.port(), &certificates.good(), "");
        shake_hands(case, server_program, program)?.success()?;
        let count = 2 * NAMES.split_whitespace().count();
        let reports = case.all(count)?;
        ensure!(reports.len() == count, "{} reports", reports.len());
        for report in reports {
            let good = report.sni.as_deref() == Some("localhost");
            let reason = report.library.as_ref().and_then(|library| library.reason);
            let expected = match (good, report.role) {
                (true, _) => None,
                (false, tls_trace::report::Role::Client) => Some(VERIFY_FAILED),
                (false, _) => Some(1042),
            };
            ensure!(
                reason == expected,
                "{expected:?} expected: {}",
                tls_trace_tests::describe(&report)
            );
        }
        Ok(())
    });
}

/// Selected, silently none and not asked for: TLS 1.3 encrypts the answer.
#[test]
fn application_protocol_in_tls_1_3() {
    for (offer, selected) in [("h2,http/1.1", Some("http/1.1")), ("h2", None), ("", None)] {
        truth(&["python3"], |case| {
            let certificates = Certificates::shared()?;
            let alpn = match offer {
                "" => String::new(),
                offer => format!("alpn={offer}"),
            };
            let server_program =
                servers::python(case.port(), &certificates.good(), "alpn=http/1.1");
            shake_hands(case, server_program, clients::python(case.address(), &alpn))?
                .said("ok TLSv1.3")?;
            let notices = if selected.is_none() && !offer.is_empty() {
                vec![Notice::AlpnNotNegotiated]
            } else {
                Vec::new()
            };
            case.expect(both(|end| {
                end.notices(notices.clone())
                    .and("protocol", move |report| {
                        report.alpn.selected.as_deref() == selected
                    })
                    .and("library", |report| {
                        let library = report.library.as_ref();
                        library.is_some_and(|library| library.name == LibraryName::Openssl)
                    })
            }))
        });
    }
}

/// No call of `SSL_do_handshake` tells of a success then: `s_client` writes, `-www` reads through a BIO.
#[test]
fn handshakes_that_reading_and_writing_drives() {
    for version in ["-tls1_3", "-tls1_2"] {
        truth(&["openssl"], |case| {
            let certificates = Certificates::shared()?;
            let server = openssl_server(case, &certificates.good());
            let client = clients::openssl(case.address()).args(&format!(
                "{version} -alpn h2,http/1.1 -CAfile {}",
                certificates.ca()
            ));
            let _server = server.args("-alpn http/1.1 -www").listening(case.port())?;
            let mut client = client.start()?;
            client.say("GET / HTTP/1.0\r\n\r\n")?;
            client.until("HTTP/1.0 200")?;
            client.finish()?.success()?;
            case.wait_for(2)?;
            case.expect(both(|end| {
                let protocol = Some("http/1.1");
                end.ended_by_either()
                    .and("protocol", move |report| {
                        report.alpn.selected.as_deref() == protocol
                    })
                    .and("library", |report| {
                        let library = report.library.as_ref();
                        library.is_some_and(|library| library.name == LibraryName::Openssl)
                    })
            }))
        });
    }
}

/// Sixty handshakes take turns in the one thread of each end: each has its own protocol.
#[test]
fn handshakes_of_node_that_take_turns() {
    const COUNT: usize = 60;
    truth(&["node"], |case| {
        let certificates = Certificates::shared()?;
        let (ca, good) = (certificates.ca(), certificates.good());
        let serve = |port| node(&format!("server {port} {good}")).listening(port);
        let talk = |port, count| {
            let output = node(&format!("client {port} {ca} {count}")).run()?.output;
            let made = output.lines().filter(|line| line.starts_with("ok")).count();
            ensure!(made == count, "{output}");
            Ok(())
        };
        let _hooked = wait_until_hooked(serve, |port| talk(port, 1))?;
        let _server = serve(case.port())?;
        talk(case.port(), COUNT)?;
        let reports = case.all(2 * COUNT)?;
        ensure!(reports.len() == 2 * COUNT, "{} reports", reports.len());
        for report in reports {
            let name = report.library.as_ref().map(|library| library.name);
            let alpn = &report.alpn;
            let offered = alpn.offered.as_deref().and_then(<[_]>::first);
            ensure!(
                name == Some(LibraryName::Openssl) && alpn.selected.as_ref() == offered,
                "{}",
                tls_trace_tests::describe(&report)
            );
        }
        Ok(())
    });
}

fn node(arguments: &str) -> Program {
    let script = include_str!("../programs/alpn.js");
    let program = Program::new("node").arg("-e").arg(script);
    program.args(&format!("-- {arguments}"))
}

/// A client that would go on with HTTP/1.1 and leaves has another reason than the protocol.
#[test]
fn leaving_without_a_protocol() {
    for (offer, failed) in [("h2", true), ("h2,http/1.1", false)] {
        truth(&["python3"], |case| {
            let certificates = Certificates::shared()?;
            let options = format!("alpn={offer} end=leave");
            let server_program = servers::python(case.port(), &certificates.good(), "");
            shake_hands(
                case,
                server_program,
                clients::python(case.address(), &options),
            )?;
            case.expect(both(|end| {
                let end = end.perhaps([Notice::Unused, Notice::ClosedWithUnreadTickets]);
                let end = end.notices([Notice::AlpnNotNegotiated]);
                if failed {
                    let why = Cause::AlpnRejectedByApp;
                    end.failed(Phase::Established, Initiator::ClientApp, why)
                        .likely()
                } else {
                    end
                }
            }))
        });
    }
}

fn openssl_server(case: &Case, certificate: &str) -> Program {
    // Without -rev, which does not go together with -www.
    Program::new("openssl").args(&format!(
        "s_server -accept {} -cert {certificate} -key {certificate}",
        case.port()
    ))
}

/// Runs the client against the server until the client ends.
fn shake_hands(case: &Case, server: Program, client: Program) -> Result<Finished> {
    let _server = server.start()?.listening(case.port())?;
    let finished = client.run()?;
    // The server may be slower to see the end.
    case.wait_for(2)?;
    Ok(finished)
}
