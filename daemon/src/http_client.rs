//! Asking another daemon over HTTP/1.1: one connection per call, everything bounded by one time limit.
//! For the few calls an hour between brokers, nsqlookupd, auth servers and tools; there is no pool and no redirect.
//! Where URLs lead and whom HTTPS trusts is in `http_client/endpoint`, who asks in `http_client/credentials`.

mod credentials;
mod endpoint;

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::Request;
use hyper::header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

pub use credentials::Credentials;
pub use endpoint::{Endpoint, Trust};
pub use hyper::Method;

use crate::dial;
use crate::version::VERSION;

/// A longer reply is refused, so that a confused peer cannot fill our memory.
pub const BODY_BYTES_MAX: usize = 64 << 20;

/// Asks `http://addr` for `path` (with its query). `addr` is `host:port`; names are resolved at each call.
///
/// # Errors
/// No answer in time, or none that is HTTP. A status like 404 is an answer.
pub async fn get(addr: &str, path: &str, timeout: Duration) -> Result<(u16, Bytes), HttpError> {
    get_as(&Credentials::default(), addr, path, timeout).await
}

/// As `get`, by somebody who says who they are.
///
/// # Errors
/// As for `get`.
pub async fn get_as(
    who: &Credentials,
    addr: &str,
    path: &str,
    timeout: Duration,
) -> Result<(u16, Bytes), HttpError> {
    within(timeout, addr, plain(who, Method::GET, addr, path, Bytes::new())).await
}

/// Sends `body` to `path` at `addr`, as `get` does otherwise.
///
/// # Errors
/// As for `get`. After a timeout the peer may have acted on the request.
pub async fn post(addr: &str, path: &str, body: Bytes, timeout: Duration) -> Result<(u16, Bytes), HttpError> {
    within(timeout, addr, plain(&Credentials::default(), Method::POST, addr, path, body)).await
}

/// One request with everything that can be said in it.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// GET, POST or PUT.
    pub method: Method,
    /// With its query.
    pub path: &'a str,
    /// Who asks.
    pub who: &'a Credentials,
    /// W3C trace context, for the header `traceparent`.
    pub traceparent: Option<&'a str>,
    /// JSON, or nothing.
    pub body: Bytes,
}

/// Sends `ask` to `addr`, as `get` does otherwise.
///
/// # Errors
/// As for `get`. After a timeout the peer may have acted on the request.
pub async fn send(addr: &str, ask: Ask<'_>, timeout: Duration) -> Result<(u16, Bytes), HttpError> {
    let mut request = request(ask.who, ask.method, ask.path, addr, ask.body)?;
    // A context that no header can carry is no reason to stay away.
    if let Some(Ok(context)) = ask.traceparent.map(HeaderValue::from_str) {
        request.headers_mut().insert("traceparent", context);
    }
    within(timeout, addr, async { exchange(connect(addr).await?, request, addr, BODY_BYTES_MAX).await }).await
}

/// What an endpoint is asked under.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// Whose certificates are believed over HTTPS.
    pub trust: &'a Trust,
    /// For the connection alone.
    pub connect_within: Duration,
    /// For everything, connecting included.
    pub within: Duration,
    /// The longest answer.
    pub body_bytes_max: usize,
}

/// Asks an endpoint: a POST of `body` as JSON if there is one, otherwise a GET with `query`.
///
/// # Errors
/// As for `get`; over HTTPS also a certificate that is not believed.
pub async fn call(
    endpoint: &Endpoint,
    query: &str,
    body: Option<Bytes>,
    terms: Terms<'_>,
) -> Result<(u16, Bytes), HttpError> {
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let (addr, path) = (endpoint.address(), endpoint.path_with(query));
    let request = request(endpoint.credentials(), method, &path, &addr, body.unwrap_or_default())?;
    ask(endpoint, addr, request, terms).await
}

/// Posts `body` to an endpoint as protocol buffers, as collectors of traces take it.
///
/// # Errors
/// As for `call`.
pub async fn post_protobuf(
    endpoint: &Endpoint,
    body: Bytes,
    terms: Terms<'_>,
) -> Result<(u16, Bytes), HttpError> {
    let addr = endpoint.address();
    let mut request = request(endpoint.credentials(), Method::POST, &endpoint.path_with(""), &addr, body)?;
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    ask(endpoint, addr, request, terms).await
}

async fn ask(
    endpoint: &Endpoint,
    addr: String,
    request: Request<Full<Bytes>>,
    terms: Terms<'_>,
) -> Result<(u16, Bytes), HttpError> {
    let asked = async {
        let stream = within(terms.connect_within, &addr, connect(&addr)).await?;
        let max = terms.body_bytes_max;
        match endpoint.server_name() {
            None => exchange(stream, request, &addr, max).await,
            Some(name) => {
                let encrypted = terms.trust.connector().connect(name, stream).await;
                let encrypted =
                    encrypted.map_err(|source| HttpError::Connect { addr: addr.clone(), source })?;
                exchange(encrypted, request, &addr, max).await
            }
        }
    };
    within(terms.within, &addr, asked).await
}

/// Why a call gave no answer; every text names the address.
#[derive(Debug)]
pub enum HttpError {
    /// No connection: nobody listens, or the name is unknown.
    Connect {
        /// The `host:port` that was called.
        addr: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The whole call took longer than its limit.
    Timeout {
        /// The `host:port` that was called.
        addr: String,
        /// The limit.
        after: Duration,
    },
    /// Path or address cannot stand in a request.
    Request {
        /// The `host:port` that was called.
        addr: String,
        /// Which part, and why.
        reason: String,
    },
    /// The connection broke or the peer does not speak HTTP.
    Exchange {
        /// The `host:port` that was called.
        addr: String,
        /// What went wrong.
        reason: String,
    },
    /// The reply is longer than it may be.
    TooLarge {
        /// The `host:port` that was called.
        addr: String,
        /// The limit, in bytes.
        max: usize,
    },
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { addr, source } => write!(f, "cannot connect to {addr}: {source}"),
            Self::Timeout { addr, after } => write!(f, "no answer from {addr} within {after:?}"),
            Self::Request { addr, reason } => write!(f, "cannot ask {addr}: {reason}"),
            Self::Exchange { addr, reason } => write!(f, "bad answer from {addr}: {reason}"),
            Self::TooLarge { addr, max } => write!(f, "answer from {addr} is longer than {max} bytes"),
        }
    }
}

impl std::error::Error for HttpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Connect { source, .. } => Some(source),
            _ => None,
        }
    }
}

async fn within<T>(
    after: Duration,
    addr: &str,
    call: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    // As for Go's client, 0 is no limit.
    if after.is_zero() {
        return call.await;
    }
    let late = || HttpError::Timeout { addr: addr.to_owned(), after };
    tokio::time::timeout(after, call).await.unwrap_or_else(|_| Err(late()))
}

async fn plain(
    who: &Credentials,
    method: Method,
    addr: &str,
    path: &str,
    body: Bytes,
) -> Result<(u16, Bytes), HttpError> {
    // Before connecting: what cannot be asked needs no connection.
    let request = request(who, method, path, addr, body)?;
    exchange(connect(addr).await?, request, addr, BODY_BYTES_MAX).await
}

async fn connect(addr: &str) -> Result<TcpStream, HttpError> {
    dial::connect(addr).await.map_err(|source| HttpError::Connect { addr: addr.to_owned(), source })
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    request: Request<Full<Bytes>>,
    addr: &str,
    max: usize,
) -> Result<(u16, Bytes), HttpError> {
    let broken = |reason: String| HttpError::Exchange { addr: addr.to_owned(), reason };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(told(&error)))?;
    let answer = async {
        let reply = sender.send_request(request).await.map_err(|error| broken(told(&error)))?;
        let status = reply.status().as_u16();
        match Limited::new(reply.into_body(), max).collect().await {
            Ok(body) => Ok((status, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(HttpError::TooLarge { addr: addr.to_owned(), max })
            }
            Err(error) => Err(broken(told(error.as_ref()))),
        }
    };
    tokio::pin!(answer);
    // The connection is driven here and not by a task, so that dropping the call closes the socket.
    tokio::select! {
        answer = &mut answer => answer,
        _ = connection => answer.await,
    }
}

fn request(
    who: &Credentials,
    method: Method,
    path: &str,
    addr: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, HttpError> {
    let mut builder = Request::builder();
    if let Some(value) = who.header() {
        builder = builder.header(AUTHORIZATION, value);
    }
    if !body.is_empty() {
        // What brokers post to one another and to auth servers; nsqd does not look at it.
        builder = builder.header(CONTENT_TYPE, "application/json");
    }
    builder
        .method(method)
        .uri(path)
        .header(HOST, addr)
        .header(USER_AGENT, format!("nsqube/{VERSION}"))
        // Old nsqd and nsqlookupd wrap their JSON in {status_code,data} without it.
        .header(ACCEPT, "application/vnd.nsq; version=1.0")
        .header(CONNECTION, "close")
        .body(Full::new(body))
        .map_err(|error| HttpError::Request { addr: addr.to_owned(), reason: format!("{path:?}: {error}") })
}

/// The error with its causes: hyper's own texts alone say little.
fn told(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    /// A peer that reads one request and answers with exactly these bytes; gives its address and what it
    /// read.
    async fn peer(answer: &'static [u8]) -> (String, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let addr = listener.local_addr().expect("address").to_string();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut seen = vec![0; 4096];
            let n = stream.read(&mut seen).await.expect("read");
            stream.write_all(answer).await.expect("write");
            seen.truncate(n);
            String::from_utf8(seen).expect("UTF-8")
        });
        (addr, task)
    }

    #[tokio::test]
    async fn answer_is_status_and_body() {
        let (addr, peer) = peer(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno").await;
        let (status, body) = get(&addr, "/lookup?topic=a%23ephemeral", LIMIT).await.expect("an answer");
        assert_eq!((status, &body[..]), (404, &b"no"[..]));
        let asked = peer.await.expect("peer").to_ascii_lowercase();
        assert!(asked.starts_with("get /lookup?topic=a%23ephemeral http/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("host: {addr}\r\n")), "{asked}");
    }

    #[tokio::test]
    async fn posted_body_arrives() {
        let (addr, peer) =
            peer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nOK\r\n0\r\n\r\n").await;
        let (status, body) =
            post(&addr, "/pub?topic=t", Bytes::from("hello"), LIMIT).await.expect("an answer");
        assert_eq!((status, &body[..]), (200, &b"OK"[..]));
        let asked = peer.await.expect("peer");
        assert!(asked.contains("content-length: 5\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn silent_peer_ends_in_a_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let addr = listener.local_addr().expect("address").to_string();
        let error = get(&addr, "/", Duration::from_millis(20)).await.expect_err("nobody answers");
        assert!(matches!(error, HttpError::Timeout { .. }), "{error:?}");
        assert!(error.to_string().contains(&addr), "{error}");
    }

    #[tokio::test]
    async fn refused_connection_names_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let addr = listener.local_addr().expect("address").to_string();
        drop(listener);
        let error = get(&addr, "/", LIMIT).await.expect_err("nobody listens");
        assert!(error.to_string().starts_with(&format!("cannot connect to {addr}: ")), "{error}");
    }

    #[tokio::test]
    async fn answers_that_are_not_http_are_errors() {
        for answer in [&b"SSH-2.0-x\r\n\r\n"[..], b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"] {
            let (addr, _peer) = peer(answer).await;
            let error = get(&addr, "/", LIMIT).await.expect_err("not an answer");
            assert!(matches!(error, HttpError::Exchange { .. }), "{error:?}");
        }
    }

    #[tokio::test]
    async fn path_with_a_space_is_refused_before_connecting() {
        let error = get("127.0.0.1:1", "/a b", LIMIT).await.expect_err("no such path");
        assert!(matches!(error, HttpError::Request { .. }), "{error:?}");
    }
}
