//! The task that hands spans to the collector: many in one request, one request at a time, each within a time limit. What
//! the collector does not take is counted and forgotten: a trace that comes late helps nobody.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prost::Message as _;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, timeout, timeout_at};

use super::Counts;
use super::otlp::{Request, Resource, Span};
use crate::http_client::{Endpoint, Terms, Trust, post_protobuf};
use crate::shutdown::Shutdown;

/// Spans in one request.
const BATCH_MAX: usize = 512;

/// How long a span waits for others.
const GATHER: Duration = Duration::from_secs(1);

/// What a request may take; connecting is part of it.
const WITHIN: Duration = Duration::from_secs(5);
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// What a daemon waits for the collector when it stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// A collector says little.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Sends what a [`super::Tracer`] recorded.
#[derive(Debug)]
pub struct Exporter {
    endpoint: Endpoint,
    trust: Trust,
    resource: Resource,
    spans: Receiver<Span>,
    counts: Arc<Counts>,
    /// The last request failed: told once, until one succeeds.
    is_failing: bool,
}

impl Exporter {
    pub(super) fn new(
        endpoint: Endpoint,
        trust: Trust,
        resource: Resource,
        spans: Receiver<Span>,
        counts: Arc<Counts>,
    ) -> Self {
        Self { endpoint, trust, resource, spans, counts, is_failing: false }
    }

    /// Send until `stop`, and then for a second at most what is left: to be triggered when nothing is recorded any more.
    pub async fn run(mut self, stop: Shutdown) {
        tracing::info!(endpoint = self.endpoint.name(), "traces go to a collector");
        loop {
            let mut gathered = Vec::new();
            tokio::select! {
                () = gather(&mut self.spans, &mut gathered) => {}
                () = stop.wait() => {}
            }
            if gathered.is_empty() || stop.is_triggered() {
                let _cut_off = timeout(FAREWELL, self.send_rest(gathered)).await;
                return;
            }
            tokio::select! {
                () = self.send(gathered) => {}
                () = async { stop.wait().await; tokio::time::sleep(FAREWELL).await } => return,
            }
        }
    }

    async fn send_rest(&mut self, mut spans: Vec<Span>) {
        self.spans.close();
        while self.spans.recv_many(&mut spans, BATCH_MAX).await > 0 {}
        if !spans.is_empty() {
            self.send(spans).await;
        }
    }

    async fn send(&mut self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        let body = Request::new(self.resource.clone(), spans).encode_to_vec();
        let terms = Terms {
            trust: &self.trust,
            connect_within: CONNECT_WITHIN,
            within: WITHIN,
            body_bytes_max: ANSWER_BYTES_MAX,
        };
        let failure = match post_protobuf(&self.endpoint, body.into(), terms).await {
            Ok((200..=299, _)) => None,
            Ok((status, _)) => Some(format!("it answered {status}")),
            Err(error) => Some(error.to_string()),
        };
        match failure {
            None => {
                self.counts.exported.fetch_add(count, Ordering::Relaxed);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(endpoint = self.endpoint.name(), "the collector takes traces again");
                }
            }
            Some(why) => {
                self.counts.refused.fetch_add(count, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_failing, true) {
                    let endpoint = self.endpoint.name();
                    tracing::warn!(endpoint, "spans are dropped until the collector takes them: {why}");
                }
            }
        }
    }
}

/// At least one span, and what comes within the next moment. None at all when nobody is left to record any.
async fn gather(spans: &mut Receiver<Span>, gathered: &mut Vec<Span>) {
    if spans.recv_many(gathered, BATCH_MAX).await == 0 {
        return;
    }
    let until = Instant::now() + GATHER;
    while gathered.len() < BATCH_MAX {
        let room = BATCH_MAX - gathered.len();
        match timeout_at(until, spans.recv_many(gathered, room)).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
}
