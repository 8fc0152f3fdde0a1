//! Consumers that say in which zone and region they are.

use harness::{Nsqd, Peer};
use serde_json::json;

fn consumer(nsqd: &Nsqd, zone: &str, region: &str, ready: u64) -> Peer {
    let mut peer = nsqd.peer();
    peer.identify(json!({ "topology_zone": zone, "topology_region": region }));
    peer.subscribe("t", "ch");
    peer.ready(ready);
    peer
}

fn counts(nsqd: &Nsqd) -> [Option<u64>; 3] {
    let channel = nsqd.channel("t", "ch");
    ["zone_local_msg_count", "region_local_msg_count", "global_msg_count"].map(|key| channel[key].as_u64())
}

#[test]
fn messages_stay_in_the_zone_then_in_the_region_as_long_as_somebody_takes_them() {
    let place = ["--topology-zone=z1", "--topology-region=r1"];
    let nsqd = Nsqd::with(&["--enable-experiment=topology-aware-consumption", place[0], place[1]]);
    nsqd.create("t", &["ch"]);
    let mut elsewhere = consumer(&nsqd, "z9", "r9", 9);
    let mut nowhere = consumer(&nsqd, "", "", 0);
    let mut region = consumer(&nsqd, "z2", "r1", 1);
    let mut zone = consumer(&nsqd, "z1", "r1", 2);
    nsqd.eventually_channel("t", "ch", &[("client_count", 4)]);
    // Each is ready when its RDY was read, which a reply to what it sends behind shows.
    for peer in [&mut elsewhere, &mut nowhere, &mut region, &mut zone] {
        peer.publish("other", "x");
    }
    nsqd.peer().publish_all("t", &["a", "b", "c", "d"]);
    assert_eq!(zone.expect_messages(2).len(), 2);
    assert_eq!(region.expect_messages(1).len(), 1);
    assert_eq!(elsewhere.expect_messages(1).len(), 1);
    assert_eq!(counts(&nsqd), [Some(2), Some(1), Some(1)]);
    nowhere.ready(1);
    nowhere.publish("other", "x");
    nsqd.peer().publish_all("t", &["e", "f"]);
    assert_eq!(elsewhere.expect_messages(1).len() + nowhere.expect_messages(1).len(), 2);
    assert_eq!(counts(&nsqd), [Some(2), Some(1), Some(3)]);
}

#[test]
fn without_the_experiment_everything_is_global_and_a_count_of_none_is_not_shown() {
    let nsqd = Nsqd::with(&["--topology-zone=z1"]);
    nsqd.create("t", &["ch"]);
    assert_eq!(counts(&nsqd), [None; 3]);
    let mut zone = consumer(&nsqd, "z1", "", 1);
    nsqd.peer().publish("t", "x");
    zone.expect_message();
    assert_eq!(counts(&nsqd), [None, None, Some(1)]);
}
