//! The brokers: a StatefulSet with a volume for each pod, a headless Service that gives each its name, and a Service for
//! publishers that has only those that are ready.

use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::names::{self, BROKER_CONTROL, BROKER_HTTP, BROKER_TCP, LOOKUPD_TCP};
use super::{Child, ChildKind, Inputs, child, pods, selector, template, with};
use crate::plan::flags;
use crate::resources::cluster::{Brokers, PullPolicy};
use crate::resources::namespace_of;

const COMPONENT: &str = "broker";
const TOKEN_FOLDER: &str = "/etc/nsqube/control";
const TOPOLOGY_FOLDER: &str = "/etc/nsqube/topology";
/// Seconds from the start of a deletion until SIGTERM: those who keep Services take a moment to hear of it.
const LINGER_S: u32 = 3;
const GRACE_S: i64 = 60;

pub(super) fn children(inputs: &Inputs<'_>) -> Vec<Child> {
    let cluster = inputs.cluster.name_any();
    let make = |kind, name, body| child(inputs, kind, name, COMPONENT, body);
    let mut all = vec![
        make(
            ChildKind::ServiceAccount,
            names::broker(&cluster),
            json!({ "automountServiceAccountToken": false }),
        ),
        make(ChildKind::Service, names::brokers(&cluster), headless(inputs)),
        make(ChildKind::Service, names::broker(&cluster), publish(inputs)),
        make(ChildKind::StatefulSet, names::broker(&cluster), stateful_set(inputs)),
    ];
    // With one broker it would keep nodes from being drained for ever.
    if inputs.brokers > 1 {
        let budget = json!({ "spec": {
            "maxUnavailable": 1,
            "selector": { "matchLabels": selector(inputs.cluster, COMPONENT) },
            // A broker that is down anyway may always be taken away.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        }});
        all.push(make(ChildKind::PodDisruptionBudget, names::broker(&cluster), budget));
    }
    all
}

fn ports(with_control: bool) -> Value {
    let mut ports = vec![
        json!({ "name": "tcp", "port": BROKER_TCP, "targetPort": "tcp", "protocol": "TCP" }),
        json!({ "name": "http", "port": BROKER_HTTP, "targetPort": "http", "protocol": "TCP" }),
    ];
    if with_control {
        ports.push(
            json!({ "name": "control", "port": BROKER_CONTROL, "targetPort": "control", "protocol": "TCP" }),
        );
    }
    json!(ports)
}

/// Also those that are not ready: a broker that starts or leaves is still asked for by consumers.
fn headless(inputs: &Inputs<'_>) -> Value {
    json!({ "spec": {
        "type": "ClusterIP",
        "clusterIP": "None",
        "publishNotReadyAddresses": true,
        "selector": selector(inputs.cluster, COMPONENT),
        "ports": ports(true),
    }})
}

fn publish(inputs: &Inputs<'_>) -> Value {
    json!({ "spec": {
        "type": "ClusterIP",
        "selector": selector(inputs.cluster, COMPONENT),
        "ports": ports(false),
    }})
}

fn stateful_set(inputs: &Inputs<'_>) -> Value {
    let brokers = &inputs.cluster.spec.brokers;
    let template = pod_template(inputs);
    let mut set = json!({
        "metadata": { "annotations": template::annotations(&template, &template::of_brokers(inputs.cluster)) },
        "spec": {
            "replicas": inputs.brokers,
            "serviceName": names::brokers(&inputs.cluster.name_any()),
            "podManagementPolicy": "Parallel",
            // Pods are restarted by the operator, one at a time (rollout.rs).
            "updateStrategy": { "type": "OnDelete" },
            "minReadySeconds": brokers.rollout.min_ready_seconds.unwrap_or(5),
            "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Retain", "whenScaled": "Retain" },
            "revisionHistoryLimit": 3,
            "selector": { "matchLabels": selector(inputs.cluster, COMPONENT) },
            "template": template,
        },
    });
    if !brokers.storage.ephemeral {
        super::merge(&mut set, json!({ "spec": { "volumeClaimTemplates": [claim(inputs)] } }));
    }
    set
}

/// Without owner: a cluster that is deleted leaves its messages behind.
fn claim(inputs: &Inputs<'_>) -> Value {
    let storage = &inputs.cluster.spec.brokers.storage;
    let spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": "Filesystem",
        "resources": { "requests": { "storage": storage.size.text() } },
    });
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": "data", "labels": selector(inputs.cluster, COMPONENT) },
        "spec": with(spec, "storageClassName", storage.class_name.as_ref().map(|name| json!(name))),
    })
}

fn image(inputs: &Inputs<'_>) -> String {
    inputs.cluster.spec.brokers.image.clone().unwrap_or_else(|| inputs.images.broker.clone())
}

fn pod_template(inputs: &Inputs<'_>) -> Value {
    let Brokers { storage, scheduling, pod, .. } = &inputs.cluster.spec.brokers;
    let cluster = inputs.cluster.name_any();
    let mut volumes = vec![
        json!({ "name": "control", "secret": { "secretName": names::control(&cluster), "defaultMode": 288 } }),
        // Absent until the operator has written it; the broker says so at /readyz.
        json!({ "name": "topology", "configMap": { "name": names::topology(&cluster), "optional": true } }),
    ];
    if storage.ephemeral {
        volumes.push(json!({ "name": "data", "emptyDir": {} }));
    }
    let mut spec = json!({
        "serviceAccountName": names::broker(&cluster),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": pod.termination_grace_period_seconds.unwrap_or(GRACE_S),
        "securityContext": pods::pod_security(),
        "containers": [container(inputs)],
        "volumes": volumes,
    });
    super::merge(&mut spec, pods::scheduled(inputs, COMPONENT, scheduling));
    let spec = with(spec, "imagePullSecrets", pods::pull_secrets(inputs));
    json!({ "metadata": pods::metadata(inputs, COMPONENT, pod), "spec": spec })
}

fn container(inputs: &Inputs<'_>) -> Value {
    let brokers = &inputs.cluster.spec.brokers;
    let resources = brokers.resources.as_ref().map_or_else(
        || json!({ "requests": { "cpu": "100m", "memory": "256Mi" }, "limits": { "memory": "512Mi" } }),
        |resources| json!(resources),
    );
    let container = json!({
        "name": "nsqd",
        "image": image(inputs),
        "command": ["/nsqd"],
        "args": arguments(inputs),
        "env": pods::identity(),
        "ports": [
            { "name": "tcp", "containerPort": BROKER_TCP, "protocol": "TCP" },
            { "name": "http", "containerPort": BROKER_HTTP, "protocol": "TCP" },
            { "name": "control", "containerPort": BROKER_CONTROL, "protocol": "TCP" },
        ],
        "resources": resources,
        "securityContext": pods::container_security(),
        // A start reads the log again: ten minutes of that are no reason to begin anew.
        "startupProbe": pods::probe("/startupz", 1, 600),
        "readinessProbe": pods::probe("/readyz", 2, 2),
        "livenessProbe": pods::probe("/livez", 10, 6),
        "lifecycle": { "preStop": { "sleep": { "seconds": LINGER_S } } },
        "volumeMounts": [
            { "name": "data", "mountPath": "/data" },
            { "name": "control", "mountPath": TOKEN_FOLDER, "readOnly": true },
            { "name": "topology", "mountPath": TOPOLOGY_FOLDER, "readOnly": true },
        ],
    });
    with(
        container,
        "imagePullPolicy",
        brokers.image_pull_policy.map(PullPolicy::name).map(|name| json!(name)),
    )
}

/// `$(NAME)` is filled in by the kubelet.
fn arguments(inputs: &Inputs<'_>) -> Vec<String> {
    let cluster = inputs.cluster.name_any();
    let namespace = namespace_of(inputs.cluster);
    let own = [
        ("data-path", "/data".to_owned()),
        // The place among the brokers: ids of two brokers never meet.
        ("node-id", "$(POD_INDEX)".to_owned()),
        // The folder of another broker is refused, whatever was mounted.
        ("identity", format!("{namespace}/{cluster}/$(POD_INDEX)")),
        // A name that stays when the pod gets another address.
        ("broadcast-address", format!("$(POD_NAME).{}.{namespace}.svc", names::brokers(&cluster))),
        ("lookupd-tcp-address", format!("{}.{namespace}.svc:{LOOKUPD_TCP}", names::lookupds(&cluster))),
        ("control-address", format!(":{BROKER_CONTROL}")),
        ("control-token-file", format!("{TOKEN_FOLDER}/{}", names::TOKEN_KEY)),
        ("topology-file", TOPOLOGY_FOLDER.to_owned()),
        ("log-format", "json".to_owned()),
    ];
    let wanted = flags::of_broker(&inputs.cluster.spec);
    let is_default = |flag: &str| wanted.iter().all(|(other, _)| other != flag);
    let own = own.into_iter().filter(|(flag, _)| is_default(flag));
    let own = own.map(|(flag, value)| format!("--{flag}={value}"));
    own.chain(wanted.iter().map(|(flag, value)| format!("--{flag}={value}"))).collect()
}
