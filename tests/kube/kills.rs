//! An operator that is killed at its first write, the next one at its second, and so on until one has none left to be
//! killed at: whoever comes next finishes the work, and nothing is lost or left half done.

use std::path::PathBuf;

use harness::eventually_within;
use harness::kube::{Door, Shuts};
use serde_json::Value;

use crate::scale::consume;
use crate::stage::{Stage, operator_with};
use harness::kube::condition;

const APPS: &str = "/apis/apps/v1/namespaces/default";
const CORE: &str = "/api/v1/namespaces/default";

struct Life {
    stage: Stage,
    door: Door,
    config: PathBuf,
    shuts: Shuts,
}

impl Life {
    fn begin(network: u8, shuts: Shuts) -> Option<Self> {
        let mut stage = Stage::set(network)?;
        stage.operator.kill();
        let door = stage.kube.new_door();
        let config = stage.kube.config_through(&door);
        Some(Self { stage, door, config, shuts })
    }

    /// One operator after the other, each killed at a write, until it is so; tells how many were killed.
    #[track_caller]
    fn until(&mut self, what: &str, is_so: impl Fn(&Stage) -> bool) {
        let mut kills = Vec::new();
        loop {
            // The next one need not wait until the dead one's lease has run out.
            self.stage
                .kube
                .delete_now("/apis/coordination.k8s.io/v1/namespaces/nsqube-system/leases/nsq-operator");
            self.door.open(self.shuts, u32::try_from(kills.len()).unwrap());
            self.stage.operator = operator_with(&self.config, &[]);
            let mut done = false;
            eventually_within(std::time::Duration::from_secs(60), what, || {
                done = is_so(&self.stage);
                done || self.door.shut_at().is_some()
            });
            self.stage.operator.kill();
            match self.door.shut_at() {
                Some(write) => kills.push(write),
                None => break,
            }
            assert!(kills.len() < 200, "no end of it: {kills:?}");
        }
        println!("{what}: killed at {} writes ({:?})", kills.len(), self.shuts);
        assert!(!kills.is_empty(), "{what} needs no write");
    }

    fn apply(&self, brokers: u32, level: &str) {
        let spec = format!(
            "{{brokers: {{replicas: {brokers}, rollout: {{minReadySeconds: 0}}, config: {{logLevel: {level}}}}}, \
             lookupds: {{replicas: 1}}}}"
        );
        self.stage.declare("NsqCluster", "prod", &spec);
    }
}

fn is_ready(stage: &Stage, what: &str) -> bool {
    let found = stage.of(what).unwrap_or_default();
    let is_current = found.pointer("/status/observedGeneration") == found.pointer("/metadata/generation");
    is_current && condition(&found, "Ready").is_some_and(|(status, _)| status == "True")
}

fn brokers(stage: &Stage) -> Value {
    stage.kube.get(&format!("{APPS}/statefulsets/prod-broker")).unwrap_or_default()["spec"]["replicas"]
        .clone()
}

fn a_life_of_a_cluster(network: u8, shuts: Shuts) {
    let Some(mut life) = Life::begin(network, shuts) else { return };
    life.apply(2, "info");
    life.stage.declare("NsqTopic", "orders", "{clusterRef: {name: prod}, deletionPolicy: Delete}");
    life.stage.declare("NsqChannel", "billing", "{topicRef: {name: orders}}");
    life.until("a cluster is made", |stage| {
        is_ready(stage, "nsqclusters/prod")
            && is_ready(stage, "nsqtopics/orders")
            && is_ready(stage, "nsqchannels/billing")
    });
    life.stage.publish(0, "orders", "kept-0");
    life.stage.publish(1, "orders", "kept-1");

    life.apply(3, "info");
    life.until("a broker is added", |stage| brokers(stage) == 3 && is_ready(stage, "nsqclusters/prod"));

    life.apply(3, "debug");
    life.until("settings are changed", |stage| {
        is_ready(stage, "nsqclusters/prod")
            && (0..3).all(|at| {
                let pod = stage.kube.get(&format!("{CORE}/pods/prod-broker-{at}")).unwrap_or_default();
                pod["spec"]["containers"][0]["args"].to_string().contains("--log-level=debug")
            })
    });
    for at in [0, 1] {
        assert_eq!(life.stage.topic(at, "orders").unwrap()["channels"][0]["depth"], 1, "broker {at}");
    }

    life.apply(1, "debug");
    let consumer = consume(life.stage.broker(1));
    life.until("two brokers leave", |stage| brokers(stage) == 1 && is_ready(stage, "nsqclusters/prod"));
    assert!(consumer.join().unwrap().contains("kept-1"), "it was drained");
    assert_eq!(life.stage.topic(0, "orders").unwrap()["channels"][0]["depth"], 1);

    life.stage.kube.kubectl(&["delete", "nsqtopic", "orders", "--wait=false"]);
    life.stage.kube.kubectl(&["delete", "nsqcluster", "prod", "--wait=false"]);
    life.until("all is deleted", |stage| {
        stage.of("nsqtopics/orders").is_none() && stage.of("nsqclusters/prod").is_none()
    });
    for at in 0..3 {
        let claim = format!("{CORE}/persistentvolumeclaims/data-prod-broker-{at}");
        assert!(life.stage.kube.get(&claim).is_some(), "volumes are never deleted");
    }
}

#[test]
fn an_operator_killed_after_each_of_its_writes_finishes_five_scenarios() {
    a_life_of_a_cluster(45, Shuts::After);
}

#[test]
fn an_operator_killed_before_each_of_its_writes_finishes_five_scenarios() {
    a_life_of_a_cluster(46, Shuts::Before);
}
