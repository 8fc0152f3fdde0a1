//! A collector of OpenTelemetry, as small as it can be: it takes traces over HTTP, read as OpenTelemetry itself reads
//! them, and keeps them for tests that look at them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span as Sent;
use prost::Message as _;

use crate::waiting::eventually;

/// HTTP on loopback, until the test process ends.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

/// A span as it came.
#[derive(Debug, Clone)]
pub struct Span {
    /// `service.name` of who sent it.
    pub service: String,
    /// Such as `publish orders`.
    pub name: String,
    /// In hex, as in `traceparent`; so are the next two.
    pub trace: String,
    /// Its own number.
    pub id: String,
    /// Of the span it is part of; empty if there is none.
    pub parent: String,
    /// 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: i32,
    /// What is said about it.
    pub attributes: BTreeMap<String, String>,
    /// Why it failed, if it did.
    pub failure: Option<String>,
    /// Unix time in ns.
    pub began: u64,
    /// Unix time in ns.
    pub ended: u64,
}

impl Span {
    /// One attribute; empty if it is not there.
    pub fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map(String::as_str).unwrap_or_default()
    }
}

impl Collector {
    /// One that takes everything.
    ///
    /// # Panics
    /// When there is no port for it.
    #[track_caller]
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.unwrap_or_else(|error| panic!("a port for the collector: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
        let spans = Arc::new(Mutex::new(Vec::new()));
        let taken = Arc::clone(&spans);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A request that is broken off is the sender's matter, not ours.
                let _ = take(&stream, &taken);
            }
        });
        Self { address, spans }
    }

    /// For `--otel-endpoint`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What came so far.
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The first span of this name and trace, when it is there.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn span(&self, trace: &str, name: &str) -> Span {
        let mut found = None;
        eventually(&format!("a span {name} of trace {trace}"), || {
            found = self.spans().into_iter().find(|span| span.trace == trace && span.name == name);
            found.is_some()
        });
        found.unwrap_or_else(|| unreachable!("the wait has ended"))
    }

    /// A trace as people draw it: what is part of a span stands below it, in the order in which it began.
    pub fn drawn(&self, trace: &str) -> String {
        let mut spans = self.spans();
        spans.retain(|span| span.trace == trace);
        spans.sort_by_key(|span| span.began);
        let mut text = String::new();
        let is_root = |span: &&Span| spans.iter().all(|other| other.id != span.parent);
        for root in spans.iter().filter(is_root) {
            draw(&mut text, &spans, root, 0);
        }
        text
    }
}

fn draw(text: &mut String, spans: &[Span], span: &Span, depth: usize) {
    let ms = (span.ended - span.began) as f64 / 1e6;
    let title = format!("{}{}: {}", "   ".repeat(depth), span.service, span.name);
    let said: Vec<_> = span.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let _ = writeln!(text, "{title:<58} {ms:>8.2} ms  {}", said.join(" "));
    for below in spans.iter().filter(|other| other.parent == span.id) {
        draw(text, spans, below, depth + 1);
    }
}

fn take(mut stream: &TcpStream, spans: &Mutex<Vec<Span>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let (mut length, mut is_protobuf) = (0, false);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "content-type" => is_protobuf = value.trim() == "application/x-protobuf",
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let read = ExportTraceServiceRequest::decode(&*body).ok();
    let is_for_us = is_protobuf && line.starts_with("POST /v1/traces ");
    let status = match read.filter(|_| is_for_us) {
        Some(request) => {
            spans.lock().unwrap_or_else(PoisonError::into_inner).extend(all(request));
            "200 OK"
        }
        None => "400 Bad Request",
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

fn all(request: ExportTraceServiceRequest) -> Vec<Span> {
    let mut found = Vec::new();
    for from in request.resource_spans {
        let who = from.resource.map(|resource| attributes(resource.attributes)).unwrap_or_default();
        let service = who.get("service.name").cloned().unwrap_or_default();
        let sent = from.scope_spans.into_iter().flat_map(|scope| scope.spans);
        found.extend(sent.map(|span| span_of(service.clone(), span)));
    }
    found
}

fn span_of(service: String, sent: Sent) -> Span {
    let failure = sent.status.filter(|status| status.code == 2).map(|status| status.message);
    Span {
        service,
        name: sent.name,
        trace: hex(&sent.trace_id),
        id: hex(&sent.span_id),
        parent: hex(&sent.parent_span_id),
        kind: sent.kind,
        attributes: attributes(sent.attributes),
        failure,
        began: sent.start_time_unix_nano,
        ended: sent.end_time_unix_nano,
    }
}

fn attributes(sent: Vec<KeyValue>) -> BTreeMap<String, String> {
    sent.into_iter().map(|one| (one.key, one.value.map(text_of).unwrap_or_default())).collect()
}

fn text_of(value: AnyValue) -> String {
    match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
