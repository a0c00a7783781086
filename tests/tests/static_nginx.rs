//! nginx, whose OpenSSL has no symbols, on either end: the verdict is what nginx says in its own log, and the
//! library's reason is there too.

use anyhow::Result;
use tls_trace::{
    event::LibraryName,
    report::{Cause, Initiator, Notice, Phase},
};
use tls_trace_tests::{
    Case, Expected, actor,
    certificates::Certificates,
    client, clients,
    program::Program,
    server, servers,
    static_nginx::{self, hook},
    truth,
    words::{of_library, said},
};

/// A case for which nginx is hooked.
fn hooked(body: impl FnOnce(&Case, &Certificates) -> Result<()>) {
    let programs = [static_nginx::program(), "openssl", "curl", "python3"];
    truth(&programs, |case| {
        hook()?;
        body(case, Certificates::shared()?)
    });
}

/// Runs a client against nginx, which has to say that; how both ends came to know is asserted.
fn serve(
    settings: &str,
    client: impl FnOnce(&Case, &Certificates) -> Program,
    says: &str,
    expected: [Expected; 2],
) {
    hooked(|case, certificates| {
        let server = static_nginx::server(case.port(), &certificates.good(), settings)?;
        client(case, certificates).run()?;
        server.until(says)?;
        case.expect(expected)
    });
}

fn refused(end: Expected, cause: Cause) -> Expected {
    end.failed(Phase::ClientHello, Initiator::ServerApp, cause)
}

#[test]
fn server_and_an_old_version() {
    serve(
        "ssl_protocols TLSv1.3;",
        clients::verifying("-tls1_2"),
        "unsupported protocol",
        [
            refused(client(), Cause::ProtocolVersion),
            refused(server(), Cause::ProtocolVersion)
                .and("reason", said(258, "unsupported_protocol"))
                .and("library", of_library(LibraryName::Openssl)),
        ],
    );
}

#[test]
fn server_without_a_cipher_in_common() {
    serve(
        "",
        // It has an ECDSA certificate.
        clients::verifying("-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256"),
        "no shared cipher",
        [
            refused(client(), Cause::HandshakeFailure),
            refused(server(), Cause::NoSharedCipher)
                .and("reason", said(193, "no_shared_cipher"))
                .and("library", of_library(LibraryName::Openssl)),
        ],
    );
}

#[test]
fn server_without_a_protocol_in_common() {
    serve(
        "",
        clients::verifying("-alpn foo"),
        "no application protocol",
        [
            refused(client(), Cause::NoApplicationProtocol),
            refused(server(), Cause::NoApplicationProtocol)
                .and("reason", said(235, "no_application_protocol"))
                .and("library", of_library(LibraryName::Openssl)),
        ],
    );
}

/// In TLS 1.3, too, where OpenSSL's client says so in the clear: nginx's reads it.
#[test]
fn server_whose_certificate_is_rejected() {
    for (version, phase) in [
        ("-tls1_2", Phase::ServerHello),
        ("-tls1_3", Phase::EncryptedHandshake),
    ] {
        hooked(|case, certificates| {
            let certificate = certificates.untrusted();
            let server_end = static_nginx::server(case.port(), &certificate, "")?;
            clients::verifying(version)(case, certificates).run()?;
            server_end.until("alert unknown ca")?;
            let why = Cause::CertificateUnknownCa;
            let end = |end: Expected| end.failed(phase, Initiator::ClientApp, why);
            case.expect([
                end(client()),
                end(server())
                    .and("alert", said(1048, "alert_unknown_ca"))
                    .and("library", of_library(LibraryName::Openssl)),
            ])
        });
    }
}

/// nginx sees it before its library does, and answers in the clear.
#[test]
fn server_and_plain_http() {
    hooked(|case, certificates| {
        let certificate = certificates.good();
        let server_end = static_nginx::server(case.port(), &certificate, "")?;
        clients::curl_in_the_clear(case.address(), "/").run()?;
        server_end.until("client sent plain HTTP request to HTTPS port")?;
        let end = |end: Expected| {
            let (by, why) = (Initiator::ServerApp, Cause::PlainHttpToTlsPort);
            end.failed(Phase::Connected, by, why)
        };
        case.expect([end(client()), end(server())])
    });
}

/// What completes is told, too.
#[test]
fn server_that_succeeds() {
    hooked(|case, certificates| {
        let certificate = certificates.good();
        let _server = static_nginx::server(case.port(), &certificate, "")?;
        clients::verifying("-tls1_3")(case, certificates)
            .run()?
            .success()?;
        let end = |end: Expected| end.notices([Notice::Unused]);
        case.expect([
            end(client()),
            end(server())
                .and("library", of_library(LibraryName::Openssl))
                .and("no failure", |report| {
                    let library = report.library.as_ref();
                    library.is_some_and(|library| library.reason.is_none())
                }),
        ])
    });
}

/// Lets nginx open TLS to a server; what it says of that, and how both ends came to know, is asserted.
fn connect(settings: &str, options: &str, says: &str, expected: [Expected; 2]) {
    hooked(|case, certificates| {
        let server = servers::python(case.port(), &certificates.good(), options);
        let _server = server.listening(case.port())?;
        let (client, port) = static_nginx::client(case.port(), settings)?;
        let mut connection = actor::connect((std::net::Ipv4Addr::LOCALHOST, port).into())?;
        let _ = actor::read_to_end(&mut connection);
        client.until(says)?;
        case.expect(expected)
    });
}

#[test]
fn client_of_another_version() {
    connect(
        "proxy_ssl_protocols TLSv1.2;",
        "min=1.3",
        "alert protocol version",
        [
            refused(client(), Cause::ProtocolVersion)
                .and("alert", said(1070, "alert_protocol_version"))
                .and("library", of_library(LibraryName::Openssl)),
            refused(server(), Cause::ProtocolVersion),
        ],
    );
}

#[test]
fn client_without_a_cipher_in_common() {
    connect(
        "proxy_ssl_protocols TLSv1.2; proxy_ssl_ciphers ECDHE-RSA-AES128-GCM-SHA256;",
        "",
        "alert handshake failure",
        [
            refused(client(), Cause::HandshakeFailure)
                .and("alert", said(1040, "alert_handshake_failure"))
                .and("library", of_library(LibraryName::Openssl)),
            refused(server(), Cause::NoSharedCipher),
        ],
    );
}
