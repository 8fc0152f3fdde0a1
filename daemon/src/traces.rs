//! Spans for OpenTelemetry: begun where work begins, joined by W3C trace context, and handed to a collector by a
//! task of their own (`traces/export`). Who is not sampled pays for a comparison; a dead collector costs spans, never time.
//! Which spans there are is each daemon's business.

mod chance;
mod context;
mod export;
mod otlp;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderMap;
use tokio::sync::mpsc::{Sender, channel};

pub use context::TraceContext;
pub use export::Exporter;
pub use otlp::Kind;

use crate::http_client::{Endpoint, Trust};
use crate::metrics::{Exposition, Family, Kind as MetricKind};
use chance::Chance;

/// Spans that wait for the collector; what comes when so many wait is dropped.
const QUEUE_MAX: usize = 4096;

/// Attributes of one span.
const ATTRIBUTES_MAX: usize = 32;

/// The families of [`Tracer::expose`].
pub const FAMILIES: &[Family] = &[EXPORTED, DROPPED];

const EXPORTED: Family = Family {
    name: "nsq_trace_spans_exported",
    kind: MetricKind::Counter,
    labels: &[],
    help: "spans that the collector of --otel-endpoint has taken",
};
const DROPPED: Family = Family {
    name: "nsq_trace_spans_dropped",
    kind: MetricKind::Counter,
    labels: &["reason"],
    help: "spans that were given up: the queue was full, or the collector did not take them",
};

/// What `--otel-endpoint` and its relatives say, and who sends.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Where the collector takes OTLP over HTTP, like `http://collector:4318`. Empty: there are no traces.
    pub endpoint: &'a str,
    /// Of what begins without a trace context, this share is sampled, from 0 to 1.
    pub ratio: f64,
    /// `service.name`, like `nsqd`.
    pub service: &'a str,
    /// `service.instance.id`: which one of them.
    pub instance: &'a str,
}

/// Begins spans. Clones share one queue.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    chance: Chance,
    queue: Sender<otlp::Span>,
    counts: Arc<Counts>,
}

/// What became of spans.
#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    overflowed: AtomicU64,
    refused: AtomicU64,
}

impl Tracer {
    /// A tracer, and the task that must be run for it. Neither does anything if no endpoint is set.
    ///
    /// # Errors
    /// The endpoint is no URL, or the certificates for HTTPS cannot be used.
    pub fn new(settings: Settings<'_>) -> Result<(Self, Option<Exporter>), String> {
        if settings.endpoint.is_empty() {
            return Ok((Self::default(), None));
        }
        let endpoint = collector(settings.endpoint)?;
        let trust = Trust::new(None).map_err(|error| error.to_string())?;
        let (queue, spans) = channel(QUEUE_MAX);
        let counts = Arc::new(Counts::default());
        let resource = otlp::Resource::of(settings.service, settings.instance);
        let exporter = Exporter::new(endpoint, trust, resource, spans, Arc::clone(&counts));
        let shared = Shared { chance: Chance::new(settings.ratio), queue, counts };
        Ok((Self(Some(Arc::new(shared))), Some(exporter)))
    }

    /// Is there a collector?
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begin a span. Below a `parent` it is sampled if the parent is, otherwise by the ratio; the name is only made for a
    /// span that is sampled.
    pub fn begin(&self, kind: Kind, parent: Option<TraceContext>, name: impl FnOnce() -> String) -> Span {
        // Who is told not to sample tells others.
        let Some(shared) = &self.0 else {
            return Span { context: parent.filter(|it| !it.is_sampled), open: None };
        };
        let Some(context) = shared.chance.context(parent) else { return Span::default() };
        if !context.is_sampled {
            return Span { context: Some(context), open: None };
        }
        let record = otlp::Span::begin(&context, parent, kind, name(), now_ns());
        let open = Open { record, queue: self.clone() };
        Span { context: Some(context), open: Some(Box::new(open)) }
    }

    /// What became of spans, for a page of `/metrics`.
    pub fn expose(&self, page: &mut Exposition) {
        let nothing = Counts::default();
        let counts = self.0.as_ref().map_or(&nothing, |shared| &shared.counts);
        page.single(&EXPORTED, counts.exported.load(Ordering::Relaxed));
        for (reason, count) in [("queue", &counts.overflowed), ("collector", &counts.refused)] {
            page.family(&DROPPED).add(&[reason], count.load(Ordering::Relaxed));
        }
    }

    fn send(&self, record: otlp::Span) {
        let Some(shared) = &self.0 else { return };
        if shared.queue.try_send(record).is_err() {
            shared.counts.overflowed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Some work that takes time. It ends when it is dropped; without a collector, or not sampled, it is empty.
#[derive(Default)]
pub struct Span {
    context: Option<TraceContext>,
    open: Option<Box<Open>>,
}

struct Open {
    record: otlp::Span,
    queue: Tracer,
}

impl Span {
    /// Whether anybody will see it: what is only worked out for its attributes can be left out otherwise.
    pub fn is_sampled(&self) -> bool {
        self.open.is_some()
    }

    /// What spans below it have as their parent, here or in another process.
    pub fn context(&self) -> Option<TraceContext> {
        self.context
    }

    /// The value of the header `traceparent` for requests that are part of it.
    pub fn traceparent(&self) -> Option<String> {
        self.context.map(|context| context.to_string())
    }

    /// Where spans are begun that are part of this one. Below one that is not sampled none is.
    pub fn scope(&self) -> Scope {
        let tracer = self.open.as_ref().map(|open| open.queue.clone());
        Scope { tracer: tracer.unwrap_or_default(), parent: self.context }
    }

    /// Say something about it.
    pub fn set(&mut self, key: &'static str, value: impl Into<Attribute>) {
        if let Some(open) = &mut self.open
            && open.record.attributes.len() < ATTRIBUTES_MAX
        {
            open.record.attributes.push(otlp::KeyValue::new(key, value.into()));
        }
    }

    /// What it stands for did not succeed.
    pub fn fail(&mut self, why: impl fmt::Display) {
        if let Some(open) = &mut self.open {
            open.record.status = Some(otlp::Status::error(why.to_string()));
        }
    }
}

/// A place in a trace, for spans that others begin. The default is in no trace: nothing is begun there.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    tracer: Tracer,
    parent: Option<TraceContext>,
}

impl Scope {
    /// Begin a span here.
    pub fn begin(&self, kind: Kind, name: impl FnOnce() -> String) -> Span {
        if self.parent.is_none() {
            return Span::default();
        }
        self.tracer.begin(kind, self.parent, name)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.open.as_ref().map(|open| open.record.name.as_str());
        f.debug_struct("Span").field("name", &name).field("context", &self.context).finish()
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut record = std::mem::take(&mut self.record);
        // A wall clock may be set back.
        record.end_ns = now_ns().max(record.start_ns);
        self.queue.send(record);
    }
}

/// What a request is part of, as its header `traceparent` says. More than one such header is as good as none.
pub fn traceparent(headers: &HeaderMap) -> Option<TraceContext> {
    let mut given = headers.get_all("traceparent").iter();
    let only = given.next().filter(|_| given.next().is_none())?;
    TraceContext::parse(only.to_str().ok()?)
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// Words.
    Text(String),
    /// A number.
    Number(i64),
    /// Yes or no.
    Flag(bool),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Attribute {
    fn from(number: usize) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<i64> for Attribute {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Attribute {
    fn from(is_so: bool) -> Self {
        Self::Flag(is_so)
    }
}

/// Is this a value of `--otel-endpoint`? An empty one is.
///
/// # Errors
/// What is wrong with it.
pub fn check(endpoint: &str) -> Result<(), String> {
    if endpoint.is_empty() { Ok(()) } else { collector(endpoint).map(drop) }
}

/// Collectors take traces below their base URL.
fn collector(url: &str) -> Result<Endpoint, String> {
    let base = url.trim_end_matches('/');
    if base.contains(['?', '#']) {
        return Err("it must be a URL like http://collector:4318, without a query".to_owned());
    }
    let path = if base.ends_with("/v1/traces") { "" } else { "/v1/traces" };
    Endpoint::parse(&format!("{base}{path}"))
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
