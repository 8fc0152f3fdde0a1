//! /stats, in JSON and as text: what scalers, exporters and people read.

use std::time::Duration;

use harness::{Nsqd, eventually};
use serde_json::{Value, json};

#[test]
fn counts_follow_a_message_through_its_life() {
    let nsqd = Nsqd::start();
    nsqd.create("t", &["ch"]);
    let mut publisher = nsqd.peer();
    publisher.publish_all("t", &["a", "bb", "ccc", "dddd"]);
    let topic = nsqd.topic("t");
    assert_eq!(
        (&topic["message_count"], &topic["message_bytes"], &topic["depth"]),
        (&4.into(), &10.into(), &0.into())
    );
    nsqd.eventually_channel("t", "ch", &[("depth", 4), ("message_count", 4)]);
    let mut consumer = nsqd.consumer("t", "ch", 3);
    let held = consumer.expect_messages(3);
    consumer.finish(&held[0]);
    consumer.expect_message();
    consumer.ready(1);
    consumer.requeue(&held[1], Duration::from_secs(100));
    nsqd.eventually_channel(
        "t",
        "ch",
        &[("in_flight_count", 2), ("deferred_count", 1), ("requeue_count", 1), ("depth", 0)],
    );
    let client = nsqd.channel("t", "ch")["clients"][0].clone();
    let fields =
        ["ready_count", "in_flight_count", "message_count", "finish_count", "requeue_count", "state"];
    assert_eq!(fields.map(|field| client[field].clone()), [1, 2, 4, 1, 1, 3].map(Value::from));
}

#[test]
fn an_idle_broker_has_every_key_with_null_and_empty_as_stock() {
    let nsqd = Nsqd::start();
    let stats = nsqd.stats();
    assert_eq!(
        (&stats["health"], &stats["topics"], &stats["producers"]),
        (&json!("OK"), &json!([]), &Value::Null)
    );
    assert!(stats["version"].as_str().is_some_and(|version| version.starts_with("1.3.0")));
    assert!(stats["start_time"].as_u64().is_some_and(|seconds| seconds > 1_700_000_000));
    let memory = [
        "heap_objects",
        "heap_idle_bytes",
        "heap_in_use_bytes",
        "heap_released_bytes",
        "gc_pause_usec_100",
        "gc_pause_usec_99",
        "gc_pause_usec_95",
        "next_gc_bytes",
        "gc_total_runs",
    ];
    for key in memory {
        assert!(stats["memory"][key].is_u64(), "{key}: {}", stats["memory"]);
    }
    assert_eq!(nsqd.get("/stats?format=json&include_mem=false").ok().json().get("memory"), None);
    assert_eq!(nsqd.get("/stats?format=json&include_mem=0").ok().json().get("memory"), None);
}

#[test]
fn topics_and_channels_have_every_key_sorted_by_name() {
    let nsqd = Nsqd::start();
    nsqd.create("zebra", &["z", "a", "m"]);
    nsqd.create("ant", &[]);
    let stats = nsqd.stats();
    let names: Vec<&str> =
        stats["topics"].as_array().unwrap().iter().filter_map(|t| t["topic_name"].as_str()).collect();
    assert_eq!(names, ["ant", "zebra"]);
    let latency = json!({"count": 0, "percentiles": null});
    let channel = |name: &str| {
        json!({
            "channel_name": name, "depth": 0, "backend_depth": 0, "in_flight_count": 0, "deferred_count": 0,
            "message_count": 0, "requeue_count": 0, "timeout_count": 0, "lost_count": 0, "client_count": 0, "clients": [],
            "paused": false, "e2e_processing_latency": latency,
        })
    };
    let wanted = json!({
        "topic_name": "zebra", "channels": [channel("a"), channel("m"), channel("z")], "depth": 0, "backend_depth": 0,
        "message_count": 0, "message_bytes": 0, "paused": false, "e2e_processing_latency": latency,
        "durability": "buffered",
    });
    assert_eq!(stats["topics"][1], wanted);
}

#[test]
fn a_client_has_every_key() {
    let nsqd = Nsqd::start();
    let consumer = nsqd.consumer("t", "ch", 7);
    eventually("RDY is carried out", || nsqd.channel("t", "ch")["clients"][0]["ready_count"] == 7);
    let mut client = nsqd.channel("t", "ch")["clients"][0].clone();
    assert!(client["connect_ts"].take().as_u64().is_some_and(|seconds| seconds > 1_700_000_000));
    let wanted = json!({
        "client_id": "127.0.0.1", "hostname": "127.0.0.1", "version": "V2", "remote_address": consumer.address(),
        "state": 3, "ready_count": 7, "in_flight_count": 0, "message_count": 0, "finish_count": 0, "requeue_count": 0,
        "connect_ts": null, "sample_rate": 0, "deflate": false, "snappy": false, "user_agent": "", "tls": false,
        "tls_cipher_suite": "", "tls_version": "", "tls_negotiated_protocol": "",
        "tls_negotiated_protocol_is_mutual": false, "topology_zone": "", "topology_region": "",
    });
    assert_eq!(client, wanted);
}

#[test]
fn one_topic_or_channel_can_be_asked_for() {
    let nsqd = Nsqd::start();
    nsqd.create("t", &["a", "b"]);
    nsqd.create("u", &["a"]);
    let topics = |query: &str| nsqd.get(&format!("/stats?format=json&{query}")).ok().json()["topics"].clone();
    assert_eq!(topics("topic=t").as_array().map(Vec::len), Some(1));
    assert_eq!(topics("topic=t")[0]["channels"].as_array().map(Vec::len), Some(2));
    let one = topics("topic=t&channel=b");
    assert_eq!(one[0]["channels"].as_array().map(Vec::len), Some(1));
    assert_eq!(one[0]["channels"][0]["channel_name"], "b");
    // nsqd: null for an unknown topic, an empty list for an unknown channel.
    assert_eq!(topics("topic=none"), Value::Null);
    assert_eq!(topics("topic=t&channel=none"), json!([]));
}

#[test]
fn clients_can_be_left_out() {
    let nsqd = Nsqd::start();
    let _consumer = nsqd.consumer("t", "ch", 1);
    let mut publisher = nsqd.peer();
    publisher.publish("t", "x");
    for value in ["false", "0"] {
        let stats = nsqd.get(&format!("/stats?format=json&include_clients={value}")).ok().json();
        let channel = &stats["topics"][0]["channels"][0];
        assert_eq!((&channel["clients"], &channel["client_count"]), (&Value::Null, &1.into()));
        assert_eq!(stats["producers"], Value::Null);
    }
    // Anything that is not a boolean means the default.
    let stats = nsqd.get("/stats?format=json&include_clients=no").ok().json();
    assert_eq!(stats["topics"][0]["channels"][0]["clients"].as_array().map(Vec::len), Some(1));
}

#[test]
fn producers_are_the_connections_that_published() {
    let nsqd = Nsqd::start();
    let idle = nsqd.peer();
    let mut publisher = nsqd.peer();
    publisher.publish("t", "x");
    publisher.publish_all("t", &["y", "z"]);
    nsqd.post("/pub?topic=t", "over http").ok();
    let producers = nsqd.stats()["producers"].clone();
    assert_eq!(producers.as_array().map(Vec::len), Some(1), "{producers}");
    assert_eq!(producers[0]["remote_address"], publisher.address());
    assert_eq!(producers[0]["pub_counts"], json!([{"topic": "t", "count": 3}]));
    drop((idle, publisher));
    eventually("it left", || nsqd.stats()["producers"].is_null());
}

#[test]
fn the_text_form_has_the_lines_people_grep() {
    let nsqd = Nsqd::start();
    assert!(nsqd.get("/stats").ok().text().contains("Topics: None\n"));
    nsqd.create("t", &["ch", "paused"]);
    nsqd.post("/channel/pause?topic=t&channel=paused", "").ok();
    nsqd.peer().publish("t", "x");
    let text = nsqd.get("/stats").ok().text();
    for line in [
        "\nHealth: OK\n",
        "\nTopics:\n",
        "\n   [t              ] depth: 0     be-depth: 0     msgs: 1        e2e%: ",
        "\n      [ch                       ] depth: 1     be-depth: 0     inflt: 0    def: 0    re-q: 0     timeout: 0     msgs: 1        e2e%: ",
        "\n   *P [paused                   ] depth: 1 ",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    assert!(text.starts_with("nsqd v1.3.0"), "{text}");
}

#[test]
fn the_end_of_a_connection_takes_its_client_off_the_list() {
    let nsqd = Nsqd::start();
    let consumers: Vec<_> = (0..5).map(|_| nsqd.consumer("t", "ch", 1)).collect();
    nsqd.eventually_channel("t", "ch", &[("client_count", 5)]);
    drop(consumers);
    nsqd.eventually_channel("t", "ch", &[("client_count", 0)]);
}

#[test]
fn processing_latency_is_measured_from_publish_to_fin_when_quantiles_are_asked_for() {
    let nsqd =
        Nsqd::with(&["--e2e-processing-latency-percentile=0.5,1", "-e2e-processing-latency-percentile=0.99"]);
    nsqd.create("t", &["ch", "idle"]);
    let quantiles = |latency: &Value| -> Vec<f64> {
        latency["percentiles"].as_array().unwrap().iter().filter_map(|one| one["quantile"].as_f64()).collect()
    };
    let before = nsqd.topic("t")["e2e_processing_latency"].clone();
    assert_eq!((&before["count"], quantiles(&before)), (&0.into(), vec![1.0, 0.99, 0.5]), "{before}");
    nsqd.peer().publish_all("t", &["a", "b", "c"]);
    let mut consumer = nsqd.consumer("t", "ch", 3);
    let held = consumer.expect_messages(3);
    // The last one is finished much later than it was published.
    consumer.finish(&held[0]);
    consumer.finish(&held[1]);
    let age =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as f64;
    let published = held[2].timestamp as f64;
    eventually("it is 300 ms old", || age() - published > 3e8);
    consumer.finish(&held[2]);
    nsqd.eventually_channel("t", "ch", &[("in_flight_count", 0)]);
    let latest = age() - published;
    let value = |latency: &Value, at: usize| latency["percentiles"][at]["value"].as_f64().unwrap();
    for latency in
        [&nsqd.channel("t", "ch")["e2e_processing_latency"], &nsqd.topic("t")["e2e_processing_latency"]]
    {
        assert_eq!((&latency["count"], quantiles(latency)), (&3.into(), vec![1.0, 0.99, 0.5]), "{latency}");
        let highest = value(latency, 0);
        assert!((2.9e8..latest * 1.02).contains(&highest), "{latency}");
        assert!((1.0..highest).contains(&value(latency, 2)), "{latency}");
    }
    assert_eq!(nsqd.channel("t", "idle")["e2e_processing_latency"]["count"], 0);
    let text = nsqd.get("/stats").ok().text();
    let shown = |start: &str| text.lines().find(|line| line.contains(start)).unwrap_or_default().to_owned();
    for line in [shown("[t "), shown("[ch ")] {
        let list = line.rsplit_once("e2e%: ").unwrap_or_default().1;
        assert_eq!(list.split(", ").count(), 3, "{text}");
        assert!(list.split(", ").all(|one| one.ends_with('s')), "{text}");
    }
}
