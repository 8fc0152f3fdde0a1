//! What a cluster has only when it asks for it: NetworkPolicies and a PodMonitor.

use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::names::{self, BROKER_CONTROL, BROKER_HTTP, BROKER_TCP, LOOKUPD_HTTP, LOOKUPD_TCP};
use super::{Child, ChildKind, Inputs, LABEL_CLUSTER, child, selector};

pub(super) fn children(inputs: &Inputs<'_>) -> Vec<Child> {
    let cluster = inputs.cluster.name_any();
    let mut all = Vec::new();
    if inputs.cluster.spec.network_policy.enabled {
        let (brokers, lookupds) = (names::broker(&cluster), names::lookupd(&cluster));
        all.push(child(inputs, ChildKind::NetworkPolicy, brokers, "broker", of_brokers(inputs)));
        all.push(child(inputs, ChildKind::NetworkPolicy, lookupds, "lookupd", of_lookupds(inputs)));
    }
    let monitor = &inputs.cluster.spec.observability.pod_monitor;
    if monitor.enabled {
        let mut body = pod_monitor(inputs);
        super::merge(&mut body, json!({ "metadata": { "labels": monitor.labels } }));
        all.push(child(inputs, ChildKind::PodMonitor, cluster, "monitor", body));
    }
    all
}

fn of_brokers(inputs: &Inputs<'_>) -> Value {
    let clients = json!({ "ports": [port(BROKER_TCP), port(BROKER_HTTP)] });
    // Without a namespace the operator runs outside of Kubernetes, where nobody can say from which address.
    let operator = match inputs.operator_namespace {
        "" => json!({ "ports": [port(BROKER_CONTROL)] }),
        namespace => json!({
            "ports": [port(BROKER_CONTROL)],
            "from": [{
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
                "podSelector": { "matchLabels": { "app.kubernetes.io/name": "nsq-operator" } },
            }],
        }),
    };
    policy(inputs, "broker", json!([clients, operator]))
}

fn of_lookupds(inputs: &Inputs<'_>) -> Value {
    let consumers = json!({ "ports": [port(LOOKUPD_HTTP)] });
    let brokers = json!({
        "ports": [port(LOOKUPD_TCP)],
        "from": [{ "podSelector": { "matchLabels": selector(inputs.cluster, "broker") } }],
    });
    policy(inputs, "lookupd", json!([consumers, brokers]))
}

fn policy(inputs: &Inputs<'_>, component: &str, ingress: Value) -> Value {
    json!({ "spec": {
        "podSelector": { "matchLabels": selector(inputs.cluster, component) },
        "policyTypes": ["Ingress"],
        "ingress": ingress,
    }})
}

fn port(port: u16) -> Value {
    json!({ "protocol": "TCP", "port": port })
}

fn pod_monitor(inputs: &Inputs<'_>) -> Value {
    let interval = &inputs.cluster.spec.observability.pod_monitor.interval;
    let interval = interval.as_ref().map_or("30s", |interval| interval.text());
    json!({ "spec": {
        "selector": { "matchLabels": { LABEL_CLUSTER: inputs.cluster.name_any() } },
        "podMetricsEndpoints": [{ "port": "http", "path": "/metrics", "interval": interval }],
    }})
}
