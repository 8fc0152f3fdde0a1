//! What resources say about deletion, drift and other namespaces.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of a topic or channel when its resource is deleted. Retain: it stays on the brokers with its messages,
/// and the resource goes at once. DeleteIfEmpty: it is deleted on every broker as soon as it holds no message; until
/// then the resource stays and says why. Delete: it is deleted with its messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum DeletionPolicy {
    /// It stays on the brokers, with its messages.
    #[default]
    Retain,
    /// It goes when it holds no message.
    DeleteIfEmpty,
    /// It goes with its messages.
    Delete,
}

/// What brokers do when somebody changes by hand what a resource declares. Enforce: they set it back within seconds.
/// Report: they leave it, and the resource says so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum DriftPolicy {
    /// It is set back within seconds.
    #[default]
    Enforce,
    /// It is left, and the resource says so.
    Report,
}

/// Which namespaces may have topics and channels in a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllowedNamespaces {
    /// Same: only the cluster's own. All: every namespace that the operator watches.
    #[serde(default)]
    pub from: From,
}

/// Which namespaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum From {
    /// Only the cluster's own.
    #[default]
    Same,
    /// Every one that the operator watches.
    All,
}
