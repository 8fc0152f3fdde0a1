//! Routes for a daemon that is still starting: probes are answered at once, everything else waits until it is open, as
//! it would in the backlog of a socket nobody accepts from.

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::response::Response;
use tokio::sync::watch;

use super::front::call;
use super::probe::{Check, answer};

/// Opens the routes of [`gate`].
#[derive(Debug)]
pub struct Gate(watch::Sender<Option<Router>>);

impl Gate {
    /// From now on these are the routes. What waits is answered by them.
    pub fn open(&self, routes: Router) {
        self.0.send_replace(Some(routes));
    }
}

/// Routes that are not there yet.
pub fn gate() -> (Gate, Router) {
    let (sender, receiver) = watch::channel(None);
    let router = Router::new().fallback(move |request: Request| pass(receiver.clone(), request));
    (Gate(sender), router)
}

async fn pass(mut routes: watch::Receiver<Option<Router>>, request: Request) -> Response {
    let open = routes.borrow().clone();
    if let Some(open) = open {
        return call(&open, request).await;
    }
    let query = request.uri().query().unwrap_or_default();
    match request.uri().path() {
        "/livez" => return answer(query, &[]),
        "/startupz" | "/readyz" => return answer(query, &[STARTING]),
        _ => {}
    }
    let opened = routes.wait_for(Option::is_some).await.map(|routes| routes.clone());
    match opened {
        Ok(Some(open)) => call(&open, request).await,
        // It failed to start.
        _ => super::error(StatusCode::SERVICE_UNAVAILABLE, "EXITING"),
    }
}

const STARTING: Check = Check {
    name: "recovered",
    problem: Some(std::borrow::Cow::Borrowed("starting: what is on disk is being read")),
};

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::routing::get;

    use super::*;

    async fn ask(routes: &Router, path: &str) -> (u16, String) {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = call(routes, request).await;
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn probes_are_answered_before_the_start_is_over_and_all_else_waits_for_it() {
        let (gate, routes) = gate();
        assert_eq!(ask(&routes, "/livez").await, (200, "OK".to_owned()));
        for path in ["/startupz", "/readyz"] {
            let (status, body) = ask(&routes, path).await;
            assert!(status == 503 && body.contains("starting"), "{path}: {status} {body}");
        }
        let waiting = tokio::spawn({
            let routes = routes.clone();
            async move { ask(&routes, "/ping").await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        gate.open(Router::new().route("/ping", get(|| async { "pong" })));
        assert_eq!(waiting.await.unwrap(), (200, "pong".to_owned()));
        assert_eq!(ask(&routes, "/ping").await.1, "pong");
    }

    #[tokio::test]
    async fn what_waits_for_a_start_that_failed_is_told_so() {
        let (gate, routes) = gate();
        drop(gate);
        assert_eq!(ask(&routes, "/ping").await.0, 503);
    }
}
