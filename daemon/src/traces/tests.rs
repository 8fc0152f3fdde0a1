//! Spans as a collector gets them, and what becomes of them without one. That the bytes are OpenTelemetry's is tested in
//! crate `tests`, by OpenTelemetry's own reading.

use std::time::Duration;

use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::shutdown::Shutdown;

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn settings(endpoint: &str, ratio: f64) -> Settings<'_> {
    Settings { endpoint, ratio, service: "nsqd", instance: "a" }
}

/// A tracer whose spans nobody takes away.
fn full(ratio: f64) -> (Tracer, Exporter) {
    let (tracer, exporter) = Tracer::new(settings("http://127.0.0.1:1", ratio)).unwrap();
    (tracer, exporter.unwrap())
}

fn figures(tracer: &Tracer) -> String {
    let mut page = Exposition::default();
    tracer.expose(&mut page);
    page.text().lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_trace_context_is_read_as_it_is_written() {
    let context = TraceContext::parse(PARENT).unwrap();
    assert_eq!(context.to_string(), PARENT);
    assert_eq!((context.span, context.is_sampled), (0x00f0_67aa_0ba9_02b7, true));
    assert!(!TraceContext::parse(&PARENT.replace("-01", "-02")).unwrap().is_sampled);
    assert!(TraceContext::parse(&format!("{}-more", PARENT.replacen("00", "01", 1))).is_some());
    for wrong in [
        "",
        "00",
        &PARENT.to_uppercase(),
        &format!("{PARENT}-more"),
        &PARENT.replacen("00", "ff", 1),
        &PARENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
        &PARENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
        &PARENT.replace("4bf9", "+bf9"),
        &PARENT.replace("-01", "-1"),
    ] {
        assert_eq!(TraceContext::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn without_an_endpoint_there_is_nothing() {
    let (tracer, exporter) = Tracer::new(settings("", 1.0)).unwrap();
    assert!(exporter.is_none() && !tracer.is_on());
    let span = tracer.begin(Kind::Server, TraceContext::parse(PARENT), || panic!("no name is asked for"));
    assert!(!span.is_sampled() && span.traceparent().is_none());
    assert!(figures(&tracer).contains("nsq_trace_spans_exported_total 0"));
}

#[test]
fn only_urls_of_http_are_endpoints() {
    for good in ["", "http://collector:4318", "https://a/", "http://a:1/base/v1/traces"] {
        check(good).unwrap();
    }
    for wrong in ["collector:4318", "grpc://a:4317", "http://", "http://a?b=c", "http://a#b"] {
        check(wrong).unwrap_err();
    }
    assert_eq!(collector("http://a:1/").unwrap().name(), "http://a:1/v1/traces");
    assert_eq!(collector("http://a:1/x/v1/traces").unwrap().name(), "http://a:1/x/v1/traces");
}

#[test]
fn who_is_not_sampled_tells_others_not_to_sample() {
    let (tracer, _exporter) = full(1.0);
    let parent = TraceContext::parse(&PARENT.replace("-01", "-00"));
    let span = tracer.begin(Kind::Server, parent, || panic!("no name is asked for"));
    let child = span.scope().begin(Kind::Client, || panic!("no name is asked for"));
    assert!(child.traceparent().unwrap().ends_with("-00"));
    assert!(Scope::default().begin(Kind::Client, || panic!("no name is asked for")).traceparent().is_none());
    let (tracer, _exporter) = full(0.0);
    assert!(tracer.begin(Kind::Server, None, || panic!("no name is asked for")).traceparent().is_none());
}

#[test]
fn spans_beyond_the_queue_are_dropped_and_counted() {
    let (tracer, exporter) = full(1.0);
    for _ in 0..QUEUE_MAX + 3 {
        drop(tracer.begin(Kind::Server, None, || "x".to_owned()));
    }
    assert!(figures(&tracer).contains("nsq_trace_spans_dropped_total{reason=\"queue\"} 3"));
    drop(exporter);
}

#[tokio::test]
async fn what_a_dead_collector_does_not_take_is_counted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let (tracer, exporter) = Tracer::new(settings(&endpoint, 1.0)).unwrap();
    drop(tracer.begin(Kind::Server, None, || "x".to_owned()));
    let stop = Shutdown::new();
    stop.trigger();
    exporter.unwrap().run(stop).await;
    let figures = figures(&tracer);
    assert!(figures.contains("nsq_trace_spans_dropped_total{reason=\"collector\"} 1"), "{figures}");
    assert!(figures.contains("nsq_trace_spans_exported_total 0"), "{figures}");
}

#[tokio::test]
async fn a_silent_collector_does_not_keep_the_process() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (tracer, exporter) = Tracer::new(settings(&endpoint, 1.0)).unwrap();
    drop(tracer.begin(Kind::Server, None, || "x".to_owned()));
    let stop = Shutdown::new();
    stop.trigger();
    let ended = tokio::time::timeout(Duration::from_secs(10), exporter.unwrap().run(stop)).await;
    assert!(ended.is_ok());
}

#[tokio::test]
async fn what_is_left_at_the_end_is_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/base", listener.local_addr().unwrap());
    let collector = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut seen = Vec::new();
        while !seen.ends_with(b"\x01\x00\x00\x00") {
            stream.read_buf(&mut seen).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        seen
    });
    let (tracer, exporter) = Tracer::new(settings(&endpoint, 0.0)).unwrap();
    let mut span = tracer.begin(Kind::Server, TraceContext::parse(PARENT), || "publish t".to_owned());
    let child = span.scope().begin(Kind::Internal, || "store".to_owned());
    assert_eq!(child.context().map(|context| context.trace), span.context().map(|context| context.trace));
    span.set("messaging.system", "nsq");
    span.fail("the disk is full");
    drop((child, span));
    let stop = Shutdown::new();
    stop.trigger();
    exporter.unwrap().run(stop).await;
    assert!(figures(&tracer).contains("nsq_trace_spans_exported_total 2"));
    let seen = collector.await.unwrap();
    let head = seen.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    let told = String::from_utf8_lossy(&seen[..head]).to_ascii_lowercase();
    assert!(told.starts_with("post /base/v1/traces http/1.1\r\n"), "{told}");
    assert!(told.contains("content-type: application/x-protobuf\r\n"), "{told}");
    let request = otlp::Request::decode(&seen[head..]).unwrap();
    let text = format!("{request:?}");
    for part in ["\"publish t\"", "\"store\"", "\"messaging.system\"", "\"the disk is full\"", "\"nsqd\""] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}
