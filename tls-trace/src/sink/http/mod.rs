//! The HTTP server: /metrics, /healthz, /readyz. Whatever a client does, it holds one of few
//! connections for a bounded time.

mod health;
#[cfg(test)]
mod tests;
mod tls;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode, body::Bytes, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

pub use self::{
    health::Health,
    tls::{TlsError, TlsFiles, server_config},
};
use super::prometheus::{Exposition, Outputs};

/// Connections served at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 64;

/// Time a client may take.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// For the TLS handshake.
    handshake: Duration,
    /// From the opening of a connection, or the end of a response, to the end of a request's header.
    header: Duration,
    /// Until a connection is asked to end; scrapers keep theirs between scrapes.
    connection: Duration,
    /// To end it when asked.
    end: Duration,
}

const LIMITS: Limits = Limits {
    handshake: Duration::from_secs(5),
    header: Duration::from_secs(10),
    connection: Duration::from_secs(300),
    end: Duration::from_secs(10),
};

/// Why metrics cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Somebody else has the address.
    #[error(
        "cannot serve metrics on {0}: the port is taken; choose another with --metrics ADDRESS, or --metrics off"
    )]
    Taken(SocketAddr),
    /// Some other reason.
    #[error("cannot serve metrics on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
}

/// A server that is bound, not yet serving.
pub struct Server {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: Limits,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// It is taken, or is not an address of this machine.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<rustls::ServerConfig>,
    ) -> Result<Self, HttpError> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => HttpError::Taken(address),
            _ => HttpError::Bind { address, error },
        })?;
        Ok(Self {
            listener,
            tls: tls.map(|config| TlsAcceptor::from(Arc::new(config))),
            limits: LIMITS,
        })
    }

    /// Where it listens, with the port the kernel chose for port 0.
    ///
    /// # Errors
    /// The socket has no address.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// `http://127.0.0.1:9469`.
    ///
    /// # Errors
    /// The socket has no address.
    pub fn url(&self) -> io::Result<String> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        Ok(format!("{scheme}://{}", self.address()?))
    }

    /// Serves until dropped.
    pub async fn serve(self, exposition: Exposition, health: Health, outputs: Outputs) {
        let Self {
            listener,
            tls,
            limits,
        } = self;
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let site = Arc::new(Site { exposition, health });
        // The semaphore is never closed.
        while let Ok(place) = places.clone().acquire_owned().await {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // The client is gone already, or file descriptors ran out, which passes.
                    tracing::debug!(%error, "cannot accept an HTTP connection");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (tls, site, outputs) = (tls.clone(), site.clone(), outputs.clone());
            tokio::spawn(async move {
                if let Err(error) = connection(stream, tls, site, limits).await {
                    outputs.http_errors.inc();
                    tracing::debug!(%error, "HTTP connection");
                }
                drop(place);
            });
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    site: Arc<Site>,
    limits: Limits,
) -> io::Result<()> {
    match tls {
        Some(tls) => {
            let stream = timeout(limits.handshake, tls.accept(stream)).await??;
            requests(stream, site, limits).await
        }
        None => requests(stream, site, limits).await,
    }
}

async fn requests(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    site: Arc<Site>,
    limits: Limits,
) -> io::Result<()> {
    let service = service_fn(move |request| {
        let site = site.clone();
        async move { Ok::<_, std::convert::Infallible>(site.respond(&request)) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        result = &mut connection => return result.map_err(io::Error::other),
        () = sleep(limits.connection) => connection.as_mut().graceful_shutdown(),
    }
    timeout(limits.end, connection)
        .await?
        .map_err(io::Error::other)
}

struct Site {
    exposition: Exposition,
    health: Health,
}

impl Site {
    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD only\n");
            let allow = header::HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allow);
            return response;
        }
        match request.uri().path() {
            "/metrics" => match self.exposition.text() {
                Ok(text) => {
                    let mut response = plain(StatusCode::OK, text);
                    let format = header::HeaderValue::from_static(prometheus::TEXT_FORMAT);
                    response.headers_mut().insert(header::CONTENT_TYPE, format);
                    response
                }
                Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
            "/healthz" => state(self.health.alive()),
            "/readyz" => state(self.health.ready()),
            "/" => plain(StatusCode::OK, "tls-trace: /metrics /healthz /readyz\n"),
            _ => plain(StatusCode::NOT_FOUND, "try /metrics, /healthz or /readyz\n"),
        }
    }
}

fn state(state: Result<(), String>) -> Response<Full<Bytes>> {
    match state {
        Ok(()) => plain(StatusCode::OK, "ok\n"),
        Err(reason) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

fn plain(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, plain);
    response
}
