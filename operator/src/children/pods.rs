//! What the pods of brokers and lookupds have in common: nothing they could do any harm with (PodSecurity
//! `restricted`), probes, and being spread over nodes and zones.

use serde_json::{Value, json};

use super::{Inputs, selector};
use crate::resources::pods::{PodSettings, Scheduling};

/// The user of our images; volumes are given to its group.
const USER: u32 = 65532;

/// The security context of a pod.
pub(super) fn pod_security() -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        // A large volume is not walked at each start.
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// The security context of a container.
pub(super) fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    })
}

/// A probe over HTTP.
pub(super) fn probe(path: &str, every_s: u32, failures: u32) -> Value {
    json!({
        "httpGet": { "path": path, "port": "http" },
        "periodSeconds": every_s,
        "timeoutSeconds": 3,
        "failureThreshold": failures,
    })
}

/// The environment by which a pod knows its own name and place.
pub(super) fn identity() -> Value {
    let field = |path: &str| json!({ "fieldRef": { "fieldPath": path } });
    json!([
        { "name": "POD_NAME", "valueFrom": field("metadata.name") },
        { "name": "POD_INDEX", "valueFrom": field("metadata.labels['apps.kubernetes.io/pod-index']") },
    ])
}

/// `scheduling` as fields of a pod.
pub(super) fn scheduled(inputs: &Inputs<'_>, component: &str, scheduling: &Scheduling) -> Value {
    let Scheduling { node_selector, tolerations, affinity, topology_spread_constraints, priority_class_name } =
        scheduling;
    let spread = match topology_spread_constraints.as_slice() {
        [] => spread(inputs, component),
        given => json!(given),
    };
    let mut pod = json!({ "topologySpreadConstraints": spread });
    let mut set = |name: &str, value: Option<Value>| {
        if let (Some(fields), Some(value)) = (pod.as_object_mut(), value) {
            fields.insert(name.to_owned(), value);
        }
    };
    set("nodeSelector", (!node_selector.is_empty()).then(|| json!(node_selector)));
    set("tolerations", (!tolerations.is_empty()).then(|| json!(tolerations)));
    set("affinity", affinity.as_ref().map(|affinity| json!(affinity)));
    set("priorityClassName", priority_class_name.as_ref().map(|name| json!(name)));
    pod
}

/// Over nodes and over zones, where there are several; a small cluster is none the worse for it.
fn spread(inputs: &Inputs<'_>, component: &str) -> Value {
    let over = |key: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": selector(inputs.cluster, component) },
        })
    };
    json!([over("kubernetes.io/hostname"), over("topology.kubernetes.io/zone")])
}

/// Labels and annotations of a pod; those of the operator win.
pub(super) fn metadata(inputs: &Inputs<'_>, component: &str, settings: &PodSettings) -> Value {
    let mut labels = json!(settings.labels);
    super::merge(&mut labels, super::labels(inputs.cluster, component));
    match settings.annotations.is_empty() {
        true => json!({ "labels": labels }),
        false => json!({ "labels": labels, "annotations": settings.annotations }),
    }
}

/// Names of Secrets with credentials of registries.
pub(super) fn pull_secrets(inputs: &Inputs<'_>) -> Option<Value> {
    let secrets = &inputs.cluster.spec.image_pull_secrets;
    (!secrets.is_empty()).then(|| json!(secrets))
}
