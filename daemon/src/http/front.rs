//! What stands in front of a daemon's routes and answers where none does, as Go's router would: wrong methods,
//! HEAD, OPTIONS, paths that are nearly right. It also counts requests, for `/metrics`.

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::header::{ALLOW, LOCATION};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::error;
use super::requests::Requests;

/// Completes a daemon's routes with the answers for everything else, and counts what is asked in `requests`:
/// 404 NOT_FOUND, 405 METHOD_NOT_ALLOWED with `Allow`, 200 with `Allow` for OPTIONS, and a redirect from a path
/// that differs from a route's by a slash, by case or by `..` only.
pub fn finish(routes: Router, requests: &Requests) -> Router {
    let routes =
        routes.fallback(not_found).method_not_allowed_fallback(method_not_allowed).layer(from_fn(note_route));
    let requests = requests.clone();
    Router::new().fallback(move |request: Request| answer(routes.clone(), requests.clone(), request))
}

/// The longest path that is compared with routes regardless of case.
const FIXED_PATH_BYTES_MAX: usize = 256;

async fn answer(routes: Router, requests: Requests, mut request: Request) -> Response {
    let began = Instant::now();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    // nsqd: no route answers HEAD. axum would have GET's handler answer it.
    if method == Method::HEAD {
        *request.method_mut() = Method::OPTIONS;
    }
    let response = call(&routes, request).await;
    let route = response.extensions().get::<MatchedPath>().cloned();
    let response = match response.status() {
        StatusCode::NOT_FOUND if route.is_none() => {
            redirect(&routes, &method, &uri).await.unwrap_or(response)
        }
        StatusCode::OK if method == Method::HEAD => refuse_head(&response),
        _ => response,
    };
    let response = with_allow(response);
    requests.count(route.as_ref().map(MatchedPath::as_str), &method, response.status(), began.elapsed());
    response
}

/// Ask these routes.
pub(super) async fn call(routes: &Router, request: Request) -> Response {
    match TowerToHyperService::new(routes.clone()).call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// Tells the front which route answered.
async fn note_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

async fn not_found() -> Response {
    error(StatusCode::NOT_FOUND, "NOT_FOUND")
}

// The Allow header is added by the router.
async fn method_not_allowed(method: Method) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::OK.into_response();
    }
    error(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED")
}

fn refuse_head(options: &Response) -> Response {
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED");
    if let Some(allow) = options.headers().get(ALLOW) {
        response.headers_mut().insert(ALLOW, allow.clone());
    }
    response
}

/// As Go's router writes it: in order, with OPTIONS, and without the HEAD that axum means to serve.
fn with_allow(mut response: Response) -> Response {
    let Some(allowed) = response.headers().get(ALLOW).and_then(|value| value.to_str().ok()) else {
        return response;
    };
    let mut methods: Vec<&str> = allowed.split(',').map(str::trim).filter(|name| *name != "HEAD").collect();
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.dedup();
    if let Ok(value) = HeaderValue::from_str(&methods.join(", ")) {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}

/// Where a path that is nearly a route's leads. Only to a route that answers the method: so never to another host.
async fn redirect(routes: &Router, method: &Method, uri: &Uri) -> Option<Response> {
    let path = uri.path();
    if path.len() > FIXED_PATH_BYTES_MAX {
        return None;
    }
    let clean = clean(path);
    for candidate in [toggled(path), clean.clone(), toggled(&clean)] {
        if candidate == path || !answers(routes, method, &candidate).await {
            continue;
        }
        let location = uri.query().map_or_else(|| candidate.clone(), |query| format!("{candidate}?{query}"));
        // nsqd: a redirected POST keeps its method and body only under 307.
        let status = match *method {
            Method::GET => StatusCode::MOVED_PERMANENTLY,
            _ => StatusCode::TEMPORARY_REDIRECT,
        };
        return Some((status, [(LOCATION, HeaderValue::from_str(&location).ok()?)]).into_response());
    }
    None
}

async fn answers(routes: &Router, method: &Method, path: &str) -> bool {
    let Ok(request) = Request::builder().method(Method::OPTIONS).uri(path).body(axum::body::Body::empty())
    else {
        return false;
    };
    let response = call(routes, request).await;
    let allowed = response.headers().get(ALLOW).and_then(|value| value.to_str().ok()).unwrap_or_default();
    allowed.split(',').any(|name| name.trim() == method.as_str()) && *method != Method::HEAD
}

fn toggled(path: &str) -> String {
    path.strip_suffix('/').map_or_else(|| format!("{path}/"), str::to_owned)
}

/// In lower case, as all routes are, without empty parts, `.` and `..`.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part.to_ascii_lowercase()),
        }
    }
    let slash = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    format!("/{}{slash}", parts.join("/"))
}
