//! Envoy, whose BoringSSL has no symbols, on either end: the verdict is what Envoy says in its own log, and the
//! library's reason is there too.

use anyhow::Result;
use tls_trace::{
    event::LibraryName,
    report::{Cause, Initiator, Notice, Phase},
};
use tls_trace_tests::{
    Case, Expected,
    certificates::Certificates,
    client, clients,
    envoy::{self, Settings},
    program::Program,
    server, servers, truth,
    words::{of_library, said},
};

/// A case for which Envoy is hooked.
fn hooked(body: impl FnOnce(&Case, &Certificates) -> Result<()>) {
    truth(&[envoy::program(), "openssl", "python3"], |case| {
        envoy::hook()?;
        body(case, Certificates::shared()?)
    });
}

/// Runs a client against Envoy, which has to say that; how both ends came to know is asserted.
fn serve(
    settings: impl FnOnce(&Certificates) -> Settings,
    client: impl FnOnce(&Case, &Certificates) -> Program,
    says: &str,
    expected: [Expected; 2],
) {
    hooked(|case, certificates| {
        let settings = settings(certificates);
        let server = envoy::server(case.port(), &certificates.good(), &settings)?;
        client(case, certificates).run()?;
        server.until(&format!("downstream {says}"))?;
        case.expect(expected)
    });
}

#[test]
fn server_and_an_old_version() {
    let why = Cause::ProtocolVersion;
    let end = |end: Expected| end.failed(Phase::ClientHello, Initiator::ServerApp, why);
    serve(
        |_| Settings {
            parameters: "tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3",
            ..Settings::default()
        },
        clients::verifying("-tls1_2"),
        "TLS_error:|268435696:SSL_routines:OPENSSL_internal:UNSUPPORTED_PROTOCOL",
        [end(client()), end(server())],
    );
}

#[test]
fn server_without_a_cipher_in_common() {
    let end = |end: Expected, cause| end.failed(Phase::ClientHello, Initiator::ServerApp, cause);
    serve(
        |_| Settings::default(),
        // It has an ECDSA certificate.
        clients::verifying("-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256"),
        "TLS_error:|268435640:SSL_routines:OPENSSL_internal:NO_SHARED_CIPHER",
        [
            end(client(), Cause::HandshakeFailure),
            end(server(), Cause::NoSharedCipher)
                .and("reason", said(184, "no_shared_cipher"))
                .and("library", of_library(LibraryName::Boringssl)),
        ],
    );
}

#[test]
fn server_whose_certificate_is_rejected() {
    hooked(|case, certificates| {
        let certificate = certificates.untrusted();
        let server_end = envoy::server(case.port(), &certificate, &Settings::default())?;
        clients::verifying("-tls1_2")(case, certificates).run()?;
        server_end.until("TLSV1_ALERT_UNKNOWN_CA")?;
        let why = Cause::CertificateUnknownCa;
        let end = |end: Expected| end.failed(Phase::ServerHello, Initiator::ClientApp, why);
        case.expect([
            end(client()),
            end(server())
                .and("alert", said(1048, "alert_unknown_ca"))
                .and("library", of_library(LibraryName::Boringssl)),
        ])
    });
}

/// OpenSSL's client says so in the clear, which BoringSSL takes for a record that cannot be decrypted: the wire
/// knows better.
#[test]
fn server_whose_certificate_is_rejected_in_tls_1_3() {
    hooked(|case, certificates| {
        let certificate = certificates.untrusted();
        let server_end = envoy::server(case.port(), &certificate, &Settings::default())?;
        clients::verifying("-tls1_3")(case, certificates).run()?;
        server_end.until("downstream TLS_error")?;
        let why = Cause::CertificateUnknownCa;
        let end = |end: Expected| end.failed(Phase::EncryptedHandshake, Initiator::ClientApp, why);
        case.expect([end(client()), end(server())])
    });
}

/// In TLS 1.2, where no client has to write before it reads the answer.
#[test]
fn server_that_rejects_a_certificate() {
    let why = Cause::CertificateUnknownCa;
    let end = |end: Expected| end.failed(Phase::EncryptedHandshake, Initiator::ServerApp, why);
    serve(
        |certificates| Settings {
            ca: Some(certificates.ca()),
            ..Settings::default()
        },
        |case, certificates| {
            let cert = certificates.untrusted();
            clients::python(case.address(), &format!("max=1.2 cert={cert}"))
        },
        "TLS_error:|268435581:SSL_routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED",
        [
            end(client()),
            end(server())
                .and("reason", said(125, "certificate_verify_failed"))
                .and("library", of_library(LibraryName::Boringssl)),
        ],
    );
}

#[test]
fn server_that_wants_a_certificate() {
    let why = Cause::CertificateRequired;
    let end = |end: Expected| end.failed(Phase::EncryptedHandshake, Initiator::ServerApp, why);
    serve(
        |certificates| Settings {
            ca: Some(certificates.ca()),
            ..Settings::default()
        },
        |case, _| clients::python(case.address(), "max=1.2"),
        "TLS_error:|268435648:SSL_routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE",
        [
            end(client()).likely(),
            end(server())
                .and("reason", said(192, "peer_did_not_return_a_certificate"))
                .and("library", of_library(LibraryName::Boringssl)),
        ],
    );
}

/// Envoy goes on without; of TLS 1.3 only the libraries know.
#[test]
fn server_without_a_protocol_in_common() {
    serve(
        |_| Settings {
            protocols: "h2",
            ..Settings::default()
        },
        clients::verifying("-alpn foo"),
        "-",
        [
            client().notices([Notice::AlpnNotNegotiated, Notice::Unused]),
            server()
                .notices([Notice::AlpnNotNegotiated, Notice::Unused])
                .and("library", of_library(LibraryName::Boringssl)),
        ],
    );
}

/// It closes without a word: that its port speaks TLS is known from another connection.
#[test]
fn server_and_plain_http() {
    hooked(|case, certificates| {
        let settings = Settings::default();
        let server_end = envoy::server(case.port(), &certificates.good(), &settings)?;
        clients::verifying("-tls1_2")(case, certificates).run()?;
        case.wait_for(2)?;
        clients::curl_in_the_clear(case.address(), "/").run()?;
        let says = "downstream TLS_error:|268435612:SSL_routines:OPENSSL_internal:HTTP_REQUEST";
        server_end.until(says)?;
        let end = |end: Expected| {
            let (by, why) = (Initiator::ServerApp, Cause::PlainHttpToTlsPort);
            end.failed(Phase::Connected, by, why).likely()
        };
        let good = |end: Expected| end.notices([Notice::Unused]);
        case.expect([good(client()), good(server()), end(client()), end(server())])
    });
}

/// Lets Envoy open TLS to a server; what it says of that, and how both ends came to know, is asserted.
fn connect(
    settings: impl FnOnce(&Certificates) -> Settings,
    server: impl FnOnce(&Case, &Certificates) -> Program,
    says: &str,
    expected: [Expected; 2],
) {
    hooked(|case, certificates| {
        let server = server(case, certificates);
        let _server = server.listening(case.port())?;
        let (client, port) = envoy::client(case.port(), &settings(certificates))?;
        envoy::open(port)?;
        client.until(says)?;
        case.expect(expected)
    });
}

fn trusting(certificates: &Certificates) -> Settings {
    Settings {
        ca: Some(certificates.ca()),
        ..Settings::default()
    }
}

#[test]
fn client_that_rejects_a_certificate() {
    let why = Cause::CertificateUnknownCa;
    let end = |end: Expected| end.failed(Phase::ServerHello, Initiator::ClientApp, why);
    connect(
        // It offers TLS 1.2 at most by itself.
        trusting,
        |case, certificates| servers::python(case.port(), &certificates.untrusted(), ""),
        "CERTIFICATE_VERIFY_FAILED",
        [
            end(client())
                .and("reason", said(125, "certificate_verify_failed"))
                .and("library", of_library(LibraryName::Boringssl)),
            end(server()),
        ],
    );
}

#[test]
fn client_of_another_version() {
    let why = Cause::ProtocolVersion;
    let end = |end: Expected| end.failed(Phase::ClientHello, Initiator::ServerApp, why);
    connect(
        trusting,
        |case, certificates| servers::python(case.port(), &certificates.good(), "min=1.3"),
        "TLSV1_ALERT_PROTOCOL_VERSION",
        [
            end(client())
                .and("alert", said(1070, "alert_protocol_version"))
                .and("library", of_library(LibraryName::Boringssl)),
            end(server()),
        ],
    );
}

#[test]
fn client_without_a_cipher_in_common() {
    let end = |end: Expected, cause| end.failed(Phase::ClientHello, Initiator::ServerApp, cause);
    connect(
        trusting,
        |case, certificates| {
            // Not among those of Envoy.
            let ciphers = "ciphers=ECDHE-ECDSA-AES128-SHA256";
            servers::python(case.port(), &certificates.good(), ciphers)
        },
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        [
            end(client(), Cause::HandshakeFailure)
                .and("alert", said(1040, "alert_handshake_failure"))
                .and("library", of_library(LibraryName::Boringssl)),
            end(server(), Cause::NoSharedCipher),
        ],
    );
}

#[test]
fn client_without_a_certificate() {
    let why = Cause::CertificateRequired;
    let end = |end: Expected| end.failed(Phase::EncryptedHandshake, Initiator::ServerApp, why);
    connect(
        trusting,
        |case, certificates| {
            let ca = format!("ca={}", certificates.ca());
            servers::python(case.port(), &certificates.good(), &ca)
        },
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        [
            end(client())
                .likely()
                .and("alert", said(1040, "alert_handshake_failure"))
                .and("library", of_library(LibraryName::Boringssl)),
            end(server()),
        ],
    );
}

#[test]
fn client_of_a_server_without_tls() {
    let end = |end: Expected| {
        end.failed(
            Phase::ClientHello,
            Initiator::ServerApp,
            Cause::TlsToPlainHttp,
        )
    };
    hooked(|case, certificates| {
        let settings = "listen 127.0.0.1:PORT;".replace("PORT", &case.port().to_string());
        let _server = servers::nginx(case.port(), 1, &settings)?.listening(case.port())?;
        let (client_end, port) = envoy::client(case.port(), &trusting(certificates))?;
        envoy::open(port)?;
        client_end.until("WRONG_VERSION_NUMBER")?;
        case.expect([
            end(client())
                .and("reason", said(247, "wrong_version_number"))
                .and("library", of_library(LibraryName::Boringssl)),
            end(server()),
        ])
    });
}
