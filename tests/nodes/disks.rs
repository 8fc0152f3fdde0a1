//! What disks do to messages: a node that loses its power, and a volume that is full.

use std::time::Instant;

use crate::place::{Nodes, Place};
use harness::kube::condition;

#[test]
fn power_cuts_take_nothing_that_a_topic_with_fsync_acknowledged() {
    let Some(nodes) = Nodes::ours() else { return };
    let place = Place::new("power");
    // One broker, away from the node that its publishers are on.
    let spec = "{brokers: {replicas: 1, storage: {size: 1Gi}, scheduling: {nodeSelector: {kubernetes.io/hostname: node2}}}, \
                lookupds: {replicas: 1, scheduling: {nodeSelector: {kubernetes.io/hostname: node1}}}}";
    place.prod(spec);
    place.publishers("0ms");
    place.more(300);
    for _ in 0..3 {
        let began = Instant::now();
        nodes.strike("cut-power", "2");
        nodes.strike("start-node", "2");
        place.ready();
        println!("node2 without power: the cluster is ready after {:.1} s", began.elapsed().as_secs_f64());
        place.more(300);
    }
    place.consumer();
    assert_eq!(place.tally().lost, 0);
}

#[test]
fn an_unknown_storage_class_is_told_and_mended() {
    let place = Place::new("class");
    let spec = |class: &str| {
        format!(
            "{{brokers: {{replicas: 1, storage: {{size: 1Gi, className: {class}}}}}, lookupds: {{replicas: 1}}}}"
        )
    };
    place.declare("NsqCluster", "prod", &spec("nowhere"));
    place.waits("the cluster says so", || {
        let found = place.of("nsqclusters/prod").unwrap_or_default();
        condition(&found, "StorageHealthy").is_some_and(|(status, _)| status == "False")
    });
    println!("{}", place.kubectl(&["get", "nsqc,pvc"]));
    place.kube.apply(
        "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: nowhere}, \
         provisioner: nsqube.test/volumes, volumeBindingMode: WaitForFirstConsumer}",
    );
    place.ready();
    place.kube.kubectl(&["delete", "storageclass", "nowhere"]);
}

#[test]
fn a_full_volume_is_told_and_over_when_there_is_space_again() {
    let place = Place::new("full");
    // The smallest there is.
    place.prod("{brokers: {replicas: 1, storage: {size: 300Mi}}, lookupds: {replicas: 1}}");
    let post = |path: &str, text: &str| {
        place.kube.post(&format!("/api/v1/namespaces/full/pods/prod-broker-0:4151/proxy/{path}"), text)
    };
    let mebibyte = "x".repeat(1 << 20);
    let mut acknowledged = 0;
    let refusal = loop {
        let reply = post("pub?topic=orders", &mebibyte);
        if reply.status != 200 {
            break reply;
        }
        acknowledged += 1;
        assert!(acknowledged < 400, "a volume of 300 MiB holds them all");
    };
    println!("{acknowledged} MiB were taken, then: {} {}", refusal.status, refusal.text());
    // XFS gives back what it had set aside for files that grow: it is full when it stays so under publishers.
    place.waits("the cluster says DiskTrouble", || {
        post("pub?topic=orders", &mebibyte);
        let found = place.of("nsqclusters/prod").unwrap_or_default();
        condition(&found, "StorageHealthy") == Some(("False", "DiskTrouble"))
    });
    println!("{}", place.kubectl(&["get", "nsqc"]));
    println!("{}", place.kubectl(&["get", "events", "--field-selector=reason=DiskTrouble"]));
    assert_eq!(post("channel/empty?topic=orders&channel=archive", "").status, 200);
    place.becomes("nsqclusters/prod", "StorageHealthy", "True", "VolumesBound");
    place.ready();
    assert_eq!(post("pub?topic=orders", "again").status, 200);
}
