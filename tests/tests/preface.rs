//! Handshakes that do not begin with the first byte.

use anyhow::{bail, ensure};
use tls_trace::{
    report::{Cause, Initiator, Phase},
    wire::Preface,
};
use tls_trace_tests::{
    Expected, both, certificates::Certificates, clients, program::Program, servers, truth,
};

#[test]
fn starttls_of_smtp() {
    starttls("smtp", Preface::Smtp);
}

#[test]
fn starttls_of_imap() {
    starttls("imap", Preface::Imap);
}

#[test]
fn stls_of_pop3() {
    starttls("pop3", Preface::Pop3);
}

#[test]
fn auth_tls_of_ftp() {
    starttls("ftp", Preface::Ftp);
}

#[test]
fn starttls_of_xmpp() {
    starttls("xmpp", Preface::Xmpp);
}

#[test]
fn starttls_of_irc() {
    starttls("irc", Preface::Irc);
}

#[test]
fn start_tls_of_ldap() {
    starttls("ldap", Preface::Ldap);
}

#[test]
fn ssl_request_of_mysql() {
    starttls("mysql", Preface::MySql);
}

#[test]
fn ssl_request_of_postgresql() {
    starttls("postgresql", Preface::PostgreSql);
}

#[test]
fn tunnel_through_an_http_proxy() {
    truth(&["openssl", "python3"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::python(case.port(), &certificates.good(), "preface=http_connect")
            .listening(case.port())?;
        let client = Program::new("openssl").args(&format!(
            "s_client -proxy {} -connect localhost:443",
            case.address()
        ));
        clients::openssl_talk(client)?.success()?;
        case.expect(both(|end| {
            after(Preface::HttpConnect, end.ended_by_either())
        }))
    });
}

/// OpenSSL's client speaks each protocol; then a line is exchanged.
fn starttls(name: &'static str, preface: Preface) {
    truth(&["openssl", "python3"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::python(
            case.port(),
            &certificates.good(),
            &format!("preface={preface}"),
        )
        .listening(case.port())?;
        let name = if preface == Preface::PostgreSql {
            "postgres"
        } else {
            name
        };
        let client = clients::openssl(case.address()).args(&format!("-starttls {name}"));
        clients::openssl_talk(client)?.success()?;
        case.expect(both(|end| after(preface, end.ended_by_either())))
    });
}

/// The client refuses the certificate.
#[test]
fn failure_after_starttls() {
    truth(&["openssl", "python3"], |case| {
        let certificates = Certificates::shared()?;
        let _server = servers::python(case.port(), &certificates.untrusted(), "preface=smtp")
            .listening(case.port())?;
        let trusted = certificates.ca();
        clients::openssl(case.address())
            .args(&format!(
                "-starttls smtp -tls1_2 -verify_return_error -CAfile {trusted}"
            ))
            .run()?;
        case.expect(both(|end| {
            let cause = Cause::CertificateUnknownCa;
            after(
                Preface::Smtp,
                end.failed(Phase::ServerHello, Initiator::ClientApp, cause),
            )
        }))
    });
}

#[test]
fn proxy_protocol() {
    truth(&["curl", "nginx"], |case| {
        let certificate = Certificates::shared()?.good();
        let settings = format!(
            "listen {} ssl proxy_protocol;\n\
             ssl_certificate {certificate}; ssl_certificate_key {certificate};",
            case.port()
        );
        let _server = servers::nginx(case.port(), 1, &settings)?.listening(case.port())?;
        clients::curl(case.address(), "/")
            .args("-k --haproxy-protocol")
            .run()?
            .said("hello")?;
        case.expect(both(|end| after(Preface::ProxyV1, end.ended_by_either())))
    });
}

/// A PROXY protocol header in front of a ClientHello, to a server that expects none. Both are sent at once: nginx
/// answers the header, and might do so before there is a ClientHello.
#[test]
fn unexpected_proxy_protocol() {
    const CLIENT: &str = r"
import socket, ssl, sys
context = ssl.create_default_context()
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(incoming, outgoing, server_hostname='localhost')
try:
    tls.do_handshake()
except ssl.SSLWantReadError:
    hello = outgoing.read()
with socket.create_connection(('127.0.0.1', int(sys.argv[1]))) as sock:
    sock.sendall(b'PROXY TCP4 127.0.0.1 127.0.0.1 1 443\r\n' + hello)
    try:
        while sock.recv(4096):
            pass
    except ConnectionResetError:
        pass
";
    truth(&["nginx", "python3"], |case| {
        let _server = servers::nginx_tls(case.port(), 1, &Certificates::shared()?.good())?;
        let client = Program::new("python3").arg("-c").arg(CLIENT);
        client.arg(case.port().to_string()).run()?.success()?;
        let reports = case.all(2)?;
        let [one, other] = &reports[..] else {
            bail!("{reports:?}");
        };
        for report in [one, other] {
            ensure!(report.preface == [Preface::ProxyV1], "{report:?}");
            ensure!(
                report.verdict.initiator == Initiator::ServerApp,
                "{report:?}"
            );
        }
        Ok(())
    });
}

fn after(preface: Preface, end: Expected) -> Expected {
    end.and("preface", move |report| report.preface == [preface])
}
