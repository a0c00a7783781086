//! Handshakes whose verdict is asserted twice: with the TLS library's words, and without.

use anyhow::{Result, bail};
use tls_trace::report::{Cause, Initiator, Phase};

use crate::{
    Case, Expected, both, certificates::Certificates, clients, program::Finished, servers,
};

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

/// What is expected of the end of a Python server whose client objects by an encrypted alert. The client's reset
/// follows at once, and may come before the server has read the alert: what the server's library never saw it
/// cannot tell. The server says which of the two it met.
///
/// # Errors
/// It met neither.
pub fn of_an_encrypted_alert(
    server_said: &str,
    read: Expected,
    unread: Expected,
) -> Result<Expected> {
    match server_said {
        said if said.contains("ALERT") => Ok(read),
        said if said.contains("Connection reset by peer") => Ok(unread),
        said => bail!("the server met neither an alert nor a reset: {said}"),
    }
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
