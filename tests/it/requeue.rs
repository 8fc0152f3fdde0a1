//! REQ: a message given back returns as it was, one attempt older, and not before it was asked for.

use std::time::{Duration, Instant};

use harness::{Message, Nsqd};

#[test]
fn requeued_message_comes_back_unchanged_with_the_next_attempt() {
    let nsqd = Nsqd::start();
    nsqd.peer().publish("t", "x");
    let mut consumer = nsqd.consumer("t", "ch", 1);
    let first = consumer.expect_message();
    let mut last = first.clone();
    for attempts in 2..=6 {
        consumer.requeue(&last, Duration::ZERO);
        last = consumer.expect_message();
        assert_eq!(last, Message { attempts, ..first.clone() });
    }
    consumer.finish(&last);
    nsqd.eventually_channel("t", "ch", &[("requeue_count", 5), ("in_flight_count", 0), ("depth", 0)]);
}

#[test]
fn requeued_message_waits_out_its_delay() {
    let nsqd = Nsqd::start();
    nsqd.peer().publish("t", "x");
    let mut consumer = nsqd.consumer("t", "ch", 1);
    let first = consumer.expect_message();
    let delay = Duration::from_millis(500);
    let start = Instant::now();
    consumer.requeue(&first, delay);
    nsqd.eventually_channel("t", "ch", &[("deferred_count", 1), ("in_flight_count", 0), ("depth", 0)]);
    assert_eq!(consumer.expect_message().attempts, 2);
    let waited = start.elapsed();
    assert!(waited >= delay && waited < delay + Duration::from_secs(2), "{waited:?}");
}

#[test]
fn a_waiting_message_does_not_hold_up_the_others() {
    let nsqd = Nsqd::start();
    let mut publisher = nsqd.peer();
    publisher.publish("t", "slow");
    let mut consumer = nsqd.consumer("t", "ch", 1);
    let slow = consumer.expect_message();
    consumer.requeue(&slow, Duration::from_secs(600));
    for _ in 0..10 {
        publisher.publish("t", "quick");
        let message = consumer.expect_message();
        assert_eq!(message.text(), "quick");
        consumer.finish(&message);
    }
}

#[test]
fn a_delay_above_the_limit_is_cut_to_it() {
    // nsqd: REQ clamps where DPUB refuses.
    let nsqd = Nsqd::with(&["--max-req-timeout=300ms"]);
    nsqd.peer().publish("t", "x");
    let mut consumer = nsqd.consumer("t", "ch", 1);
    let first = consumer.expect_message();
    let start = Instant::now();
    consumer.requeue(&first, Duration::from_secs(3600));
    consumer.expect_message();
    let waited = start.elapsed();
    assert!(waited >= Duration::from_millis(300) && waited < Duration::from_secs(10), "{waited:?}");
}

#[test]
fn requeued_message_may_go_to_another_consumer() {
    let nsqd = Nsqd::start();
    nsqd.peer().publish("t", "x");
    let mut first = nsqd.consumer("t", "ch", 1);
    let message = first.expect_message();
    let mut second = nsqd.consumer("t", "ch", 1);
    first.ready(0);
    first.requeue(&message, Duration::ZERO);
    let again = second.expect_message();
    assert_eq!((again.id, again.attempts), (message.id.clone(), 2));
    first.finish(&message);
    first.expect_error(&format!("E_FIN_FAILED FIN {} failed client does not own message", message.id));
}

#[test]
fn requeuing_twice_fails_the_second_time() {
    let nsqd = Nsqd::start();
    nsqd.peer().publish("t", "x");
    let mut consumer = nsqd.consumer("t", "ch", 1);
    let message = consumer.expect_message();
    consumer.requeue(&message, Duration::from_secs(100));
    consumer.requeue(&message, Duration::from_secs(100));
    consumer.expect_error(&format!("E_REQ_FAILED REQ {} failed ID not in flight", message.id));
    assert_eq!(nsqd.channel("t", "ch")["requeue_count"], 1);
}

#[test]
fn requeuing_in_one_channel_leaves_the_other_alone() {
    let nsqd = Nsqd::start();
    nsqd.create("t", &["a", "b"]);
    nsqd.peer().publish("t", "x");
    let mut a = nsqd.consumer("t", "a", 1);
    let mut b = nsqd.consumer("t", "b", 1);
    let (in_a, in_b) = (a.expect_message(), b.expect_message());
    a.requeue(&in_a, Duration::ZERO);
    assert_eq!(a.expect_message().attempts, 2);
    b.finish(&in_b);
    nsqd.eventually_channel("t", "b", &[("requeue_count", 0), ("in_flight_count", 0)]);
    b.expect_nothing(Duration::from_millis(100));
}
