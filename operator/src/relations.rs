//! How resources go together: references that lead somewhere, and one resource for each topic and channel.
//! What a single resource may say is in validate.rs.

use std::collections::BTreeMap;

use kube::ResourceExt as _;

use crate::nearest::nearest;
use crate::plan::ClusterId;
use crate::resources::{ClusterRef, NsqChannel, NsqCluster, NsqTopic, namespace_of};
use crate::validate::Violation;

/// A topic as NSQ's clients see it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TopicKey {
    pub(crate) cluster: ClusterId,
    pub(crate) topic: String,
}

/// NsqTopics by namespace and metadata.name, to follow references.
pub(crate) struct Topics<'a>(BTreeMap<(String, String), &'a NsqTopic>);

impl<'a> Topics<'a> {
    pub(crate) fn new(topics: impl IntoIterator<Item = &'a NsqTopic>) -> Self {
        Self(topics.into_iter().map(|topic| ((namespace_of(topic), topic.name_any()), topic)).collect())
    }

    /// The topic of a channel, or `None` if its reference leads nowhere.
    pub(crate) fn of_channel(&self, channel: &NsqChannel) -> Option<TopicKey> {
        let namespace = namespace_of(channel);
        let spec = &channel.spec;
        match (&spec.topic_ref, &spec.cluster_ref, &spec.topic_name) {
            (Some(topic), ..) => {
                self.0.get(&(namespace, topic.name.clone())).map(|topic| key_of_topic(topic))
            }
            (None, Some(cluster), Some(topic)) => {
                Some(TopicKey { cluster: cluster_of(namespace, cluster), topic: topic.clone() })
            }
            _ => None,
        }
    }
}

/// The topic an NsqTopic stands for.
pub(crate) fn key_of_topic(topic: &NsqTopic) -> TopicKey {
    let cluster = cluster_of(namespace_of(topic), &topic.spec.cluster_ref);
    TopicKey { cluster, topic: topic.topic_name() }
}

/// The cluster an NsqCluster stands for.
pub(crate) fn id_of_cluster(cluster: &NsqCluster) -> ClusterId {
    ClusterId { namespace: namespace_of(cluster), name: cluster.name_any() }
}

/// The cluster that a resource in `namespace` refers to.
pub fn cluster_of(namespace: String, reference: &ClusterRef) -> ClusterId {
    let ClusterRef { name, namespace: other } = reference.clone();
    ClusterId { namespace: other.unwrap_or(namespace), name }
}

/// Resources that want to be the same topic or channel: `(index of the later, index of the first, what they
/// want)`.
pub(crate) fn conflicts<K: Ord>(
    keys: impl IntoIterator<Item = (usize, K)>,
    describe: impl Fn(&K) -> String,
) -> Vec<(usize, usize, String)> {
    let mut first = BTreeMap::new();
    let mut found = Vec::new();
    for (index, key) in keys {
        match first.get(&key) {
            Some(first) => found.push((index, *first, describe(&key))),
            None => {
                first.insert(key, index);
            }
        }
    }
    found
}

/// What is wrong with a reference that leads nowhere. `declared` are the names of that kind that it could
/// have had.
pub(crate) fn dangling(field: &str, kind: &str, reference: &str, declared: &[&str]) -> Violation {
    let hint = match nearest(reference, declared.iter().copied()) {
        Some(name) => format!("did you mean {name:?}?"),
        None if declared.is_empty() => format!("declare an {kind}, in the same namespace"),
        None => format!("declared in the same namespace: {}", declared.join(", ")),
    };
    Violation {
        field: field.to_owned(),
        message: format!("is {reference:?}, but no {kind} of this name is declared"),
        hint: Some(hint),
    }
}
