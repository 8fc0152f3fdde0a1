//! The first day: installed by Helm, messages through it with an ordinary client, more brokers, fewer, one that goes.

use std::time::Instant;

use crate::place::{Place, cluster, image};

#[test]
fn helm_installs_a_cluster_that_serves_and_its_test_passes() {
    let place = Place::new("chart");
    let began = Instant::now();
    let test = format!("--set=testImage={}", image("nsq-operator"));
    let values = [
        "--set-json=topics={\"orders\":{}}",
        "--set-json=spec={\"brokers\":{\"replicas\":1},\"lookupds\":{\"replicas\":1}}",
    ];
    place.kube.helm(&[
        "install",
        "prod",
        "charts/nsqube-cluster",
        "--namespace",
        "chart",
        values[0],
        values[1],
        &test,
    ]);
    place.ready();
    println!("helm install of a cluster, until it is ready: {:.1} s", began.elapsed().as_secs_f64());
    println!("{}", place.kube.helm(&["test", "prod", "--namespace", "chart", "--logs"]));
    println!("{}", place.kube.helm(&["uninstall", "prod", "--namespace", "chart"]));
    place.waits("its pods are gone", || place.core("pods/prod-broker-0").is_none());
    assert!(place.core("persistentvolumeclaims/data-prod-broker-0").is_some(), "volumes stay");
}

#[test]
fn a_namespace_with_a_cluster_in_it_can_go() {
    let place = Place::new("going");
    place.prod("{brokers: {replicas: 1, storage: {size: 1Gi}}, lookupds: {replicas: 1}}");
    let began = Instant::now();
    place.kube.kubectl(&["delete", "namespace", "going", "--timeout=90s"]);
    println!("a namespace with a cluster in it is gone after {:.1} s", began.elapsed().as_secs_f64());
}

#[test]
fn three_become_five_and_three_again_under_publishers_that_never_stop() {
    let place = Place::new("scale");
    place.prod("{brokers: {replicas: 3, storage: {size: 1Gi}}}");
    println!("{}", place.kubectl(&["get", "nsqc,nsqt,nsqch,sts,pods,pvc,svc,pdb"]));
    place.publishers("2ms");
    place.more(500);
    let before: Vec<_> = (0..3).map(|at| place.uid(&format!("prod-broker-{at}"))).collect();
    let began = Instant::now();
    place.kubectl(&["scale", "nsqc/prod", "--replicas=5"]);
    place.ready();
    println!("from 3 to 5 brokers: {:.1} s", began.elapsed().as_secs_f64());
    // Connections stay where they are: somebody has to come for the new ones to have messages.
    place.more(500);
    for at in [3, 4] {
        let pod = format!("prod-broker-{at}:4151");
        let url = format!("pods/{pod}/proxy/pub?topic=orders");
        place.kube.post(&format!("/api/v1/namespaces/scale/{url}"), &format!("extra{at}-1")).ok();
    }
    place.kubectl(&["scale", "nsqc/prod", "--replicas=3"]);
    // Nobody consumes yet: the last one has messages and stays.
    place.becomes("nsqclusters/prod", "ScalingDown", "True", "NoConsumer");
    println!("{}", place.kubectl(&["describe", "nsqc", "prod"]));
    assert_eq!(place.brokers(), Some(5));
    let began = Instant::now();
    place.consumer();
    place.waits("three brokers are left", || place.brokers() == Some(3));
    place.ready();
    println!("from 5 to 3 brokers, from the first consumer on: {:.1} s", began.elapsed().as_secs_f64());
    assert!(place.core("persistentvolumeclaims/data-prod-broker-4").is_some(), "volumes stay");
    place.more(500);
    let after: Vec<_> = (0..3).map(|at| place.uid(&format!("prod-broker-{at}"))).collect();
    assert_eq!(after, before, "those that stay were not restarted");
    let tally = place.tally();
    assert_eq!(tally.lost, 0);
    let extra = &place.counts("consumer")["publishers"];
    assert_eq!((&extra["extra3"]["distinct"], &extra["extra4"]["distinct"]), (&1.into(), &1.into()));
}

#[test]
fn a_broker_pod_that_is_deleted_comes_back_with_its_messages() {
    let place = Place::new("deleted");
    place.prod("{brokers: {replicas: 1, storage: {size: 1Gi}}, lookupds: {replicas: 1}}");
    place.publishers("2ms");
    place.more(500);
    let before = place.uid("prod-broker-0");
    let began = Instant::now();
    place.kubectl(&["delete", "pod", "prod-broker-0"]);
    place.waits("another pod serves", || {
        place.uid("prod-broker-0") != before && place.pod_is_ready("prod-broker-0")
    });
    println!("a deleted broker pod, until its successor is ready: {:.1} s", began.elapsed().as_secs_f64());
    place.more(500);
    place.consumer();
    assert_eq!(place.tally().lost, 0);
}

#[test]
fn a_cluster_that_is_deleted_and_applied_again_has_every_message() {
    let place = Place::new("again");
    let spec = "{brokers: {replicas: 2, storage: {size: 1Gi}}, lookupds: {replicas: 1}}";
    place.prod(spec);
    place.publishers("2ms");
    place.more(1000);
    let volumes = || {
        place.kubectl(&[
            "get",
            "pvc",
            "-o",
            "jsonpath={range .items[*]}{.metadata.name}={.spec.volumeName} {end}",
        ])
    };
    let before = volumes();
    place.kubectl(&["delete", "nsqc", "prod", "--timeout=60s"]);
    place.waits("its pods are gone", || place.core("pods/prod-broker-0").is_none());
    let began = Instant::now();
    place.prod(spec);
    println!("applied again, until it is ready: {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(volumes(), before);
    place.consumer();
    assert_eq!(place.tally().lost, 0);
}

#[test]
fn every_pod_satisfies_the_restricted_standard_and_rights_are_what_is_called() {
    let kube = cluster();
    // The namespaces of all tests enforce the standard: a pod that does not satisfy it would never have run.
    let said = kube.kubectl(&[
        "label",
        "--dry-run=server",
        "--overwrite",
        "namespace",
        "nsqube-system",
        "pod-security.kubernetes.io/enforce=restricted",
    ]);
    println!("{said}");
    assert!(!said.contains("Warning"), "{said}");
    let of = "--as=system:serviceaccount:nsqube-system:nsq-operator";
    let rights = kube.kubectl(&["auth", "can-i", "--list", "--namespace=default", of]);
    println!("{rights}");
    for verb in ["delete", "deletecollection", "create"] {
        let (can, said) =
            kube.try_kubectl(&["auth", "can-i", verb, "persistentvolumeclaims", "-n", "default", of]);
        assert!(!can, "{verb} persistentvolumeclaims: {said}");
    }
}
