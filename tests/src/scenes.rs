//! Handshakes whose verdict is asserted twice: with the TLS library's words, and without.

use anyhow::Result;
use tls_trace::report::{Cause, Initiator, Phase};

use crate::{Case, both, certificates::Certificates, clients, program::Finished, servers};

/// `openssl s_server` answers the ClientHello with an alert in the clear.
///
/// # Errors
/// A program did not run or did otherwise; a verdict is another.
pub fn refused_by_openssl(
    case: &Case,
    server_options: &str,
    client_options: &str,
    verdict: Cause,
) -> Result<()> {
    let certificates = Certificates::shared()?;
    let _server = servers::openssl(case.port(), &certificates.good())
        .args(server_options)
        .listening(case.port())?;
    let client = clients::openssl(case.address()).args(client_options);
    client.run()?.said("alert")?;
    case.expect(both(|end| {
        end.failed(Phase::ClientHello, Initiator::ServerApp, verdict)
    }))
}

/// `openssl s_client` rejects the server's certificate: in the clear even in TLS 1.3, as it has no
/// write key yet.
///
/// # Errors
/// A program did not run or did otherwise; a verdict is another.
pub fn rejected_by_openssl(
    case: &Case,
    version: &str,
    certificate: &str,
    verdict: Cause,
) -> Result<()> {
    let certificates = Certificates::shared()?;
    let _server = servers::openssl(case.port(), certificate).listening(case.port())?;
    let finished = clients::openssl(case.address())
        .args(&format!(
            "{version} -verify_return_error -verify_hostname localhost -CAfile {}",
            certificates.ca()
        ))
        .run()?;
    finished.said("verify error")?;
    let phase = match version {
        "-tls1_2" => Phase::ServerHello,
        _ => Phase::EncryptedHandshake,
    };
    case.expect(both(|end| end.failed(phase, Initiator::ClientApp, verdict)))
}

/// A Python server that knows `h2` selects nothing for a client that offers `http/1.1`, and goes on.
///
/// # Errors
/// A program did not run.
pub fn silent_alpn(case: &Case, version: &str) -> Result<Finished> {
    let certificates = Certificates::shared()?;
    let _server =
        servers::python(case.port(), &certificates.good(), "alpn=h2").listening(case.port())?;
    let client = clients::python(case.address(), &format!("alpn=http/1.1 max={version}"));
    let finished = client.run()?;
    // The server may be slower to see the end.
    case.wait_for(2)?;
    Ok(finished)
}
