//! The lookupds: a StatefulSet without volumes, for what they know they are told again; a headless Service by which
//! brokers find each of them, and one by which consumers find any.

use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::names::{self, LOOKUPD_HTTP, LOOKUPD_TCP};
use super::{Child, ChildKind, Inputs, child, pods, selector, template, with};
use crate::plan::flags;
use crate::resources::cluster::{Lookupds, PullPolicy};
use crate::resources::namespace_of;

const COMPONENT: &str = "lookupd";
const GRACE_S: i64 = 30;
/// Seconds from the start of a deletion until SIGTERM: those who keep Services take a moment to hear of it.
const LINGER_S: u32 = 3;

pub(super) fn children(inputs: &Inputs<'_>) -> Vec<Child> {
    let cluster = inputs.cluster.name_any();
    let replicas = inputs.cluster.spec.lookupds.replicas;
    let make = |kind, name, body| child(inputs, kind, name, COMPONENT, body);
    let service = |more: Value| {
        let mut body = json!({ "spec": {
            "type": "ClusterIP",
            "selector": selector(inputs.cluster, COMPONENT),
            "ports": [
                { "name": "tcp", "port": LOOKUPD_TCP, "targetPort": "tcp", "protocol": "TCP" },
                { "name": "http", "port": LOOKUPD_HTTP, "targetPort": "http", "protocol": "TCP" },
            ],
        }});
        super::merge(&mut body, json!({ "spec": more }));
        body
    };
    let mut all = vec![
        make(
            ChildKind::ServiceAccount,
            names::lookupd(&cluster),
            json!({ "automountServiceAccountToken": false }),
        ),
        // Brokers shall know a lookupd before consumers ask it.
        make(
            ChildKind::Service,
            names::lookupds(&cluster),
            service(json!({ "clusterIP": "None", "publishNotReadyAddresses": true })),
        ),
        make(ChildKind::Service, names::lookupd(&cluster), service(json!({}))),
        make(ChildKind::StatefulSet, names::lookupd(&cluster), stateful_set(inputs)),
    ];
    if replicas > 1 {
        let budget = json!({ "spec": {
            "maxUnavailable": 1,
            "selector": { "matchLabels": selector(inputs.cluster, COMPONENT) },
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        }});
        all.push(make(ChildKind::PodDisruptionBudget, names::lookupd(&cluster), budget));
    }
    all
}

fn stateful_set(inputs: &Inputs<'_>) -> Value {
    let lookupds = &inputs.cluster.spec.lookupds;
    let template = pod_template(inputs);
    json!({
        "metadata": { "annotations": template::annotations(&template, &template::of_lookupds(inputs.cluster)) },
        "spec": {
            "replicas": lookupds.replicas,
            "serviceName": names::lookupds(&inputs.cluster.name_any()),
            "podManagementPolicy": "Parallel",
            "updateStrategy": { "type": "OnDelete" },
            "minReadySeconds": 1,
            "revisionHistoryLimit": 3,
            "selector": { "matchLabels": selector(inputs.cluster, COMPONENT) },
            "template": template,
        },
    })
}

fn pod_template(inputs: &Inputs<'_>) -> Value {
    let Lookupds { scheduling, pod, .. } = &inputs.cluster.spec.lookupds;
    let mut spec = json!({
        "serviceAccountName": names::lookupd(&inputs.cluster.name_any()),
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": pod.termination_grace_period_seconds.unwrap_or(GRACE_S),
        "securityContext": pods::pod_security(),
        "containers": [container(inputs)],
    });
    super::merge(&mut spec, pods::scheduled(inputs, COMPONENT, scheduling));
    let spec = with(spec, "imagePullSecrets", pods::pull_secrets(inputs));
    json!({ "metadata": pods::metadata(inputs, COMPONENT, pod), "spec": spec })
}

fn container(inputs: &Inputs<'_>) -> Value {
    let lookupds = &inputs.cluster.spec.lookupds;
    let image = lookupds.image.clone().unwrap_or_else(|| inputs.images.lookupd.clone());
    let resources = lookupds.resources.as_ref().map_or_else(
        || json!({ "requests": { "cpu": "20m", "memory": "32Mi" }, "limits": { "memory": "128Mi" } }),
        |resources| json!(resources),
    );
    let container = json!({
        "name": "nsqlookupd",
        "image": image,
        "command": ["/nsqlookupd"],
        "args": arguments(inputs),
        "env": pods::identity(),
        "ports": [
            { "name": "tcp", "containerPort": LOOKUPD_TCP, "protocol": "TCP" },
            { "name": "http", "containerPort": LOOKUPD_HTTP, "protocol": "TCP" },
        ],
        "resources": resources,
        "securityContext": pods::container_security(),
        "readinessProbe": pods::probe("/ping", 2, 2),
        "livenessProbe": pods::probe("/ping", 10, 6),
        "lifecycle": { "preStop": { "sleep": { "seconds": LINGER_S } } },
    });
    let policy = lookupds.image_pull_policy.map(PullPolicy::name).map(|name| json!(name));
    with(container, "imagePullPolicy", policy)
}

fn arguments(inputs: &Inputs<'_>) -> Vec<String> {
    let (cluster, namespace) = (inputs.cluster.name_any(), namespace_of(inputs.cluster));
    let address = format!("$(POD_NAME).{}.{namespace}.svc", names::lookupds(&cluster));
    let own = [("broadcast-address".to_owned(), address), ("log-format".to_owned(), "json".to_owned())];
    let wanted = flags::of_lookupd(&inputs.cluster.spec.lookupds.config);
    own.iter().chain(&wanted).map(|(flag, value)| format!("--{flag}={value}")).collect()
}
