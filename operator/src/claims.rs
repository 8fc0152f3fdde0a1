//! NsqTopics and NsqChannels as claims on a cluster's topology: what their fields and annotations mean, in one place.

use jiff::Timestamp;
use kube::ResourceExt as _;

use crate::plan::ClusterId;
pub use crate::relations::cluster_of;
use crate::resources::{DeletionPolicy, DriftPolicy, NsqChannel, NsqTopic, namespace_of};
use crate::topology::{Age, ChannelClaim, ChannelOf, Fate, ResourceId, TopicClaim};

/// Annotation: until this moment (RFC 3339) nothing that was changed by hand is set back, for somebody is at work there.
pub const HOLD_UNTIL: &str = "nsqube.io/hold-until";
/// Annotation: `true` lets a resource go that is being deleted, whatever is left on the brokers.
pub const ABANDON: &str = "nsqube.io/abandon";
/// Finalizer of resources whose deletion is to reach the brokers. Resources that leave everything behind have none.
pub const FINALIZER: &str = "nsqube.io/brokers";

/// What a topic asks for. `of_cluster` says what its cluster does about drift.
pub fn topic(topic: &NsqTopic, of_cluster: impl Fn(&ClusterId) -> DriftPolicy, now: Timestamp) -> TopicClaim {
    let spec = &topic.spec;
    let cluster = cluster_of(namespace_of(topic), &spec.cluster_ref);
    let policy = spec.drift_policy.unwrap_or_else(|| of_cluster(&cluster));
    let durability = spec.settings.as_ref().and_then(|settings| settings.durability);
    TopicClaim {
        id: id(topic),
        age: age(topic),
        topic: topic.topic_name(),
        paused: spec.paused,
        durability: durability.map(|level| level.name().to_owned()),
        enforce: policy == DriftPolicy::Enforce && !is_held(topic, now),
        fate: fate(spec.deletion_policy),
        is_going: topic.metadata.deletion_timestamp.is_some(),
        cluster,
    }
}

/// What a channel asks for; `None` if it names no topic, which its schema does not allow.
pub fn channel(
    channel: &NsqChannel,
    of_cluster: impl Fn(Option<&ClusterId>) -> DriftPolicy,
    now: Timestamp,
) -> Option<ChannelClaim> {
    let spec = &channel.spec;
    let of = match (&spec.topic_ref, &spec.cluster_ref, &spec.topic_name) {
        (Some(topic), ..) => ChannelOf::Resource(topic.name.clone()),
        (None, Some(cluster), Some(topic)) => {
            ChannelOf::Topic(cluster_of(namespace_of(channel), cluster), topic.clone())
        }
        _ => return None,
    };
    let cluster = match &of {
        ChannelOf::Topic(cluster, _) => Some(cluster),
        ChannelOf::Resource(_) => None,
    };
    let policy = spec.drift_policy.unwrap_or_else(|| of_cluster(cluster));
    Some(ChannelClaim {
        id: id(channel),
        age: age(channel),
        channel: channel.channel_name(),
        paused: spec.paused,
        enforce: policy == DriftPolicy::Enforce && !is_held(channel, now),
        fate: fate(spec.deletion_policy),
        is_going: channel.metadata.deletion_timestamp.is_some(),
        of,
    })
}

/// Namespace and name.
pub fn id(resource: &impl kube::Resource) -> ResourceId {
    ResourceId { namespace: namespace_of(resource), name: resource.name_any() }
}

/// Whether somebody asked that nothing be set back for now.
pub fn is_held(resource: &impl kube::Resource, now: Timestamp) -> bool {
    let until = resource.annotations().get(HOLD_UNTIL).and_then(|text| text.parse::<Timestamp>().ok());
    until.is_some_and(|until| now < until)
}

/// Whether a resource that is being deleted is to go without anything being done for it.
pub fn is_abandoned(resource: &impl kube::Resource) -> bool {
    resource.annotations().get(ABANDON).is_some_and(|text| text == "true")
}

/// Whether a deletion of the resource has to wait for brokers.
pub fn needs_finalizer(policy: DeletionPolicy) -> bool {
    policy != DeletionPolicy::Retain
}

fn age(resource: &impl kube::Resource) -> Age {
    let created = resource.creation_timestamp().map_or(i64::MAX, |time| time.0.as_second());
    (created, resource.uid().unwrap_or_default())
}

fn fate(policy: DeletionPolicy) -> Fate {
    match policy {
        DeletionPolicy::Retain => Fate::Stays,
        DeletionPolicy::DeleteIfEmpty => Fate::GoesIfEmpty,
        DeletionPolicy::Delete => Fate::Goes,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(value: serde_json::Value) -> NsqTopic {
        serde_json::from_value(value).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_topic_claims_what_its_fields_say() {
        let read = of(json!({
            "apiVersion": "nsqube.io/v1alpha1", "kind": "NsqTopic",
            "metadata": { "name": "orders", "namespace": "shop", "uid": "u",
                "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-02T00:00:00Z" },
            "spec": { "clusterRef": { "name": "prod", "namespace": "msg" }, "paused": true,
                "settings": { "durability": "Fsync" }, "deletionPolicy": "DeleteIfEmpty" },
        }));
        let claim = topic(&read, |_| DriftPolicy::Enforce, at("2026-01-03T00:00:00Z"));
        let expected = TopicClaim {
            id: ResourceId { namespace: "shop".into(), name: "orders".into() },
            age: (1767225600, "u".into()),
            cluster: ClusterId { namespace: "msg".into(), name: "prod".into() },
            topic: "orders".into(),
            paused: Some(true),
            durability: Some("fsync".into()),
            enforce: true,
            fate: Fate::GoesIfEmpty,
            is_going: true,
        };
        assert_eq!(claim, expected);
    }

    #[test]
    fn drift_is_as_the_topic_says_or_else_its_cluster_and_not_while_somebody_is_at_work() {
        let with = |policy: Option<&str>, hold: Option<&str>| {
            let annotations = hold.map(|until| json!({ HOLD_UNTIL: until }));
            of(json!({
                "apiVersion": "nsqube.io/v1alpha1", "kind": "NsqTopic",
                "metadata": { "name": "t", "annotations": annotations },
                "spec": { "clusterRef": { "name": "c" }, "driftPolicy": policy },
            }))
        };
        let now = at("2026-01-03T00:00:00Z");
        let enforced = |read: &NsqTopic, cluster| topic(read, |_| cluster, now).enforce;
        assert!(enforced(&with(None, None), DriftPolicy::Enforce));
        assert!(!enforced(&with(None, None), DriftPolicy::Report));
        assert!(enforced(&with(Some("Enforce"), None), DriftPolicy::Report));
        assert!(!enforced(&with(None, Some("2026-01-03T00:00:01Z")), DriftPolicy::Enforce));
        assert!(enforced(&with(None, Some("2026-01-02T23:59:59Z")), DriftPolicy::Enforce));
        assert!(enforced(&with(None, Some("tomorrow")), DriftPolicy::Enforce));
    }
}
