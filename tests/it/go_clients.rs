//! go-nsq 1.1.0 against our daemons, found through nsqlookupd: tests/clients/go, one scenario per test, each on a
//! cluster of its own.

#[track_caller]
fn check(scenario: &str) {
    if let Some(client) = harness::go_client() {
        client.run(scenario);
    }
}

#[test]
fn go_nsq_publishes_and_finds_every_message_through_lookup() {
    check("publish");
}

#[test]
fn go_nsq_gets_answers_to_pipelined_publishes_in_order() {
    check("publish-async");
}

#[test]
fn go_nsq_publishes_batches() {
    check("multi-publish");
}

#[test]
fn go_nsq_publishes_up_to_the_size_limit() {
    check("large-message");
}

#[test]
fn go_nsq_understands_a_refused_publish() {
    check("publish-error");
}

#[test]
fn go_nsq_defers_messages() {
    check("deferred");
}

#[test]
fn go_nsq_requeues_messages() {
    check("requeue");
}

#[test]
fn go_nsq_requeues_messages_with_a_delay() {
    check("requeue-with-delay");
}

#[test]
fn go_nsq_backs_off_and_recovers() {
    check("backoff");
}

#[test]
fn go_nsq_touches_messages() {
    check("touch");
}

#[test]
fn go_nsq_sees_timed_out_messages_again() {
    check("timeout");
}

#[test]
fn go_nsq_counts_attempts_and_gives_up() {
    check("attempts");
}

#[test]
fn go_nsq_consumers_share_a_channel() {
    check("several-consumers");
}

#[test]
fn go_nsq_channels_each_get_every_message() {
    check("several-channels");
}

#[test]
fn go_nsq_never_holds_more_than_it_asked_for() {
    check("max-in-flight");
}

#[test]
fn go_nsq_stops_gracefully_without_losing_or_repeating() {
    check("graceful-stop");
}

#[test]
fn go_nsq_finds_a_topic_that_is_made_later() {
    check("late-topic");
}
