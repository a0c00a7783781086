//! Either end of TLS by rustls: `rustls_peer client ADDRESS …` makes handshakes, says a line on each and wants it
//! back; `rustls_peer server PORT …` sends lines back.
//!
//! Options: `ca=FILE`, `certificate=FILE`, `alpn=NAME,…`, `name=NAME`, `max=1.2`, `count=NUMBER`.

use std::{
    collections::HashMap,
    env,
    io::{BufRead as _, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let (role, place) = arguments.next().zip(arguments.next()).context("no role")?;
    let options = Options(
        arguments
            .filter_map(|option| {
                let (name, value) = option.split_once('=')?;
                Some((name.to_owned(), value.to_owned()))
            })
            .collect(),
    );
    match role.as_str() {
        "client" => client(&place, &options),
        "server" => server(place.parse()?, &options),
        _ => bail!("no such role: {role}"),
    }
}

struct Options(HashMap<String, String>);

impl Options {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn alpn(&self) -> Vec<Vec<u8>> {
        let names = self.get("alpn").into_iter();
        let names = names.flat_map(|names| names.split(','));
        names.map(|name| name.as_bytes().to_vec()).collect()
    }

    fn versions(&self) -> Vec<&'static SupportedProtocolVersion> {
        match self.get("max") {
            Some("1.2") => vec![&TLS12],
            _ => vec![&TLS13, &TLS12],
        }
    }
}

fn client(address: &str, options: &Options) -> Result<()> {
    let mut roots = RootCertStore::empty();
    let ca = options.get("ca").context("no ca")?;
    roots.add(CertificateDer::from_pem_file(ca)?)?;
    let config = ClientConfig::builder_with_protocol_versions(&options.versions());
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = options.alpn();
    let config = Arc::new(config);
    let count: u32 = options.get("count").unwrap_or("1").parse()?;
    for _ in 0..count {
        let name = options.get("name").unwrap_or("localhost").to_owned();
        let tls = ClientConnection::new(Arc::clone(&config), ServerName::try_from(name)?)?;
        let stream = StreamOwned::new(tls, TcpStream::connect(address)?);
        talk(stream)?;
    }
    Ok(())
}

/// Says what servers of HTTP answer, and others send back.
fn talk(mut stream: StreamOwned<ClientConnection, TcpStream>) -> Result<()> {
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut stream = BufReader::new(stream);
    stream.read_line(&mut String::new())?;
    let stream = stream.get_mut();
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}

fn server(port: u16, options: &Options) -> Result<()> {
    let file = options.get("certificate").context("no certificate")?;
    let chain = CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(file)?;
    let config = ServerConfig::builder_with_protocol_versions(&options.versions());
    let mut config = config.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = options.alpn();
    let config = Arc::new(config);
    for stream in TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.incoming() {
        // A handshake that fails is the client's matter.
        if let Err(error) = echo(stream?, Arc::clone(&config)) {
            eprintln!("{error:#}");
        }
    }
    Ok(())
}

fn echo(stream: TcpStream, config: Arc<ServerConfig>) -> Result<()> {
    let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config)?, stream));
    let mut line = String::new();
    while stream.read_line(&mut line)? > 0 {
        stream.get_mut().write_all(line.as_bytes())?;
        line.clear();
    }
    let stream = stream.get_mut();
    stream.conn.send_close_notify();
    Ok(stream.flush()?)
}
