//! How many topics and channels there may be, how fast they are made, and names that would be trouble elsewhere.

use std::time::{Duration, Instant};

use harness::{Nsqd, request};
use serde_json::json;

fn status(nsqd: &Nsqd, target: &str) -> (u16, String) {
    let reply = request(nsqd.http(), "POST", target, b"x");
    (reply.status, reply.text())
}

#[test]
fn more_topics_than_there_may_be_are_refused_and_those_there_are_work_on() {
    let mut nsqd = Nsqd::with(&["--max-topics=2"]);
    nsqd.create("a", &["ch"]);
    let mut peer = nsqd.peer();
    peer.publish("b", "x");
    peer.line_and_body("PUB c", b"x");
    peer.expect_error("E_PUB_FAILED PUB failed too many topics: --max-topics=2");
    peer.expect_closed();
    let mut consumer = nsqd.peer();
    consumer.line("SUB c ch");
    consumer.expect_error("E_SUB_FAILED SUB failed too many topics: --max-topics=2");
    let full = (503, r#"{"message":"TOO_MANY_TOPICS"}"#.to_owned());
    for target in ["/pub?topic=c", "/mpub?topic=c", "/topic/create?topic=c"] {
        assert_eq!(status(&nsqd, target), full, "{target}");
    }
    assert!(nsqd.topic("c").is_null());
    assert_eq!(status(&nsqd, "/topic/create?topic=a").0, 200);
    nsqd.peer().publish("b", "y");
    // What is on disk is there after a start, whatever the limit is then; one that goes makes room.
    nsqd.kill_and_restart_with(&["--max-topics=1"]);
    assert_eq!(nsqd.topic("b")["message_count"], 0);
    nsqd.peer().publish("a", "z");
    assert_eq!(status(&nsqd, "/topic/create?topic=c"), full);
    nsqd.post("/topic/delete?topic=a", "").ok();
    nsqd.post("/topic/delete?topic=b", "").ok();
    assert_eq!(status(&nsqd, "/topic/create?topic=c").0, 200);
}

#[test]
fn more_channels_than_a_topic_may_have_are_refused() {
    let nsqd = Nsqd::with(&["--max-channels=2"]);
    nsqd.create("t", &["a", "b"]);
    nsqd.create("u", &["a", "b"]);
    let full = (503, r#"{"message":"TOO_MANY_CHANNELS"}"#.to_owned());
    assert_eq!(status(&nsqd, "/channel/create?topic=t&channel=c"), full);
    assert_eq!(status(&nsqd, "/channel/create?topic=t&channel=b").0, 200);
    let mut peer = nsqd.peer();
    peer.line("SUB t tail%23ephemeral");
    peer.expect_error("E_BAD_CHANNEL SUB channel name \"tail%23ephemeral\" is not valid");
    let mut peer = nsqd.peer();
    peer.line("SUB t tail#ephemeral");
    peer.expect_error("E_SUB_FAILED SUB failed too many channels of this topic: --max-channels=2");
    nsqd.post("/channel/delete?topic=t&channel=a", "").ok();
    nsqd.peer().subscribe("t", "tail#ephemeral");
}

#[test]
fn a_flood_of_new_topics_is_slowed_down_and_then_refused() {
    let nsqd = Nsqd::with(&["--max-creation-rate=1"]);
    let mut publisher = nsqd.peer();
    for number in 0..1000 {
        publisher.publish(&format!("t{number}#ephemeral"), "x");
    }
    let begun = Instant::now();
    publisher.publish("slow#ephemeral", "x");
    // Some of its turn may have passed while the others were made.
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    let mut floods: Vec<_> = (0..8).map(|_| nsqd.peer()).collect();
    for (number, flood) in floods.iter_mut().enumerate() {
        flood.line_and_body(&format!("PUB flood{number}#ephemeral"), b"x");
    }
    let refused =
        "E_PUB_FAILED PUB failed too many topics and channels made at once: --max-creation-rate=1 a second";
    let (mut answered, mut failed) = (0, 0);
    for mut flood in floods {
        match flood.receive() {
            harness::Frame::Error(text) if text == refused => failed += 1,
            harness::Frame::Response(_) => answered += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(failed >= 1 && answered >= 5, "{answered} made, {failed} refused");
    // Those there are do not wait.
    let begun = Instant::now();
    nsqd.peer().publish("t7#ephemeral", "y");
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn names_that_are_trouble_for_file_systems_are_ordinary_topics() {
    let long = "x".repeat(64);
    let names = [".", "..", "-rf", "Case", "case", "a.b", &long, "_", "...", "con", "topics"];
    let mut nsqd = Nsqd::start();
    let mut peer = nsqd.peer();
    for name in names {
        nsqd.create(name, &["..", "Ch", "ch"]);
        peer.publish(name, name);
    }
    nsqd.kill_and_restart();
    for name in names {
        for channel in ["..", "Ch", "ch"] {
            let mut consumer = nsqd.consumer(name, channel, 1);
            let message = consumer.expect_message();
            assert_eq!(message.text(), name, "{channel}");
            consumer.finish(&message);
        }
    }
    let listed = nsqd.stats()["topics"].as_array().map(Vec::len);
    assert_eq!(listed, Some(names.len()));
    let outside = std::fs::read_dir(nsqd.data_path())
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut outside: Vec<_> = outside.collect();
    outside.sort();
    assert_eq!(outside, ["nsqube", "topics"]);
    for name in names {
        nsqd.post(&format!("/topic/delete?topic={name}"), "").ok();
    }
    assert_eq!(nsqd.stats()["topics"], json!([]));
}

#[test]
fn mpub_over_http_defers_all_its_messages() {
    let nsqd = Nsqd::with(&["--max-req-timeout=1m"]);
    nsqd.create("t", &["ch"]);
    nsqd.post("/mpub?topic=t&defer=60000", "a\nb\nc").ok();
    nsqd.eventually_channel("t", "ch", &[("deferred_count", 3), ("depth", 0)]);
    nsqd.post("/mpub?topic=t&defer=30&binary=true", b"\0\0\0\x01\0\0\0\x01d").ok();
    assert_eq!(nsqd.consumer("t", "ch", 1).expect_message().text(), "d");
    let wrong = (400, r#"{"message":"INVALID_DEFER"}"#.to_owned());
    for defer in ["60001", "-1", "x", "", "1s"] {
        assert_eq!(status(&nsqd, &format!("/mpub?topic=t&defer={defer}")), wrong, "{defer:?}");
    }
    nsqd.eventually_channel("t", "ch", &[("deferred_count", 3)]);
}
