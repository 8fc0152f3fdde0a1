//! Traces: a publish over HTTP and the deliveries of it are one, as are a topology and what it makes; nothing of it is on
//! the wire, and a collector that is dead or mute is nobody's trouble.

use std::net::TcpListener;
use std::time::Duration;

use harness::{Collector, Nsqd, eventually, request, request_traced};
use serde_json::json;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

fn context() -> String {
    format!("00-{TRACE}-{CALLER}-01")
}

/// A broker that sends to this collector; of what has no trace context, this share.
fn broker(collector: &Collector, ratio: &str) -> Nsqd {
    let (endpoint, ratio) = (collector.endpoint(), format!("--otel-sampling-ratio={ratio}"));
    Nsqd::with(&[&format!("--otel-endpoint={endpoint}"), &ratio, "--control-address=127.0.0.1:0"])
}

fn publish(nsqd: &Nsqd, target: &str, body: &str) {
    request_traced(nsqd.http(), &context(), "POST", target, body.as_bytes()).ok();
}

fn figure(nsqd: &Nsqd, series: &str) -> u64 {
    let page = nsqd.get("/metrics").text();
    let found = page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {series} in\n{page}"))
}

#[test]
fn a_publish_over_http_and_its_deliveries_are_one_trace() {
    let collector = Collector::start();
    let nsqd = broker(&collector, "0");
    nsqd.create("orders", &["billing"]);
    let mut consumer = nsqd.consumer("orders", "billing", 1);
    publish(&nsqd, "/pub?topic=orders", "hello");
    let message = consumer.expect_message();
    assert_eq!(message.body, b"hello");
    consumer.requeue(&message, Duration::ZERO);
    let again = consumer.expect_message();
    consumer.finish(&again);
    let publish = collector.span(TRACE, "publish orders");
    assert_eq!((publish.parent.as_str(), publish.service.as_str(), publish.kind), (CALLER, "nsqd", 2));
    assert_eq!(publish.attribute("messaging.message.body.size"), "5");
    eventually("both deliveries have come", || collector.spans().len() == 3);
    let mut deliveries = collector.spans();
    deliveries.retain(|span| span.name == "deliver orders billing");
    deliveries.sort_by_key(|span| span.began);
    let outcomes: Vec<_> = deliveries.iter().map(|span| span.attribute("nsq.outcome")).collect();
    assert_eq!(outcomes, ["requeued", "finished"]);
    for (attempts, span) in ["1", "2"].iter().zip(&deliveries) {
        assert_eq!((&span.trace, &span.parent, span.kind), (&publish.trace, &publish.id, 4));
        assert_eq!(span.attribute("nsq.attempts"), *attempts);
        assert_eq!(span.attribute("client.address"), consumer.address());
        let id = publish.attribute("messaging.message.id");
        assert!(id.len() == 16 && span.attribute("messaging.message.id") == id, "{id}");
        assert!(span.began <= span.ended && span.failure.is_none());
    }
    println!("{}", collector.drawn(TRACE));
}

#[test]
fn each_message_of_a_batch_is_traced_to_each_channel() {
    let collector = Collector::start();
    let nsqd = broker(&collector, "0");
    nsqd.create("t", &["a", "b"]);
    publish(&nsqd, "/mpub?topic=t", "one\ntwo\nthree");
    for channel in ["a", "b"] {
        let mut consumer = nsqd.consumer("t", channel, 10);
        consumer.expect_messages(3).iter().for_each(|message| consumer.finish(message));
    }
    let publish = collector.span(TRACE, "publish t");
    assert_eq!(publish.attribute("messaging.batch.message_count"), "3");
    assert_eq!(publish.attribute("messaging.message.body.size"), "11");
    eventually("six deliveries and the publish", || collector.spans().len() == 7);
}

#[test]
fn a_delivery_that_nobody_finishes_ends_with_what_happened_to_it() {
    let collector = Collector::start();
    let nsqd = Nsqd::with(&[&format!("--otel-endpoint={}", collector.endpoint()), "--msg-timeout=50ms"]);
    for topic in ["timeout", "gone", "emptied"] {
        nsqd.create(topic, &["c"]);
    }
    let mut late = nsqd.consumer("timeout", "c", 1);
    publish(&nsqd, "/pub?topic=timeout", "x");
    late.expect_message();
    let seen = collector.span(TRACE, "deliver timeout c");
    assert_eq!((seen.attribute("nsq.outcome"), seen.failure.as_deref()), ("timed out", Some("timed out")));
    drop(late);

    let nsqd = broker(&collector, "0");
    nsqd.create("gone", &["c"]);
    nsqd.create("emptied", &["c"]);
    let mut gone = nsqd.consumer("gone", "c", 1);
    publish(&nsqd, "/pub?topic=gone", "x");
    gone.expect_message();
    drop(gone);
    assert_eq!(collector.span(TRACE, "deliver gone c").attribute("nsq.outcome"), "disconnected");

    let mut emptied = nsqd.consumer("emptied", "c", 1);
    publish(&nsqd, "/pub?topic=emptied", "x");
    emptied.expect_message();
    nsqd.post("/channel/empty?topic=emptied&channel=c", "").ok();
    assert_eq!(collector.span(TRACE, "deliver emptied c").attribute("nsq.outcome"), "emptied");
}

#[test]
fn a_publish_that_is_refused_says_so() {
    let collector = Collector::start();
    let nsqd = broker(&collector, "0");
    let empty = request_traced(nsqd.http(), &context(), "POST", "/pub?topic=t", b"");
    assert_eq!(empty.status, 400);
    let failure = collector.span(TRACE, "publish t").failure;
    assert_eq!(failure.as_deref(), Some("answered 400 Bad Request"));
}

#[test]
fn over_tcp_the_ratio_decides_and_over_http_the_caller() {
    let collector = Collector::start();
    let nsqd = broker(&collector, "1");
    let mut consumer = nsqd.consumer("t", "c", 1);
    nsqd.peer().publish("t", "over TCP");
    let message = consumer.expect_message();
    consumer.finish(&message);
    eventually("a publish and its delivery", || collector.spans().len() == 2);
    let spans = collector.spans();
    let publish = spans.iter().find(|span| span.name == "publish t").unwrap();
    let delivery = spans.iter().find(|span| span.name == "deliver t c").unwrap();
    assert_eq!((&publish.trace, &publish.id), (&delivery.trace, &delivery.parent));
    assert_eq!(publish.parent, "");
    // Not sampled by the caller, whatever the ratio.
    let not_sampled = context().replace("-01", "-00");
    request_traced(nsqd.http(), &not_sampled, "POST", "/pub?topic=t", b"x").ok();
    let message = consumer.expect_message();
    consumer.finish(&message);
    nsqd.peer().publish("last", "x");
    eventually("the publish after it", || collector.spans().iter().any(|span| span.name == "publish last"));
    assert!(collector.spans().iter().all(|span| span.trace != TRACE));
}

#[test]
fn a_topology_and_what_it_makes_are_one_trace() {
    let collector = Collector::start();
    let mut nsqd = broker(&collector, "0");
    let control = nsqd.process().address("CONTROL");
    let topics = json!([{ "name": "orders", "channels": [{ "name": "billing" }, { "name": "mail" }] }]);
    let body = json!({ "version": 1, "epoch": 3, "hash": "h", "topics": topics }).to_string();
    request_traced(control, &context(), "PUT", "/control/topology", body.as_bytes()).ok();
    let applied = collector.span(TRACE, "apply topology");
    assert_eq!((applied.parent.as_str(), applied.attribute("nsq.topology.epoch")), (CALLER, "3"));
    for name in ["create topic orders", "create channel orders billing", "create channel orders mail"] {
        assert_eq!(collector.span(TRACE, name).parent, applied.id, "{name}");
    }
    println!("{}", collector.drawn(TRACE));
    // Nothing is made a second time, and an old epoch is refused.
    let again = context().replace(TRACE, "11111111111111111111111111111111");
    let old = body.replace("\"epoch\":3", "\"epoch\":2");
    assert_eq!(request_traced(control, &again, "PUT", "/control/topology", old.as_bytes()).status, 409);
    let refused = collector.span("11111111111111111111111111111111", "apply topology");
    assert_eq!(refused.failure.as_deref(), Some("answered 409 Conflict"));
}

#[test]
fn a_large_topology_makes_a_trace_of_bounded_size() {
    let collector = Collector::start();
    let mut nsqd = broker(&collector, "0");
    let control = nsqd.process().address("CONTROL");
    let topics: Vec<_> = (0..150).map(|n| json!({ "name": format!("t{n}") })).collect();
    let body = json!({ "version": 1, "epoch": 1, "hash": "h", "topics": topics }).to_string();
    request_traced(control, &context(), "PUT", "/control/topology", body.as_bytes()).ok();
    collector.span(TRACE, "apply topology");
    eventually("100 topics and the span above them", || collector.spans().len() == 101);
    assert_eq!(figure(&nsqd, "nsq_trace_spans_exported_total"), 101);
}

#[test]
fn a_collector_that_is_dead_or_mute_keeps_nobody_waiting() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let cases = [(dead.local_addr().unwrap(), "collector"), (mute.local_addr().unwrap(), "queue")];
    drop(dead);
    for (address, reason) in cases {
        let endpoint = format!("--otel-endpoint=http://{address}");
        let mut nsqd = Nsqd::with(&[&endpoint, "--otel-sampling-ratio=1"]);
        nsqd.create("t", &["c"]);
        let mut consumer = nsqd.consumer("t", "c", 2500);
        let mut producer = nsqd.peer();
        // More than may wait for the collector.
        for _ in 0..50 {
            producer.publish_all("t", &["x"; 100]);
            consumer.expect_messages(100).iter().for_each(|message| consumer.finish(message));
        }
        let dropped = || figure(&nsqd, &format!("nsq_trace_spans_dropped_total{{reason=\"{reason}\"}}"));
        eventually("what was not taken is counted", || dropped() > 0);
        assert_eq!(figure(&nsqd, "nsq_trace_spans_exported_total"), 0);
        assert!(nsqd.terminate_and_restart().success(), "it also stops without the collector");
    }
    drop(mute);
}

#[test]
fn what_is_no_endpoint_or_ratio_is_refused_at_the_start() {
    for (flag, words) in [
        ("--otel-endpoint=collector:4317", "--otel-endpoint"),
        ("--otel-endpoint=grpc://collector:4317", "only http and https"),
        ("--otel-sampling-ratio=1.5", "a number from 0 to 1"),
        ("--otel-sampling-ratio=often", "a number from 0 to 1"),
    ] {
        let output = std::process::Command::new(harness::nsqd_binary())
            .args([flag, "--check-config"])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.contains(words), "{flag}: {told}");
    }
}

#[test]
fn a_trace_context_without_a_collector_changes_nothing() {
    let nsqd = Nsqd::start();
    for context in [context(), "nonsense".to_owned()] {
        request_traced(nsqd.http(), &context, "POST", "/pub?topic=t", b"x").ok();
    }
    request(nsqd.http(), "POST", "/pub?topic=t", b"x").ok();
    assert_eq!(nsqd.topic("t")["depth"], 3);
}
