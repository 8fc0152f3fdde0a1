//! NsqTopic: a topic that exists on every broker of a cluster.

use kube::{CustomResource, KubeSchema, ResourceExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ClusterRef, DeletionPolicy, DriftPolicy, Durability, NsqTopicStatus, cel_unchanged, name};

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
    status = "NsqTopicStatus",
    selectable = ".spec.clusterRef.name",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name"),
    printcolumn(name = "Topic", type_ = "string", json_path = ".status.topicName"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Brokers", type_ = "string", json_path = ".status.brokers"),
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
    pub cluster_ref: ClusterRef,
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
    /// What becomes of the topic when this resource is deleted. Retain: it stays on the brokers with its messages.
    /// DeleteIfEmpty: it goes as soon as it holds no message; until then this resource stays and says why. Delete:
    /// it goes with its messages.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// What brokers do when somebody pauses the topic or changes its settings by hand. Enforce: they set it back.
    /// Report: they leave it, and the condition Synced says so. Absent: as the cluster says (spec.topics.driftPolicy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_policy: Option<DriftPolicy>,
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
