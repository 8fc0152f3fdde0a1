//! NsqTopic: a topic that exists on every broker of a cluster.

use kube::{CustomResource, KubeSchema, ResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Durability, LocalRef, cel_unchanged, name};

/// What an NsqTopic asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "nsqube.io",
    version = "v1alpha1",
    kind = "NsqTopic",
    namespaced,
    shortname = "nsqt",
    category = "nsq",
    derive = "PartialEq",
    doc = "A topic that exists on every broker of a cluster.",
    selectable = ".spec.clusterRef.name",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Topic", type_ = "string", json_path = ".spec.topicName"),
    printcolumn(name = "Paused", type_ = "boolean", json_path = ".spec.paused"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Durability", type_ = "string", json_path = ".spec.settings.durability", priority = 1),
    validation = Rule::new("has(self.spec.topicName) || size(self.metadata.name) <= 64")
        .message("metadata.name is too long for a topic (64 characters): set spec.topicName")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(cel_unchanged("topicName"))
        .message("topicName cannot change: create another NsqTopic")
)]
pub struct NsqTopicSpec {
    /// The cluster the topic belongs to. It cannot change.
    #[x_kube(validation = Rule::new("self == oldSelf").message("clusterRef cannot change: create another NsqTopic"))]
    pub cluster_ref: LocalRef,
    /// The name of the topic for NSQ clients, metadata.name if absent. It cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(name::CEL_RULE).message(name::RULE))]
    pub topic_name: Option<String>,
    /// Whether the topic is paused on every broker: it takes messages but gives none to its channels. While
    /// absent, pausing by hand is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// Settings of this topic on every broker, as in {durability: Fsync}. What is absent is left as it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<TopicSettings>,
}

/// Settings of a topic. What is absent is left as it is on the brokers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopicSettings {
    /// What the OK to a publish means for this topic. Memory: the message was accepted and is never synced.
    /// Buffered: it survives a killed process; a power cut may take the last 200 ms. Fsync: it survives a power
    /// cut; publishes that come together share one sync. While absent, a new topic has the level of the cluster
    /// (spec.brokers.config.durability), and a level set by hand is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
}

impl NsqTopic {
    /// The name NSQ clients use.
    pub fn topic_name(&self) -> String {
        self.spec.topic_name.clone().unwrap_or_else(|| self.name_any())
    }
}
