//! Steps from plan to plan: tables for what each edit gives, and a property: the steps, taken, lead to the
//! new plan.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::{Change, changes};
use crate::plan::{BrokerPlan, ChannelPlan, ClusterId, ClusterPlan, LookupdPlan, Plan, TopicPlan};
use crate::resources::Durability;

fn cluster(
    name: &str,
    brokers: u32,
    lookupds: u32,
    flag: Option<&str>,
    topics: Vec<TopicPlan>,
) -> ClusterPlan {
    let flags: Vec<(String, String)> =
        flag.map(|value| ("f".to_owned(), value.to_owned())).into_iter().collect();
    let broker = |ordinal| BrokerPlan { ordinal, node_id: ordinal, flags: flags.clone() };
    let lookupd = |ordinal| LookupdPlan { ordinal, flags: flags.clone() };
    ClusterPlan {
        name: name.to_owned(),
        namespace: "default".to_owned(),
        brokers: (0..brokers).map(broker).collect(),
        lookupds: (0..lookupds).map(lookupd).collect(),
        topics,
    }
}

/// `name`, `name!` (paused) or `name.` (must run).
fn parse(word: &str) -> (String, Option<bool>) {
    match (word.strip_suffix('!'), word.strip_suffix('.')) {
        (Some(name), _) => (name.to_owned(), Some(true)),
        (None, Some(name)) => (name.to_owned(), Some(false)),
        (None, None) => (word.to_owned(), None),
    }
}

/// `name`, or `name@fsync` with a level; what `parse` knows stands at the end.
fn parse_topic(word: &str) -> (String, Option<bool>, Option<Durability>) {
    let (word, is_paused) = parse(word);
    let Some((name, level)) = word.split_once('@') else { return (word, is_paused, None) };
    let level = Durability::ALL.into_iter().find(|known| known.name() == level);
    (name.to_owned(), is_paused, Some(level.unwrap()))
}

/// `orders@fsync(billing,shipping!) events!`
fn topics(text: &str) -> Vec<TopicPlan> {
    let topic = |word: &str| {
        let (name, rest) = word.split_once('(').unwrap_or((word, ")"));
        let (name, is_paused, durability) = parse_topic(name);
        let channels = rest.trim_end_matches(')').split(',').filter(|word| !word.is_empty()).map(|word| {
            let (name, is_paused) = parse(word);
            ChannelPlan { name, is_paused }
        });
        TopicPlan { name, is_paused, durability, channels: channels.collect() }
    };
    text.split_whitespace().map(topic).collect()
}

fn show(change: &Change) -> String {
    match change {
        Change::ClusterAdded { cluster } => format!("add {}", cluster.name),
        Change::ClusterRemoved { cluster } => format!("removed {}", cluster.name),
        Change::StartLookupd { lookupd, .. } => format!("start lookupd {}", lookupd.ordinal),
        Change::RestartLookupd { lookupd, .. } => format!("restart lookupd {}", lookupd.ordinal),
        Change::LookupdRemoved { ordinal, .. } => format!("removed lookupd {ordinal}"),
        Change::StartBroker { broker, .. } => format!("start broker {}", broker.ordinal),
        Change::RestartBroker { broker, .. } => format!("restart broker {}", broker.ordinal),
        Change::BrokerRemoved { ordinal, .. } => format!("removed broker {ordinal}"),
        Change::CreateTopic { topic, .. } => format!("create {topic}"),
        Change::SetTopicDurability { topic, durability, .. } => format!("{} {topic}", durability.name()),
        Change::TopicRemoved { topic, .. } => format!("removed {topic}"),
        Change::CreateChannel { topic, channel, .. } => format!("create {topic}/{channel}"),
        Change::ChannelRemoved { topic, channel, .. } => format!("removed {topic}/{channel}"),
        Change::PauseTopic { topic, .. } => format!("pause {topic}"),
        Change::UnpauseTopic { topic, .. } => format!("unpause {topic}"),
        Change::PauseChannel { topic, channel, .. } => format!("pause {topic}/{channel}"),
        Change::UnpauseChannel { topic, channel, .. } => format!("unpause {topic}/{channel}"),
    }
}

#[track_caller]
fn check(old: &[ClusterPlan], new: &[ClusterPlan], expected: &[&str]) {
    let (old, new) = (Plan { clusters: old.to_vec() }, Plan { clusters: new.to_vec() });
    let found: Vec<String> = changes(&old, &new).iter().map(show).collect();
    assert_eq!(found, expected);
}

#[test]
fn topics_and_channels_change_without_touching_brokers() {
    let table: [(&str, &str, &[&str]); 10] = [
        ("a(x)", "a(x)", &[]),
        ("a", "a b(y)", &["create b", "create b/y"]),
        ("a", "a(x!)", &["create a/x", "pause a/x"]),
        ("a(x) b(y)", "a", &["removed b", "removed a/x"]),
        ("a(x)", "a!(x)", &["pause a"]),
        ("a!(x!)", "a.(x.)", &["unpause a", "unpause a/x"]),
        ("a", "a.", &["unpause a"]),
        ("a!(x!)", "a(x)", &[]),
        ("", "a! b.", &["create a", "create b", "pause a", "unpause b"]),
        ("b(x)", "a(x)", &["create a", "removed b", "create a/x"]),
    ];
    for (old, new, expected) in table {
        check(&[cluster("c", 1, 1, None, topics(old))], &[cluster("c", 1, 1, None, topics(new))], expected);
    }
}

#[test]
fn a_level_is_set_where_it_is_declared_anew_and_before_channels_and_pauses() {
    let table: [(&str, &str, &[&str]); 7] = [
        ("a@fsync", "a@fsync", &[]),
        ("a", "a@fsync", &["fsync a"]),
        ("a@fsync", "a@memory", &["memory a"]),
        ("a@fsync", "a", &[]),
        ("", "a@buffered", &["create a", "buffered a"]),
        ("a@memory", "a@fsync!", &["fsync a", "pause a"]),
        ("", "a@fsync!(x) b", &["create a", "fsync a", "create b", "create a/x", "pause a"]),
    ];
    for (old, new, expected) in table {
        check(&[cluster("c", 1, 1, None, topics(old))], &[cluster("c", 1, 1, None, topics(new))], expected);
    }
}

#[test]
fn brokers_and_lookupds_start_restart_and_are_reported_when_removed() {
    let c = |brokers, lookupds, flag| [cluster("c", brokers, lookupds, flag, Vec::new())];
    check(&c(1, 1, None), &c(3, 1, None), &["start broker 1", "start broker 2"]);
    check(&c(3, 2, None), &c(1, 1, None), &["removed lookupd 1", "removed broker 1", "removed broker 2"]);
    check(&c(1, 1, None), &c(1, 1, Some("1")), &["restart lookupd 0", "restart broker 0"]);
    check(&c(1, 0, Some("1")), &c(2, 0, Some("2")), &["restart broker 0", "start broker 1"]);
}

#[test]
fn a_new_cluster_starts_from_nothing_and_an_old_one_is_reported() {
    let old = [cluster("a", 1, 1, None, topics("t"))];
    let new = [cluster("b", 1, 1, None, topics("t(x!)"))];
    let expected =
        ["removed a", "add b", "start lookupd 0", "start broker 0", "create t", "create t/x", "pause t/x"];
    check(&old, &new, &expected);
}

#[test]
fn the_order_of_clusters_does_not_matter() {
    let a = cluster("a", 1, 0, None, topics("t"));
    let b = cluster("b", 2, 1, None, topics("u"));
    let forward = changes(&Plan::default(), &Plan { clusters: vec![a.clone(), b.clone()] });
    let backward = changes(&Plan::default(), &Plan { clusters: vec![b, a] });
    assert_eq!(forward, backward);
}

/// Takes a step as whoever runs the plan would; what is removed goes, because the new plan does not show it.
fn apply(plan: &mut Plan, change: &Change) {
    fn of<'a>(plan: &'a mut Plan, id: &ClusterId) -> &'a mut ClusterPlan {
        plan.clusters.iter_mut().find(|cluster| cluster.id() == *id).unwrap()
    }
    fn topic<'a>(plan: &'a mut Plan, id: &ClusterId, name: &str) -> &'a mut TopicPlan {
        of(plan, id).topics.iter_mut().find(|topic| topic.name == name).unwrap()
    }
    fn channel<'a>(plan: &'a mut Plan, id: &ClusterId, name: &str, channel: &str) -> &'a mut ChannelPlan {
        topic(plan, id, name).channels.iter_mut().find(|found| found.name == channel).unwrap()
    }
    match change.clone() {
        Change::ClusterAdded { cluster: id } => {
            let empty =
                ClusterPlan { name: id.name, namespace: id.namespace, ..cluster("", 0, 0, None, Vec::new()) };
            plan.clusters.push(empty);
        }
        Change::ClusterRemoved { cluster } => plan.clusters.retain(|found| found.id() != cluster),
        Change::StartLookupd { cluster, lookupd } => of(plan, &cluster).lookupds.push(lookupd),
        Change::RestartLookupd { cluster, lookupd } => {
            let found = of(plan, &cluster).lookupds.iter_mut().find(|found| found.ordinal == lookupd.ordinal);
            *found.unwrap() = lookupd;
        }
        Change::LookupdRemoved { cluster, ordinal } => {
            of(plan, &cluster).lookupds.retain(|found| found.ordinal != ordinal);
        }
        Change::StartBroker { cluster, broker } => of(plan, &cluster).brokers.push(broker),
        Change::RestartBroker { cluster, broker } => {
            let found = of(plan, &cluster).brokers.iter_mut().find(|found| found.ordinal == broker.ordinal);
            *found.unwrap() = broker;
        }
        Change::BrokerRemoved { cluster, ordinal } => {
            of(plan, &cluster).brokers.retain(|found| found.ordinal != ordinal);
        }
        Change::CreateTopic { cluster, topic: name } => {
            let topic = TopicPlan { name, is_paused: None, durability: None, channels: Vec::new() };
            of(plan, &cluster).topics.push(topic);
        }
        Change::SetTopicDurability { cluster, topic: name, durability } => {
            topic(plan, &cluster, &name).durability = Some(durability);
        }
        Change::TopicRemoved { cluster, topic: name } => {
            of(plan, &cluster).topics.retain(|found| found.name != name)
        }
        Change::CreateChannel { cluster, topic: of_topic, channel: name } => {
            topic(plan, &cluster, &of_topic).channels.push(ChannelPlan { name, is_paused: None });
        }
        Change::ChannelRemoved { cluster, topic: of_topic, channel: name } => {
            topic(plan, &cluster, &of_topic).channels.retain(|found| found.name != name);
        }
        Change::PauseTopic { cluster, topic: name } => topic(plan, &cluster, &name).is_paused = Some(true),
        Change::UnpauseTopic { cluster, topic: name } => topic(plan, &cluster, &name).is_paused = Some(false),
        Change::PauseChannel { cluster, topic: of_topic, channel: name } => {
            channel(plan, &cluster, &of_topic, &name).is_paused = Some(true);
        }
        Change::UnpauseChannel { cluster, topic: of_topic, channel: name } => {
            channel(plan, &cluster, &of_topic, &name).is_paused = Some(false);
        }
    }
}

/// Sorted, and without the pauses and levels that `wanted` does not say: those stay as they were.
fn settled(mut plan: Plan, wanted: &Plan) -> Plan {
    plan.clusters.sort_by_key(ClusterPlan::id);
    for (cluster, wanted) in plan.clusters.iter_mut().zip(&wanted.clusters) {
        cluster.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for (topic, wanted) in cluster.topics.iter_mut().zip(&wanted.topics) {
            topic.is_paused = wanted.is_paused.and(topic.is_paused);
            topic.durability = wanted.durability.and(topic.durability);
            topic.channels.sort_by(|a, b| a.name.cmp(&b.name));
            for (channel, wanted) in topic.channels.iter_mut().zip(&wanted.channels) {
                channel.is_paused = wanted.is_paused.and(channel.is_paused);
            }
        }
    }
    plan
}

fn any_pause() -> impl Strategy<Value = Option<bool>> {
    prop_oneof![Just(None), any::<bool>().prop_map(Some)]
}

fn any_level() -> impl Strategy<Value = Option<Durability>> {
    proptest::option::of(proptest::sample::select(Durability::ALL.to_vec()))
}

fn any_topics() -> impl Strategy<Value = Vec<TopicPlan>> {
    let channels = btree_map("[xyz]", any_pause(), 0..3).prop_map(|channels| {
        channels.into_iter().map(|(name, is_paused)| ChannelPlan { name, is_paused }).collect()
    });
    btree_map("[abc]", (any_pause(), any_level(), channels), 0..3).prop_map(|topics| {
        let topic =
            |(name, (is_paused, durability, channels))| TopicPlan { name, is_paused, durability, channels };
        topics.into_iter().map(topic).collect()
    })
}

fn any_plan() -> impl Strategy<Value = Plan> {
    let flag = prop_oneof![Just(None), Just(Some("1")), Just(Some("2"))];
    let clusters = vec((0u32..4, 0u32..3, flag, any_topics(), any::<bool>()), 2);
    clusters.prop_map(|clusters| Plan {
        clusters: ["p", "q"]
            .into_iter()
            .zip(clusters)
            .filter(|(_, (.., is_declared))| *is_declared)
            .map(|(name, (brokers, lookupds, flag, topics, _))| {
                cluster(name, brokers, lookupds, flag, topics)
            })
            .collect(),
    })
}

proptest! {
    #[test]
    fn the_steps_taken_lead_to_the_new_plan((old, new) in (any_plan(), any_plan())) {
        let mut plan = old.clone();
        for change in changes(&old, &new) {
            apply(&mut plan, &change);
        }
        prop_assert_eq!(settled(plan, &new), new);
    }

    #[test]
    fn nothing_changed_is_nothing_to_do(plan in any_plan()) {
        prop_assert_eq!(changes(&plan, &plan), Vec::new());
    }
}
