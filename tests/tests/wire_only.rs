//! What can be said without the TLS library: with `--no-library-probes`, or of one that is not hooked.
//! The same cases with the library's words are in `library.rs`.

use anyhow::Result;
use tls_trace::report::{Cause, Initiator, Phase};
use tls_trace_tests::{
    Case, both, certificates::Certificates, clients, program::Finished, scenes, servers,
    truth_on_wire,
};

#[test]
fn no_shared_cipher_in_tls_1_2() {
    refused_by_openssl(
        "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256",
        "-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384",
        Cause::HandshakeFailure,
    );
}

#[test]
fn no_shared_cipher_in_tls_1_3() {
    refused_by_openssl(
        "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256",
        "-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384",
        Cause::HandshakeFailure,
    );
}

#[test]
fn no_shared_group() {
    refused_by_openssl(
        "-tls1_3 -groups P-521",
        "-tls1_3 -groups X25519",
        Cause::HandshakeFailure,
    );
}

fn refused_by_openssl(server_options: &str, client_options: &str, cause: Cause) {
    truth_on_wire(&["openssl"], |case| {
        scenes::refused_by_openssl(case, server_options, client_options, cause)
    });
}

/// OpenSSL says `bad_certificate`; that it is the name only the library knows.
#[test]
fn certificate_for_another_name() {
    rejected_by_client("-tls1_2", Certificates::wrong_name, Cause::CertificateBad);
    rejected_by_client("-tls1_3", Certificates::wrong_name, Cause::CertificateBad);
}

fn rejected_by_client(version: &str, certificate: impl Fn(&Certificates) -> String, cause: Cause) {
    truth_on_wire(&["openssl"], |case| {
        let certificate = certificate(Certificates::shared()?);
        scenes::rejected_by_openssl(case, version, &certificate, cause)
    });
}

/// TLS 1.2: CertificateRequest, an empty Certificate and the alert are all in the clear.
#[test]
fn client_certificate_missing_in_tls_1_2() {
    truth_on_wire(&["python3"], |case| {
        let finished = without_client_certificate(case, "1.2")?;
        finished.said("error")?;
        case.expect(both(|end| {
            end.failed(
                Phase::EncryptedHandshake,
                Initiator::ServerApp,
                Cause::CertificateRequired,
            )
            .likely()
        }))
    });
}

/// TLS 1.3: the client believes it is through; the server's alert is encrypted, and so is the
/// Certificate, but it has the size of an empty one.
#[test]
fn client_certificate_missing_in_tls_1_3() {
    truth_on_wire(&["python3"], |case| {
        let finished = without_client_certificate(case, "1.3")?;
        finished.said("error")?;
        case.expect(both(|end| {
            end.failed(
                Phase::Finished,
                Initiator::ServerApp,
                Cause::CertificateRequired,
            )
            .likely()
        }))
    });
}

fn without_client_certificate(case: &Case, version: &str) -> Result<Finished> {
    let certificates = Certificates::shared()?;
    let options = format!("ca={}", certificates.ca());
    let _server = servers::python(case.port(), &certificates.good(), &options)
        .start()?
        .listening(case.port())?;
    let client = clients::python(case.address(), &format!("{options} max={version}"));
    let finished = client.run()?;
    // The server may be slower to see the end.
    case.wait_for(2)?;
    Ok(finished)
}

/// In TLS 1.3 the selection is encrypted: nothing may be claimed.
#[test]
fn alpn_silently_not_negotiated_in_tls_1_3() {
    truth_on_wire(&["python3"], |case| {
        scenes::silent_alpn(case, "1.3")?.said("ok TLSv1.3 None")?;
        case.expect(both(|end| end))
    });
}
