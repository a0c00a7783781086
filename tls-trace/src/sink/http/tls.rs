//! TLS for the HTTP server, by choice with client certificates.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

/// Files of the server's TLS.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Certificate chain, PEM, the server's own first.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Authorities for client certificates, PEM; clients then need one.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or is not PEM.
    #[error("cannot read {} from {}: {}", .what, .path.display(), reason(.error))]
    File {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        error: pem::Error,
    },
    /// The certificate or key does not serve.
    #[error("cannot use the certificate {} with the key {}: {error}", .certificate.display(), .key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        error: rustls::Error,
    },
    /// A client authority does not serve.
    #[error("cannot use the client authorities of {}: {reason}", .path.display())]
    ClientCa {
        /// Their file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
}

/// Reads the files; HTTP/1.1 over TLS 1.2 and 1.3.
///
/// # Errors
/// A file is unreadable, is not what it should be, or does not fit the others.
pub fn server_config(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let chain = certificates("a certificate", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| TlsError::File {
        what: "a private key",
        path: files.key.clone(),
        error,
    })?;
    let pair = |error| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        error,
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let builder = match &files.client_ca {
        Some(path) => builder.with_client_cert_verifier(client_verifier(path, provider)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn client_verifier(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let error = |reason: String| TlsError::ClientCa {
        path: path.to_owned(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("a client authority", path)? {
        roots
            .add(certificate)
            .map_err(|source| error(source.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|source| error(source.to_string()))
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |error| TlsError::File {
        what,
        path: path.to_owned(),
        error,
    };
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(file)?;
    if certificates.is_empty() {
        return Err(file(pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn reason(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "there is none in it".to_owned(),
        _ => format!("it is not PEM ({error})"),
    }
}
