//! The CRDs as files, and every CEL rule, evaluated as an API server would.

use kube::CustomResourceExt as _;
use kube::core::cel::Validator;
use serde_json::{Value, json};

use super::{EMBEDDED, crds, schema};
use crate::resources::{NsqChannel, NsqCluster, NsqTopic};

fn messages(schema: &Value, object: &Value, old: Option<&Value>) -> Vec<String> {
    match Validator::new().validate(schema, object, old) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(|error| error.message.clone()).collect(),
    }
}

/// `expected` empty: the rules accept `spec`. Otherwise exactly one rule refuses it, with a message that has
/// this part.
#[track_caller]
fn check<K: kube::CustomResourceExt>(name: &str, spec: Value, old_spec: Option<Value>, expected: &str) {
    let object = |spec: Value| json!({ "metadata": { "name": name }, "spec": spec });
    let found = messages(&schema(&K::crd()), &object(spec.clone()), old_spec.map(object).as_ref());
    if expected.is_empty() {
        assert_eq!(found, Vec::<String>::new(), "{name} {spec}");
    } else {
        assert_eq!(found.len(), 1, "{name} {spec}: {found:?}");
        assert!(found[0].contains(expected), "{name} {spec}: {found:?}");
    }
}

#[test]
fn a_cluster_name_leaves_room_for_the_names_built_from_it() {
    let longest = "c".repeat(40);
    let too_long = "c".repeat(41);
    check::<NsqCluster>("quickstart", json!({}), None, "");
    check::<NsqCluster>(&longest, json!({}), None, "");
    check::<NsqCluster>(&too_long, json!({}), None, "at most 40 characters");
    check::<NsqCluster>("1prod", json!({}), None, "starts with a letter");
    check::<NsqCluster>("prod.eu", json!({}), None, "starts with a letter and has no dots");
}

#[test]
fn extra_flags_cannot_set_what_the_operator_or_a_field_sets() {
    let table = [
        ("sync-every", ""),
        ("statsd-prefix", ""),
        ("data-path", "what the operator sets"),
        ("node-id", "what the operator sets"),
        ("identity", "what the operator sets"),
        ("config", "what the operator sets"),
        ("broadcast-http-port", "what the operator sets"),
        ("lookupd-tcp-address", "what the operator sets"),
        ("tls-cert", "what the operator sets"),
        ("tcp-address", "what the operator sets"),
        ("max-msg-size", "a field of its own"),
        ("max-heartbeat-interval", "a field of its own"),
        ("durability", "a field of its own"),
        ("memory-limit", "a field of its own"),
        ("min-free", "a field of its own"),
        ("--sync-every", "no leading dashes"),
        ("", "no leading dashes"),
    ];
    for (flag, expected) in table {
        let spec = json!({ "brokers": { "config": { "extraFlags": { flag: "1" } } } });
        check::<NsqCluster>("c", spec, None, expected);
    }
}

#[test]
fn names_are_those_of_nsq() {
    let longest = "t".repeat(64);
    let too_long = "t".repeat(65);
    let table =
        [("Orders.created_2-x", ""), (&longest, ""), ("orders#ephemeral", "NSQ name"), ("", "NSQ name")];
    for (name, expected) in table {
        let topic = json!({ "clusterRef": { "name": "c" }, "topicName": name });
        check::<NsqTopic>("t", topic.clone(), None, expected);
        check::<NsqChannel>("ch", topic, None, expected);
        check::<NsqChannel>(
            "ch",
            json!({ "topicRef": { "name": "t" }, "channelName": name }),
            None,
            expected,
        );
    }
    check::<NsqTopic>(&longest, json!({ "clusterRef": { "name": "c" } }), None, "");
    check::<NsqTopic>(&too_long, json!({ "clusterRef": { "name": "c" } }), None, "too long for a topic");
    check::<NsqTopic>(&too_long, json!({ "clusterRef": { "name": "c" }, "topicName": "t" }), None, "");
    check::<NsqChannel>(&too_long, json!({ "topicRef": { "name": "t" } }), None, "too long for a channel");
    check::<NsqChannel>(&too_long, json!({ "topicRef": { "name": "t" }, "channelName": "ch" }), None, "");
}

#[test]
fn a_channel_names_its_topic_exactly_once() {
    let reference = json!({ "name": "x" });
    let table = [
        (json!({ "topicRef": reference }), ""),
        (json!({ "clusterRef": reference, "topicName": "t" }), ""),
        (json!({}), "name the topic once"),
        (json!({ "clusterRef": reference }), "name the topic once"),
        (json!({ "topicName": "t" }), "name the topic once"),
        (json!({ "topicRef": reference, "clusterRef": reference }), "name the topic once"),
        (json!({ "topicRef": reference, "topicName": "t" }), "name the topic once"),
    ];
    for (spec, expected) in table {
        check::<NsqChannel>("ch", spec, None, expected);
    }
}

#[test]
fn what_a_resource_stands_for_cannot_change() {
    let a = json!({ "name": "a" });
    let b = json!({ "name": "b" });
    let topic = |cluster: &Value, rest: Value| {
        let mut spec = rest;
        spec["clusterRef"] = cluster.clone();
        spec
    };
    check::<NsqTopic>("t", topic(&b, json!({})), Some(topic(&a, json!({}))), "clusterRef cannot change");
    let named = topic(&a, json!({ "topicName": "x" }));
    check::<NsqTopic>("t", named.clone(), Some(topic(&a, json!({}))), "topicName cannot change");
    check::<NsqTopic>("t", topic(&a, json!({})), Some(named.clone()), "topicName cannot change");
    check::<NsqTopic>(
        "t",
        topic(&a, json!({ "topicName": "y" })),
        Some(named.clone()),
        "topicName cannot change",
    );
    let settings = json!({ "topicName": "x", "paused": true, "settings": { "durability": "Fsync" } });
    check::<NsqTopic>("t", topic(&a, settings), Some(named), "");

    let by_ref = json!({ "topicRef": a });
    check::<NsqChannel>("ch", json!({ "topicRef": b }), Some(by_ref.clone()), "topicRef cannot change");
    let renamed = json!({ "topicRef": a, "channelName": "x" });
    check::<NsqChannel>("ch", renamed.clone(), Some(by_ref.clone()), "channelName cannot change");
    check::<NsqChannel>("ch", by_ref.clone(), Some(renamed), "channelName cannot change");
    check::<NsqChannel>("ch", json!({ "topicRef": a, "paused": false }), Some(by_ref), "");
    let by_name = json!({ "clusterRef": a, "topicName": "x" });
    let other_topic = json!({ "clusterRef": a, "topicName": "y" });
    check::<NsqChannel>("ch", other_topic, Some(by_name.clone()), "topicName cannot change");
    let other_cluster = json!({ "clusterRef": b, "topicName": "x" });
    check::<NsqChannel>("ch", other_cluster, Some(by_name), "clusterRef cannot change");
}

#[test]
fn a_channel_cannot_go_from_a_reference_to_a_name() {
    let schema = schema(&NsqChannel::crd());
    let object = |spec: Value| json!({ "metadata": { "name": "ch" }, "spec": spec });
    let by_ref = object(json!({ "topicRef": { "name": "a" } }));
    let by_name = object(json!({ "clusterRef": { "name": "a" }, "topicName": "x" }));
    for (new, old) in [(&by_ref, &by_name), (&by_name, &by_ref)] {
        assert_eq!(messages(&schema, new, Some(old)).len(), 3);
    }
}

#[test]
fn levels_are_a_choice_and_each_is_explained() {
    let at = |crd, path: &str| {
        schema(&crd).pointer(&format!("/properties/spec/properties/{path}")).cloned().unwrap()
    };
    for field in [
        at(NsqCluster::crd(), "brokers/properties/config/properties/durability"),
        at(NsqTopic::crd(), "settings/properties/durability"),
    ] {
        assert_eq!(field["enum"], json!(["Memory", "Buffered", "Fsync"]));
        let description = field["description"].as_str().unwrap();
        for part in ["never synced", "a killed process", "the last 200 ms", "survives a power cut"] {
            assert!(description.contains(part), "{part:?} is not in {description:?}");
        }
    }
}

#[test]
fn the_committed_files_are_what_the_types_give() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/crds");
    for (name, text) in crds().unwrap() {
        let committed = std::fs::read_to_string(folder.join(&name)).unwrap_or_default();
        assert!(committed == text, "manifests/crds/{name} is stale: run `cargo xtask crds`");
    }
}

#[test]
fn the_files_are_yaml_that_says_what_the_types_say() {
    for ((name, text), crd) in
        crds().unwrap().into_iter().zip([NsqCluster::crd(), NsqTopic::crd(), NsqChannel::crd()])
    {
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read["metadata"]["name"].as_str().map(|name| format!("{name}.yaml")), Some(name));
        assert_eq!(read["spec"]["versions"][0]["schema"]["openAPIV3Schema"], schema(&crd));
    }
}

#[test]
fn the_files_have_nothing_the_api_server_warns_about_and_fit_into_an_annotation() {
    let mut bytes = 0;
    for (name, text) in crds().unwrap() {
        for word in ["uint", "nullable", "null", "Auto-generated", "\t"] {
            assert!(!text.contains(word), "{name} has {word:?}");
        }
        bytes += text.len();
    }
    // `kubectl apply` keeps the last applied file in an annotation of at most 256 KiB.
    assert!(bytes < 120 * 1024, "{bytes}");
}

#[test]
fn every_rule_is_one_the_api_server_can_afford() {
    // A map or list without a limit makes the API server assume the worst and refuse the whole CRD.
    fn walk(schema: &Value, path: &str) {
        if schema.get("additionalProperties").is_some() {
            assert!(schema.get("maxProperties").is_some(), "{path} needs maxProperties");
        }
        let has_rules = schema.get("x-kubernetes-validations").is_some();
        if has_rules && schema["type"] == "string" {
            assert!(schema.get("maxLength").is_some(), "{path} needs maxLength");
        }
        // Types of Kubernetes itself, on which there are no rules.
        let own = |name: &str| !EMBEDDED.contains(&name);
        for (name, field) in schema["properties"].as_object().into_iter().flatten().filter(|it| own(it.0)) {
            walk(field, &format!("{path}.{name}"));
        }
    }
    for crd in [NsqCluster::crd(), NsqTopic::crd(), NsqChannel::crd()] {
        walk(&schema(&crd), &crd.spec.names.kind);
    }
}

#[test]
fn a_volume_cannot_be_declared_otherwise_later() {
    let old = json!({ "brokers": { "storage": { "size": "20Gi", "ephemeral": false } } });
    let storage = |storage: Value| json!({ "brokers": { "storage": storage } });
    check::<NsqCluster>("c", old.clone(), Some(old.clone()), "");
    for changed in [
        json!({ "size": "30Gi", "ephemeral": false }),
        json!({ "size": "20Gi", "ephemeral": true }),
        json!({ "size": "20Gi", "ephemeral": false, "className": "fast" }),
    ] {
        check::<NsqCluster>("c", storage(changed), Some(old.clone()), "storage cannot change");
    }
}

#[test]
fn brokers_are_asked_neither_all_the_time_nor_never() {
    for (interval, expected) in
        [("5s", ""), ("1h", ""), ("90s", ""), ("4s", "from 5s to 1h"), ("61m", "from 5s to 1h")]
    {
        check::<NsqCluster>("c", json!({ "topics": { "resyncInterval": interval } }), None, expected);
    }
}

#[test]
fn a_topic_and_a_channel_stay_with_their_cluster_namespace_included() {
    let of = |reference: Value| json!({ "clusterRef": reference, "topicName": "t" });
    let old = of(json!({ "name": "c" }));
    for reference in [json!({ "name": "d" }), json!({ "name": "c", "namespace": "other" })] {
        check::<NsqTopic>("t", of(reference.clone()), Some(old.clone()), "clusterRef cannot change");
        check::<NsqChannel>("ch", of(reference), Some(old.clone()), "clusterRef cannot change");
    }
}

#[test]
fn a_resource_that_nobody_looked_at_yet_says_so() {
    for crd in [NsqCluster::crd(), NsqTopic::crd(), NsqChannel::crd()] {
        assert_eq!(schema(&crd)["properties"]["status"]["default"], json!({ "observedGeneration": -1 }));
    }
}
