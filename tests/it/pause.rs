//! Pausing a topic stops its fan-out, pausing a channel stops delivery; both can be undone and survive a restart.

use std::time::Duration;

use harness::Nsqd;

const MOMENT: Duration = Duration::from_millis(150);

#[test]
fn a_paused_channel_delivers_nothing_until_it_goes_on() {
    let nsqd = Nsqd::start();
    let mut publisher = nsqd.peer();
    let mut consumer = nsqd.consumer("t", "ch", 10);
    let mut other = nsqd.consumer("t", "other", 10);
    publisher.publish("t", "before");
    let held = consumer.expect_message();
    other.expect_message();
    nsqd.post("/channel/pause?topic=t&channel=ch", "").ok();
    assert_eq!(nsqd.channel("t", "ch")["paused"], true);
    publisher.publish("t", "during");
    assert_eq!(other.expect_message().text(), "during");
    consumer.expect_nothing(MOMENT);
    // What is in flight can still be answered.
    consumer.finish(&held);
    nsqd.eventually_channel("t", "ch", &[("in_flight_count", 0), ("depth", 1)]);
    nsqd.post("/channel/unpause?topic=t&channel=ch", "").ok();
    assert_eq!(consumer.expect_message().text(), "during");
    assert_eq!(nsqd.channel("t", "ch")["paused"], false);
}

#[test]
fn messages_of_a_paused_channel_still_time_out() {
    let nsqd = Nsqd::with(&["--msg-timeout=300ms"]);
    let mut consumer = nsqd.consumer("t", "ch", 10);
    nsqd.peer().publish("t", "x");
    consumer.expect_message();
    nsqd.post("/channel/pause?topic=t&channel=ch", "").ok();
    nsqd.eventually_channel("t", "ch", &[("timeout_count", 1), ("in_flight_count", 0), ("depth", 1)]);
}

#[test]
fn a_paused_topic_takes_messages_and_hands_none_out() {
    let nsqd = Nsqd::start();
    let mut publisher = nsqd.peer();
    let mut consumer = nsqd.consumer("t", "ch", 10);
    nsqd.post("/topic/pause?topic=t", "").ok();
    publisher.publish_all("t", &["a", "b"]);
    consumer.expect_nothing(MOMENT);
    let topic = nsqd.topic("t");
    assert_eq!((&topic["paused"], &topic["depth"]), (&true.into(), &2.into()));
    assert_eq!(nsqd.channel("t", "ch")["depth"], 0);
    nsqd.post("/topic/unpause?topic=t", "").ok();
    consumer.expect_messages(2);
    assert_eq!(nsqd.topic("t")["depth"], 0);
}

#[test]
fn a_channel_made_while_its_topic_is_paused_gets_what_waits() {
    let nsqd = Nsqd::start();
    nsqd.create("t", &["first"]);
    nsqd.post("/topic/pause?topic=t", "").ok();
    nsqd.peer().publish("t", "x");
    let mut late = nsqd.consumer("t", "late", 1);
    nsqd.post("/topic/unpause?topic=t", "").ok();
    assert_eq!(late.expect_message().text(), "x");
    assert_eq!(nsqd.consumer("t", "first", 1).expect_message().text(), "x");
}

#[test]
fn pausing_twice_is_the_same_as_once() {
    let nsqd = Nsqd::start();
    nsqd.create("t", &["ch"]);
    for target in ["/topic/pause?topic=t", "/channel/pause?topic=t&channel=ch"] {
        nsqd.post(target, "").ok();
        nsqd.post(target, "").ok();
    }
    for target in ["/topic/unpause?topic=t", "/channel/unpause?topic=t&channel=ch"] {
        nsqd.post(target, "").ok();
        nsqd.post(target, "").ok();
    }
    nsqd.peer().publish("t", "x");
    nsqd.consumer("t", "ch", 1).expect_message();
}

#[test]
fn a_pause_survives_a_kill() {
    let mut nsqd = Nsqd::start();
    nsqd.create("t", &["paused", "running"]);
    nsqd.create("stopped", &["ch"]);
    nsqd.post("/channel/pause?topic=t&channel=paused", "").ok();
    nsqd.post("/topic/pause?topic=stopped", "").ok();
    nsqd.peer().publish("stopped", "waits");
    nsqd.kill_and_restart();
    assert_eq!(nsqd.channel("t", "paused")["paused"], true);
    assert_eq!(nsqd.channel("t", "running")["paused"], false);
    let stopped = nsqd.topic("stopped");
    assert_eq!((&stopped["paused"], &stopped["depth"]), (&true.into(), &1.into()));
    nsqd.post("/topic/unpause?topic=stopped", "").ok();
    assert_eq!(nsqd.consumer("stopped", "ch", 1).expect_message().text(), "waits");
}
