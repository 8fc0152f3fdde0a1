//! RDY, heartbeats and sampling: nobody gets more than asked for, and nobody silent is kept.

use std::time::{Duration, Instant};

use harness::{Frame, Nsqd, Peer};
use serde_json::json;

const MOMENT: Duration = Duration::from_millis(150);

#[test]
fn nothing_is_delivered_before_the_first_ready() {
    let nsqd = Nsqd::start();
    let mut consumer = nsqd.peer();
    consumer.subscribe("t", "ch");
    nsqd.peer().publish("t", "x");
    consumer.expect_nothing(MOMENT);
    consumer.ready(1);
    consumer.expect_message();
}

#[test]
fn the_ready_count_is_a_ceiling_and_not_a_credit() {
    let nsqd = Nsqd::start();
    nsqd.peer().publish_all("t", &["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    let mut consumer = nsqd.consumer("t", "ch", 3);
    let mut held = consumer.expect_messages(3);
    consumer.expect_nothing(MOMENT);
    // One finished makes room for one, without another RDY.
    consumer.finish(&held.remove(0));
    held.push(consumer.expect_message());
    consumer.expect_nothing(MOMENT);
    // Saying the same again gives nothing more.
    consumer.ready(3);
    consumer.expect_nothing(MOMENT);
    // Less than what is in flight stops delivery until it is below.
    consumer.ready(2);
    consumer.finish(&held.remove(0));
    consumer.expect_nothing(MOMENT);
    consumer.finish(&held.remove(0));
    held.push(consumer.expect_message());
    consumer.ready(4);
    held.extend(consumer.expect_messages(2));
    consumer.expect_nothing(MOMENT);
    assert_eq!(nsqd.channel("t", "ch")["in_flight_count"], 4);
}

#[test]
fn ready_zero_stops_delivery_and_ready_alone_means_one() {
    let nsqd = Nsqd::start();
    let mut publisher = nsqd.peer();
    let mut consumer = nsqd.consumer("t", "ch", 5);
    publisher.publish("t", "1");
    let message = consumer.expect_message();
    consumer.ready(0);
    // The next command of the same connection is carried out after RDY.
    consumer.publish("other", "x");
    publisher.publish_all("t", &["2", "3"]);
    consumer.finish(&message);
    consumer.expect_nothing(MOMENT);
    consumer.line("RDY");
    consumer.expect_message();
    consumer.expect_nothing(MOMENT);
}

#[test]
fn a_consumer_that_is_not_ready_leaves_messages_to_the_others() {
    let nsqd = Nsqd::start();
    let mut busy = nsqd.consumer("t", "ch", 1);
    let mut free = nsqd.consumer("t", "ch", 100);
    let bodies: Vec<String> = (0..101).map(|n| n.to_string()).collect();
    nsqd.peer().publish_all("t", &bodies);
    busy.expect_message();
    free.expect_messages(100);
    busy.expect_nothing(MOMENT);
}

#[test]
fn the_highest_ready_count_is_an_option() {
    let nsqd = Nsqd::with(&["--max-rdy-count=10"]);
    let mut consumer = nsqd.peer();
    assert_eq!(consumer.identify(json!({}))["max_rdy_count"], 10);
    consumer.subscribe("t", "ch");
    consumer.ready(10);
    consumer.line("RDY 11");
    consumer.expect_error("E_INVALID RDY count 11 out of range 0-10");
    consumer.expect_closed();
}

#[test]
fn a_silent_client_gets_heartbeats_and_is_cut_after_two() {
    let nsqd = Nsqd::start();
    let mut peer = nsqd.peer();
    peer.identify(json!({"heartbeat_interval": 1000}));
    let start = Instant::now();
    let limit = start + harness::PATIENCE;
    let mut heartbeats = 0;
    while peer.receive_raw(limit) == Some(Frame::Response("_heartbeat_".to_owned())) {
        heartbeats += 1;
    }
    assert_eq!(peer.receive_raw(limit), Some(Frame::Closed));
    let lived = start.elapsed();
    assert!((1..=2).contains(&heartbeats), "{heartbeats} heartbeats");
    assert!(lived > Duration::from_millis(1900) && lived < Duration::from_secs(8), "{lived:?}");
}

#[test]
fn answering_heartbeats_keeps_a_connection_alive() {
    let nsqd = Nsqd::start();
    let mut consumer = nsqd.peer();
    consumer.identify(json!({"heartbeat_interval": 1000}));
    consumer.subscribe("t", "ch");
    consumer.ready(1);
    // Longer than two intervals; heartbeats are answered inside.
    consumer.expect_nothing(Duration::from_millis(3200));
    nsqd.peer().publish("t", "still there");
    assert_eq!(consumer.expect_message().text(), "still there");
}

#[test]
fn any_command_counts_as_a_sign_of_life() {
    let nsqd = Nsqd::start();
    let mut peer = nsqd.peer();
    peer.identify(json!({"heartbeat_interval": 1000}));
    let start = Instant::now();
    let mut heartbeats = 0;
    while start.elapsed() < Duration::from_millis(3200) {
        peer.line_and_body("PUB t", b"x");
        heartbeats += count_heartbeats_for(&mut peer, Duration::from_millis(300));
    }
    assert!(heartbeats >= 2, "{heartbeats}: they come regardless of traffic");
}

#[test]
fn a_subscriber_cannot_go_without_heartbeats() {
    let nsqd = Nsqd::start();
    let mut peer = nsqd.peer();
    peer.identify(json!({"heartbeat_interval": -1}));
    peer.publish("t", "a publisher can");
    peer.line("SUB t ch");
    peer.expect_error("E_INVALID cannot SUB with heartbeats disabled");
    peer.expect_closed();
}

#[test]
fn a_sampling_consumer_sees_a_share_and_the_rest_is_consumed() {
    let nsqd = Nsqd::start();
    let bodies: Vec<String> = (0..2000).map(|n| n.to_string()).collect();
    nsqd.create("t", &["half", "whole"]);
    nsqd.peer().publish_all("t", &bodies);
    // nsqd: lets (rate + 1) % pass.
    for (channel, rate, expected) in [("half", 50, 850..=1190), ("whole", 99, 2000..=2000)] {
        let mut consumer = nsqd.peer();
        assert_eq!(consumer.identify(json!({"sample_rate": rate}))["sample_rate"], rate);
        consumer.subscribe("t", channel);
        consumer.ready(2500);
        nsqd.eventually_channel("t", channel, &[("depth", 0)]);
        let delivered = nsqd.channel("t", channel)["in_flight_count"].as_u64().unwrap();
        assert!(expected.contains(&delivered), "{channel}: {delivered}");
        consumer.expect_messages(delivered.try_into().unwrap());
        consumer.expect_nothing(MOMENT);
    }
}

/// Heartbeats that come during this time; each `OK` is passed over.
fn count_heartbeats_for(peer: &mut Peer, time: Duration) -> usize {
    let limit = Instant::now() + time;
    let mut count = 0;
    loop {
        match peer.receive_raw(limit) {
            Some(Frame::Response(text)) if text == "_heartbeat_" => count += 1,
            Some(Frame::Response(text)) if text == "OK" => {}
            Some(other) => panic!("{other:?}"),
            None => return count,
        }
    }
}
