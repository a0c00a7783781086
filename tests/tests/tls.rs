//! What TLS itself says no to, and what it only mentions.

use std::net::{IpAddr, Ipv6Addr};

use tls_trace::report::{Cause, Initiator, Notice, Phase};
use tls_trace_tests::{
    Expected, both, certificates::Certificates, clients, fault::Rules, go, netns::Pair, scenes,
    servers, truth,
};

#[test]
fn tls_1_2() {
    established("-tls1_2", "TLS 1.2");
}

#[test]
fn tls_1_3() {
    established("-tls1_3", "TLS 1.3");
}

/// `s_client` and `s_server` exchange a line and leave in good order.
fn established(version: &'static str, name: &'static str) {
    truth(&["openssl"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::openssl(case.port(), &certificates.good()).listening(case.port())?;
        let program = clients::openssl(case.address()).args(&format!(
            "{version} -servername localhost -verify_return_error -CAfile {}",
            certificates.ca()
        ));
        clients::openssl_talk(program)?.success()?;
        case.expect(both(|end| {
            end.ended_by_either()
                .version(name)
                .and("IPv4, though the server's socket is of IPv6", |report| {
                    report.local.is_ipv4() && report.remote.is_ipv4()
                })
                .and("server name", |report| {
                    report.sni.as_deref() == Some("localhost")
                })
                .and("process", |report| {
                    report.comm.as_deref() == Some("openssl")
                })
        }))
    });
}

#[test]
fn no_common_version_for_an_old_client() {
    refused_by_openssl("-tls1_3", "-tls1_2", Cause::ProtocolVersion);
}

#[test]
fn no_common_version_for_an_old_server() {
    refused_by_openssl("-tls1_2", "-tls1_3", Cause::ProtocolVersion);
}

#[test]
fn no_shared_application_protocol() {
    refused_by_openssl("-alpn h2", "-alpn http/1.1", Cause::NoApplicationProtocol);
}

fn refused_by_openssl(server_options: &str, client_options: &str, cause: Cause) {
    truth(&["openssl"], |case| {
        scenes::refused_by_openssl(case, server_options, client_options, cause)
    });
}

#[test]
fn hello_retry_request() {
    truth(&["openssl"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::openssl(case.port(), &certificates.good())
            .args("-groups P-256")
            .listening(case.port())?;
        let program = clients::openssl(case.address()).args("-tls1_3 -groups X25519:P-256");
        clients::openssl_talk(program)?.success()?;
        case.expect(both(|end| {
            end.ended_by_either()
                .notices([Notice::HelloRetryRequest])
                .and("group", |report| {
                    report.group.as_deref() == Some("secp256r1")
                })
        }))
    });
}

#[test]
fn certificate_of_an_unknown_ca() {
    let untrusted = Certificates::untrusted;
    rejected_by_client("-tls1_2", untrusted, Cause::CertificateUnknownCa);
    rejected_by_client("-tls1_3", untrusted, Cause::CertificateUnknownCa);
}

#[test]
fn certificate_expired() {
    rejected_by_client("-tls1_2", Certificates::expired, Cause::CertificateExpired);
    rejected_by_client("-tls1_3", Certificates::expired, Cause::CertificateExpired);
}

/// Up to TLS 1.2 the certificate itself shows what is wrong with it.
#[test]
fn certificate_in_the_clear() {
    truth(&["openssl"], |case| {
        let certificates = Certificates::shared()?;
        let _server =
            servers::openssl(case.port(), &certificates.expired()).listening(case.port())?;
        let ca = certificates.ca();
        clients::openssl(case.address())
            .args(&format!(
                "-tls1_2 -servername localhost -verify_return_error -CAfile {ca}"
            ))
            .run()?
            .said("verify error")?;
        case.expect(both(|end| {
            let cause = Cause::CertificateExpired;
            end.failed(Phase::ServerHello, Initiator::ClientApp, cause)
                .and("expired certificate", |report| {
                    let shown = report.server_certificate.as_ref();
                    shown.is_some_and(|it| it.valid == Some(false) && it.name_matches == Some(true))
                })
        }))
    });
}

fn rejected_by_client(version: &str, certificate: impl Fn(&Certificates) -> String, cause: Cause) {
    truth(&["openssl"], |case| {
        let certificate = certificate(Certificates::shared()?);
        scenes::rejected_by_openssl(case, version, &certificate, cause)
    });
}

#[test]
fn client_certificate_present() {
    truth(&["python3"], |case| {
        let certificates = Certificates::shared()?;
        let ca = format!("ca={}", certificates.ca());
        let _server =
            servers::python(case.port(), &certificates.good(), &ca).listening(case.port())?;
        let options = format!("{ca} cert={}", certificates.client());
        clients::python(case.address(), &options)
            .run()?
            .said("ok TLSv1.3")?;
        case.expect(both(|end| end))
    });
}

/// A Python server selects nothing and goes on. In TLS 1.2 that is in the clear.
#[test]
fn alpn_silently_not_negotiated_in_tls_1_2() {
    truth(&["python3"], |case| {
        scenes::silent_alpn(case, "1.2")?.said("ok TLSv1.2 None")?;
        case.expect(both(|end| {
            end.notices([Notice::AlpnNotNegotiated])
                .and("offered", |report| {
                    report.alpn.offered.as_deref() == Some(&["http/1.1".to_owned()])
                })
        }))
    });
}

#[test]
fn over_ipv6() {
    truth(&["openssl"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::openssl(case.port(), &certificates.good()).listening(case.port())?;
        let address = (IpAddr::V6(Ipv6Addr::LOCALHOST), case.port()).into();
        clients::openssl_talk(clients::openssl(address))?.success()?;
        case.expect(both(|end| {
            end.ended_by_either().and("IPv6", |report| {
                report.local.is_ipv6() && report.remote.is_ipv6()
            })
        }))
    });
}

#[test]
fn between_network_namespaces() {
    truth(&["ip", "openssl"], |case| {
        let pair = Pair::create()?;
        let certificates = Certificates::shared()?;
        let _server = servers::openssl(case.port(), &certificates.good())
            .within(&pair.server)
            .listening(case.port())?;
        for address in [pair.address(case.port()), pair.address_v6(case.port())] {
            let program = clients::openssl(address).within(&pair.client);
            clients::openssl_talk(program)?.success()?;
        }
        let good = || both(Expected::ended_by_either);
        case.expect(good().into_iter().chain(good()))
    });
}

/// A key share of ML-KEM makes the ClientHello larger than a segment, as long names of protocols do more.
#[test]
fn client_hello_in_two_segments() {
    truth(&["ip", "nft", "python3", go::program()], |case| {
        let pair = Pair::create()?;
        // Segments of their own, as on the wire: not one large packet for the card to cut up.
        pair.client.ip("link set wire gso_max_segs 1\n")?;
        let full = format!("tcp dport {} ip length 1500", case.port());
        let full_segments = Rules::input(&pair.server, &full, "accept")?;
        let certificates = Certificates::shared()?;
        let _server = servers::python(case.port(), &certificates.good(), "bind=10.77.0.2")
            .within(&pair.server)
            .listening(case.port())?;
        let alpn = "x".repeat(220);
        let options = format!("ca={} alpn={alpn}", certificates.ca());
        go::client(pair.address(case.port()), &options)?
            .within(&pair.client)
            .run()?
            .said("ok TLS 1.3")?;
        full_segments.hit(1)?;
        // That nothing was selected only the server's library can tell, where it is probed.
        case.expect(both(|end| {
            end.perhaps([Notice::AlpnNotNegotiated])
                .and("ClientHello of 1.7 kB", |report| {
                    let evidence = &report.verdict.evidence;
                    let length = evidence.iter().find_map(|each| {
                        let (length, _) =
                            each.fact.strip_prefix("ClientHello (")?.split_once(' ')?;
                        length.parse::<usize>().ok()
                    });
                    length.is_some_and(|length| length > 1650)
                })
        }))
    });
}
