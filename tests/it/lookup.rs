//! nsqd and nsqlookupd together: what is registered, what is forgotten, and how a new topic learns its channels.

use harness::{Cluster, Lookupd, Message, Nsqd, eventually, request};
use serde_json::json;

fn registered_with(lookupd: &Lookupd) -> Nsqd {
    Nsqd::with(&[&format!("--lookupd-tcp-address={}", lookupd.tcp())])
}

#[test]
fn topics_and_channels_of_every_nsqd_can_be_looked_up() {
    let cluster = Cluster::start();
    let [first, second] = &cluster.nsqds[..] else { panic!("two nsqds") };
    first.create("t", &["a"]);
    second.create("t", &["b"]);
    second.create("only-second", &[]);
    let lookupd = &cluster.lookupd;
    let mut both = [first.tcp().port(), second.tcp().port()];
    both.sort_unstable();
    eventually("both are found", || lookupd.ports("t") == both);
    eventually("the other topic too", || lookupd.ports("only-second") == [second.tcp().port()]);
    eventually("channels are united", || lookupd.names("/channels?topic=t", "channels") == ["a", "b"]);
    assert_eq!(lookupd.names("/topics", "topics"), ["only-second", "t"]);
    assert_eq!(lookupd.names("/lookup?topic=t", "channels"), ["a", "b"]);
}

#[test]
fn what_is_looked_up_is_where_the_nsqd_is() {
    let lookupd = Lookupd::start();
    let nsqd = registered_with(&lookupd);
    nsqd.create("t", &[]);
    eventually("it is found", || !lookupd.ports("t").is_empty());
    let mut found = lookupd.get("/lookup?topic=t").ok().json()["producers"][0].clone();
    assert!(found["hostname"].take().is_string());
    assert!(found["remote_address"].take().as_str().is_some_and(|address| address.starts_with("127.0.0.1:")));
    assert!(found["version"].take().as_str().is_some_and(|version| version.starts_with("1.3.0")));
    let wanted = json!({
        "remote_address": null, "hostname": null, "broadcast_address": "127.0.0.1", "tcp_port": nsqd.tcp().port(),
        "http_port": nsqd.http().port(), "version": null, "topology_zone": "", "topology_region": "",
    });
    assert_eq!(found, wanted);
    let node = lookupd.get("/nodes").ok().json()["producers"][0].clone();
    assert_eq!((&node["topics"], &node["tombstones"]), (&json!(["t"]), &json!([false])));
}

#[test]
fn a_topic_nobody_has_is_not_found() {
    let lookupd = Lookupd::start();
    let reply = lookupd.get("/lookup?topic=t");
    assert_eq!((reply.status, reply.text().as_str()), (404, r#"{"message":"TOPIC_NOT_FOUND"}"#));
    assert_eq!(reply.header("x-nsq-content-type"), Some("nsq; version=1.0"));
}

#[test]
fn a_dead_nsqd_is_forgotten_at_once_and_its_topics_are_not() {
    let lookupd = Lookupd::start();
    let mut nsqd = registered_with(&lookupd);
    nsqd.create("t", &["ch"]);
    eventually("it is found", || lookupd.ports("t") == [nsqd.tcp().port()]);
    eventually("its channel is known", || lookupd.names("/channels?topic=t", "channels") == ["ch"]);
    nsqd.process().kill();
    eventually("it is not found", || lookupd.ports("t").is_empty());
    assert_eq!(lookupd.names("/topics", "topics"), ["t"]);
    assert_eq!(lookupd.names("/channels?topic=t", "channels"), ["ch"]);
}

#[test]
fn a_deleted_topic_is_unregistered() {
    let lookupd = Lookupd::start();
    let nsqd = registered_with(&lookupd);
    nsqd.create("t", &["ch"]);
    eventually("it is found", || !lookupd.ports("t").is_empty());
    nsqd.post("/topic/delete?topic=t", "").ok();
    eventually("it is not found", || lookupd.ports("t").is_empty());
    nsqd.create("u", &[]);
    eventually("the next one is found", || !lookupd.ports("u").is_empty());
}

#[test]
fn a_new_topic_starts_with_the_channels_other_nsqds_have() {
    let cluster = Cluster::start();
    let [first, second] = &cluster.nsqds[..] else { panic!("two nsqds") };
    first.create("t", &["archive", "billing"]);
    first.peer().subscribe("t", "passing#ephemeral");
    eventually("its channels are known", || {
        cluster.lookupd.names("/channels?topic=t", "channels").len() >= 2
    });
    second.peer().publish("t", "x");
    eventually("the topic is there with both", || second.channel("t", "billing")["depth"] == 1);
    // The message published before anybody subscribed is owed to both; ephemeral channels are not made ahead.
    assert_eq!(second.consumer("t", "archive", 1).expect_message().text(), "x");
    assert_eq!(second.consumer("t", "billing", 1).expect_message().text(), "x");
    assert!(second.channel("t", "passing#ephemeral").is_null());
}

#[test]
fn a_restarted_nsqd_registers_again_with_all_it_has() {
    let lookupd = Lookupd::start();
    let mut nsqd = registered_with(&lookupd);
    nsqd.create("t", &["ch"]);
    nsqd.create("u", &[]);
    eventually("it is found", || !lookupd.ports("u").is_empty());
    nsqd.kill_and_restart();
    eventually("it is found again", || {
        lookupd.ports("t") == [nsqd.tcp().port()] && lookupd.ports("u") == [nsqd.tcp().port()]
    });
    assert_eq!(lookupd.names("/channels?topic=t", "channels"), ["ch"]);
}

#[test]
fn a_restarted_lookupd_learns_everything_again() {
    let mut lookupd = Lookupd::start();
    let nsqd = registered_with(&lookupd);
    nsqd.create("t", &["ch"]);
    eventually("it is found", || !lookupd.ports("t").is_empty());
    lookupd.kill_and_restart();
    // An event makes nsqd notice before its next ping.
    nsqd.create("u", &[]);
    eventually("all is found again", || {
        !lookupd.ports("t").is_empty()
            && !lookupd.ports("u").is_empty()
            && lookupd.names("/channels?topic=t", "channels") == ["ch"]
    });
}

#[test]
fn an_nsqd_works_while_its_lookupd_is_away() {
    let lookupd = Lookupd::start();
    let nsqd = registered_with(&lookupd);
    drop(lookupd);
    let mut publisher = nsqd.peer();
    for number in 0..20 {
        publisher.publish(&format!("t{number}"), "x");
    }
    assert_eq!(nsqd.consumer("t19", "ch", 1).expect_message().text(), "x");
}

#[test]
fn lookupds_can_be_changed_while_running() {
    let (first, second) = (Lookupd::start(), Lookupd::start());
    let nsqd = registered_with(&first);
    nsqd.create("t", &["ch"]);
    eventually("the first knows", || !first.ports("t").is_empty());
    let addresses = json!([second.tcp().to_string()]).to_string();
    let reply = request(nsqd.http(), "PUT", "/config/nsqlookupd_tcp_addresses", addresses.as_bytes());
    assert_eq!(reply.ok().json(), json!([second.tcp().to_string()]));
    eventually("the second knows", || !second.ports("t").is_empty());
    eventually("the first has forgotten", || first.ports("t").is_empty());
}

#[test]
fn a_tombstoned_nsqd_is_hidden_for_that_topic_only() {
    let lookupd = Lookupd::start();
    let nsqd = registered_with(&lookupd);
    nsqd.create("t", &[]);
    nsqd.create("u", &[]);
    eventually("both are found", || !lookupd.ports("t").is_empty() && !lookupd.ports("u").is_empty());
    lookupd.post(&format!("/topic/tombstone?topic=t&node=127.0.0.1:{}", nsqd.http().port())).ok();
    assert!(lookupd.ports("t").is_empty());
    assert!(!lookupd.ports("u").is_empty());
}

#[test]
fn two_nsqds_serve_one_topic_to_a_consumer_of_both() {
    let cluster = Cluster::start();
    for (number, nsqd) in cluster.nsqds.iter().enumerate() {
        nsqd.create("t", &["ch"]);
        nsqd.peer().publish("t", number.to_string());
    }
    eventually("both are found", || cluster.lookupd.ports("t").len() == 2);
    let mut seen = Vec::new();
    for port in cluster.lookupd.ports("t") {
        let address = ([127, 0, 0, 1], port).into();
        let mut peer = harness::Peer::connect(address);
        peer.subscribe("t", "ch");
        peer.ready(1);
        seen.push(peer.expect_message());
    }
    let mut texts: Vec<String> = seen.iter().map(Message::text).collect();
    texts.sort();
    assert_eq!(texts, ["0", "1"]);
}
