//! Counts of HTTP requests by route, method and status, for `/metrics`. Routes are templates, so that what callers
//! ask for cannot make series.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{Method, StatusCode};

use crate::metrics::{Exposition, Family, Histogram, Kind, SHORT};

/// What `/metrics` says of HTTP.
pub const FAMILIES: &[Family] = &[REQUESTS, DURATION];

const REQUESTS: Family = Family {
    name: "nsq_http_requests",
    kind: Kind::Counter,
    labels: &["route", "method", "code"],
    help: "HTTP requests answered, by route, method and status; route is other where there is none",
};

const DURATION: Family = Family {
    name: "nsq_http_request_duration_seconds",
    kind: Kind::Histogram,
    labels: &["route"],
    help: "time from a request's head to its answer",
};

/// The counts of one daemon; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Requests(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    answered: BTreeMap<(String, &'static str, u16), u64>,
    durations: BTreeMap<String, Histogram>,
}

impl Requests {
    /// One request was answered. `route` is the template of the route that answered, if one did.
    pub fn count(&self, route: Option<&str>, method: &Method, status: StatusCode, took: Duration) {
        let route = route.unwrap_or("other");
        let mut counts = self.lock();
        let key = (route.to_owned(), known(method), status.as_u16());
        *counts.answered.entry(key).or_default() += 1;
        if !counts.durations.contains_key(route) {
            counts.durations.insert(route.to_owned(), Histogram::new(SHORT));
        }
        if let Some(durations) = counts.durations.get_mut(route) {
            durations.record(took);
        }
    }

    /// Put them into a page of `/metrics`.
    pub fn expose(&self, page: &mut Exposition) {
        let counts = self.lock();
        let requests = page.family(&REQUESTS);
        for ((route, method, code), count) in &counts.answered {
            requests.add(&[route, method, &code.to_string()], *count);
        }
        let durations = page.family(&DURATION);
        for (route, histogram) in &counts.durations {
            durations.add(&[route], histogram.snapshot());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Callers invent methods; each would be a series.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
