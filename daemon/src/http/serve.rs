//! The accept loop of an HTTP listener: one task per connection, all of them ended soon after shutdown.
//! axum's own loop leaves connections running after its end and does not switch off Nagle's delay.
//! HTTP/1.1 only, with TLS if there are certificates.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{Extensions, Request, StatusCode};
use axum::response::Response;
use futures::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::patience::Patient;
use super::seats::Seats;
use crate::listen::{ListenError, SocketFile, bind, bind_unix, canonical, is_path};
use crate::shutdown::Shutdown;
use crate::tls::Certificates;

/// What listens for HTTP.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    certificates: Option<Arc<Certificates>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix { listener: UnixListener, path: String, _removed_at_the_end: SocketFile },
}

impl Listener {
    /// Listens on `HOST:PORT` or on a path, which is a unix socket. `flag` is the option's name without dashes.
    ///
    /// # Errors
    /// It cannot be listened on.
    pub async fn bind(address: &str, flag: &'static str) -> Result<Self, ListenError> {
        let socket = if is_path(address) {
            let (listener, file) = bind_unix(address, flag)?;
            Socket::Unix { listener, path: address.to_owned(), _removed_at_the_end: file }
        } else {
            Socket::Tcp(bind(address, flag).await?)
        };
        Ok(Self { socket, certificates: None })
    }

    /// The same for HTTPS.
    #[must_use]
    pub fn encrypted(self, certificates: Arc<Certificates>) -> Self {
        Self { certificates: Some(certificates), ..self }
    }

    /// The address with its real port; none of a unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix { .. } => None,
        }
    }

    /// As the log shows it: the address with its real port, or the path.
    pub fn name(&self) -> String {
        match &self.socket {
            Socket::Tcp(_) => self.address().map_or_else(String::new, |address| address.to_string()),
            Socket::Unix { path, .. } => path.clone(),
        }
    }

    async fn accept(&self) -> io::Result<(Box<dyn Stream>, SocketAddr)> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Only latency is lost if the kernel refuses.
                let _ = stream.set_nodelay(true);
                Ok((Box::new(stream), canonical(peer)))
            }
            Socket::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Box::new(stream), LOCAL))
            }
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self { socket: Socket::Tcp(listener), certificates: None }
    }
}

/// Who comes over a unix socket is on this machine.
const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Bytes of a connection, whatever carries them.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Where a request comes from; 127.0.0.1:0 stands for a unix socket.
pub fn peer(request: &Parts) -> Option<SocketAddr> {
    request.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer)
}

/// The certificate a client of HTTPS showed, in the extensions of its requests. Its key is the client's; who signed it
/// was looked at if the policy says so.
#[derive(Debug, Clone)]
pub struct ClientCertificate(pub CertificateDer<'static>);

/// Stands in the extensions of requests that came over HTTPS.
#[derive(Debug, Clone, Copy)]
pub struct Encrypted;

/// Serves `router` until shutdown, then stops accepting, lets running requests finish and returns within
/// about a second. Requests carry `ConnectInfo<SocketAddr>`, from a unix socket 127.0.0.1:0, and over HTTPS `Encrypted`
/// and the `ClientCertificate` if there is one. A panic in a route answers 500 INTERNAL_ERROR.
///
/// # Errors
/// None today: a failing accept is logged and tried again, since running out of file descriptors passes.
pub async fn serve(listener: impl Into<Listener>, router: Router, shutdown: Shutdown) -> io::Result<()> {
    let listener = listener.into();
    let mut connections = JoinSet::new();
    let seats = Seats::default();
    loop {
        tokio::select! {
            () = shutdown.wait() => break,
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, peer)) => {
                    // A peer without a port came over a unix socket: its file's permissions let it in.
                    let ip = (peer.port() != 0).then(|| peer.ip());
                    let Some(seat) = seats.take(ip) else { continue };
                    let certificates = listener.certificates.clone();
                    // What comes when it is crowded gets one answer, so that a place is free again soon.
                    let keeps_alive = connections.len() < CONNECTIONS_MAX / 2;
                    let router = router.clone();
                    let served =
                        connection(stream, peer, certificates, Service { router, keeps_alive }, shutdown.clone());
                    connections.spawn(async move {
                        let _seat = seat;
                        served.await;
                    });
                }
                Err(error) => {
                    tracing::warn!("HTTP: cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// Connections at a time; more wait to be accepted. Without a limit, callers who never finish their requests would take
/// the file descriptors of clients and segments.
const CONNECTIONS_MAX: usize = 4096;

/// Who does not take a byte of its answer for so long is left.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// What answers the requests of a connection.
struct Service {
    router: Router,
    keeps_alive: bool,
}

/// A request still running this long after shutdown is cut off.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// Without a pause a process out of file descriptors would spin on accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A TLS handshake takes milliseconds. Who is slower keeps others from nothing but memory.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// A request's head must be whole by then, or the connection is closed. hyper counts from the end of the request before
/// it, so that this is also how long an idle connection is kept: clients that keep some must not find them gone.
const HEAD_WITHIN: Duration = Duration::from_secs(90);

/// What the head of a request may take, in bytes; hyper answers 431 to more.
const HEAD_BYTES_MAX: usize = 64 * 1024;

async fn connection(
    stream: Box<dyn Stream>,
    peer: SocketAddr,
    certificates: Option<Arc<Certificates>>,
    service: Service,
    shutdown: Shutdown,
) {
    let Some(certificates) = certificates else {
        let tell = move |about: &mut Extensions| {
            about.insert(ConnectInfo(peer));
        };
        return exchange(stream, service, shutdown, tell).await;
    };
    let acceptor = TlsAcceptor::from(certificates.server_config());
    match tokio::time::timeout(HANDSHAKE_WITHIN, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
            let shown = shown.map(|certificate| ClientCertificate(certificate.clone().into_owned()));
            let tell = move |about: &mut Extensions| {
                about.insert(ConnectInfo(peer));
                about.insert(Encrypted);
                if let Some(shown) = &shown {
                    about.insert(shown.clone());
                }
            };
            exchange(Box::new(stream), service, shutdown, tell).await;
        }
        Ok(Err(error)) => tracing::debug!("HTTPS: no handshake with {peer}: {error}"),
        Err(_) => tracing::debug!("HTTPS: no handshake with {peer} within {HANDSHAKE_WITHIN:?}"),
    }
}

/// Serves one connection. What is known of its other end is told to every request by `tell`.
async fn exchange(
    stream: Box<dyn Stream>,
    service: Service,
    shutdown: Shutdown,
    tell: impl Fn(&mut Extensions),
) {
    let Service { router, keeps_alive } = service;
    let service = TowerToHyperService::new(router);
    let answer = service_fn(move |request| {
        let mut request: Request<Body> = request.map(|body: Incoming| Body::new(body));
        tell(request.extensions_mut());
        let call = service.call(request);
        async move { Ok::<_, Infallible>(caught(call).await) }
    });
    // Names as Go writes them, X-Nsq-Content-Type, for clients that compare header names by case.
    let mut builder = http1::Builder::new();
    builder.keep_alive(keeps_alive).title_case_headers(true).max_buf_size(HEAD_BYTES_MAX);
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    let connection = builder.serve_connection(TokioIo::new(Patient::new(stream, READ_WITHIN)), answer);
    tokio::pin!(connection);
    tokio::select! {
        // A connection that breaks off is its peer's business.
        _ = connection.as_mut() => return,
        () = shutdown.wait() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn caught(call: impl Future<Output = Result<Response, Infallible>>) -> Response {
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => {
            tracing::error!("HTTP: a request panicked");
            super::error(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR")
        }
    }
}
