//! Processes that are killed, one kind after the other, while messages flow; and a node that is lost and comes back.

use std::time::Instant;

use crate::place::{Nodes, Place};
use harness::kube::condition;

const THREE: &str = "{brokers: {replicas: 3, storage: {size: 1Gi}}, lookupds: {replicas: 2}}";

impl Place {
    /// kill -9 of the one process in a container: its node ends it without a word to it.
    #[track_caller]
    fn kill(&self, nodes: &Nodes, pod: &str) {
        let restarts = || {
            let pod = self.core(&format!("pods/{pod}")).unwrap_or_default();
            pod.pointer("/status/containerStatuses/0/restartCount").and_then(serde_json::Value::as_u64)
        };
        let before = restarts();
        let container =
            self.core(&format!("pods/{pod}")).unwrap()["status"]["containerStatuses"][0]["containerID"]
                .clone();
        let id = container.as_str().unwrap().trim_start_matches("containerd://").to_owned();
        let began = Instant::now();
        nodes.strike("kill-container", &format!("{}/{id}", self.node_of(pod)));
        self.waits(&format!("{pod} is restarted"), || restarts() > before && self.pod_is_ready(pod));
        println!("kill -9 of {pod}: ready again after {:.1} s", began.elapsed().as_secs_f64());
    }
}

#[test]
fn killed_processes_lose_no_acknowledged_message() {
    let Some(nodes) = Nodes::ours() else { return };
    let place = Place::new("killed");
    place.prod(THREE);
    place.publishers("2ms");
    place.consumer();
    place.more(300);
    for pod in ["prod-broker-0", "prod-broker-1", "prod-broker-2", "prod-lookupd-0"] {
        place.kill(&nodes, pod);
        place.more(200);
    }
    for program in ["apiserver", "controllers", "etcd"] {
        let began = Instant::now();
        nodes.strike("kill", program);
        place.waits("the API answers again", || {
            place.kube.try_kubectl(&["get", "--raw", "/readyz"]).0
                && place.kube.try_kubectl(&["get", "nodes"]).0
        });
        println!("kill -9 of {program}: the API answers after {:.1} s", began.elapsed().as_secs_f64());
        place.more(200);
    }
    place.ready();
    assert_eq!(place.tally().lost, 0);
}

#[test]
fn the_leading_operator_is_killed_while_brokers_leave_and_nothing_is_lost() {
    let Some(nodes) = Nodes::ours() else { return };
    let place = Place::new("leader");
    place.prod(THREE);
    place.publishers("2ms");
    place.more(500);
    place.kubectl(&["scale", "nsqc/prod", "--replicas=1"]);
    place.becomes("nsqclusters/prod", "ScalingDown", "True", "NoConsumer");
    let system = Place { kube: place.kube, name: "nsqube-system" };
    let leader = || {
        let lease =
            place.kube.get("/apis/coordination.k8s.io/v1/namespaces/nsqube-system/leases/nsq-operator");
        lease.and_then(|it| it["spec"]["holderIdentity"].as_str().map(str::to_owned)).unwrap_or_default()
    };
    let first = leader();
    let pod = first.split('_').next().unwrap_or_default().to_owned();
    system.kill(&nodes, &pod);
    std::mem::forget(system);
    place.consumer();
    let began = Instant::now();
    place.waits("one broker is left", || place.brokers() == Some(1));
    place.ready();
    println!("led by {first}, then by {}; from 3 to 1: {:.1} s", leader(), began.elapsed().as_secs_f64());
    place.more(200);
    assert_eq!(place.tally().lost, 0);
}

#[test]
fn a_node_that_is_lost_and_comes_back_has_its_messages() {
    let Some(nodes) = Nodes::ours() else { return };
    let place = Place::new("lost");
    place.prod(THREE);
    place.publishers("2ms");
    place.more(500);
    let node =
        (0..3).map(|at| place.node_of(&format!("prod-broker-{at}"))).find(|node| node != "node1").unwrap();
    let number = node.trim_start_matches("node").to_owned();
    let began = Instant::now();
    nodes.strike("kill-node", &number);
    place.waits("the cluster says that a broker is away", || {
        let found = place.of("nsqclusters/prod").unwrap_or_default();
        condition(&found, "Ready").is_some_and(|(status, _)| status != "True")
    });
    println!("{node} is lost: told after {:.1} s", began.elapsed().as_secs_f64());
    println!("{}", place.kubectl(&["get", "nsqc,pods", "-o", "wide"]));
    place.more(300);
    let began = Instant::now();
    nodes.strike("start-node", &number);
    place.ready();
    println!("{node} is back: the cluster is ready after {:.1} s", began.elapsed().as_secs_f64());
    place.consumer();
    assert_eq!(place.tally().lost, 0);
}
