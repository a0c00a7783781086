use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rstest::rstest;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use super::*;
use crate::{
    probe::{HookReport, HookState, Object},
    sink::prometheus::Metrics,
};

const SHORT: Limits = Limits {
    handshake: Duration::from_millis(100),
    header: Duration::from_millis(100),
    connection: Duration::from_secs(60),
    end: Duration::from_secs(1),
};

struct Running {
    address: SocketAddr,
    outputs: Outputs,
}

async fn start(tls: Option<rustls::ServerConfig>, limits: Limits, hooks: &[HookReport]) -> Running {
    let mut server = Server::bind("127.0.0.1:0".parse().unwrap(), tls)
        .await
        .unwrap();
    server.limits = limits;
    let address = server.address().unwrap();
    let metrics = Metrics::new().unwrap();
    let outputs = metrics.outputs();
    let serve = server.serve(metrics.exposition(), Health::new(hooks), outputs.clone());
    tokio::spawn(serve);
    Running { address, outputs }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> io::Result<String> {
    let request = format!("{request} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn ask_plain(address: SocketAddr, request: &str) -> String {
    let stream = TcpStream::connect(address).await.unwrap();
    ask(stream, request).await.unwrap()
}

#[rstest]
#[case("GET /healthz", "200 OK", "\r\n\r\nok\n")]
#[case("GET /readyz", "200 OK", "\r\n\r\nok\n")]
#[case("GET /metrics", "200 OK", "\ntls_trace_connections_tracked 0\n")]
#[case(
    "GET /metrics",
    "200 OK",
    "content-type: text/plain; version=0.0.4\r\n"
)]
#[case("GET /", "200 OK", "/metrics /healthz /readyz")]
#[case("GET /metrics/../etc/passwd", "404 Not Found", "")]
#[case("POST /metrics", "405 Method Not Allowed", "allow: GET, HEAD\r\n")]
#[tokio::test]
async fn answers(#[case] request: &str, #[case] status: &str, #[case] contains: &str) {
    let server = start(None, LIMITS, &[]).await;
    let answer = ask_plain(server.address, request).await;
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
        "{answer}"
    );
    assert!(answer.contains(contains), "{answer}");
}

#[tokio::test]
async fn not_ready_says_why() {
    let hooks = [HookReport {
        name: "tcp_destroy_sock",
        object: Object::Tcp,
        purpose: "",
        required: true,
        state: HookState::Skipped {
            reason: "no BTF".to_owned(),
        },
    }];
    let server = start(None, LIMITS, &hooks).await;
    let answer = ask_plain(server.address, "GET /readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nhook tcp_destroy_sock is not attached: no BTF\n"));
    let answer = ask_plain(server.address, "GET /healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn a_taken_port_is_one_sentence() {
    let server = start(None, LIMITS, &[]).await;
    let error = Server::bind(server.address, None)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains(&server.address.to_string()), "{error}");
    assert!(error.contains("the port is taken"), "{error}");
    let elsewhere = "192.0.2.1:9469".parse().unwrap();
    let error = Server::bind(elsewhere, None)
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("Cannot assign requested address"), "{error}");
}

#[tokio::test]
async fn clients_that_never_finish_give_their_place_back() {
    let server = start(None, SHORT, &[]).await;
    let mut slow = Vec::new();
    for _ in 0..CONNECTIONS + 10 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET /metrics HTT").await.unwrap();
        slow.push(stream);
    }
    let answer = ask_plain(server.address, "GET /healthz").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(server.outputs.http_errors.get() >= 10);
}

#[tokio::test]
async fn endless_headers_are_refused() {
    let server = start(None, LIMITS, &[]).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let header = format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(64 * 1024));
    // The server may close before it took all.
    let _ = stream.write_all(header.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
}

/// An authority, and files of what it issued.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn issue(&self, name: &str) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = TlsFiles {
            certificate: self.file(&format!("{name}.pem")),
            key: self.file(&format!("{name}.key")),
            client_ca: None,
        };
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        files
    }

    fn client(&self, identity: Option<&TlsFiles>) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(files) => {
                let chain = vec![CertificateDer::from_pem_file(&files.certificate).unwrap()];
                let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        TlsConnector::from(Arc::new(config))
    }
}

async fn ask_tls(address: SocketAddr, client: TlsConnector) -> io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    ask(client.connect(name, stream).await?, "GET /healthz").await
}

#[tokio::test]
async fn tls_serves_those_who_trust_it() {
    let authority = Authority::new();
    let config = server_config(&authority.issue("server")).unwrap();
    let server = start(Some(config), SHORT, &[]).await;
    let answer = ask_tls(server.address, authority.client(None))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let distrust = Authority::new().client(None);
    assert!(ask_tls(server.address, distrust).await.is_err());

    let plain = TcpStream::connect(server.address).await.unwrap();
    let answer = ask(plain, "GET /healthz").await.unwrap_or_default();
    assert!(!answer.contains("200"), "{answer}");
}

#[tokio::test]
async fn mutual_tls_serves_those_it_knows() {
    let (authority, scrapers) = (Authority::new(), Authority::new());
    let mut files = authority.issue("server");
    files.client_ca = Some(scrapers.file("ca.pem"));
    let server = start(Some(server_config(&files).unwrap()), SHORT, &[]).await;

    let known = authority.client(Some(&scrapers.issue("prometheus")));
    let answer = ask_tls(server.address, known).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    let stranger = authority.client(Some(&Authority::new().issue("prometheus")));
    for refused in [stranger, authority.client(None)] {
        let answer = ask_tls(server.address, refused).await;
        assert!(answer.is_err(), "{answer:?}");
    }
}

#[test]
fn unusable_files_are_one_sentence() {
    let authority = Authority::new();
    let good = authority.issue("good");
    // As main prints it: with its causes.
    let sentence = |files: &TlsFiles| {
        let error = server_config(files).unwrap_err();
        format!("{:#}", anyhow::Error::from(error))
    };

    let mut missing = good.clone();
    missing.key = authority.file("nowhere.key");
    let expected = format!(
        "cannot read a private key from {}: No such file or directory (os error 2)",
        missing.key.display()
    );
    assert_eq!(sentence(&missing), expected);

    let mut swapped = good.clone();
    swapped.certificate = good.key.clone();
    let expected = format!(
        "cannot read a certificate from {}: there is none in it",
        good.key.display()
    );
    assert_eq!(sentence(&swapped), expected);

    let mut mismatched = good.clone();
    mismatched.key = authority.issue("other").key;
    let error = sentence(&mismatched);
    assert!(error.starts_with("cannot use the certificate "), "{error}");
    assert_eq!(error.lines().count(), 1);

    let mut no_client_ca = good.clone();
    no_client_ca.client_ca = Some(good.key.clone());
    let error = sentence(&no_client_ca);
    assert!(
        error.starts_with("cannot read a client authority from "),
        "{error}"
    );

    let mut garbage = good;
    std::fs::write(&garbage.certificate, "-----BEGIN CERTIFICATE-----\n%%%\n").unwrap();
    garbage.client_ca = None;
    let error = sentence(&garbage);
    assert!(error.contains("it is not PEM"), "{error}");
}
