//! DPUB and /pub?defer: never before the time, soon after it, and not in the depth meanwhile.

use std::time::{Duration, Instant};

use harness::{Message, Nsqd};

#[test]
fn deferred_message_is_delivered_when_its_time_has_come() {
    let nsqd = Nsqd::start();
    let mut consumer = nsqd.consumer("t", "ch", 10);
    let delay = Duration::from_millis(500);
    let start = Instant::now();
    nsqd.peer().publish_deferred("t", delay, "later");
    let message = consumer.expect_message();
    let waited = start.elapsed();
    assert_eq!((message.text().as_str(), message.attempts), ("later", 1));
    // nsqd: up to 5 s late on a new channel.
    assert!(waited >= delay && waited < delay + Duration::from_secs(2), "{waited:?}");
}

#[test]
fn deferred_messages_come_in_the_order_of_their_times() {
    let nsqd = Nsqd::start();
    let mut consumer = nsqd.consumer("t", "ch", 10);
    let mut publisher = nsqd.peer();
    for delay in [1200, 400, 800] {
        publisher.publish_deferred("t", Duration::from_millis(delay), delay.to_string());
    }
    publisher.publish("t", "now");
    publisher.publish_deferred("t", Duration::ZERO, "also now");
    let seen: Vec<String> = consumer.expect_messages(5).iter().map(Message::text).collect();
    assert_eq!(seen, ["now", "also now", "400", "800", "1200"]);
}

#[test]
fn deferred_message_is_not_in_the_depth() {
    let nsqd = Nsqd::start();
    nsqd.create("t", &["ch"]);
    nsqd.peer().publish_deferred("t", Duration::from_secs(600), "x");
    nsqd.eventually_channel("t", "ch", &[("deferred_count", 1), ("depth", 0), ("message_count", 1)]);
}

#[test]
fn a_deferral_from_before_the_first_channel_is_kept() {
    // nsqd: loses the deferral of whatever the topic's memory queue cannot hold.
    let nsqd = Nsqd::with(&["--mem-queue-size=1"]);
    let delay = Duration::from_millis(700);
    let mut publisher = nsqd.peer();
    let start = Instant::now();
    for _ in 0..50 {
        publisher.publish_deferred("t", delay, "x");
    }
    let mut consumer = nsqd.consumer("t", "ch", 100);
    consumer.expect_message();
    let waited = start.elapsed();
    assert!(waited >= delay, "{waited:?}");
    consumer.expect_messages(49);
}

#[test]
fn a_memory_queue_of_no_size_keeps_deferrals() {
    // nsqd: 197 of 200 became immediate.
    let nsqd = Nsqd::with(&["--mem-queue-size=0"]);
    let mut consumer = nsqd.consumer("t", "ch", 300);
    let delay = Duration::from_millis(700);
    let mut publisher = nsqd.peer();
    let start = Instant::now();
    for _ in 0..200 {
        publisher.publish_deferred("t", delay, "x");
    }
    consumer.expect_message();
    let waited = start.elapsed();
    assert!(waited >= delay, "{waited:?}");
    consumer.expect_messages(199);
}

#[test]
fn every_channel_waits_for_itself() {
    let nsqd = Nsqd::start();
    nsqd.create("t", &["a", "b"]);
    nsqd.peer().publish_deferred("t", Duration::from_millis(300), "x");
    nsqd.eventually_channel("t", "a", &[("deferred_count", 1)]);
    nsqd.post("/channel/empty?topic=t&channel=a", "").ok();
    assert_eq!(nsqd.consumer("t", "b", 1).expect_message().text(), "x");
    nsqd.consumer("t", "a", 1).expect_nothing(Duration::from_millis(300));
}

#[test]
fn http_defers_like_the_wire() {
    let nsqd = Nsqd::start();
    let mut consumer = nsqd.consumer("t", "ch", 1);
    let start = Instant::now();
    nsqd.post("/pub?topic=t&defer=400", "later").ok();
    assert_eq!(consumer.expect_message().text(), "later");
    assert!(start.elapsed() >= Duration::from_millis(400));
}

#[test]
fn a_deferral_beyond_the_limit_is_refused() {
    let nsqd = Nsqd::with(&["--max-req-timeout=1s"]);
    let mut peer = nsqd.peer();
    peer.publish_deferred("t", Duration::from_secs(1), "x");
    peer.line_and_body("DPUB t 1001", b"x");
    peer.expect_error("E_INVALID DPUB timeout 1001 out of range 0-1000");
    peer.expect_closed();
}
