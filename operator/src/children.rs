//! The objects that make up one cluster on Kubernetes, as JSON to be applied: a pure function of the NsqCluster and of
//! how many brokers there are to be just now. Who applies them, and what becomes of those that are wanted no longer, is
//! elsewhere; volumes are made by the StatefulSet and are nobody's children.

pub mod declared;
pub mod names;
pub mod template;

mod brokers;
mod lookupds;
mod network;
mod pods;

#[cfg(test)]
mod tests;

use kube::ResourceExt as _;
use serde_json::{Map, Value, json};

use crate::resources::{NsqCluster, namespace_of};

/// Label of every child: the cluster's name. Selectors use only labels of ours, since others are labelled by tools.
pub const LABEL_CLUSTER: &str = "nsqube.io/cluster";
/// Label of pods, Services and StatefulSets: `broker` or `lookupd`.
pub const LABEL_COMPONENT: &str = "nsqube.io/component";

/// A kind of child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChildKind {
    /// The identity of pods, which gives them no rights.
    ServiceAccount,
    /// What brokers must have before they open their ports.
    ConfigMap,
    /// Discovery, or one address for all pods that are ready.
    Service,
    /// How many pods may be taken away at once.
    PodDisruptionBudget,
    /// Who may reach which port.
    NetworkPolicy,
    /// By which a Prometheus finds pods.
    PodMonitor,
    /// The pods.
    StatefulSet,
}

impl ChildKind {
    /// Every kind, in the order in which they are applied: pods come last.
    pub const ALL: [Self; 7] = [
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::NetworkPolicy,
        Self::PodMonitor,
        Self::StatefulSet,
    ];

    /// `apiVersion`, `kind`, and the plural in URLs.
    pub fn api(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::ServiceAccount => ("v1", "ServiceAccount", "serviceaccounts"),
            Self::ConfigMap => ("v1", "ConfigMap", "configmaps"),
            Self::Service => ("v1", "Service", "services"),
            Self::PodDisruptionBudget => ("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            Self::NetworkPolicy => ("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
            Self::PodMonitor => ("monitoring.coreos.com/v1", "PodMonitor", "podmonitors"),
            Self::StatefulSet => ("apps/v1", "StatefulSet", "statefulsets"),
        }
    }
}

/// One object to be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// Its kind.
    pub kind: ChildKind,
    /// Its metadata.name.
    pub name: String,
    /// All of it, for a server-side apply.
    pub object: Value,
}

/// What children are made from.
#[derive(Debug, Clone)]
pub struct Inputs<'a> {
    /// As it was read.
    pub cluster: &'a NsqCluster,
    /// The images of a cluster that names none.
    pub images: &'a Images,
    /// How many brokers there are to be just now: more than the cluster asks for while one of them leaves.
    pub brokers: u32,
    /// The namespace that the operator runs in, which alone may reach the brokers' control ports; empty where it runs
    /// outside of Kubernetes.
    pub operator_namespace: &'a str,
}

/// The images the operator was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Of nsqd.
    pub broker: String,
    /// Of nsqlookupd.
    pub lookupd: String,
}

/// Every object the cluster should have, in the order in which they are to be applied.
pub fn children(inputs: &Inputs<'_>) -> Vec<Child> {
    let mut all = brokers::children(inputs);
    all.extend(lookupds::children(inputs));
    all.extend(network::children(inputs));
    all.sort_by_key(|child| child.kind);
    all
}

/// What a child has of itself.
fn child(inputs: &Inputs<'_>, kind: ChildKind, name: String, component: &str, body: Value) -> Child {
    let (api_version, kind_name, _) = kind.api();
    let mut object = json!({
        "apiVersion": api_version,
        "kind": kind_name,
        "metadata": {
            "name": name,
            "namespace": namespace_of(inputs.cluster),
            "labels": labels(inputs.cluster, component),
            "ownerReferences": [owner(inputs.cluster)],
        },
    });
    merge(&mut object, body);
    Child { kind, name, object }
}

/// Labels of a child. `app.kubernetes.io/instance` is not taken from the cluster's own labels, where GitOps tools keep
/// what they track by.
pub fn labels(cluster: &NsqCluster, component: &str) -> Value {
    json!({
        "app.kubernetes.io/name": "nsq",
        "app.kubernetes.io/instance": cluster.name_any(),
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/managed-by": "nsq-operator",
        LABEL_CLUSTER: cluster.name_any(),
        LABEL_COMPONENT: component,
    })
}

/// By which pods are selected: what never changes.
fn selector(cluster: &NsqCluster, component: &str) -> Value {
    json!({ LABEL_CLUSTER: cluster.name_any(), LABEL_COMPONENT: component })
}

/// The same as text, for the scale subresource.
pub fn selector_text(cluster: &NsqCluster, component: &str) -> String {
    format!("{LABEL_CLUSTER}={},{LABEL_COMPONENT}={component}", cluster.name_any())
}

/// Children go with their cluster.
pub fn owner(cluster: &NsqCluster) -> Value {
    json!({
        "apiVersion": crate::resources::API_VERSION,
        "kind": "NsqCluster",
        "name": cluster.name_any(),
        "uid": cluster.metadata.uid.clone().unwrap_or_default(),
        "controller": true,
        "blockOwnerDeletion": true,
    })
}

/// Puts `from` into `into`, field by field.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert_with(|| Value::Object(Map::new())), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// `name: value` where there is a value.
fn with(mut object: Value, name: &str, value: Option<Value>) -> Value {
    if let (Some(fields), Some(value)) = (object.as_object_mut(), value) {
        fields.insert(name.to_owned(), value);
    }
    object
}
