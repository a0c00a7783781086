//! One good and one bad handshake of every TLS library at hand.

use std::net::SocketAddr;

use anyhow::Result;
use tls_trace::report::{Cause, Initiator, Notice, Phase};
use tls_trace_tests::{
    Case, Expected, both,
    certificates::Certificates,
    client, clients, go,
    program::{Finished, Program},
    scenes, server, servers, truth,
};

#[test]
fn python() {
    for mode in ["sync", "nonblocking", "bio", "asyncio"] {
        talks(&["python3"], "ok", |server, ca| {
            Ok(clients::python(server, &format!("ca={ca} mode={mode}")))
        });
    }
}

/// The kernel resets because the server's `close_notify` is unread. Nobody misses it.
#[test]
fn python_leaves_close_notify_unread() {
    for version in ["1.2", "1.3"] {
        talks(&["python3"], "ok", |server, ca| {
            let options = format!("ca={ca} mode=bio rude=1 max={version}");
            Ok(clients::python(server, &options))
        });
    }
}

#[test]
fn python_tls_1_2() {
    talks(&["python3"], "ok TLSv1.2", |server, ca| {
        Ok(clients::python(server, &format!("ca={ca} max=1.2")))
    });
}

#[test]
fn node() {
    talks(&["node"], "ok TLSv1.3", |server, ca| {
        Ok(clients::node(server, ca))
    });
}

#[test]
fn node_tls_1_2() {
    talks(&["node"], "ok TLSv1.2", |server, ca| {
        Ok(clients::node(server, ca).arg("TLSv1.2"))
    });
}

#[test]
fn java() {
    talks(&["java"], "ok TLSv1.3", clients::java);
}

#[test]
fn java_tls_1_2() {
    talks(&["java"], "ok TLSv1.2", |server, ca| {
        Ok(clients::java(server, ca)?.arg("TLSv1.2"))
    });
}

#[test]
fn go() {
    talks(&[go::program()], "ok TLS 1.3", |server, ca| {
        go::client(server, &format!("ca={ca}"))
    });
}

#[test]
fn go_tls_1_2() {
    talks(&[go::program()], "ok TLS 1.2", |server, ca| {
        go::client(server, &format!("ca={ca} max=1.2"))
    });
}

/// The client exchanges a line with a Python server and leaves in good order.
fn talks(programs: &[&str], says: &str, program: impl Fn(SocketAddr, &str) -> Result<Program>) {
    truth(&[programs, &["python3"]].concat(), |case| {
        let certificates = Certificates::shared()?;
        let _server =
            servers::python(case.port(), &certificates.good(), "").listening(case.port())?;
        program(case.address(), &certificates.ca())?
            .run()?
            .said(says)?;
        case.expect(both(|end| end))
    });
}

#[test]
fn gnutls() {
    gnutls_talks("NORMAL", "TLS 1.3");
}

#[test]
fn gnutls_tls_1_2() {
    gnutls_talks("NORMAL:-VERS-TLS1.3", "TLS 1.2");
}

fn gnutls_talks(priority: &str, version: &'static str) {
    truth(&["gnutls-cli", "openssl"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::openssl(case.port(), &certificates.good()).listening(case.port())?;
        let mut client = clients::gnutls(case.address(), &certificates.ca())
            .args(&format!("--priority {priority}"))
            .start()?;
        client.say("abc\n")?;
        client.until("cba")?;
        client.finish()?.success()?;
        case.expect(both(|end| end.ended_by_either().version(version)))
    });
}

#[test]
fn gnutls_server() {
    truth(&["gnutls-serv", "openssl"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::gnutls(case.port(), &certificates.good()).listening(case.port())?;
        let mut client = clients::openssl(case.address()).start()?;
        client.say("abc\n")?;
        client.until("abc")?;
        client.finish()?.success()?;
        case.expect(both(Expected::ended_by_either))
    });
}

#[test]
fn curl_and_nginx_with_http_2() {
    curl_talks("--http2", "TLS 1.3");
}

#[test]
fn curl_and_nginx_with_http_2_over_tls_1_2() {
    curl_talks("--http2 --tls-max 1.2", "TLS 1.2");
}

fn curl_talks(options: &str, version: &'static str) {
    truth(&["curl", "nginx"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::nginx_tls(case.port(), 1, &certificates.good())?;
        clients::curl(case.address(), "/")
            .args(&format!("{options} --cacert {}", certificates.ca()))
            .run()?
            .success()?
            .said("hello")?;
        // curl 7.88 leaves HTTP/2 without close_notify. That can be said if it leaves while its payload is
        // still watched, which ends some milliseconds after the answer.
        case.expect(both(|end| {
            end.perhaps([Notice::NoCloseNotify])
                .version(version)
                .and("h2 offered", |report| {
                    report
                        .alpn
                        .offered
                        .as_ref()
                        .is_some_and(|offered| offered.iter().any(|name| name == "h2"))
                })
        }))
    });
}

/// curl objects to the certificate in the clear, as OpenSSL's clients do.
#[test]
fn curl_rejects_an_unknown_ca() {
    truth(&["curl", "python3"], |case| {
        let curl =
            |server, ca: &str| Ok(clients::curl(server, "/").args(&format!("--cacert {ca}")));
        against_untrusted(case, curl)?.said("unable to get local issuer")?;
        let why = Cause::CertificateUnknownCa;
        case.expect(both(|end| {
            end.failed(Phase::EncryptedHandshake, Initiator::ClientApp, why)
        }))
    });
}

/// Node's check ends with a FIN, no alert: only that it left can be said.
#[test]
fn node_rejects_an_unknown_ca() {
    truth(&["node", "python3"], |case| {
        let node = |server, ca: &str| Ok(clients::node(server, ca));
        against_untrusted(case, node)?.said("error UNABLE_TO_VERIFY_LEAF_SIGNATURE")?;
        let left = |end: Expected, cause| {
            end.failed(Phase::EncryptedHandshake, Initiator::ClientApp, cause)
        };
        case.expect([
            left(client(), Cause::ClosedByApp),
            left(server(), Cause::ClosedByPeer),
        ])
    });
}

/// Java and GnuTLS encrypt their objection in TLS 1.3. Of Java's only OpenSSL at the other end says what it was.
/// Go, which encrypts it, too, is asked itself: see `go.rs`.
#[test]
fn java_rejects_an_unknown_ca() {
    let client_says = (Cause::EncryptedAlert, false);
    let told = Cause::CertificateUnknown;
    rejects_encrypted(&["java"], "error", client_says, told, clients::java);
}

/// GnuTLS says more to us than to its peer.
#[test]
fn gnutls_rejects_an_unknown_ca() {
    rejects_encrypted(
        &["gnutls-cli"],
        "issuer is unknown",
        (Cause::CertificateUnknownCa, true),
        Cause::CertificateBad,
        |server, ca| Ok(clients::gnutls(server, ca)),
    );
}

fn rejects_encrypted(
    programs: &[&str],
    says: &str,
    (found, certain): (Cause, bool),
    told: Cause,
    program: impl Fn(SocketAddr, &str) -> Result<Program>,
) {
    truth(&[programs, &["python3"]].concat(), |case| {
        let (client_said, server_said) = heard_by_untrusted(case, program)?;
        client_said.said(says)?;
        let end = |end: Expected, cause| {
            end.failed(Phase::EncryptedHandshake, Initiator::ClientApp, cause)
        };
        let told = scenes::of_an_encrypted_alert(
            &server_said,
            end(server(), told),
            end(server(), Cause::EncryptedAlert).likely(),
        )?;
        let found = end(client(), found);
        case.expect([if certain { found } else { found.likely() }, told])
    });
}

fn against_untrusted(
    case: &Case,
    program: impl Fn(SocketAddr, &str) -> Result<Program>,
) -> Result<Finished> {
    Ok(heard_by_untrusted(case, program)?.0)
}

/// How the client ended, and what the server says of it.
fn heard_by_untrusted(
    case: &Case,
    program: impl Fn(SocketAddr, &str) -> Result<Program>,
) -> Result<(Finished, String)> {
    let certificates = Certificates::shared()?;
    let server =
        servers::python(case.port(), &certificates.untrusted(), "").listening(case.port())?;
    let finished = program(case.address(), &certificates.ca())?.run()?;
    server.until("error")?;
    case.wait_for(2)?;
    Ok((finished, server.output()))
}
