//! Topics and channels: declared before the first message, kept as declared, told apart when two want the same, and
//! deleted on brokers only as their resources say.

use std::time::{Duration, Instant};

use harness::{eventually, request};
use serde_json::json;

use crate::stage::Stage;

const SMALL: &str = "{brokers: {replicas: 2}, lookupds: {replicas: 1}, topics: {resyncInterval: 5s}}";

#[test]
fn topics_and_channels_are_on_every_broker_and_stay_as_declared() {
    let Some(stage) = Stage::set(31) else { return };
    stage.declare(
        "NsqTopic",
        "orders",
        "{clusterRef: {name: prod}, topicName: Orders.created, settings: {durability: Fsync}}",
    );
    stage.declare("NsqChannel", "billing", "{topicRef: {name: orders}, paused: true}");
    stage.declare("NsqChannel", "free", "{clusterRef: {name: prod}, topicName: undeclared}");
    stage.becomes("nsqtopics/orders", "Ready", "False", "ClusterNotFound");
    stage.cluster(SMALL);
    for what in ["nsqtopics/orders", "nsqchannels/billing", "nsqchannels/free"] {
        stage.becomes(what, "Ready", "True", "Declared");
    }
    for broker in 0..2 {
        let topic = stage.topic(broker, "Orders.created").unwrap();
        assert_eq!(
            (&topic["durability"], &topic["channels"][0]["channel_name"]),
            (&json!("fsync"), &json!("billing"))
        );
        assert_eq!(topic["channels"][0]["paused"], true);
        assert_eq!(stage.topic(broker, "undeclared").unwrap()["channels"][0]["channel_name"], "free");
    }
    let unpause = "/channel/unpause?topic=Orders.created&channel=billing";
    request(stage.broker(0), "POST", unpause, b"").ok();
    eventually("the broker pauses it again", || {
        stage.topic(0, "Orders.created").is_some_and(|topic| topic["channels"][0]["paused"] == true)
    });
    stage.declare("NsqChannel", "billing", "{topicRef: {name: orders}, paused: true, driftPolicy: Report}");
    stage.becomes("nsqchannels/billing", "Synced", "True", "AllBrokers");
    request(stage.broker(0), "POST", unpause, b"").ok();
    stage.becomes("nsqchannels/billing", "Synced", "False", "Drifted");
    println!("{}", stage.kube.kubectl(&["get", "nsqc,nsqt,nsqch"]));
    println!("{}", stage.kube.kubectl(&["describe", "nsqch", "billing"]));
}

#[test]
fn the_oldest_has_the_name_and_the_deletion_of_the_other_touches_nothing() {
    let Some(stage) = Stage::set(32) else { return };
    stage.cluster(SMALL);
    stage.declare("NsqTopic", "first", "{clusterRef: {name: prod}, topicName: t}");
    stage.becomes("nsqtopics/first", "Ready", "True", "Declared");
    // Kubernetes knows ages in seconds; of two that are as old the UID decides.
    let made = Instant::now();
    eventually("it is a second older", || made.elapsed() > Duration::from_millis(1100));
    stage.publish(0, "t", "kept");
    stage.declare("NsqTopic", "second", "{clusterRef: {name: prod}, topicName: t, deletionPolicy: Delete}");
    stage.becomes("nsqtopics/second", "Ready", "False", "Conflict");
    stage.kube.kubectl(&["delete", "nsqt", "second", "--timeout=20s"]);
    assert_eq!(stage.topic(0, "t").unwrap()["depth"], 1);
}

#[test]
fn a_deletion_leaves_deletes_or_waits_as_the_resource_says() {
    let Some(stage) = Stage::set(33) else { return };
    stage.cluster(SMALL);
    for (name, policy) in [("stays", "Retain"), ("goes", "Delete"), ("waits", "DeleteIfEmpty")] {
        stage.declare("NsqTopic", name, &format!("{{clusterRef: {{name: prod}}, deletionPolicy: {policy}}}"));
        stage.becomes(&format!("nsqtopics/{name}"), "Ready", "True", "Declared");
        stage.publish(1, name, "one");
    }
    assert!(stage.of("nsqtopics/stays").unwrap()["metadata"].get("finalizers").is_none());
    stage.kube.kubectl(&["delete", "nsqt", "stays", "goes", "--timeout=20s"]);
    assert_eq!(stage.topic(1, "stays").unwrap()["depth"], 1);
    assert!(stage.topic(1, "goes").is_none());
    stage.kube.kubectl(&["delete", "nsqt", "waits", "--wait=false"]);
    stage.becomes("nsqtopics/waits", "DeletionBlocked", "True", "NotEmpty");
    assert_eq!(stage.topic(1, "waits").unwrap()["depth"], 1);
    request(stage.broker(1), "POST", "/topic/empty?topic=waits", b"").ok();
    eventually("it goes once it is empty", || stage.of("nsqtopics/waits").is_none());
    assert!(stage.topic(1, "waits").is_none());
}

#[test]
fn a_namespace_goes_with_everything_in_it() {
    let Some(stage) = Stage::set(34) else { return };
    stage.cluster(
        "{brokers: {replicas: 1}, lookupds: {replicas: 1}, topics: {allowedNamespaces: {from: All}}}",
    );
    stage.kube.kubectl(&["create", "namespace", "shop"]);
    stage.kube.apply(
        "{apiVersion: nsqube.io/v1alpha1, kind: NsqTopic, metadata: {name: t, namespace: shop}, spec: {clusterRef: {name: prod, \
         namespace: default}, deletionPolicy: Delete}}",
    );
    let path = "/apis/nsqube.io/v1alpha1/namespaces/shop/nsqtopics/t";
    eventually("the topic of another namespace is declared", || {
        let topic = stage.kube.get(path).unwrap();
        harness::kube::condition(&topic, "Ready") == Some(("True", "Declared"))
            && topic.pointer("/metadata/finalizers").is_some()
    });
    stage.kube.kubectl(&["delete", "namespace", "shop", "--timeout=30s"]);
    assert!(stage.topic(0, "t").is_none());
    // Without its cluster nothing waits either.
    stage.declare("NsqTopic", "t2", "{clusterRef: {name: prod}, deletionPolicy: Delete}");
    stage.becomes("nsqtopics/t2", "Ready", "True", "Declared");
    stage.kube.kubectl(&["delete", "nsqc", "prod", "--timeout=20s"]);
    stage.kube.kubectl(&["delete", "nsqt", "t2", "--timeout=20s"]);
}
