//! What Go's crypto/tls says of both ends: TLS 1.3 hides most of it on the wire.

use anyhow::{Context as _, Result, bail, ensure};
use tls_trace::{
    event::LibraryName,
    report::{Cause, Confidence, EarlyDataOutcome, EarlyDataReason, Initiator, JoinKey, Notice},
    report::{Outcome, Phase, Report},
};
use tls_trace_tests::{
    Case, Expected, both,
    certificates::Certificates,
    client, clients, describe,
    go::{self, Peer},
    program::{Finished, Program},
    scenes, server, servers, truth,
};

/// Versions that are tried, where this machine has them.
const VERSIONS: [&str; 6] = [
    "go1.17.13",
    "go1.18.10",
    "go1.20.14",
    "go1.22.12",
    "go1.25.5",
    "go1.27.0",
];

#[test]
fn certificate_of_an_unknown_ca() {
    rejected_by_client(
        Certificates::untrusted,
        "",
        "x509.UnknownAuthorityError",
        Cause::CertificateUnknownCa,
    );
}

#[test]
fn certificate_expired() {
    rejected_by_client(
        Certificates::expired,
        "",
        "x509.CertificateInvalidError Expired",
        Cause::CertificateExpired,
    );
}

#[test]
fn certificate_for_another_name() {
    rejected_by_client(
        Certificates::good,
        "name=example.org",
        "x509.HostnameError",
        Cause::CertificateHostnameMismatch,
    );
}

/// Go's clients say `bad_certificate` whatever it is.
fn rejected_by_client(
    certificate: fn(&Certificates) -> String,
    options: &str,
    error: &'static str,
    found: Cause,
) {
    truth(&[go::program()], |case| {
        let certificates = Certificates::shared()?;
        let options = format!("ca={} {options}", certificates.ca());
        fails(case, &certificate(certificates), "", &options)?;
        let end = |end: Expected, cause| {
            end.failed(Phase::EncryptedHandshake, Initiator::ClientApp, cause)
        };
        case.expect([
            end(client(), found).and("error", said(error)),
            end(server(), Cause::CertificateBad).and("alert", said("alert_bad_certificate")),
        ])
    });
}

#[test]
fn protocol_version() {
    refused_by_server(
        "min=1.3",
        "max=1.2",
        Cause::ProtocolVersion,
        "alert_protocol_version",
    );
}

#[test]
fn no_application_protocol() {
    refused_by_server(
        "alpn=h2",
        "alpn=imap",
        Cause::NoApplicationProtocol,
        "alert_no_application_protocol",
    );
}

#[test]
fn no_shared_group() {
    refused_by_server(
        "curve=P-256",
        "curve=X25519",
        Cause::NoSharedGroup,
        "alert_handshake_failure",
    );
}

#[test]
fn no_shared_cipher() {
    refused_by_server(
        "max=1.2 cipher=AES128",
        "max=1.2 cipher=AES256",
        Cause::NoSharedCipher,
        "alert_handshake_failure",
    );
}

/// The reason is a text; the client only has the alert, in the clear.
fn refused_by_server(server_options: &str, options: &str, found: Cause, alert: &'static str) {
    truth(&[go::program()], |case| {
        let certificates = Certificates::shared()?;
        fails(case, &certificates.good(), server_options, options)?;
        let told = match found {
            Cause::NoSharedCipher | Cause::NoSharedGroup => Cause::HandshakeFailure,
            same => same,
        };
        let end =
            |end: Expected, cause| end.failed(Phase::ClientHello, Initiator::ServerApp, cause);
        case.expect([
            end(server(), found).and("text", |report| {
                let library = report.library.as_ref();
                let message = library.and_then(|library| library.message.as_deref());
                message.is_some_and(|message| message.starts_with("tls: "))
            }),
            end(client(), told).and("alert", said(alert)),
        ])
    });
}

/// The client finds out when it reads, and the tracer when it closes.
#[test]
fn client_certificate_missing() {
    truth(&[go::program()], |case| {
        let certificates = Certificates::shared()?;
        let server_options = format!("min=1.3 ca={}", certificates.ca());
        fails(case, &certificates.good(), &server_options, "")?;
        let end = |end: Expected, why| end.failed(Phase::Finished, Initiator::ServerApp, why);
        let (alert, why) = Peer::shared()?.alert_of_a_missing_certificate();
        case.expect([
            end(client(), why).and("alert", said(alert)),
            end(server(), Cause::CertificateRequired).and("text", |report| {
                let library = report.library.as_ref();
                let message = library.and_then(|library| library.message.as_deref());
                message == Some("tls: client didn't provide a certificate")
            }),
        ])
    });
}

/// Selected, silently none and not asked for: TLS 1.3 encrypts the answer.
#[test]
fn application_protocol_in_tls_1_3() {
    for (offered, supported, selected) in [
        ("h2,http/1.1", "h2", Some("h2")),
        // The one mismatch that Go's servers let pass.
        ("http/1.1", "h2", None),
        ("h2", "", None),
        ("", "", None),
    ] {
        truth(&[go::program()], |case| {
            let certificates = Certificates::shared()?;
            let alpn = |names: &str| match names {
                "" => String::new(),
                names => format!("alpn={names}"),
            };
            let finished =
                shake_hands(case, &certificates.good(), &alpn(supported), &alpn(offered))?;
            finished.said("ok TLS 1.3")?;
            let notices = if selected.is_none() && !offered.is_empty() {
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
                        library.is_some_and(|library| library.name == LibraryName::Go)
                    })
            }))
        });
    }
}

/// What grpc-go does since 1.67. Only who leaves at once is believed to leave for the protocol, and a busy
/// machine may keep a client from that: then another has to try.
#[test]
fn leaving_without_a_protocol() {
    truth(&[go::program()], |case| {
        let certificates = Certificates::shared()?;
        let peer = Peer::shared()?;
        let _server = peer.serve(case.port(), &certificates.good(), "")?;
        for attempt in 1..=20 {
            peer.client(case.address(), "alpn=h2 insist=1")
                .run()?
                .said("error missing selected ALPN property")?;
            let reports = case.all(2 * attempt)?;
            let Some(ends) = reports.get(2 * attempt - 2..) else {
                bail!("only {} reports", reports.len());
            };
            if ends.iter().all(|report| left_at_once(report)) {
                return ends.iter().try_for_each(|report| rejected_by_app(report));
            }
        }
        bail!("no client left at once");
    });
}

/// Within what the engine calls at once, and some for the other end to close as well.
fn left_at_once(report: &Report) -> bool {
    let phases = &report.phases_ms;
    let handshake = [
        phases.connect,
        phases.client_hello,
        phases.server_hello,
        phases.rest,
    ];
    let handshake: f64 = handshake.into_iter().flatten().sum();
    report.duration_ms - handshake < 100.0
}

fn rejected_by_app(report: &Report) -> Result<()> {
    let verdict = &report.verdict;
    ensure!(
        verdict.outcome == Outcome::Failed
            && verdict.cause == Cause::AlpnRejectedByApp
            && verdict.initiator == Initiator::ClientApp
            && verdict.confidence == Confidence::Likely
            && report.notices.contains(&Notice::AlpnNotNegotiated),
        "{} {:?} {:?} after {} ms, {:?}",
        describe(report),
        report.notices,
        verdict.evidence,
        report.duration_ms,
        report.phases_ms,
    );
    Ok(())
}

/// By the random first, which a socket in a type of the program's own does not hide.
#[test]
fn joined_by_random_or_socket() {
    for wrap in ["", "wrap=1"] {
        truth(&[go::program()], |case| {
            let certificates = Certificates::shared()?;
            shake_hands(case, &certificates.good(), wrap, wrap)?.said("ok")?;
            case.expect(both(|end| {
                end.and("key", |report| {
                    joined_by(report) == Some(JoinKey::ClientRandom)
                })
            }))
        });
        // Without a version in common a server has no ClientHello: the socket is all there is.
        truth(&[go::program()], |case| {
            let certificates = Certificates::shared()?;
            let server_options = format!("min=1.3 {wrap}");
            fails(case, &certificates.good(), &server_options, "max=1.2")?;
            let hidden = !wrap.is_empty();
            let end = |end: Expected| {
                let why = Cause::ProtocolVersion;
                end.failed(Phase::ClientHello, Initiator::ServerApp, why)
            };
            case.expect([
                end(client()).and("key", |report| {
                    joined_by(report) == Some(JoinKey::ClientRandom)
                }),
                end(server()).and("key", move |report| {
                    joined_by(report) == (!hidden).then_some(JoinKey::Socket)
                }),
            ])
        });
    }
}

/// Go's servers have early data for QUIC only, and abort where others would decline.
#[test]
fn early_data_to_a_go_server() {
    let file = |name| Ok::<_, anyhow::Error>(tls_trace_tests::scratch()?.join(name));
    truth(&["openssl"], |case| {
        let certificate = Certificates::shared()?.good();
        let mut server = Program::new("openssl")
            .args(&format!("s_server -accept {} -early_data", case.port()))
            .args(&format!("-tls1_3 -cert {certificate} -key {certificate}"))
            .start()?
            .listening(case.port())?;
        let mut first = clients::openssl(case.address())
            .args("-tls1_3 -sess_out")
            .arg(file("go-session.pem")?)
            .start()?;
        first.until("Early data was not sent")?;
        // The tickets come before the first word of the server.
        server.say("hello\n")?;
        first.until("hello")?;
        first.end_input();
        first.finish()?;
        Ok(())
    });
    truth(&[go::program(), "openssl"], |case| {
        let certificates = Certificates::shared()?;
        let early = file("go-early.txt")?;
        std::fs::write(&early, "early\n")?;
        let peer = Peer::shared()?;
        let _server = peer.serve(case.port(), &certificates.good(), "")?;
        clients::openssl(case.address())
            .args("-tls1_3 -sess_in")
            .arg(file("go-session.pem")?)
            .arg("-early_data")
            .arg(early)
            .run()?;
        case.expect(both(|end| {
            let why = Cause::UnsupportedExtension;
            end.failed(Phase::ClientHello, Initiator::ServerApp, why)
                .notices([Notice::EarlyDataRejected])
                .and("early data", |report| {
                    report.early_data.is_some_and(|early| {
                        early.outcome == EarlyDataOutcome::Rejected
                            && early.reason == Some(EarlyDataReason::Unsupported)
                    })
                })
        }))
    });
}

/// Without symbols, at an address of the loader's choice, of other versions: the same.
#[test]
fn other_builds() {
    if go::program() != "go" {
        println!("other_builds: skipped: no Go to build with");
        return;
    }
    let mut builds = vec![
        ("stripped", "-ldflags=-s -w", None),
        ("pie", "-buildmode=pie", None),
    ];
    builds.extend(VERSIONS.map(|version| (version, "-ldflags=-s -w", Some(version))));
    for (name, flags, version) in builds {
        truth(&["go"], |case| {
            let peer = match Peer::build(name, flags, version) {
                Err(error) if version.is_some() => {
                    println!("{name}: skipped: {error:#}");
                    return Ok(());
                }
                peer => peer?,
            };
            let _hooked = peer.wait_until_hooked().context(name)?;
            let certificates = Certificates::shared()?;
            let server_options = format!("min=1.3 alpn=h2 ca={}", certificates.ca());
            let _server = peer.serve(case.port(), &certificates.untrusted(), &server_options)?;
            peer.client(case.address(), &format!("ca={}", certificates.ca()))
                .run()?
                .said("error")?;
            case.wait_for(2)?;
            peer.client(case.address(), "alpn=h2")
                .run()?
                .said("error")?;
            case.wait_for(4)?;
            peer.client(case.address(), "alpn=imap")
                .run()?
                .said("error")?;
            let mut found: Vec<_> = case.all(6)?.iter().map(|report| told(report)).collect();
            found.sort();
            let (alert, why) = peer.alert_of_a_missing_certificate();
            let mut expected = vec![
                told_of(
                    "client",
                    "x509.UnknownAuthorityError",
                    Cause::CertificateUnknownCa,
                ),
                told_of("server", "alert_bad_certificate", Cause::CertificateBad),
                told_of("client", alert, why),
                told_of("server", "error", Cause::CertificateRequired),
                told_of(
                    "client",
                    "alert_no_application_protocol",
                    Cause::NoApplicationProtocol,
                ),
                told_of("server", "error", Cause::NoApplicationProtocol),
            ];
            expected.sort();
            ensure!(found == expected, "{name}: {found:#?}");
            Ok(())
        });
    }
}

fn told(report: &Report) -> String {
    let library = report.library.as_ref();
    let name = library.and_then(|library| library.reason_name.as_deref());
    let confidence = report.verdict.confidence;
    let told = told_of(
        report.role.label(),
        name.unwrap_or("nothing"),
        report.verdict.cause,
    );
    match confidence {
        Confidence::Certain => told,
        other => format!("{told} {other}"),
    }
}

fn told_of(role: &str, name: &str, cause: Cause) -> String {
    format!("{role} {name} {cause}")
}

/// An end of Go's against one of OpenSSL's.
#[test]
fn beside_openssl() {
    truth(&[go::program(), "python3"], |case| {
        let certificates = Certificates::shared()?;
        let peer = Peer::shared()?;
        let server_end =
            servers::python(case.port(), &certificates.expired(), "").listening(case.port())?;
        peer.client(case.address(), &format!("ca={}", certificates.ca()))
            .run()?
            .said("error")?;
        server_end.until("error")?;
        case.wait_for(2)?;
        let end = |end: Expected, cause| {
            end.failed(Phase::EncryptedHandshake, Initiator::ClientApp, cause)
        };
        let told = scenes::of_an_encrypted_alert(
            &server_end.output(),
            end(server(), Cause::CertificateBad).and("alert", said("alert_bad_certificate")),
            end(server(), Cause::EncryptedAlert).likely(),
        )?;
        let expired = end(client(), Cause::CertificateExpired);
        case.expect([
            expired.and("error", said("x509.CertificateInvalidError Expired")),
            told,
        ])
    });
}

fn fails(case: &Case, certificate: &str, server: &str, client: &str) -> Result<()> {
    shake_hands(case, certificate, server, client)?.said("error")?;
    Ok(())
}

fn shake_hands(case: &Case, certificate: &str, server: &str, client: &str) -> Result<Finished> {
    let peer = Peer::shared()?;
    let _server = peer.serve(case.port(), certificate, server)?;
    let finished = peer.client(case.address(), client).run()?;
    // The server may be slower to see the end.
    case.wait_for(2)?;
    Ok(finished)
}

fn said(name: &'static str) -> impl Fn(&Report) -> bool {
    move |report| {
        let library = report.library.as_ref();
        library.is_some_and(|library| library.reason_name.as_deref() == Some(name))
    }
}

fn joined_by(report: &Report) -> Option<JoinKey> {
    Some(report.library.as_ref()?.joined_by)
}
