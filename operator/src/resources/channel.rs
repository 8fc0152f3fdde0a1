//! NsqChannel: a channel that exists on every broker of a cluster, of a declared topic or of any other.

use kube::{CustomResource, KubeSchema, ResourceExt as _};
use serde::{Deserialize, Serialize};

use super::{ClusterRef, DeletionPolicy, DriftPolicy, LocalRef, NsqChannelStatus, cel_unchanged, name};

const CEL_ONE_TOPIC: &str = "has(self.topicRef) ? !has(self.clusterRef) && !has(self.topicName) \
     : has(self.clusterRef) && has(self.topicName)";

/// What an NsqChannel asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "nsqube.io",
    version = "v1alpha1",
    kind = "NsqChannel",
    namespaced,
    shortname = "nsqch",
    category = "nsq",
    derive = "PartialEq",
    doc = "A channel of a topic that exists on every broker of a cluster, before the first consumer comes.",
    status = "NsqChannelStatus",
    printcolumn(name = "Topic", type_ = "string", json_path = ".status.topicName"),
    printcolumn(name = "Channel", type_ = "string", json_path = ".status.channelName"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Brokers", type_ = "string", json_path = ".status.brokers"),
    printcolumn(name = "Paused", type_ = "boolean", json_path = ".spec.paused"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.clusterRef.name", priority = 1),
    printcolumn(name = "TopicRef", type_ = "string", json_path = ".spec.topicRef.name", priority = 1),
    validation = Rule::new("has(self.spec.channelName) || size(self.metadata.name) <= 64")
        .message("metadata.name is too long for a channel (64 characters): set spec.channelName")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(CEL_ONE_TOPIC)
        .message("name the topic once: either topicRef, or clusterRef and topicName"),
    validation = Rule::new(cel_unchanged("topicRef"))
        .message("topicRef cannot change: create another NsqChannel"),
    validation = Rule::new(cel_unchanged("clusterRef"))
        .message("clusterRef cannot change: create another NsqChannel"),
    validation = Rule::new(cel_unchanged("topicName"))
        .message("topicName cannot change: create another NsqChannel"),
    validation = Rule::new(cel_unchanged("channelName"))
        .message("channelName cannot change: create another NsqChannel")
)]
pub struct NsqChannelSpec {
    /// The NsqTopic the channel belongs to; with it, clusterRef and topicName stay absent. It cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_ref: Option<LocalRef>,
    /// The cluster of a topic that has no NsqTopic; needs topicName. It cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_ref: Option<ClusterRef>,
    /// The name for NSQ clients of a topic that has no NsqTopic; needs clusterRef. The topic is created if it
    /// does not exist. It cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(name::CEL_RULE).message(name::RULE))]
    pub topic_name: Option<String>,
    /// The name of the channel for NSQ clients, metadata.name if absent. It cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(name::CEL_RULE).message(name::RULE))]
    pub channel_name: Option<String>,
    /// Whether the channel is paused on every broker: it collects messages but gives none to its consumers.
    /// While absent, pausing by hand is left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// What becomes of the channel when this resource is deleted. Retain: it stays on the brokers with its messages.
    /// DeleteIfEmpty: it goes as soon as it holds no message; until then this resource stays and says why. Delete:
    /// it goes with its messages.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// What brokers do when somebody pauses or deletes the channel by hand. Enforce: they set it back. Report: they
    /// leave it, and the condition Synced says so. Absent: as the cluster says (spec.topics.driftPolicy).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_policy: Option<DriftPolicy>,
}

impl NsqChannel {
    /// The name NSQ clients use.
    pub fn channel_name(&self) -> String {
        self.spec.channel_name.clone().unwrap_or_else(|| self.name_any())
    }
}
