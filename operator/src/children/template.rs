//! When pods are made anew: only when what the cluster asks for changed. The pods' template is kept beside a digest of
//! what it was made from, so that a newer operator, which would write the same pods otherwise or has newer images, goes
//! on with the old template until somebody says so. Counts are no part of it.

use kube::ResourceExt as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Child;
use crate::resources::NsqCluster;
use crate::resources::cluster::{Brokers, Lookupds, Tracing};

/// Annotation of a StatefulSet: the digest of what its template was made from.
pub const INPUTS: &str = "nsqube.io/inputs";
/// Annotation of a StatefulSet: its template as the operator wrote it.
pub const RENDERED: &str = "nsqube.io/rendered";
/// Annotation of an NsqCluster: the version of the operator whose templates and images it shall have.
pub const APPROVED: &str = "nsqube.io/approve-update";

/// What stays the same while the cluster asks for the same brokers.
pub(super) fn of_brokers(cluster: &NsqCluster) -> Value {
    let Brokers {
        replicas: _,
        // How pods are restarted, not what they are.
        rollout: _,
        config,
        image,
        image_pull_policy,
        resources,
        storage,
        scheduling,
        pod,
    } = &cluster.spec.brokers;
    let mut inputs = json!({
        "cluster": cluster.name_any(), "secrets": cluster.spec.image_pull_secrets, "config": config, "image": image,
        "pull": image_pull_policy, "resources": resources, "ephemeral": storage.ephemeral,
        "scheduling": scheduling, "pod": pod,
    });
    // Who asks for no traces has the digest of a version that knew none.
    let tracing = &cluster.spec.observability.tracing;
    if *tracing != Tracing::default() {
        super::merge(&mut inputs, json!({ "tracing": tracing }));
    }
    inputs
}

/// The same of lookupds.
pub(super) fn of_lookupds(cluster: &NsqCluster) -> Value {
    let Lookupds { replicas: _, config, image, image_pull_policy, resources, scheduling, pod } =
        &cluster.spec.lookupds;
    json!({
        "cluster": cluster.name_any(), "secrets": cluster.spec.image_pull_secrets, "config": config, "image": image,
        "pull": image_pull_policy, "resources": resources, "scheduling": scheduling, "pod": pod,
    })
}

/// The annotations of a StatefulSet with `template`, made from `inputs`.
pub(super) fn annotations(template: &Value, inputs: &Value) -> Value {
    json!({ INPUTS: digest(inputs), RENDERED: template.to_string() })
}

/// Leaves a StatefulSet its old template if nothing but the operator changed, unless `is_approved`. `live` are the
/// annotations of the one that is there. Whether a newer template waits.
pub fn keep(child: &mut Child, live: impl Fn(&str) -> Option<String>, is_approved: bool) -> bool {
    let annotation = |name: &str| child.object.pointer("/metadata/annotations").and_then(|all| all.get(name));
    let is_same = annotation(INPUTS).and_then(Value::as_str) == live(INPUTS).as_deref();
    let Some(old) = live(RENDERED).filter(|_| is_same && !is_approved) else { return false };
    if annotation(RENDERED).and_then(Value::as_str) == Some(old.as_str()) {
        return false;
    }
    let Ok(template) = serde_json::from_str::<Value>(&old) else { return false };
    super::merge(&mut child.object, json!({ "metadata": { "annotations": { RENDERED: old } } }));
    if let Some(spec) = child.object.pointer_mut("/spec").and_then(Value::as_object_mut) {
        spec.insert("template".to_owned(), template);
    }
    true
}

/// Short enough for a label, long enough never to meet another one.
pub fn digest(value: &Value) -> String {
    let bytes = Sha256::digest(value.to_string());
    bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
