//! The three resources of `nsqube.io/v1alpha1` as Rust types; their CRDs are generated from them (crds.rs).
//! A doc comment on a field here is what `kubectl explain` shows. Only fields that have an effect exist.

#![allow(unreachable_pub, reason = "KubeSchema repeats each struct, `pub` included, inside a function")]

pub mod channel;
pub mod cluster;
pub mod durability;
pub mod name;
pub mod pods;
pub mod policy;
pub mod status;
pub mod topic;
pub mod units;

use kube::ResourceExt as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use channel::{NsqChannel, NsqChannelSpec};
pub use cluster::{NsqCluster, NsqClusterSpec};
pub use durability::Durability;
pub use policy::{AllowedNamespaces, DeletionPolicy, DriftPolicy};
pub use status::{NsqChannelStatus, NsqClusterStatus, NsqTopicStatus};
pub use topic::{NsqTopic, NsqTopicSpec, TopicSettings};

/// A reference to a cluster, of the same namespace or of one whose cluster allows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClusterRef {
    /// The metadata.name of the NsqCluster.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace, this resource's own if absent. Another one needs the cluster's leave
    /// (spec.topics.allowedNamespaces).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// The `apiVersion` of all three kinds.
pub const API_VERSION: &str = "nsqube.io/v1alpha1";

/// A reference to a resource of the same namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LocalRef {
    /// The metadata.name of the resource, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The namespace a resource lives in; `default` where it names none.
pub fn namespace_of(resource: &impl kube::Resource) -> String {
    resource.namespace().unwrap_or_else(|| "default".to_owned())
}

/// The CEL rule that an optional field neither changes, appears nor goes; on the struct that has it.
fn cel_unchanged(field: &str) -> String {
    format!(
        "has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"
    )
}
