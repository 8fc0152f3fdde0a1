//! Plans of small declarations, written out as text.

use proptest::prelude::*;

use super::{Plan, plan};
use crate::Declaration;

const HEAD: &str = "apiVersion: nsqube.io/v1alpha1\n";

/// Documents of `kind name spec`, one a line.
fn read(lines: &[&str]) -> Declaration {
    let document = |line: &&str| {
        let [kind, name, spec] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        format!("{HEAD}kind: Nsq{kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n")
    };
    let text = lines.iter().map(document).collect::<Vec<_>>().join("---\n");
    Declaration::read(&[("test.yaml".to_owned(), text)]).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn show(plan: &Plan) -> String {
    let mut lines = Vec::new();
    for cluster in &plan.clusters {
        lines.push(format!("cluster {}", cluster.id()));
        for lookupd in &cluster.lookupds {
            lines.push(format!("lookupd {} {}", lookupd.ordinal, show_flags(&lookupd.flags)));
        }
        for broker in &cluster.brokers {
            lines.push(format!(
                "broker {} node {} {}",
                broker.ordinal,
                broker.node_id,
                show_flags(&broker.flags)
            ));
        }
        for topic in &cluster.topics {
            let level = topic.durability.map(|level| level.name()).unwrap_or_default();
            lines.push(format!("topic {} {} {level}", topic.name, show_pause(topic.is_paused)));
            for channel in &topic.channels {
                lines.push(format!("  channel {} {}", channel.name, show_pause(channel.is_paused)));
            }
        }
    }
    lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n")
}

fn show_flags(flags: &[(String, String)]) -> String {
    flags.iter().map(|(flag, value)| format!("--{flag}={value}")).collect::<Vec<_>>().join(" ")
}

fn show_pause(is_paused: Option<bool>) -> &'static str {
    match is_paused {
        Some(true) => "paused",
        Some(false) => "running",
        None => "",
    }
}

#[track_caller]
fn check(lines: &[&str], expected: &[&str]) {
    assert_eq!(show(&plan(&read(lines))), expected.join("\n"));
}

#[test]
fn an_empty_spec_is_three_of_each_without_flags() {
    check(
        &["Cluster c {}"],
        &[
            "cluster default/c",
            "lookupd 0",
            "lookupd 1",
            "lookupd 2",
            "broker 0 node 0",
            "broker 1 node 1",
            "broker 2 node 2",
        ],
    );
}

#[test]
fn every_setting_becomes_its_flag() {
    check(
        &[
            "Cluster c {brokers: {replicas: 1, config: {memQueueSize: 0, maxMessageSize: 2Mi, maxBodySize: 6000000, \
           messageTimeout: 1m30s, maxMessageTimeout: 20m, maxRequeueTimeout: 2h, maxReadyCount: 100, \
           maxChannelConsumers: 7, heartbeatInterval: {max: 1500ms}, logLevel: debug, \
           durability: Fsync, memoryLimit: 512Mi, minFree: 1G, \
           extraFlags: {sync-every: '1', e2e-processing-latency-percentile: '0.99,0.5'}}}, \
           lookupds: {replicas: 1, config: {inactiveProducerTimeout: 5m, tombstoneLifetime: 0s}}}",
        ],
        &[
            "cluster default/c",
            "lookupd 0 --inactive-producer-timeout=300s --tombstone-lifetime=0s",
            "broker 0 node 0 --durability=fsync --e2e-processing-latency-percentile=0.99,0.5 --log-level=debug --max-body-size=6000000 \
             --max-channel-consumers=7 --max-heartbeat-interval=1500ms --max-msg-size=2097152 \
             --max-msg-timeout=1200s --max-rdy-count=100 --max-req-timeout=7200s --mem-queue-size=0 \
             --memory-limit=536870912 --min-free=1000000000 --msg-timeout=90s --sync-every=1",
        ],
    );
}

#[test]
fn topics_come_from_topics_and_from_channels() {
    check(
        &[
            "Cluster c {brokers: {replicas: 0}, lookupds: {replicas: 0}}",
            "Topic orders-topic {clusterRef: {name: c}, topicName: Orders, paused: true}",
            "Topic events {clusterRef: {name: c}, paused: false}",
            "Channel billing {topicRef: {name: orders-topic}, paused: true}",
            "Channel shipping {clusterRef: {name: c}, topicName: Orders, channelName: Ship.it}",
            "Channel lone {clusterRef: {name: c}, topicName: undeclared, paused: false}",
        ],
        &[
            "cluster default/c",
            "topic Orders paused",
            "  channel Ship.it",
            "  channel billing paused",
            "topic events running",
            "topic undeclared",
            "  channel lone running",
        ],
    );
}

#[test]
fn a_topic_has_a_level_only_where_its_resource_says_so() {
    check(
        &[
            "Cluster c {brokers: {replicas: 1, config: {durability: Memory}}, lookupds: {replicas: 0}}",
            "Topic a {clusterRef: {name: c}, settings: {durability: Fsync}}",
            "Topic b {clusterRef: {name: c}, settings: {}}",
            "Topic d {clusterRef: {name: c}, paused: true, settings: {durability: Buffered}}",
            "Channel x {topicRef: {name: a}}",
        ],
        &[
            "cluster default/c",
            "broker 0 node 0 --durability=memory",
            "topic a  fsync",
            "  channel x",
            "topic b",
            "topic d paused buffered",
        ],
    );
}

#[test]
fn clusters_do_not_share_topics() {
    check(
        &[
            "Cluster b {brokers: {replicas: 0}, lookupds: {replicas: 0}}",
            "Cluster a {brokers: {replicas: 1}, lookupds: {replicas: 0}}",
            "Topic t1 {clusterRef: {name: a}, topicName: t}",
            "Topic t2 {clusterRef: {name: b}, topicName: t}",
        ],
        &["cluster default/a", "broker 0 node 0", "topic t", "cluster default/b", "topic t"],
    );
}

#[test]
fn two_spellings_of_one_setting_are_one_plan() {
    let plan_of = |timeout: &str, size: &str| {
        let config = format!("{{messageTimeout: {timeout}, maxMessageSize: {size}}}");
        plan(&read(&[&format!("Cluster c {{brokers: {{config: {config}}}}}")]))
    };
    assert_eq!(plan_of("60s", "1Mi"), plan_of("1m", "1048576"));
    assert_ne!(plan_of("60s", "1Mi"), plan_of("61s", "1Mi"));
}

proptest! {
    #[test]
    fn the_order_of_documents_does_not_matter(lines in Just(vec![
        "Cluster a {}",
        "Cluster b {brokers: {replicas: 1}}",
        "Topic t1 {clusterRef: {name: a}}",
        "Topic t2 {clusterRef: {name: a}, paused: true}",
        "Topic t3 {clusterRef: {name: b}, topicName: t1}",
        "Channel c1 {topicRef: {name: t1}}",
        "Channel c2 {topicRef: {name: t1}, paused: false}",
        "Channel c3 {clusterRef: {name: b}, topicName: t9}",
    ]).prop_shuffle()) {
        let mut sorted = lines.clone();
        sorted.sort_unstable();
        prop_assert_eq!(plan(&read(&lines)), plan(&read(&sorted)));
    }
}
