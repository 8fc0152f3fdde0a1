//! Children of clusters: whole ones as YAML in `snapshots/`, to be read by people; and what must hold for all of them.
//! After a wanted change: `NSQUBE_BLESS=1 cargo test -p operator children`.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use proptest::prelude::*;

use super::template::{APPROVED, INPUTS, RENDERED, keep};
use super::*;

const PRODUCTION: &str = r#"{
    "imagePullSecrets": [{ "name": "registry" }],
    "networkPolicy": { "enabled": true },
    "observability": {
        "podMonitor": { "enabled": true, "labels": { "release": "prometheus" }, "interval": "15s" },
        "tracing": { "endpoint": "http://collector:4318", "samplingRatio": "0.1" }
    },
    "lookupds": { "replicas": 2, "config": { "tombstoneLifetime": "1m" } },
    "brokers": {
        "replicas": 5,
        "image": "example.com/nsqd:1",
        "imagePullPolicy": "Always",
        "resources": { "requests": { "cpu": "2", "memory": "4Gi" }, "limits": { "memory": "4Gi" } },
        "storage": { "size": "200Gi", "className": "fast" },
        "config": { "durability": "Fsync", "maxMessageSize": "2Mi", "extraFlags": { "sync-every": "1000" } },
        "rollout": { "minReadySeconds": 30 },
        "pod": { "labels": { "team": "shop", "nsqube.io/cluster": "other" }, "annotations": { "a": "b" } },
        "scheduling": {
            "nodeSelector": { "disk": "nvme" },
            "tolerations": [{ "key": "dedicated", "operator": "Exists" }],
            "priorityClassName": "high"
        }
    }
}"#;

fn cluster(spec: &str) -> NsqCluster {
    let spec = serde_json::from_str(spec).unwrap();
    let mut cluster = NsqCluster::new("prod", spec);
    cluster.metadata.namespace = Some("msg".to_owned());
    cluster.metadata.uid = Some("1234".to_owned());
    cluster
}

fn made(cluster: &NsqCluster) -> Vec<Child> {
    let images = Images { broker: "nsqube/nsqd:9".to_owned(), lookupd: "nsqube/nsqlookupd:9".to_owned() };
    let brokers = cluster.spec.brokers.replicas;
    children(&Inputs { cluster, images: &images, brokers, operator_namespace: "nsqube-system" })
}

#[track_caller]
fn snapshot(name: &str, spec: &str) {
    let mut text = String::new();
    for child in made(&cluster(spec)) {
        let mut object = child.object;
        // As text it says the same as the template below it.
        if let Some(Value::Object(annotations)) = object.pointer_mut("/metadata/annotations") {
            annotations.remove(RENDERED);
        }
        object.sort_all_objects();
        text.push_str(&format!("---\n{}\n", serde_saphyr::to_string(&object).unwrap().trim_end()));
    }
    let file =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/children/snapshots/{name}.yaml"));
    if std::env::var_os("NSQUBE_BLESS").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == text, "{name}.yaml is not what is made now:\n{text}");
}

#[test]
fn an_empty_spec_is_a_whole_cluster() {
    snapshot("empty-spec", "{}");
}

#[test]
fn a_production_cluster_has_all_that_it_asks_for() {
    snapshot("production", PRODUCTION);
}

#[test]
fn a_small_cluster_for_tests_has_no_volumes_and_nothing_that_keeps_nodes_from_being_drained() {
    snapshot(
        "small",
        r#"{ "brokers": { "replicas": 1, "storage": { "ephemeral": true } }, "lookupds": { "replicas": 1 } }"#,
    );
}

/// Also a field that Kubernetes does not know would be lost on the way there and back.
fn there_and_back<T: serde::Serialize + serde::de::DeserializeOwned>(object: &Value) -> Value {
    serde_json::to_value(serde_json::from_value::<T>(object.clone()).unwrap()).unwrap()
}

#[test]
fn every_field_is_one_that_kubernetes_knows() {
    for spec in ["{}", PRODUCTION] {
        for Child { kind, name, object } in made(&cluster(spec)) {
            let read = match kind {
                ChildKind::ServiceAccount => there_and_back::<ServiceAccount>(&object),
                ChildKind::Service => there_and_back::<Service>(&object),
                ChildKind::PodDisruptionBudget => there_and_back::<PodDisruptionBudget>(&object),
                ChildKind::NetworkPolicy => there_and_back::<NetworkPolicy>(&object),
                ChildKind::StatefulSet => there_and_back::<StatefulSet>(&object),
                ChildKind::ConfigMap | ChildKind::PodMonitor => continue,
            };
            assert_eq!(read, object, "{kind:?} {name}");
        }
    }
}

#[test]
fn every_pod_satisfies_pod_security_restricted() {
    for spec in ["{}", PRODUCTION] {
        let sets = made(&cluster(spec)).into_iter().filter(|child| child.kind == ChildKind::StatefulSet);
        for Child { name, object, .. } in sets {
            let pod = &object["spec"]["template"]["spec"];
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
            assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault", "{name}");
            for field in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(pod.get(field).is_none(), "{name} {field}");
            }
            for container in pod["containers"].as_array().unwrap() {
                let security = &container["securityContext"];
                assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
                assert_eq!(security["capabilities"], json!({ "drop": ["ALL"] }), "{name}");
                assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
                assert!(
                    container["ports"].as_array().unwrap().iter().all(|port| port.get("hostPort").is_none())
                );
            }
            for volume in pod["volumes"].as_array().into_iter().flatten() {
                assert!(["secret", "configMap", "emptyDir"].iter().any(|kind| volume.get(*kind).is_some()));
            }
        }
    }
}

#[test]
fn volumes_are_nobodys_and_all_else_is_the_clusters() {
    for child in made(&cluster(PRODUCTION)) {
        assert_eq!(child.object["metadata"]["ownerReferences"][0]["uid"], "1234", "{}", child.name);
        for claim in child.object["spec"]["volumeClaimTemplates"].as_array().into_iter().flatten() {
            assert!(claim["metadata"].get("ownerReferences").is_none());
        }
    }
}

#[test]
fn labels_that_others_give_pods_do_not_take_them_from_their_cluster() {
    let set =
        made(&cluster(PRODUCTION)).into_iter().find(|child| child.kind == ChildKind::StatefulSet).unwrap();
    let labels = &set.object["spec"]["template"]["metadata"]["labels"];
    assert_eq!((&labels["nsqube.io/cluster"], &labels["team"]), (&json!("prod"), &json!("shop")));
}

/// The StatefulSet of brokers, as `made` makes it from `spec` with this image for clusters that name none.
fn brokers(spec: &str, image: &str) -> Child {
    let cluster = cluster(spec);
    let images = Images { broker: image.to_owned(), lookupd: String::new() };
    let replicas = cluster.spec.brokers.replicas;
    let inputs = Inputs { cluster: &cluster, images: &images, brokers: replicas, operator_namespace: "" };
    let name = names::broker("prod");
    children(&inputs).into_iter().find(|it| it.kind == ChildKind::StatefulSet && it.name == name).unwrap()
}

fn annotation(child: &Child, name: &str) -> Option<String> {
    child.object["metadata"]["annotations"][name].as_str().map(str::to_owned)
}

fn image(child: &Child) -> &str {
    child.object["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap()
}

#[test]
fn a_newer_operator_leaves_pods_as_they_are_until_somebody_says_so() {
    let old = brokers("{}", "nsqd:1");
    let live = |name: &str| annotation(&old, name);
    let mut new = brokers("{}", "nsqd:2");
    assert!(keep(&mut new, live, false), "an update waits");
    assert_eq!(image(&new), "nsqd:1");
    assert_eq!(new, old);
    let mut approved = brokers("{}", "nsqd:2");
    assert!(!keep(&mut approved, live, true));
    assert_eq!(image(&approved), "nsqd:2");
    assert!(APPROVED.starts_with("nsqube.io/"));
}

#[test]
fn a_change_of_the_cluster_brings_the_newer_template_with_it() {
    let old = brokers("{}", "nsqd:1");
    let mut new = brokers(r#"{ "brokers": { "config": { "logLevel": "debug" } } }"#, "nsqd:2");
    assert!(!keep(&mut new, |name| annotation(&old, name), false));
    assert_eq!(image(&new), "nsqd:2");
}

#[test]
fn a_template_that_is_there_already_waits_for_nothing() {
    let old = brokers("{}", "nsqd:1");
    let mut same = old.clone();
    assert!(!keep(&mut same, |name| annotation(&old, name), false));
    assert!(!keep(&mut same, |_| None, false), "nor does one that is made");
    assert_eq!(same, old);
}

proptest! {
    #[test]
    fn counts_rollout_and_topics_restart_nothing(replicas in 0u32..512, lookupds in 0u32..16, seconds in 0u32..3600) {
        let spec = json!({
            "brokers": { "replicas": replicas, "rollout": { "minReadySeconds": seconds } },
            "lookupds": { "replicas": lookupds },
            "topics": { "driftPolicy": "Report", "allowedNamespaces": { "from": "All" } },
            "networkPolicy": { "enabled": replicas % 2 == 0 },
            "paused": replicas % 3 == 0,
        });
        let (old, new) = (brokers("{}", "nsqd:1"), brokers(&spec.to_string(), "nsqd:1"));
        prop_assert_eq!(annotation(&old, INPUTS), annotation(&new, INPUTS));
        prop_assert_eq!(&old.object["spec"]["template"], &new.object["spec"]["template"]);
    }

    #[test]
    fn the_order_of_labels_restarts_nothing(seed in any::<u64>()) {
        let mut names = ["a", "b", "c", "d"];
        let shift = (seed % 4) as usize;
        names.rotate_left(shift);
        let labels = |names: &[&str]| {
            let pairs: Vec<_> = names.iter().map(|name| format!("\"{name}\": \"x\"")).collect();
            format!("{{ \"brokers\": {{ \"pod\": {{ \"labels\": {{ {} }} }} }} }}", pairs.join(", "))
        };
        let (old, new) = (brokers(&labels(&["a", "b", "c", "d"]), "i"), brokers(&labels(&names), "i"));
        prop_assert_eq!(old, new);
    }
}
