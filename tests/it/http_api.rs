//! nsqd's HTTP API: each route's status, body and headers, as dashboards and scripts know them.

use harness::{Message, Nsqd, Reply, eventually, request};
use serde_json::{Value, json};

/// Method, target, body, status, body of the reply.
type Case<'a> = (&'a str, &'a str, &'a str, u16, &'a str);

const PUBLISH: &[Case<'_>] = &[
    ("POST", "/pub?topic=t", "x", 200, "OK"),
    ("POST", "/pub?topic=t&defer=60000", "x", 200, "OK"),
    ("POST", "/pub?topic=t", "", 400, r#"{"message":"MSG_EMPTY"}"#),
    ("POST", "/pub", "x", 400, r#"{"message":"MISSING_ARG_TOPIC"}"#),
    ("POST", "/pub", "", 400, r#"{"message":"MSG_EMPTY"}"#),
    ("POST", "/pub?topic=a%24b", "x", 400, r#"{"message":"INVALID_TOPIC"}"#),
    ("POST", "/pub?topic=t&defer=x", "x", 400, r#"{"message":"INVALID_DEFER"}"#),
    ("POST", "/pub?topic=t&defer=-1", "x", 400, r#"{"message":"INVALID_DEFER"}"#),
    ("POST", "/pub?topic=t&defer=3600001", "x", 400, r#"{"message":"INVALID_DEFER"}"#),
    ("POST", "/pub?topic=%zz", "x", 400, r#"{"message":"INVALID_REQUEST"}"#),
    // The first value wins, and only the query string counts.
    ("POST", "/pub?topic=t&topic=a%24b", "x", 200, "OK"),
    ("POST", "/pub", "topic=t", 400, r#"{"message":"MISSING_ARG_TOPIC"}"#),
    ("POST", "/mpub?topic=t", "a\nb", 200, "OK"),
    ("POST", "/mpub?topic=t", "", 200, "OK"),
    ("POST", "/mpub", "a", 400, r#"{"message":"MISSING_ARG_TOPIC"}"#),
    ("POST", "/mpub?topic=a%24b", "a", 400, r#"{"message":"INVALID_TOPIC"}"#),
    ("POST", "/mpub?topic=t&binary=true", "\0\0\0\u{1}\0\0\0\u{1}x", 200, "OK"),
    ("POST", "/mpub?topic=t&binary=1", "\0\0\0\u{1}\0\0\0\u{1}xjunk", 200, "OK"),
    ("POST", "/mpub?topic=t&binary=yes", "\0\0\0\u{1}\0\0\0\u{1}x", 200, "OK"),
    ("POST", "/mpub?topic=t&binary=true", "\0\0\0\0", 413, r#"{"message":"BAD_BODY"}"#),
    ("POST", "/mpub?topic=t&binary=true", "\0\0", 413, r#"{"message":"BAD_BODY"}"#),
    ("POST", "/mpub?topic=t&binary=true", "\0\0\0\u{1}\0\0\0\u{2}x", 413, r#"{"message":"BAD_MESSAGE"}"#),
    ("POST", "/mpub?topic=t&binary=true", "\0\0\0\u{1}\0\0\0\0", 413, r#"{"message":"BAD_MESSAGE"}"#),
];

const TOPICS: &[Case<'_>] = &[
    ("POST", "/topic/create?topic=t", "", 200, ""),
    ("POST", "/topic/create?topic=t", "", 200, ""),
    ("POST", "/topic/create", "", 400, r#"{"message":"MISSING_ARG_TOPIC"}"#),
    ("POST", "/topic/create?topic=a%24b", "", 400, r#"{"message":"INVALID_TOPIC"}"#),
    ("POST", "/topic/create?topic=%zz", "", 400, r#"{"message":"INVALID_REQUEST"}"#),
    ("POST", "/topic/empty?topic=t", "", 200, ""),
    ("POST", "/topic/empty", "", 400, r#"{"message":"MISSING_ARG_TOPIC"}"#),
    ("POST", "/topic/empty?topic=a%24b", "", 400, r#"{"message":"INVALID_TOPIC"}"#),
    ("POST", "/topic/empty?topic=none", "", 404, r#"{"message":"TOPIC_NOT_FOUND"}"#),
    ("POST", "/topic/pause?topic=t", "", 200, ""),
    ("POST", "/topic/pause", "", 400, r#"{"message":"MISSING_ARG_TOPIC"}"#),
    ("POST", "/topic/pause?topic=none", "", 404, r#"{"message":"TOPIC_NOT_FOUND"}"#),
    ("POST", "/topic/unpause?topic=t", "", 200, ""),
    ("POST", "/topic/unpause", "", 400, r#"{"message":"MISSING_ARG_TOPIC"}"#),
    ("POST", "/topic/unpause?topic=none", "", 404, r#"{"message":"TOPIC_NOT_FOUND"}"#),
    ("POST", "/topic/delete", "", 400, r#"{"message":"MISSING_ARG_TOPIC"}"#),
    ("POST", "/topic/delete?topic=none", "", 404, r#"{"message":"TOPIC_NOT_FOUND"}"#),
    // nsqd: no check of the name here.
    ("POST", "/topic/delete?topic=a%24b", "", 404, r#"{"message":"TOPIC_NOT_FOUND"}"#),
    ("POST", "/topic/delete?topic=t", "", 200, ""),
    ("POST", "/topic/delete?topic=t", "", 404, r#"{"message":"TOPIC_NOT_FOUND"}"#),
];

const CHANNELS: &[Case<'_>] = &[
    ("POST", "/topic/create?topic=t", "", 200, ""),
    ("POST", "/channel/create?topic=t&channel=c", "", 200, ""),
    ("POST", "/channel/create?topic=t&channel=c", "", 200, ""),
    ("POST", "/channel/create?channel=c", "", 400, r#"{"message":"MISSING_ARG_TOPIC"}"#),
    ("POST", "/channel/create?topic=t", "", 400, r#"{"message":"MISSING_ARG_CHANNEL"}"#),
    // nsqd: another code than on the topic routes.
    ("POST", "/channel/create?topic=a%24b&channel=c", "", 400, r#"{"message":"INVALID_ARG_TOPIC"}"#),
    ("POST", "/channel/create?topic=t&channel=a%24b", "", 400, r#"{"message":"INVALID_ARG_CHANNEL"}"#),
    ("POST", "/channel/create?topic=none&channel=c", "", 404, r#"{"message":"TOPIC_NOT_FOUND"}"#),
    ("POST", "/channel/pause?topic=t&channel=c", "", 200, ""),
    ("POST", "/channel/unpause?topic=t&channel=c", "", 200, ""),
    ("POST", "/channel/empty?topic=t&channel=c", "", 200, ""),
    ("POST", "/channel/pause?topic=t&channel=none", "", 404, r#"{"message":"CHANNEL_NOT_FOUND"}"#),
    ("POST", "/channel/unpause?topic=t&channel=none", "", 404, r#"{"message":"CHANNEL_NOT_FOUND"}"#),
    ("POST", "/channel/empty?topic=t&channel=none", "", 404, r#"{"message":"CHANNEL_NOT_FOUND"}"#),
    ("POST", "/channel/empty?topic=none&channel=c", "", 404, r#"{"message":"TOPIC_NOT_FOUND"}"#),
    ("POST", "/channel/delete?topic=t", "", 400, r#"{"message":"MISSING_ARG_CHANNEL"}"#),
    ("POST", "/channel/delete?topic=t&channel=none", "", 404, r#"{"message":"CHANNEL_NOT_FOUND"}"#),
    ("POST", "/channel/delete?topic=t&channel=c", "", 200, ""),
    ("POST", "/channel/delete?topic=t&channel=c", "", 404, r#"{"message":"CHANNEL_NOT_FOUND"}"#),
];

const OTHERS: &[Case<'_>] = &[
    ("GET", "/ping", "", 200, "OK"),
    ("GET", "/nothing", "", 404, r#"{"message":"NOT_FOUND"}"#),
    ("POST", "/ping", "", 405, r#"{"message":"METHOD_NOT_ALLOWED"}"#),
    ("GET", "/pub?topic=t", "", 405, r#"{"message":"METHOD_NOT_ALLOWED"}"#),
    ("DELETE", "/topic/create?topic=t", "", 405, r#"{"message":"METHOD_NOT_ALLOWED"}"#),
    ("HEAD", "/ping", "", 405, ""),
    ("OPTIONS", "/pub", "", 200, ""),
    ("GET", "/ping/", "", 301, ""),
    ("GET", "/PING", "", 301, ""),
    ("POST", "/pub/?topic=t", "x", 307, ""),
    ("GET", "/stats?topic=%zz", "", 400, r#"{"message":"INVALID_REQUEST"}"#),
];

const DEBUG: &[Case<'_>] = &[
    ("GET", "/debug/pprof", "", 301, ""),
    ("GET", "/debug/pprof/symbol", "", 200, "num_symbols: 0\n"),
    ("POST", "/debug/pprof/symbol", "0x1", 200, "num_symbols: 0\n"),
    (
        "GET",
        "/debug/pprof/profile",
        "",
        501,
        "this daemon has no profiler of its own: run `perf record -g -p PID` where it runs\n",
    ),
    // nsqd: 500 INTERNAL_ERROR, though it is done.
    ("PUT", "/debug/setblockrate?rate=1", "", 200, ""),
    ("POST", "/debug/freememory", "", 200, ""),
    (
        "PUT",
        "/debug/setblockrate?rate=x",
        "",
        400,
        "invalid block rate : strconv.Atoi: parsing \"x\": invalid syntax",
    ),
    ("GET", "/debug/freememory", "", 405, r#"{"message":"METHOD_NOT_ALLOWED"}"#),
];

const CONFIG: &[Case<'_>] = &[
    ("GET", "/config/nsqlookupd_tcp_addresses", "", 200, "[]"),
    ("GET", "/config/msg_timeout", "", 200, "60000000000"),
    ("GET", "/config/mem_queue_size", "", 200, "10000"),
    ("GET", "/config/broadcast_address", "", 200, "127.0.0.1"),
    ("GET", "/config/no_such_option", "", 400, r#"{"message":"INVALID_OPTION"}"#),
    ("PUT", "/config/mem_queue_size", "1", 400, r#"{"message":"INVALID_OPTION"}"#),
    ("PUT", "/config/nsqlookupd_tcp_addresses", "x", 400, r#"{"message":"INVALID_VALUE"}"#),
    ("PUT", "/config/nsqlookupd_tcp_addresses", "", 413, r#"{"message":"INVALID_VALUE"}"#),
];

#[test]
fn publishing_routes_answer_as_documented() {
    check(PUBLISH);
}

#[test]
fn topic_routes_answer_as_documented() {
    check(TOPICS);
}

#[test]
fn channel_routes_answer_as_documented() {
    check(CHANNELS);
}

#[test]
fn other_routes_answer_as_documented() {
    check(OTHERS);
}

#[test]
fn debug_routes_answer_as_documented() {
    check(DEBUG);
    let nsqd = Nsqd::start();
    for (path, wanted) in [
        ("/debug/pprof/", "cmdline"),
        ("/debug/pprof/cmdline", "\0--tcp-address="),
        ("/debug/pprof/heap", "resident_bytes "),
        ("/debug/pprof/goroutine", "shard-0"),
        ("/debug/pprof/threadcreate", "threads "),
        ("/debug/pprof/block", "not measured"),
    ] {
        // A thread has its name only a moment after it was started.
        eventually(&format!("{path} has {wanted}"), || nsqd.get(path).ok().text().contains(wanted));
    }
}

#[test]
fn config_routes_answer_as_documented() {
    check(CONFIG);
}

#[test]
fn every_reply_has_the_headers_clients_look_at() {
    let nsqd = Nsqd::start();
    let of = |reply: &Reply, name: &str| reply.header(name).map(str::to_owned);
    let check = |reply: Reply, content: Option<&str>, nsq: Option<&str>| {
        assert_eq!(of(&reply, "content-type").as_deref(), content, "{reply:?}");
        assert_eq!(of(&reply, "x-nsq-content-type").as_deref(), nsq, "{reply:?}");
    };
    let (text, json, v1) =
        ("text/plain; charset=utf-8", "application/json; charset=utf-8", "nsq; version=1.0");
    check(nsqd.get("/ping"), Some(text), None);
    check(nsqd.post("/pub?topic=t", "x"), Some(text), Some(v1));
    check(nsqd.post("/topic/create?topic=t", ""), None, Some(v1));
    check(nsqd.get("/info"), Some(json), Some(v1));
    check(nsqd.get("/stats?format=json"), Some(json), Some(v1));
    check(nsqd.post("/topic/create", ""), Some(json), Some(v1));
    let wrong_method = nsqd.get("/pub");
    assert_eq!(
        wrong_method.header("allow").map(|allow| allow.contains("POST")),
        Some(true),
        "{wrong_method:?}"
    );
}

#[test]
fn info_says_who_and_where_it_is() {
    let nsqd = Nsqd::start();
    let mut info = nsqd.get("/info").ok().json();
    let hostname = info["hostname"].take();
    assert!(hostname.as_str().is_some_and(|name| !name.is_empty()), "{hostname}");
    assert!(info["version"].take().as_str().is_some_and(|version| version.starts_with("1.3.0")));
    assert!(info["start_time"].take().as_u64().is_some_and(|seconds| seconds > 1_700_000_000));
    let wanted = json!({
        "version": null, "broadcast_address": "127.0.0.1", "hostname": null, "http_port": nsqd.http().port(),
        "tcp_port": nsqd.tcp().port(), "start_time": null, "max_heartbeat_interval": 60_000_000_000_u64,
        "max_output_buffer_size": 65536, "max_output_buffer_timeout": 30_000_000_000_u64, "max_deflate_level": 6,
        "topology_zone": "", "topology_region": "",
    });
    assert_eq!(info, wanted);
}

#[test]
fn messages_over_http_reach_consumers_of_the_wire() {
    let nsqd = Nsqd::start();
    nsqd.post("/pub?topic=t", [0, 10, 255]).ok();
    // Empty lines are skipped, a lone carriage return is kept.
    nsqd.post("/mpub?topic=t", "one\n\ntwo\r\n\n").ok();
    nsqd.post("/mpub?topic=t&binary=true", b"\x00\x00\x00\x02\x00\x00\x00\x03a\nb\x00\x00\x00\x01c").ok();
    let mut seen: Vec<Vec<u8>> =
        nsqd.consumer("t", "ch", 10).expect_messages(5).into_iter().map(|message| message.body).collect();
    seen.sort();
    assert_eq!(seen, [&[0, 10, 255][..], b"a\nb", b"c", b"one", b"two\r"]);
    assert_eq!(nsqd.topic("t")["message_count"], 5);
}

#[test]
fn bodies_beyond_the_limits_are_refused() {
    let nsqd = Nsqd::with(&["--max-msg-size=1000", "--max-body-size=3000"]);
    let check = |target: &str, body: &[u8], status: u16, message: &str| {
        let reply = nsqd.post(target, body);
        assert_eq!((reply.status, reply.text().as_str()), (status, message), "{target} {}", body.len());
    };
    check("/pub?topic=t", &[b'x'; 1000], 200, "OK");
    check("/pub?topic=t", &[b'x'; 1001], 413, r#"{"message":"MSG_TOO_BIG"}"#);
    check("/mpub?topic=t", &[b'x'; 1001], 413, r#"{"message":"MSG_TOO_BIG"}"#);
    check("/mpub?topic=t", &[b'\n'; 3001], 413, r#"{"message":"BODY_TOO_BIG"}"#);
    assert_eq!(nsqd.topic("t")["message_count"], 1);
}

#[test]
fn a_refused_deferral_still_creates_the_topic() {
    // nsqd: the topic is made before the deferral is read.
    let nsqd = Nsqd::start();
    assert_eq!(nsqd.post("/pub?topic=t&defer=x", "x").status, 400);
    assert_eq!(nsqd.topic("t")["message_count"], 0);
}

#[test]
fn emptying_a_topic_leaves_its_channels_alone() {
    let nsqd = Nsqd::start();
    nsqd.create("t", &["ch"]);
    let mut publisher = nsqd.peer();
    publisher.publish("t", "in the channel");
    nsqd.eventually_channel("t", "ch", &[("depth", 1)]);
    nsqd.post("/topic/pause?topic=t", "").ok();
    publisher.publish_all("t", &["in the topic", "in the topic too"]);
    nsqd.post("/topic/empty?topic=t", "").ok();
    assert_eq!(nsqd.topic("t")["depth"], 0);
    nsqd.post("/topic/unpause?topic=t", "").ok();
    publisher.publish("t", "after");
    let seen: Vec<String> =
        nsqd.consumer("t", "ch", 9).expect_messages(2).iter().map(Message::text).collect();
    assert_eq!(seen, ["in the channel", "after"]);
}

#[test]
fn emptying_a_channel_leaves_nothing_in_it() {
    let nsqd = Nsqd::start();
    nsqd.create("t", &["ch", "other"]);
    let mut publisher = nsqd.peer();
    publisher.publish_all("t", &["1", "2", "3", "4"]);
    nsqd.post("/pub?topic=t&defer=600000", "later").ok();
    let mut consumer = nsqd.consumer("t", "ch", 2);
    let held = consumer.expect_messages(2);
    consumer.requeue(&held[0], std::time::Duration::from_secs(600));
    nsqd.eventually_channel("t", "ch", &[("in_flight_count", 2)]);
    nsqd.post("/channel/empty?topic=t&channel=ch", "").ok();
    let channel = nsqd.channel("t", "ch");
    let counts = ["depth", "in_flight_count", "deferred_count"].map(|field| channel[field].clone());
    assert_eq!(counts, [0, 0, 0].map(Value::from));
    assert_eq!(channel["clients"][0]["in_flight_count"], 0);
    nsqd.consumer("t", "other", 10).expect_messages(4);
    nsqd.eventually_channel("t", "other", &[("deferred_count", 1)]);
}

#[test]
fn the_log_level_can_be_changed_while_running() {
    let nsqd = Nsqd::start();
    assert_eq!(nsqd.get("/config/log_level").ok().text(), "2");
    let put = |value: &str| request(nsqd.http(), "PUT", "/config/log_level", value.as_bytes());
    assert_eq!(put("debug").ok().text(), "1");
    assert_eq!(nsqd.get("/config/log_level").ok().text(), "1");
    assert_eq!((put("loud").status, put("loud").text().as_str()), (400, r#"{"message":"INVALID_VALUE"}"#));
}

fn check(cases: &[Case<'_>]) {
    let nsqd = Nsqd::start();
    let mut wrong = Vec::new();
    for (method, target, body, status, wanted) in cases {
        let reply = request(nsqd.http(), method, target, body.as_bytes());
        let seen = (reply.status, reply.text());
        if seen != (*status, (*wanted).to_owned()) {
            wrong.push(format!(
                "{method} {target} {body:?}\n  wanted {status} {wanted}\n  got    {} {}",
                seen.0, seen.1
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
