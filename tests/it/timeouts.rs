//! Message timeouts and TOUCH: a message nobody answers returns, a touched one stays.

use std::time::{Duration, Instant};

use harness::{Nsqd, Peer};
use serde_json::json;

#[test]
fn unanswered_message_is_delivered_again_after_the_timeout() {
    let nsqd = Nsqd::with(&["--msg-timeout=400ms"]);
    let mut consumer = nsqd.consumer("t", "ch", 1);
    let start = Instant::now();
    nsqd.peer().publish("t", "x");
    let first = consumer.expect_message();
    let second = consumer.expect_message();
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(400) && waited < Duration::from_secs(5), "{waited:?}");
    assert_eq!((&second.id, second.attempts), (&first.id, 2));
    let channel = nsqd.channel("t", "ch");
    assert_eq!((&channel["timeout_count"], &channel["requeue_count"]), (&1.into(), &0.into()));
}

#[test]
fn a_timed_out_message_frees_its_place_for_another() {
    let nsqd = Nsqd::with(&["--msg-timeout=400ms"]);
    nsqd.peer().publish("t", "x");
    let mut first = nsqd.consumer("t", "ch", 1);
    let message = first.expect_message();
    let mut second = nsqd.consumer("t", "ch", 1);
    first.ready(0);
    let again = second.expect_message();
    assert_eq!((again.id, again.attempts), (message.id.clone(), 2));
    first.finish(&message);
    first.expect_error(&format!("E_FIN_FAILED FIN {} failed client does not own message", message.id));
}

#[test]
fn an_answer_after_the_timeout_fails_and_keeps_the_connection() {
    let nsqd = Nsqd::with(&["--msg-timeout=300ms"]);
    nsqd.peer().publish("t", "x");
    let mut consumer = nsqd.consumer("t", "ch", 1);
    let message = consumer.expect_message();
    consumer.ready(0);
    nsqd.eventually_channel("t", "ch", &[("timeout_count", 1), ("depth", 1), ("in_flight_count", 0)]);
    let id = &message.id;
    consumer.finish(&message);
    consumer.expect_error(&format!("E_FIN_FAILED FIN {id} failed ID not in flight"));
    consumer.requeue(&message, Duration::ZERO);
    consumer.expect_error(&format!("E_REQ_FAILED REQ {id} failed ID not in flight"));
    consumer.touch(&message);
    consumer.expect_error(&format!("E_TOUCH_FAILED TOUCH {id} failed ID not in flight"));
    consumer.ready(1);
    assert_eq!(consumer.expect_message().attempts, 2);
}

#[test]
fn each_consumer_has_the_timeout_it_asked_for() {
    let nsqd = Nsqd::with(&["--msg-timeout=500s"]);
    let mut consumer = nsqd.peer();
    let granted = consumer.identify(json!({"msg_timeout": 1000}));
    assert_eq!(granted["msg_timeout"], 1000);
    consumer.subscribe("t", "ch");
    consumer.ready(1);
    nsqd.peer().publish("t", "x");
    consumer.expect_message();
    let start = Instant::now();
    assert_eq!(consumer.expect_message().attempts, 2);
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(500) && waited < Duration::from_secs(10), "{waited:?}");
}

#[test]
fn touched_message_stays_with_its_consumer() {
    let nsqd = Nsqd::with(&["--msg-timeout=1s"]);
    let mut consumer = nsqd.consumer("t", "ch", 1);
    nsqd.peer().publish("t", "x");
    let message = consumer.expect_message();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        consumer.touch(&message);
        consumer.expect_nothing(Duration::from_millis(100));
    }
    consumer.finish(&message);
    nsqd.eventually_channel("t", "ch", &[("in_flight_count", 0), ("depth", 0), ("timeout_count", 0)]);
}

#[test]
fn no_touch_keeps_a_message_beyond_the_longest_timeout() {
    let nsqd = Nsqd::with(&["--msg-timeout=1s", "--max-msg-timeout=1800ms"]);
    let mut consumer = nsqd.consumer("t", "ch", 1);
    nsqd.peer().publish("t", "x");
    let message = consumer.expect_message();
    let start = Instant::now();
    let again = touch_until_something_comes(&mut consumer, &message);
    let held = start.elapsed();
    assert_eq!(again, 2);
    assert!(held > Duration::from_millis(1400) && held < Duration::from_secs(10), "{held:?}");
}

/// Gives the attempts of the message that came.
fn touch_until_something_comes(consumer: &mut Peer, message: &harness::Message) -> u16 {
    let limit = Instant::now() + harness::PATIENCE;
    while Instant::now() < limit {
        consumer.touch(message);
        match consumer.receive_within(Duration::from_millis(100)) {
            Some(harness::Frame::Message(message)) => return message.attempts,
            // The touch that comes a moment too late.
            Some(harness::Frame::Error(text)) if text.starts_with("E_TOUCH_FAILED") => {}
            Some(other) => panic!("{other:?}"),
            None => {}
        }
    }
    panic!("touched for {} s", harness::PATIENCE.as_secs());
}
