//! Durability levels as a user sees them: a flag, an argument of `/topic/create`, a key in `/stats`.

use harness::Nsqd;

#[test]
fn a_topic_has_the_brokers_level_unless_it_was_given_its_own() {
    let mut nsqd = Nsqd::with(&["--durability=fsync"]);
    nsqd.create("plain", &[]);
    nsqd.post("/topic/create?topic=fast&durability=buffered", "").ok();
    nsqd.kill_and_restart();
    assert_eq!(nsqd.topic("plain")["durability"], "fsync");
    assert_eq!(nsqd.topic("fast")["durability"], "buffered");
    nsqd.post("/topic/create?topic=fast&durability=fsync", "").ok();
    assert_eq!(nsqd.topic("fast")["durability"], "fsync", "also of a topic that exists");
}

#[test]
fn a_level_that_does_not_exist_is_refused_and_makes_no_topic() {
    let nsqd = Nsqd::start();
    let reply = nsqd.post("/topic/create?topic=t&durability=disk", "");
    assert_eq!((reply.status, reply.json()["message"].as_str()), (400, Some("INVALID_ARG_DURABILITY")));
    assert_eq!(nsqd.stats()["topics"], serde_json::json!([]));
}

#[test]
fn an_ephemeral_topic_is_in_memory_whatever_the_broker_says() {
    let nsqd = Nsqd::with(&["--durability=fsync"]);
    nsqd.peer().publish("t#ephemeral", "a");
    assert_eq!(nsqd.stats()["topics"][0]["durability"], "memory");
}

#[test]
fn every_way_to_publish_and_to_leave_is_answered_at_every_level() {
    for level in ["memory", "buffered", "fsync"] {
        let mut nsqd = Nsqd::with(&[&format!("--durability={level}")]);
        nsqd.create("t", &["ch"]);
        let mut publisher = nsqd.peer();
        publisher.publish("t", "one");
        publisher.publish_all("t", &["two", "three"]);
        nsqd.post("/pub?topic=t", "four").ok();
        nsqd.post("/mpub?topic=t", "five\nsix").ok();
        let mut consumer = nsqd.consumer("t", "ch", 10);
        for message in consumer.expect_messages(6) {
            consumer.finish(&message);
        }
        assert!(consumer.close().is_empty(), "{level}");
        nsqd.kill_and_restart();
        nsqd.eventually_channel("t", "ch", &[("depth", 0), ("in_flight_count", 0)]);
    }
}

#[test]
fn publishes_that_come_together_share_a_sync_and_keep_their_order_of_replies() {
    let nsqd = Nsqd::with(&["--durability=fsync"]);
    nsqd.create("t", &[]);
    let mut publisher = nsqd.peer();
    let mut commands = Vec::new();
    for n in 0..500_u32 {
        commands.extend_from_slice(b"PUB t\n\0\0\0\x04");
        commands.extend_from_slice(&n.to_be_bytes());
    }
    // Answered at once by itself, but not before what came before it.
    commands.extend_from_slice(b"TOUCH 0123456789abcdef\n");
    publisher.send(&commands);
    for _ in 0..500 {
        publisher.expect_response("OK");
    }
    publisher.expect_error("E_INVALID cannot TOUCH in current state");
}
