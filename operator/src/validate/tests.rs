//! One table per kind: the spec, and the fields that are wrong with what is said about them.

use kube::CustomResourceExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Violation, channel, cluster, topic};

#[track_caller]
fn check<K>(validate: fn(&K) -> Vec<Violation>, metadata: Value, spec: Value, expected: &[&str])
where
    K: CustomResourceExt + DeserializeOwned,
{
    let (api, kind) = (crate::resources::API_VERSION, K::crd().spec.names.kind);
    let object = json!({ "apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec });
    let resource: K = serde_json::from_value(object.clone()).unwrap();
    let found: Vec<String> =
        validate(&resource).into_iter().map(|found| format!("{} {}", found.field, found.message)).collect();
    assert_eq!(found.len(), expected.len(), "{object}: {found:?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{object}: {found:?}");
    }
}

#[test]
fn an_empty_spec_is_a_cluster() {
    check(cluster, json!({ "name": "quickstart" }), json!({}), &[]);
}

#[test]
fn broker_settings_are_in_range() {
    let table: [(Value, &[&str]); 16] = [
        (json!({ "maxMessageSize": "1Mi", "maxBodySize": 5242880, "messageTimeout": "1m30s" }), &[]),
        (json!({ "heartbeatInterval": {}, "maxChannelConsumers": 0, "logLevel": "warn" }), &[]),
        (
            json!({ "maxMessageSize": "1MB" }),
            &["spec.brokers.config.maxMessageSize is \"1MB\", which is no size"],
        ),
        (json!({ "maxBodySize": 0 }), &["spec.brokers.config.maxBodySize is \"0\", which is out of range"]),
        (
            json!({ "maxBodySize": "2Gi" }),
            &["spec.brokers.config.maxBodySize is \"2Gi\", which is out of range"],
        ),
        (json!({ "durability": "Fsync", "memoryLimit": "16Mi", "minFree": 0 }), &[]),
        (json!({ "memoryLimit": "500Gi", "minFree": "64Gi" }), &[]),
        (
            json!({ "memoryLimit": 16777215 }),
            &["spec.brokers.config.memoryLimit is \"16777215\", which is out of range"],
        ),
        (
            json!({ "memoryLimit": "64MiB", "minFree": "5%" }),
            &[
                "spec.brokers.config.memoryLimit is \"64MiB\", which is no size",
                "spec.brokers.config.minFree is \"5%\", which is no size",
            ],
        ),
        (
            json!({ "messageTimeout": "60" }),
            &["spec.brokers.config.messageTimeout is \"60\", which is no duration"],
        ),
        (
            json!({ "messageTimeout": "0s" }),
            &["spec.brokers.config.messageTimeout is \"0s\", which is too short"],
        ),
        (json!({ "maxMessageTimeout": "1d" }), &["spec.brokers.config.maxMessageTimeout"]),
        (json!({ "maxRequeueTimeout": "-1h" }), &["spec.brokers.config.maxRequeueTimeout"]),
        (json!({ "heartbeatInterval": { "max": "999ms" } }), &["spec.brokers.config.heartbeatInterval.max"]),
        (
            json!({ "extraFlags": { "sync-every": "1", "tls-cert": "x", "msg-timeout": "1s", "--a": "b" } }),
            &[
                "spec.brokers.config.extraFlags.--a is no name of a flag",
                "spec.brokers.config.extraFlags.msg-timeout has a field of its own",
                "spec.brokers.config.extraFlags.tls-cert belongs to the operator",
            ],
        ),
        (
            json!({ "extraFlags": { "msg-timeout=1s": "" } }),
            &["spec.brokers.config.extraFlags.msg-timeout=1s is no name"],
        ),
    ];
    for (config, expected) in table {
        check(cluster, json!({ "name": "c" }), json!({ "brokers": { "config": config } }), expected);
    }
}

#[test]
fn lookupd_settings_are_in_range() {
    let spec = |config: Value| json!({ "lookupds": { "config": config } });
    let name = json!({ "name": "c" });
    check(
        cluster,
        name.clone(),
        spec(json!({ "tombstoneLifetime": "0s", "inactiveProducerTimeout": "5m" })),
        &[],
    );
    let expected = ["spec.lookupds.config.inactiveProducerTimeout", "spec.lookupds.config.tombstoneLifetime"];
    check(
        cluster,
        name,
        spec(json!({ "inactiveProducerTimeout": "0s", "tombstoneLifetime": "x" })),
        &expected,
    );
}

#[test]
fn traces_go_to_a_url_and_are_a_share() {
    let spec = |tracing: Value| json!({ "observability": { "tracing": tracing } });
    let check = |endpoint: &str, ratio: &str, expected: &[&str]| {
        let tracing = json!({ "endpoint": endpoint, "samplingRatio": ratio });
        check(cluster, json!({ "name": "c" }), spec(tracing), expected);
    };
    let (endpoint, ratio) =
        ("spec.observability.tracing.endpoint", "spec.observability.tracing.samplingRatio");
    check("http://collector:4318", "0.01", &[]);
    check("https://a/base", "1", &[]);
    check("http://a?b", "0", &[endpoint]);
    check("http://user:secret@a", "1.01", &[endpoint, ratio]);
    check("collector:4317", "often", &[endpoint, ratio]);
    check("http://", "-1", &[endpoint, ratio]);
}

#[test]
fn names_of_clusters_can_become_names_of_services() {
    let table = [("a", true), ("A", false), ("a.b", false), ("1a", false), ("a-", false), ("", false)];
    let long = ["c".repeat(40), "c".repeat(41)];
    let lengths = [(long[0].as_str(), true), (long[1].as_str(), false)];
    for (name, is_legal) in table.into_iter().chain(lengths) {
        let expected: &[&str] = if is_legal { &[] } else { &["metadata.name"] };
        check(cluster, json!({ "name": name }), json!({}), expected);
    }
    check(cluster, json!({ "name": "a", "namespace": "A" }), json!({}), &["metadata.namespace"]);
}

#[test]
fn topics_have_names_nsq_takes() {
    let spec = |name: &str| json!({ "clusterRef": { "name": "c" }, "topicName": name });
    check(topic, json!({ "name": "t" }), spec("Orders.created"), &[]);
    check(
        topic,
        json!({ "name": "t" }),
        spec("orders#ephemeral"),
        &["spec.topicName is \"orders#ephemeral\""],
    );
    check(topic, json!({ "name": "t" }), spec(""), &["spec.topicName is \"\""]);
    let long = json!({ "name": "t".repeat(65) });
    check(
        topic,
        long.clone(),
        json!({ "clusterRef": { "name": "c" } }),
        &["metadata.name has more than the 64"],
    );
    check(topic, long, spec("t"), &[]);
}

#[test]
fn channels_name_their_topic_once() {
    let reference = json!({ "name": "x" });
    let table: [(Value, &[&str]); 7] = [
        (json!({ "topicRef": reference }), &[]),
        (json!({ "clusterRef": reference, "topicName": "t" }), &[]),
        (json!({}), &["spec does not say which topic"]),
        (json!({ "clusterRef": reference }), &["spec has clusterRef but no topicName"]),
        (json!({ "topicName": "t" }), &["spec has topicName but no clusterRef"]),
        (json!({ "topicRef": reference, "topicName": "t" }), &["spec has topicRef and also"]),
        (
            json!({ "clusterRef": reference, "topicName": "a b", "channelName": "c d" }),
            &["spec.channelName is \"c d\"", "spec.topicName is \"a b\""],
        ),
    ];
    for (spec, expected) in table {
        check(channel, json!({ "name": "ch" }), spec, expected);
    }
}
