//! A cluster from its first `kubectl apply`: its children, what becomes of them when somebody changes them, and how new
//! settings reach its brokers.

use std::time::Duration;

use harness::{eventually, eventually_within};
use serde_json::{Value, json};

use crate::stage::{Stage, operator};
use harness::kube::condition;

const CORE: &str = "/api/v1/namespaces/default";
const APPS: &str = "/apis/apps/v1/namespaces/default";

/// All that the operator writes, by its version; of StatefulSets by their generation, as the status of those is written
/// by the controller manager, which may be a moment behind.
fn versions(stage: &Stage) -> Vec<(String, String)> {
    let lists = [
        format!("{APPS}/statefulsets"),
        format!("{CORE}/services"),
        format!("{CORE}/configmaps"),
        format!("{CORE}/serviceaccounts"),
        format!("{CORE}/secrets"),
        "/apis/policy/v1/namespaces/default/poddisruptionbudgets".to_owned(),
        "/apis/nsqube.io/v1alpha1/nsqclusters".to_owned(),
        "/apis/nsqube.io/v1alpha1/nsqtopics".to_owned(),
    ];
    let mut all = Vec::new();
    for list in lists {
        let found = stage.kube.get(&list).unwrap();
        for item in found["items"].as_array().unwrap() {
            let text = |at: &str| item.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
            let version = match item.pointer("/metadata/generation") {
                Some(generation) if list.starts_with(APPS) => generation.to_string(),
                _ => text("/metadata/resourceVersion"),
            };
            all.push((format!("{list}/{}", text("/metadata/name")), version));
        }
    }
    all
}

#[test]
fn an_empty_spec_becomes_a_cluster_that_serves_and_is_then_left_alone() {
    let Some(stage) = Stage::set(21) else { return };
    stage.cluster("{topics: {resyncInterval: 5s}}");
    stage.declare("NsqTopic", "orders", "{clusterRef: {name: prod}}");
    stage.becomes("nsqtopics/orders", "Ready", "True", "Declared");
    println!("{}", stage.kube.kubectl(&["get", "nsqc,nsqt,sts,pods,svc,cm,pdb"]));
    stage.publish(0, "orders", "hello");
    // Several looks later nothing was written, and nobody was asked to write anything.
    let looks = || stage.figure("nsq_operator_reconcile_total{result=\"ok\"}");
    let settled = looks();
    eventually("two looks at a cluster that is at rest", || looks() >= settled + 2);
    let (before, written, from) = (versions(&stage), stage.writes(), looks());
    eventually("two more looks", || looks() >= from + 2);
    assert_eq!(versions(&stage), before);
    assert_eq!(stage.writes(), written, "{}", stage.operator.log());
}

#[test]
fn what_somebody_deletes_or_changes_comes_back() {
    let Some(stage) = Stage::set(22) else { return };
    stage.cluster("{brokers: {replicas: 2}, lookupds: {replicas: 1}}");
    let pods = |stage: &Stage| {
        let list = stage.kube.get(&format!("{CORE}/pods")).unwrap();
        let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap().to_owned();
        list["items"].as_array().unwrap().iter().map(uid).collect::<Vec<_>>()
    };
    let before = pods(&stage);
    let children = [
        format!("{CORE}/services/prod-broker"),
        format!("{CORE}/services/prod-brokers"),
        format!("{CORE}/services/prod-lookupds"),
        format!("{CORE}/configmaps/prod-topology"),
        format!("{CORE}/serviceaccounts/prod-broker"),
        "/apis/policy/v1/namespaces/default/poddisruptionbudgets/prod-broker".to_owned(),
    ];
    let secret = format!("{CORE}/secrets/prod-control");
    let token = stage.kube.get(&secret).unwrap()["data"].clone();
    stage.kube.delete_now(&secret);
    for child in &children {
        let uid = stage.kube.get(child).unwrap()["metadata"]["uid"].clone();
        stage.kube.delete_now(child);
        eventually(&format!("{child} is back"), || {
            stage.kube.get(child).is_some_and(|found| found["metadata"]["uid"] != uid)
        });
    }
    // Nobody may watch Secrets; each look reads its own.
    eventually("the Secret is back as it was", || {
        stage.kube.get(&secret).is_some_and(|found| found["data"] == token)
    });
    // Pods of a StatefulSet that is deleted without them belong to the next one.
    stage.kube.kubectl(&["delete", "sts", "prod-broker", "--cascade=orphan"]);
    let set = format!("{APPS}/statefulsets/prod-broker");
    eventually("the StatefulSet is back and has its pods", || {
        stage.kube.get(&set).is_some_and(|set| set["status"]["readyReplicas"] == 2)
    });
    let service = format!("{CORE}/services/prod-broker");
    stage.kube.merge(&service, &json!({ "spec": { "selector": { "nsqube.io/component": "lookupd" } } }));
    eventually("the Service selects brokers again", || {
        stage.kube.get(&service).unwrap()["spec"]["selector"]["nsqube.io/component"] == "broker"
    });
    assert_eq!(pods(&stage), before, "no pod was restarted");
}

#[test]
fn what_is_wanted_no_longer_goes_and_volumes_stay() {
    let Some(stage) = Stage::set(23) else { return };
    stage.cluster("{brokers: {replicas: 2}, lookupds: {replicas: 1}, networkPolicy: {enabled: true}}");
    let policy = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/prod-broker";
    assert!(stage.kube.get(policy).is_some());
    stage.declare(
        "NsqCluster",
        "prod",
        "{brokers: {replicas: 2}, lookupds: {replicas: 1}, networkPolicy: {enabled: false}}",
    );
    eventually("the NetworkPolicy is gone", || stage.kube.get(policy).is_none());
    stage.publish(0, "orders", "kept");
    stage.kube.kubectl(&["delete", "nsqc", "prod"]);
    let set = format!("{APPS}/statefulsets/prod-broker");
    // Garbage is collected by kind, and new kinds are found every 30 s.
    eventually_within(Duration::from_secs(90), "the brokers are gone", || {
        stage.kube.get(&set).is_none() && stage.kube.get(&format!("{CORE}/pods/prod-broker-0")).is_none()
    });
    assert!(stage.kube.get(&format!("{CORE}/persistentvolumeclaims/data-prod-broker-0")).is_some());
    stage.cluster("{brokers: {replicas: 2}, lookupds: {replicas: 1}}");
    assert_eq!(stage.topic(0, "orders").unwrap()["depth"], 1, "every message is back");
}

#[test]
fn new_settings_reach_one_broker_at_a_time() {
    let Some(stage) = Stage::set(24) else { return };
    let with = |level: &str| {
        format!(
            "{{brokers: {{replicas: 3, rollout: {{minReadySeconds: 0}}, config: {{logLevel: {level}}}}}, lookupds: {{replicas: 1}}}}"
        )
    };
    stage.cluster(&with("info"));
    stage.declare("NsqCluster", "prod", &with("debug"));
    let mut most_away = 0;
    eventually("all brokers run the new settings", || {
        let away = (0..3).filter(|at| {
            let pod = stage.kube.get(&format!("{CORE}/pods/prod-broker-{at}"));
            pod.is_none_or(|pod| condition(&pod, "Ready").is_none_or(|(is, _)| is != "True"))
        });
        most_away = most_away.max(away.count());
        let cluster = stage.of("nsqclusters/prod").unwrap();
        cluster["status"]["observedGeneration"] == cluster["metadata"]["generation"]
            && condition(&cluster, "Ready") == Some(("True", "AllReady"))
    });
    assert_eq!(most_away, 1);
    for at in 0..3 {
        let pod = stage.kube.get(&format!("{CORE}/pods/prod-broker-{at}")).unwrap();
        let arguments = pod["spec"]["containers"][0]["args"].to_string();
        assert!(arguments.contains("--log-level=debug"), "{at}: {arguments}");
    }
}

#[test]
fn a_spec_that_cannot_be_is_refused_with_a_sentence_or_stalls() {
    let Some(stage) = Stage::set(25) else { return };
    let table = [
        ("{brokers: {replicas: -1}}", "should be greater than or equal to 0"),
        (
            "{brokers: {config: {extraFlags: {data-path: /x}}}}",
            "extraFlags must not set what the operator sets",
        ),
        ("{topics: {resyncInterval: 1s}}", "resyncInterval is from 5s to 1h"),
        ("{brokers: {config: {durability: Sometimes}}}", "supported values"),
        ("{brokers: {storage: {size: plenty}}}", "should match"),
        ("{brokres: {}}", "unknown field"),
    ];
    for (spec, expected) in table {
        let yaml = format!(
            "{{apiVersion: nsqube.io/v1alpha1, kind: NsqCluster, metadata: {{name: wrong}}, spec: {spec}}}"
        );
        let (ok, said) = stage.kube.try_apply(&yaml);
        assert!(!ok && said.contains(expected), "{spec}: {said}");
    }
    // What only the operator can see: a volume that is too small for nsqd.
    stage.declare("NsqCluster", "prod", "{brokers: {storage: {size: 1Mi}}}");
    stage.becomes("nsqclusters/prod", "Stalled", "True", "InvalidSpec");
    assert!(stage.kube.get(&format!("{APPS}/statefulsets/prod-broker")).is_none(), "nothing is half built");
    let table = stage.kube.kubectl(&["get", "nsqc"]);
    assert!(table.contains("InvalidSpec"), "{table}");
}

#[test]
fn a_second_operator_waits_and_takes_over() {
    let Some(mut stage) = Stage::set(26) else { return };
    stage.cluster("{brokers: {replicas: 1}, lookupds: {replicas: 1}}");
    let second = operator(&stage.kube);
    let readyz = second.address("HTTP");
    eventually("the second one waits", || {
        harness::request(readyz, "GET", "/readyz", b"").text().contains("waits for the lease")
    });
    // Told to stop, the first gives its lease back: nobody waits for it to expire.
    assert!(stage.operator.terminate().success());
    eventually("the second one leads", || {
        harness::request(readyz, "GET", "/readyz", b"").text().contains("leads")
    });
    stage.operator = second;
    stage.declare("NsqTopic", "orders", "{clusterRef: {name: prod}}");
    stage.becomes("nsqtopics/orders", "Ready", "True", "Declared");
}
