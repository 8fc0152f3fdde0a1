//! The accept loop of an HTTP listener: one task per connection, all of them ended soon after shutdown.
//! axum's own loop leaves connections running after its end and does not switch off Nagle's delay.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use futures::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::listen::canonical;
use crate::shutdown::Shutdown;

/// Serves `router` until shutdown, then stops accepting, lets running requests finish and returns within
/// about a second. Requests carry `ConnectInfo<SocketAddr>`. A panic in a route answers 500 INTERNAL_ERROR.
///
/// # Errors
/// None today: a failing accept is logged and tried again, since running out of file descriptors passes.
pub async fn serve(listener: TcpListener, router: Router, shutdown: Shutdown) -> io::Result<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.wait() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, canonical(peer), router.clone(), shutdown.clone()));
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

/// A request still running this long after shutdown is cut off.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// Without a pause a process out of file descriptors would spin on accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

async fn connection(stream: TcpStream, peer: SocketAddr, router: Router, shutdown: Shutdown) {
    // Only latency is lost if the kernel refuses.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let answer = service_fn(move |request| {
        let mut request: Request<Body> = request.map(|body: Incoming| Body::new(body));
        request.extensions_mut().insert(ConnectInfo(peer));
        let call = service.call(request);
        async move { Ok::<_, Infallible>(caught(call).await) }
    });
    // Names as Go writes them, X-Nsq-Content-Type, for clients that compare header names by case.
    let connection =
        http1::Builder::new().title_case_headers(true).serve_connection(TokioIo::new(stream), answer);
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
