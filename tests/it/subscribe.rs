//! SUB, FIN and CLS: who gets a message, when it is done with, and what a lost connection means.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use harness::{Frame, Message, Nsqd};

#[test]
fn consumers_of_a_channel_share_its_messages() {
    let nsqd = Nsqd::start();
    let mut consumers =
        [nsqd.consumer("t", "ch", 20), nsqd.consumer("t", "ch", 20), nsqd.consumer("t", "ch", 20)];
    let bodies: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    nsqd.peer().publish_all("t", &bodies);
    // 60 messages and room for exactly 60: everybody's hands are full.
    let mut seen: Vec<String> = Vec::new();
    for consumer in &mut consumers {
        seen.extend(consumer.expect_messages(20).iter().map(Message::text));
    }
    let unique: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(unique.len(), 60);
}

#[test]
fn finished_message_is_not_delivered_again() {
    let nsqd = Nsqd::with(&["--msg-timeout=1s"]);
    nsqd.peer().publish_all("t", &["a", "b"]);
    let mut consumer = nsqd.consumer("t", "ch", 2);
    for message in consumer.expect_messages(2) {
        consumer.finish(&message);
    }
    nsqd.eventually_channel("t", "ch", &[("in_flight_count", 0), ("depth", 0)]);
    drop(consumer);
    // Past its timeout and over to another consumer: still nothing.
    nsqd.consumer("t", "ch", 2).expect_nothing(Duration::from_millis(1500));
}

#[test]
fn a_message_can_be_finished_once() {
    let nsqd = Nsqd::start();
    nsqd.peer().publish("t", "x");
    let mut consumer = nsqd.consumer("t", "ch", 1);
    let message = consumer.expect_message();
    consumer.finish(&message);
    consumer.finish(&message);
    consumer.expect_error(&format!("E_FIN_FAILED FIN {} failed ID not in flight", message.id));
    // The connection lives on.
    nsqd.peer().publish("t", "y");
    assert_eq!(consumer.expect_message().text(), "y");
}

#[test]
fn a_message_belongs_to_the_connection_that_got_it() {
    let nsqd = Nsqd::start();
    nsqd.peer().publish("t", "x");
    let mut owner = nsqd.consumer("t", "ch", 1);
    let message = owner.expect_message();
    let mut other = nsqd.consumer("t", "ch", 1);
    let id = &message.id;
    other.finish(&message);
    other.expect_error(&format!("E_FIN_FAILED FIN {id} failed client does not own message"));
    other.requeue(&message, Duration::ZERO);
    other.expect_error(&format!("E_REQ_FAILED REQ {id} failed client does not own message"));
    other.touch(&message);
    other.expect_error(&format!("E_TOUCH_FAILED TOUCH {id} failed client does not own message"));
    owner.finish(&message);
    nsqd.eventually_channel("t", "ch", &[("in_flight_count", 0)]);
}

#[test]
fn what_a_lost_consumer_held_is_delivered_at_once_to_another() {
    // nsqd: leaves these messages to their timeout, 60 s. A client cannot tell, except that it need not wait.
    let nsqd = Nsqd::start();
    nsqd.peer().publish_all("t", &["a", "b", "c"]);
    let mut first = nsqd.consumer("t", "ch", 3);
    let before = sorted(first.expect_messages(3));
    drop(first);
    let after = sorted(nsqd.consumer("t", "ch", 3).expect_messages(3));
    for (once, twice) in before.iter().zip(&after) {
        assert_eq!((&once.id, &once.body, once.timestamp), (&twice.id, &twice.body, twice.timestamp));
        assert_eq!((once.attempts, twice.attempts), (1, 2));
    }
    // Neither a REQ nor a timeout.
    let channel = nsqd.channel("t", "ch");
    assert_eq!((&channel["requeue_count"], &channel["timeout_count"]), (&0.into(), &0.into()));
}

#[test]
fn a_closing_consumer_gets_nothing_new_and_may_finish_what_it_has() {
    let nsqd = Nsqd::start();
    let mut publisher = nsqd.peer();
    publisher.publish_all("t", &["a", "b", "c", "d"]);
    let mut consumer = nsqd.consumer("t", "ch", 4);
    let held = consumer.expect_messages(4);
    assert_eq!(consumer.close(), []);
    publisher.publish("t", "too late");
    consumer.ready(10);
    consumer.finish(&held[0]);
    consumer.requeue(&held[1], Duration::from_secs(100));
    consumer.touch(&held[2]);
    nsqd.eventually_channel("t", "ch", &[("in_flight_count", 2), ("deferred_count", 1), ("depth", 1)]);
    consumer.expect_nothing(Duration::from_millis(200));
    consumer.line("CLS");
    consumer.expect_error("E_INVALID cannot CLS in current state");
    consumer.expect_closed();
}

#[test]
fn everything_finished_before_the_close_is_done_when_close_is_answered() {
    let nsqd = Nsqd::start();
    nsqd.peer().publish_all("t", &(0..500).map(|n| n.to_string()).collect::<Vec<_>>());
    let mut consumer = nsqd.consumer("t", "ch", 500);
    for message in consumer.expect_messages(500) {
        consumer.finish(&message);
    }
    assert_eq!(consumer.close(), []);
    let channel = nsqd.channel("t", "ch");
    assert_eq!((&channel["in_flight_count"], &channel["depth"]), (&0.into(), &0.into()));
}

#[test]
fn a_message_reaches_a_waiting_consumer_without_delay() {
    // nsqd: a consumer with room for more waits for the 250 ms flush timer, in the median 184 ms.
    let nsqd = Nsqd::start();
    let mut consumer = nsqd.consumer("t", "ch", 10);
    let mut publisher = nsqd.peer();
    let start = Instant::now();
    for _ in 0..50 {
        publisher.publish("t", "x");
        let message = consumer.expect_message();
        consumer.finish(&message);
    }
    let each = start.elapsed() / 50;
    assert!(each < Duration::from_millis(90), "{each:?} each");
}

#[test]
fn consumers_beyond_the_limit_are_refused() {
    let nsqd = Nsqd::with(&["--max-channel-consumers=1"]);
    let first = nsqd.consumer("t", "ch", 1);
    let mut second = nsqd.peer();
    second.line("SUB t ch");
    second.expect_error("E_SUB_FAILED SUB failed consumers for t:ch exceeds limit of 1");
    second.expect_closed();
    drop(nsqd.consumer("t", "other", 1));
    drop(first);
    nsqd.eventually_channel("t", "ch", &[("client_count", 0)]);
    drop(nsqd.consumer("t", "ch", 1));
}

#[test]
fn deleting_a_channel_closes_its_consumers() {
    let nsqd = Nsqd::start();
    let mut consumer = nsqd.consumer("t", "ch", 1);
    let mut other = nsqd.consumer("t", "other", 1);
    nsqd.post("/channel/delete?topic=t&channel=ch", "").ok();
    consumer.expect_closed();
    nsqd.peer().publish("t", "x");
    assert_eq!(other.expect_message().text(), "x");
}

#[test]
fn deleting_a_topic_closes_its_consumers_and_it_can_come_back_empty() {
    let nsqd = Nsqd::start();
    let mut publisher = nsqd.peer();
    publisher.publish_all("t", &["a", "b"]);
    let mut consumer = nsqd.consumer("t", "ch", 1);
    consumer.expect_message();
    nsqd.post("/topic/delete?topic=t", "").ok();
    consumer.expect_closed();
    assert!(nsqd.topic("t").is_null());
    publisher.publish("t", "c");
    let mut consumer = nsqd.consumer("t", "ch", 10);
    assert_eq!(consumer.expect_message().text(), "c");
    consumer.expect_nothing(Duration::from_millis(200));
}

#[test]
fn a_late_answer_to_an_emptied_channel_fails_and_keeps_the_connection() {
    let nsqd = Nsqd::start();
    let mut publisher = nsqd.peer();
    publisher.publish_all("t", &["a", "b", "c"]);
    let mut consumer = nsqd.consumer("t", "ch", 2);
    let held = consumer.expect_messages(2);
    nsqd.post("/channel/empty?topic=t&channel=ch", "").ok();
    consumer.finish(&held[0]);
    consumer.expect_error(&format!("E_FIN_FAILED FIN {} failed ID not in flight", held[0].id));
    publisher.publish_all("t", &["d", "e"]);
    // Its in-flight count is 0 again: both fit.
    let texts: BTreeSet<String> = consumer.expect_messages(2).iter().map(Message::text).collect();
    assert_eq!(texts, BTreeSet::from(["d".to_owned(), "e".to_owned()]));
}

#[test]
fn a_fatal_error_ends_the_connection_after_its_frame() {
    let nsqd = Nsqd::start();
    let mut peer = nsqd.peer();
    peer.send(b"HELLO\nPUB t\n\x00\x00\x00\x01x");
    assert_eq!(peer.receive(), Frame::Error("E_INVALID invalid command HELLO".to_owned()));
    peer.expect_closed();
    assert!(nsqd.topic("t").is_null(), "nothing after a fatal error is carried out");
}

fn sorted(mut messages: Vec<Message>) -> Vec<Message> {
    messages.sort_by(|x, y| x.id.cmp(&y.id));
    messages
}
