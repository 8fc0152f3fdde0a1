//! Many topics: all become ready, and from then on cost nothing. 300 of them; `NSQUBE_TOPICS=10000` for a measurement.

use std::time::{Duration, Instant};

use harness::{eventually, eventually_within};
use serde_json::{Value, json};

use crate::stage::Stage;
use harness::kube::condition;

/// A broker holds two files for each topic, and a process may have no more than 20,000 here and there.
const MOST_OF_ONE_CLUSTER: usize = 9000;
const CLUSTER: &str = "{brokers: {replicas: 1}, lookupds: {replicas: 1}, topics: {resyncInterval: 10s}}";
const TOPICS: &str = "/apis/nsqube.io/v1alpha1/namespaces/default/nsqtopics";

#[test]
fn many_topics_become_ready_and_then_cost_nothing() {
    let Some(stage) = Stage::set(61) else { return };
    let count: usize = std::env::var("NSQUBE_TOPICS").map_or(300, |count| count.parse().unwrap());
    let clusters = if count > MOST_OF_ONE_CLUSTER { &["prod", "other"][..] } else { &["prod"] };
    for name in clusters {
        stage.declare("NsqCluster", name, CLUSTER);
        stage.becomes(&format!("nsqclusters/{name}"), "Ready", "True", "AllReady");
    }
    let began = Instant::now();
    std::thread::scope(|scope| {
        for part in 0..8 {
            let kube = &stage.kube;
            scope.spawn(move || {
                for at in (part..count).step_by(8) {
                    let cluster = clusters[at % clusters.len()];
                    let topic = json!({ "apiVersion": "nsqube.io/v1alpha1", "kind": "NsqTopic",
                        "metadata": { "name": format!("t-{at}") }, "spec": { "clusterRef": { "name": cluster } } });
                    kube.create(TOPICS, &topic);
                }
            });
        }
    });
    let applied = began.elapsed();
    let is_ready = |topic: &Value| condition(topic, "Ready").is_some_and(|(is, _)| is == "True");
    eventually_within(Duration::from_secs(900), "all topics are ready", || {
        let list = stage.kube.get(TOPICS).unwrap();
        list["items"].as_array().unwrap().iter().filter(|topic| is_ready(topic)).count() == count
    });
    let ready = began.elapsed();
    // Looks that were asked for while topics came.
    let looks = || stage.figure("nsq_operator_reconcile_total{result=\"ok\"}");
    let (mut writes, mut from) = (stage.writes(), looks());
    eventually_within(Duration::from_secs(120), "two looks without a write", || {
        if stage.writes() != writes {
            (writes, from) = (stage.writes(), looks());
        }
        looks() >= from + 2
    });
    let rest = Instant::now();
    let length = Duration::from_secs(if count > 1000 { 600 } else { 0 });
    eventually_within(length + Duration::from_secs(60), "two more looks", || {
        rest.elapsed() >= length && looks() >= from + 4
    });
    assert_eq!(stage.writes(), writes, "{}", stage.operator.log());
    let mib = stage.operator.resident_bytes() >> 20;
    println!(
        "{count} topics of {} clusters: applied in {applied:.1?}, ready after {ready:.1?}, operator {mib} MiB, writes in the {:.0?} after: 0",
        clusters.len(),
        rest.elapsed()
    );
    let last = (count - 1) / clusters.len() * clusters.len();
    eventually("the broker has all of its own", || stage.topic(0, &format!("t-{last}")).is_some());
}
