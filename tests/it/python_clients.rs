//! pynsq 0.9.1 against our daemons, found through nsqlookupd: tests/clients/python, one scenario per test, each on a
//! cluster of its own.

#[track_caller]
fn check(scenario: &str) {
    if let Some(client) = harness::python_client() {
        client.run(scenario);
    }
}

#[test]
fn pynsq_publishes_and_finds_every_message_through_lookup() {
    check("publish");
}

#[test]
fn pynsq_publishes_batches() {
    check("multi-publish");
}

#[test]
fn pynsq_defers_messages() {
    check("deferred");
}

#[test]
fn pynsq_requeues_messages() {
    check("requeue");
}

#[test]
fn pynsq_requeues_messages_with_a_delay() {
    check("requeue-with-delay");
}

#[test]
fn pynsq_backs_off_and_recovers() {
    check("backoff");
}

#[test]
fn pynsq_touches_messages() {
    check("touch");
}

#[test]
fn pynsq_sees_timed_out_messages_again() {
    check("timeout");
}

#[test]
fn pynsq_counts_attempts_and_gives_up() {
    check("attempts");
}

#[test]
fn pynsq_readers_share_a_channel() {
    check("several-consumers");
}

#[test]
fn pynsq_channels_each_get_every_message() {
    check("several-channels");
}

#[test]
fn pynsq_stays_connected_by_heartbeats() {
    check("heartbeat");
}
