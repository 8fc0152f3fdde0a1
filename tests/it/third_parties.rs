//! The requests that KEDA, stock nsqadmin, Telegraf and Datadog make, replayed word for word, and what each of them
//! reads in the answers. None of them sends credentials.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use harness::{Cluster, eventually};
use serde_json::Value;

/// A request as written here, with its own headers; status and body.
fn ask(address: SocketAddr, head: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    let head = head.replace("HOST", &address.to_string()).replace('\n', "\r\n");
    write!(stream, "{head}Connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn json(answer: (u16, String)) -> Value {
    assert_eq!(answer.0, 200, "{}", answer.1);
    serde_json::from_str(&answer.1).unwrap_or_else(|error| panic!("{error}: {}", answer.1))
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name} is no list in {value}"))
}

/// Two nsqds with topic t and channel ch; 3 messages at the first, 2 at the second.
fn cluster() -> Cluster {
    let cluster = Cluster::start();
    for (nsqd, messages) in cluster.nsqds.iter().zip([3, 2]) {
        nsqd.create("t", &["ch"]);
        (0..messages).for_each(|_| nsqd.peer().publish("t", "x"));
        nsqd.eventually_channel("t", "ch", &[("depth", messages)]);
    }
    eventually("both are found", || cluster.lookupd.ports("t").len() == 2);
    cluster
}

/// KEDA's scaler: the depth of a channel, or of the topic where the channel is missing, over all producers.
fn keda_depth(lookupd: SocketAddr, topic: &str, channel: &str) -> i64 {
    let agent = "Host: HOST\nUser-Agent: Go-http-client/1.1\nAccept-Encoding: identity\n";
    let found = ask(lookupd, &format!("GET /lookup?topic={topic} HTTP/1.1\n{agent}"));
    if found.0 == 404 {
        return -1;
    }
    let found = json(found);
    let mut depth = 0;
    for producer in items(&found, "producers") {
        let host = producer["broadcast_address"].as_str().unwrap();
        let port = producer["http_port"].as_u64().unwrap();
        let address = format!("{host}:{port}").parse().unwrap();
        let query = format!("format=json&include_clients=false&include_mem=false&topic={topic}");
        let stats = json(ask(address, &format!("GET /stats?{query} HTTP/1.1\n{agent}")));
        for found in items(&stats, "topics").iter().filter(|found| found["topic_name"] == topic) {
            let of_channel = items(found, "channels").iter().find(|found| found["channel_name"] == channel);
            // A paused channel is not scaled for; one that is missing will get what the topic has.
            depth += match of_channel {
                Some(channel) if channel["paused"].as_bool().unwrap() => 0,
                Some(channel) => channel["depth"].as_i64().unwrap(),
                None => found["depth"].as_i64().unwrap(),
            };
        }
    }
    depth
}

#[test]
fn keda_sees_the_depth_of_a_channel_over_all_nsqds() {
    let cluster = cluster();
    let lookupd = cluster.lookupd.http();
    assert_eq!(keda_depth(lookupd, "t", "ch"), 5);
    assert_eq!(keda_depth(lookupd, "t", "missing"), 0);
    assert_eq!(keda_depth(lookupd, "unknown", "ch"), -1);
    cluster.nsqds[0].post("/channel/pause?topic=t&channel=ch", "").ok();
    assert_eq!(keda_depth(lookupd, "t", "ch"), 2);
    cluster.nsqds[1].create("no-channel", &[]);
    (0..4).for_each(|_| cluster.nsqds[1].peer().publish("no-channel", "x"));
    eventually("a topic without channels counts itself", || keda_depth(lookupd, "no-channel", "ch") == 4);
}

/// What nsqadmin adds to each of its requests.
const ADMIN: &str = "Host: HOST\nUser-Agent: nsqadmin/1.3.0\nAccept: application/vnd.nsq; version=1.0\nAccept-Encoding: identity\n";

#[test]
fn stock_nsqadmin_finds_what_it_shows() {
    let cluster = cluster();
    let lookupd = cluster.lookupd.http();
    let get = |address, target: &str| json(ask(address, &format!("GET {target} HTTP/1.1\n{ADMIN}")));
    assert_eq!(get(lookupd, "/topics")["topics"], serde_json::json!(["t"]));
    assert_eq!(get(lookupd, "/channels?topic=t")["channels"], serde_json::json!(["ch"]));
    let nodes = get(lookupd, "/nodes");
    assert_eq!(items(&nodes, "producers").len(), 2);
    for node in items(&nodes, "producers") {
        for key in
            ["remote_address", "hostname", "broadcast_address", "version", "topology_zone", "topology_region"]
        {
            assert!(node[key].is_string(), "{key} in {node}");
        }
        assert!(node["tcp_port"].is_u64() && node["http_port"].is_u64());
        // It indexes one with the other's index.
        assert_eq!(items(node, "tombstones").len(), items(node, "topics").len());
    }
    for nsqd in &cluster.nsqds {
        for query in [
            "format=json",
            "format=json&topic=t",
            "format=json&topic=t&channel=ch",
            "format=json&include_clients=false",
        ] {
            let stats = get(nsqd.http(), &format!("/stats?{query}"));
            let topic = &items(&stats, "topics")[0];
            let channel = &items(topic, "channels")[0];
            for key in ["depth", "backend_depth", "message_count"] {
                assert!(topic[key].is_i64() && channel[key].is_i64(), "{key} with {query}");
            }
            for key in ["in_flight_count", "deferred_count", "requeue_count", "timeout_count", "client_count"]
            {
                assert!(channel[key].is_i64(), "{key} with {query}");
            }
            assert!(topic["paused"].is_boolean() && channel["paused"].is_boolean());
            for latency in [&topic["e2e_processing_latency"], &channel["e2e_processing_latency"]] {
                assert!(latency["count"].is_i64() && latency.get("percentiles").is_some(), "{latency}");
            }
        }
        let info = get(nsqd.http(), "/info");
        assert!(info["version"].is_string() && info["tcp_port"].is_i64() && info["http_port"].is_i64());
        assert!(info.get("data").is_none());
    }
}

#[test]
fn what_stock_nsqadmin_posts_is_done() {
    let cluster = cluster();
    let lookupd = cluster.lookupd.http();
    let post = |address, target: &str| {
        let answer = ask(address, &format!("POST {target} HTTP/1.1\n{ADMIN}Content-Length: 0\n"));
        assert_eq!(answer.0, 200, "{target}: {}", answer.1);
    };
    let all: Vec<_> = cluster.nsqds.iter().map(harness::Nsqd::http).collect();
    // Create: at the nsqlookupds, then at each nsqd that has the topic.
    post(lookupd, "/topic/create?topic=new");
    post(lookupd, "/channel/create?topic=new&channel=first");
    assert_eq!(cluster.lookupd.names("/channels?topic=new", "channels"), ["first"]);
    cluster.nsqds[0].peer().publish("new", "x");
    cluster.nsqds[0].eventually_channel("new", "first", &[("depth", 1)]);
    // Pause, unpause and empty, at each nsqd.
    for target in [
        "/topic/pause?topic=t",
        "/topic/unpause?topic=t",
        "/topic/empty?topic=t",
        "/channel/pause?topic=t&channel=ch",
        "/channel/unpause?topic=t&channel=ch",
        "/channel/empty?topic=t&channel=ch",
    ] {
        all.iter().for_each(|nsqd| post(*nsqd, target));
    }
    cluster.nsqds[0].eventually_channel("t", "ch", &[("depth", 0)]);
    // Tombstone: at the nsqlookupds, then the topic is deleted at that nsqd.
    let port = cluster.nsqds[0].http().port();
    post(lookupd, &format!("/topic/tombstone?topic=t&node=127.0.0.1:{port}"));
    assert_eq!(cluster.lookupd.ports("t"), [cluster.nsqds[1].tcp().port()]);
    post(all[0], "/topic/delete?topic=t");
    // Delete: at the nsqlookupds first, then at each nsqd.
    post(lookupd, "/channel/delete?topic=t&channel=ch");
    post(all[1], "/channel/delete?topic=t&channel=ch");
    post(lookupd, "/topic/delete?topic=t");
    post(all[1], "/topic/delete?topic=t");
    eventually("it is gone everywhere", || {
        cluster.lookupd.get("/lookup?topic=t").status == 404
            && cluster.nsqds.iter().all(|nsqd| nsqd.topic("t").is_null())
    });
}

#[test]
fn telegraf_and_datadog_find_their_keys() {
    let cluster = cluster();
    let nsqd = cluster.nsqds[0].http();
    let mut consumer = cluster.nsqds[0].consumer("t", "ch", 1);
    let _held = consumer.expect_message();
    let telegraf =
        json(ask(nsqd, "GET /stats?format=json HTTP/1.1\nHost: HOST\nUser-Agent: Go-http-client/1.1\n"));
    assert!(telegraf["version"].is_string() && telegraf["health"] == "OK" && telegraf["start_time"].is_i64());
    let topic = &items(&telegraf, "topics")[0];
    let channel = &items(topic, "channels")[0];
    let client = &items(channel, "clients")[0];
    for (object, keys) in [
        (topic, "depth backend_depth message_count"),
        (
            channel,
            "depth backend_depth in_flight_count deferred_count message_count requeue_count timeout_count",
        ),
        (
            client,
            "ready_count in_flight_count message_count finish_count requeue_count connect_ts sample_rate",
        ),
    ] {
        for key in keys.split(' ') {
            assert!(object[key].is_i64(), "{key} in {object}");
        }
    }
    for key in ["client_id", "hostname", "version", "remote_address", "user_agent"] {
        assert!(client[key].is_string(), "{key} in {client}");
    }
    for key in ["deflate", "snappy", "tls"] {
        assert!(client[key].is_boolean(), "{key} in {client}");
    }
    assert_eq!((channel["in_flight_count"].as_i64(), client["in_flight_count"].as_i64()), (Some(1), Some(1)));
    let datadog = "GET /stats?format=json&include_clients=0&include_mem=0 HTTP/1.1\nHost: HOST\nAccept: */*\nUser-Agent: Datadog Agent/7\n";
    let stats = json(ask(nsqd, datadog));
    assert!(
        items(&items(&stats, "topics")[0], "channels")[0]["clients"].is_null()
            && stats.get("memory").is_none()
    );
}
