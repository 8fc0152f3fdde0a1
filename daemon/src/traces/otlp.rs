//! The part of OpenTelemetry's protocol (OTLP 1, traces) that is sent, field by field. Numbers and types are the wire's.

use super::{Attribute, TraceContext};
use crate::version::VERSION;

/// Which end of what a span stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Work within one process.
    Internal = 1,
    /// A request that is answered.
    Server = 2,
    /// A request that is sent.
    Client = 3,
    /// A message that is sent and not waited for.
    Producer = 4,
    /// A message that came in.
    Consumer = 5,
}

/// `ExportTraceServiceRequest`, the body of a POST to `/v1/traces`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Request {
    #[prost(message, repeated, tag = "1")]
    pub(super) resources: Vec<ResourceSpans>,
}

impl Request {
    pub(super) fn new(resource: Resource, spans: Vec<Span>) -> Self {
        let scope = Scope { name: "nsqube".to_owned(), version: VERSION.to_owned() };
        let scopes = vec![ScopeSpans { scope: Some(scope), spans }];
        Self { resources: vec![ResourceSpans { resource: Some(resource), scopes }] }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

/// Who sends.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

impl Resource {
    pub(super) fn of(service: &str, instance: &str) -> Self {
        let known = [
            ("service.name", service),
            ("service.version", VERSION),
            ("service.instance.id", instance),
            ("telemetry.sdk.language", "rust"),
        ];
        let attributes = known.iter().filter(|(_, value)| !value.is_empty());
        Self { attributes: attributes.map(|&(key, value)| KeyValue::new(key, value.into())).collect() }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(super) start_ns: u64,
    #[prost(fixed64, tag = "8")]
    pub(super) end_ns: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    pub(super) status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    flags: u32,
}

impl Span {
    pub(super) fn begin(
        context: &TraceContext,
        parent: Option<TraceContext>,
        kind: Kind,
        name: String,
        start_ns: u64,
    ) -> Self {
        Self {
            trace_id: context.trace.to_be_bytes().to_vec(),
            span_id: context.span.to_be_bytes().to_vec(),
            parent_span_id: parent.map_or_else(Vec::new, |parent| parent.span.to_be_bytes().to_vec()),
            name,
            kind: kind as i32,
            start_ns,
            // W3C's flags: it is sampled.
            flags: 1,
            ..Self::default()
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

impl Status {
    pub(super) fn error(message: String) -> Self {
        Self { message, code: 2 }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

impl KeyValue {
    pub(super) fn new(key: &str, value: Attribute) -> Self {
        let value = match value {
            Attribute::Text(text) => Any::Text(text),
            Attribute::Flag(flag) => Any::Flag(flag),
            Attribute::Number(number) => Any::Number(number),
        };
        Self { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 2, 3")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Flag(bool),
    #[prost(int64, tag = "3")]
    Number(i64),
}
