//! What the operator writes into resources: counts, names, conditions. Figures that change all the time (depths, rates)
//! are not here: each change would be a write to the API server. `/metrics` of the brokers has them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Before the operator looked at a resource for the first time: no generation is -1.
pub const NOT_SEEN: i64 = -1;

/// What the operator saw of a cluster.
#[derive(Debug, Clone, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NsqClusterStatus {
    /// The metadata.generation that this status is about; -1 before the operator's first look.
    #[serde(default = "not_seen")]
    pub observed_generation: i64,
    /// Where the cluster stands. The types and reasons are listed in docs/operator/conditions.md.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The brokers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brokers: Option<Members>,
    /// The lookupds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookupds: Option<Members>,
    /// Where clients find the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// What every broker is to have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topology: Option<TopologyStatus>,
    /// The broker that is on its way out, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
}

impl Default for NsqClusterStatus {
    fn default() -> Self {
        Self {
            observed_generation: NOT_SEEN,
            conditions: Vec::new(),
            brokers: None,
            lookupds: None,
            endpoints: None,
            topology: None,
            drain: None,
        }
    }
}

fn not_seen() -> i64 {
    NOT_SEEN
}

/// How many pods of a kind there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Members {
    /// How many there are.
    #[serde(default)]
    pub replicas: i32,
    /// How many of them are ready.
    #[serde(default)]
    pub ready: i32,
    /// How many of them run what is wanted.
    #[serde(default)]
    pub updated: i32,
    /// Ready ones and wanted ones, as 3/3.
    #[serde(default)]
    pub summary: String,
    /// The labels of their pods, for kubectl scale and autoscalers.
    #[serde(default)]
    pub selector: String,
}

/// Where clients find a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// Host and port to publish to over TCP: any broker that is ready.
    #[serde(default)]
    pub publish: String,
    /// The URL to publish to over HTTP: any broker that is ready.
    #[serde(default)]
    pub publish_http: String,
    /// Hosts and ports of the lookupds' HTTP APIs, for consumers.
    #[serde(default)]
    pub lookupd_http: Vec<String>,
}

/// What every broker is to have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopologyStatus {
    /// Of all declared topics and channels.
    #[serde(default)]
    pub hash: String,
    /// Grows with each change.
    #[serde(default)]
    pub epoch: i64,
    /// Declared topics.
    #[serde(default)]
    pub topics: i64,
    /// Declared channels.
    #[serde(default)]
    pub channels: i64,
    /// Brokers that have all of them.
    #[serde(default)]
    pub brokers_in_sync: i32,
}

/// A broker on its way out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainStatus {
    /// The name of its pod.
    #[serde(default)]
    pub broker: String,
    /// Its place among the brokers, from 0.
    #[serde(default)]
    pub ordinal: i32,
    /// Which drain of that broker.
    #[serde(default)]
    pub epoch: i64,
    /// Messages it still owed when that last became less.
    #[serde(default)]
    pub remaining: i64,
    /// When that was, in Unix seconds.
    #[serde(default)]
    pub progressed_at: i64,
}

/// What the operator saw of a topic.
#[derive(Debug, Clone, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NsqTopicStatus {
    /// The metadata.generation that this status is about; -1 before the operator's first look.
    #[serde(default = "not_seen")]
    pub observed_generation: i64,
    /// Where the topic stands. The types and reasons are listed in docs/operator/conditions.md.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The name of the topic for NSQ clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// On how many brokers it is as declared, of how many, as 3/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brokers: Option<String>,
}

impl Default for NsqTopicStatus {
    fn default() -> Self {
        Self { observed_generation: NOT_SEEN, conditions: Vec::new(), topic_name: None, brokers: None }
    }
}

/// What the operator saw of a channel.
#[derive(Debug, Clone, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NsqChannelStatus {
    /// The metadata.generation that this status is about; -1 before the operator's first look.
    #[serde(default = "not_seen")]
    pub observed_generation: i64,
    /// Where the channel stands. The types and reasons are listed in docs/operator/conditions.md.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The name of its topic for NSQ clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic_name: Option<String>,
    /// The name of the channel for NSQ clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel_name: Option<String>,
    /// On how many brokers it is as declared, of how many, as 3/3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brokers: Option<String>,
}

impl Default for NsqChannelStatus {
    fn default() -> Self {
        let (topic_name, channel_name, brokers) = (None, None, None);
        Self { observed_generation: NOT_SEEN, conditions: Vec::new(), topic_name, channel_name, brokers }
    }
}
