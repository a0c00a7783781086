//! rustls as a client and as a server.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream,
    SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};

const H2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const HTTP: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// HOST PORT CA OFFER MAX
pub fn client(arguments: &[String]) -> Result<()> {
    let [host, port, ca, offer, most] = arguments else {
        bail!("HOST PORT CA OFFER MAX");
    };
    let versions: &[_] = if most == "1.2" {
        &[&TLS12]
    } else {
        &[&TLS12, &TLS13]
    };
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .with_root_certificates(authorities(ca)?)
        .with_no_client_auth();
    config.alpn_protocols = protocols(offer);
    let mut tls = ClientConnection::new(Arc::new(config), "localhost".try_into()?)?;
    let mut socket = TcpStream::connect(format!("{host}:{port}"))?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    match greet(&mut tls, &mut socket) {
        Ok(()) => println!("ok {:?}", tls.protocol_version()),
        Err(error) => {
            println!("error {error:#}");
            std::process::exit(1);
        }
    }
    Ok(())
}

fn greet(tls: &mut ClientConnection, socket: &mut TcpStream) -> Result<()> {
    while tls.is_handshaking() {
        tls.complete_io(socket)?;
    }
    let greeting = if tls.alpn_protocol() == Some(b"h2") {
        H2
    } else {
        HTTP
    };
    let mut stream = Stream::new(tls, socket);
    stream.write_all(greeting)?;
    let length = stream.read(&mut [0; 1000])?;
    anyhow::ensure!(length > 0, "the server left");
    tls.send_close_notify();
    tls.complete_io(socket)?;
    Ok(())
}

/// `ADDRESS CERTIFICATE TAKE MIN [CA]`; answers one word to whatever comes first.
pub fn server(arguments: &[String]) -> Result<()> {
    let [address, certificate, take, least, ca @ ..] = arguments else {
        bail!("ADDRESS CERTIFICATE TAKE MIN [CA]");
    };
    let versions: &[&SupportedProtocolVersion] = if least == "1.3" {
        &[&TLS13]
    } else {
        &[&TLS12, &TLS13]
    };
    let builder =
        ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions)?;
    let builder = match ca.first() {
        Some(ca) => {
            let roots = Arc::new(authorities(ca)?);
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots, provider()).build()?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from_pem_file(certificate)?];
    let mut config = builder.with_single_cert(chain, PrivateKeyDer::from_pem_file(certificate)?)?;
    config.alpn_protocols = protocols(take);
    let config = Arc::new(config);
    for socket in TcpListener::bind(address)?.incoming() {
        let mut socket = socket?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        let mut tls = ServerConnection::new(Arc::clone(&config))?;
        if let Err(error) = answer(&mut tls, &mut socket) {
            println!("error {error:#}");
        }
    }
    Ok(())
}

fn answer(tls: &mut ServerConnection, socket: &mut TcpStream) -> Result<()> {
    let mut stream = Stream::new(tls, socket);
    if stream.read(&mut [0; 1000])? > 0 {
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello\n")?;
        tls.send_close_notify();
        tls.complete_io(socket)?;
        // The client closes first.
        let _ = socket.read(&mut [0]);
    }
    Ok(())
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn authorities(file: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).context(file.to_owned())? {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

fn protocols(list: &str) -> Vec<Vec<u8>> {
    let names = list.split(',').filter(|name| *name != "-");
    names.map(|name| name.as_bytes().to_vec()).collect()
}
