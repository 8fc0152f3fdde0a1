//! `/livez`, `/readyz`, `/startupz` and `/metrics`: what Kubernetes and Prometheus ask. `/ping` stays as stock has it.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use daemon::http::error;
use daemon::http::probe::{Check, answer};

use super::Api;
use crate::metrics;

/// True as long as anybody is there to say so: a restart would not empty a full disk.
pub(super) async fn alive(RawQuery(query): RawQuery) -> Response {
    answer(&query.unwrap_or_default(), &[])
}

/// These routes are not there before the start is over; until then the gate in front of them answers.
pub(super) async fn started(RawQuery(query): RawQuery) -> Response {
    answer(&query.unwrap_or_default(), &[Check::new("recovered", None::<&str>)])
}

/// Should clients come here? Whether an nsqlookupd knows us does not matter: those that ask it come only if it does.
pub(super) async fn ready(State(api): State<Api>, RawQuery(query): RawQuery) -> Response {
    let context = &api.broker.context;
    let stopping = api.broker.is_stopping().then_some("stopping");
    let full = context.space.refusal();
    // A full disk is told once, with what to do about it.
    let sick = context.health.error().filter(|_| full.is_none());
    let control = &api.broker.control_state;
    let checks = [
        Check::new("recovered", None::<&str>),
        Check::new("serving", stopping),
        Check::new("space", full),
        Check::new("disk", sick),
        Check::new("topology", control.declared.problem()),
        Check::new("draining", control.drain.problem()),
    ];
    answer(&query.unwrap_or_default(), &checks)
}

pub(super) async fn scrape(State(api): State<Api>, headers: HeaderMap) -> Response {
    let broker = Arc::clone(&api.broker);
    match tokio::task::spawn_blocking(move || metrics::page(&broker)).await {
        Ok(page) => page.answer(&headers),
        Err(_) => error(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
    }
}
