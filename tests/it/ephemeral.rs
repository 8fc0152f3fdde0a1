//! Names ending in #ephemeral: gone with their last user, kept in memory, limited in depth.

use std::time::Duration;

use harness::{Nsqd, eventually};

#[test]
fn an_ephemeral_channel_goes_with_its_last_consumer() {
    let nsqd = Nsqd::start();
    let first = nsqd.consumer("t", "ch#ephemeral", 1);
    let second = nsqd.consumer("t", "ch#ephemeral", 1);
    drop(first);
    nsqd.eventually_channel("t", "ch#ephemeral", &[("client_count", 1)]);
    drop(second);
    eventually("the channel is gone", || nsqd.channel("t", "ch#ephemeral").is_null());
    assert!(!nsqd.topic("t").is_null(), "its topic stays");
}

#[test]
fn an_ephemeral_topic_goes_with_its_last_channel() {
    let nsqd = Nsqd::start();
    let first = nsqd.consumer("t#ephemeral", "a#ephemeral", 1);
    let mut second = nsqd.consumer("t#ephemeral", "b#ephemeral", 1);
    nsqd.peer().publish("t#ephemeral", "x");
    assert_eq!(second.expect_message().text(), "x");
    drop(first);
    eventually("one channel is gone", || nsqd.channel("t#ephemeral", "a#ephemeral").is_null());
    assert!(!nsqd.topic("t#ephemeral").is_null());
    drop(second);
    eventually("the topic is gone", || nsqd.topic("t#ephemeral").is_null());
}

#[test]
fn an_ephemeral_topic_that_never_had_a_channel_stays() {
    let nsqd = Nsqd::start();
    nsqd.peer().publish("t#ephemeral", "x");
    assert_eq!(nsqd.topic("t#ephemeral")["depth"], 1);
    assert_eq!(nsqd.consumer("t#ephemeral", "ch", 1).expect_message().text(), "x");
}

#[test]
fn a_lasting_channel_keeps_its_ephemeral_topic() {
    let nsqd = Nsqd::start();
    let lasting = nsqd.consumer("t#ephemeral", "ch", 1);
    let passing = nsqd.consumer("t#ephemeral", "ch#ephemeral", 1);
    drop((lasting, passing));
    eventually("the ephemeral channel is gone", || nsqd.channel("t#ephemeral", "ch#ephemeral").is_null());
    assert_eq!(nsqd.channel("t#ephemeral", "ch")["channel_name"], "ch");
}

#[test]
fn a_full_ephemeral_topic_drops_and_still_says_ok() {
    // nsqd: overflow of an ephemeral queue is silent.
    let nsqd = Nsqd::with(&["--mem-queue-size=10"]);
    let mut publisher = nsqd.peer();
    for number in 0..30 {
        publisher.publish("t#ephemeral", number.to_string());
    }
    assert_eq!(nsqd.topic("t#ephemeral")["depth"], 10);
    nsqd.consumer("t#ephemeral", "ch", 100).expect_messages(10);
}

#[test]
fn a_full_ephemeral_channel_drops_while_its_neighbour_keeps_all() {
    let nsqd = Nsqd::with(&["--mem-queue-size=10"]);
    let mut passing = nsqd.peer();
    passing.subscribe("t", "ch#ephemeral");
    nsqd.create("t", &["lasting"]);
    let bodies: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    nsqd.peer().publish_all("t", &bodies);
    nsqd.eventually_channel("t", "ch#ephemeral", &[("depth", 10)]);
    nsqd.consumer("t", "lasting", 100).expect_messages(30);
    passing.ready(100);
    passing.expect_messages(10);
    passing.expect_nothing(Duration::from_millis(150));
}

#[test]
fn nothing_ephemeral_is_there_after_a_restart() {
    let mut nsqd = Nsqd::start();
    let _passing = nsqd.consumer("t", "ch#ephemeral", 1);
    nsqd.create("t", &["lasting"]);
    nsqd.create("t#ephemeral", &["ch"]);
    nsqd.peer().publish("t#ephemeral", "x");
    assert!(nsqd.terminate_and_restart().success());
    assert!(nsqd.topic("t#ephemeral").is_null());
    assert!(nsqd.channel("t", "ch#ephemeral").is_null());
    assert_eq!(nsqd.channel("t", "lasting")["channel_name"], "lasting");
}
