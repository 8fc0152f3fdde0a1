//! What differs between what runs and what is wanted: the steps of a live change, in the order to take them.
//! Nothing here removes anything: what is no longer declared is named, and whoever runs the plan decides.

use std::collections::BTreeMap;

use crate::plan::{BrokerPlan, ChannelPlan, ClusterId, ClusterPlan, LookupdPlan, Plan, TopicPlan};
use crate::resources::Durability;

/// One step from an old plan to a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A cluster to run; its lookupds, brokers, topics and channels follow as changes of their own.
    ClusterAdded {
        /// The new cluster.
        cluster: ClusterId,
    },
    /// A cluster no longer declared. It keeps its data; nothing else is said about it.
    ClusterRemoved {
        /// The cluster that was declared before.
        cluster: ClusterId,
    },
    /// A lookupd to start.
    StartLookupd {
        /// Where.
        cluster: ClusterId,
        /// What to run.
        lookupd: LookupdPlan,
    },
    /// A lookupd whose flags changed.
    RestartLookupd {
        /// Where.
        cluster: ClusterId,
        /// What to run from now on.
        lookupd: LookupdPlan,
    },
    /// A lookupd no longer declared.
    LookupdRemoved {
        /// Where.
        cluster: ClusterId,
        /// Which.
        ordinal: u32,
    },
    /// A broker to start. It needs every topic and channel of the new plan, also those that are no change.
    StartBroker {
        /// Where.
        cluster: ClusterId,
        /// What to run.
        broker: BrokerPlan,
    },
    /// A broker whose flags changed.
    RestartBroker {
        /// Where.
        cluster: ClusterId,
        /// What to run from now on.
        broker: BrokerPlan,
    },
    /// A broker no longer declared. It keeps its data.
    BrokerRemoved {
        /// Where.
        cluster: ClusterId,
        /// Which.
        ordinal: u32,
    },
    /// A topic to create on every broker, those just started included.
    CreateTopic {
        /// Where.
        cluster: ClusterId,
        /// NSQ's name.
        topic: String,
    },
    /// A topic that must have this durability level on every broker; one that was just created included.
    SetTopicDurability {
        /// Where.
        cluster: ClusterId,
        /// NSQ's name.
        topic: String,
        /// What the OK to its publishes means from now on.
        durability: Durability,
    },
    /// A topic no longer declared, with its channels. It stays, messages included.
    TopicRemoved {
        /// Where.
        cluster: ClusterId,
        /// NSQ's name.
        topic: String,
    },
    /// A channel to create on every broker.
    CreateChannel {
        /// Where.
        cluster: ClusterId,
        /// NSQ's name of the topic.
        topic: String,
        /// NSQ's name of the channel.
        channel: String,
    },
    /// A channel no longer declared, of a topic that still is. It stays, messages included.
    ChannelRemoved {
        /// Where.
        cluster: ClusterId,
        /// NSQ's name of the topic.
        topic: String,
        /// NSQ's name of the channel.
        channel: String,
    },
    /// A topic that must pause on every broker.
    PauseTopic {
        /// Where.
        cluster: ClusterId,
        /// NSQ's name.
        topic: String,
    },
    /// A topic that must run on every broker.
    UnpauseTopic {
        /// Where.
        cluster: ClusterId,
        /// NSQ's name.
        topic: String,
    },
    /// A channel that must pause on every broker.
    PauseChannel {
        /// Where.
        cluster: ClusterId,
        /// NSQ's name of the topic.
        topic: String,
        /// NSQ's name of the channel.
        channel: String,
    },
    /// A channel that must run on every broker.
    UnpauseChannel {
        /// Where.
        cluster: ClusterId,
        /// NSQ's name of the topic.
        topic: String,
        /// NSQ's name of the channel.
        channel: String,
    },
}

/// The steps that lead from `old` to `new`: clusters, then lookupds, brokers, topics, channels, then pauses.
///
/// A level comes right after its topic is created, before anything else that may take time.
/// A pause or a level that is no longer declared is left as it is, so it is no change.
pub fn changes(old: &Plan, new: &Plan) -> Vec<Change> {
    let old = by_id(old);
    let new = by_id(new);
    let mut steps = Steps::default();
    for id in old.keys().filter(|id| !new.contains_key(id)) {
        steps.clusters.push(Change::ClusterRemoved { cluster: (*id).clone() });
    }
    for (id, new) in &new {
        if !old.contains_key(id) {
            steps.clusters.push(Change::ClusterAdded { cluster: id.clone() });
        }
        steps.cluster(id, old.get(id).copied(), new);
    }
    let Steps { clusters, lookupds, brokers, topics, channels, pauses } = steps;
    [clusters, lookupds, brokers, topics, channels, pauses].concat()
}

fn by_id(plan: &Plan) -> BTreeMap<ClusterId, &ClusterPlan> {
    plan.clusters.iter().map(|cluster| (cluster.id(), cluster)).collect()
}

#[derive(Default)]
struct Steps {
    clusters: Vec<Change>,
    lookupds: Vec<Change>,
    brokers: Vec<Change>,
    topics: Vec<Change>,
    channels: Vec<Change>,
    pauses: Vec<Change>,
}

impl Steps {
    fn cluster(&mut self, id: &ClusterId, old: Option<&ClusterPlan>, new: &ClusterPlan) {
        let old_lookupds = old.map(|old| old.lookupds.as_slice()).unwrap_or_default();
        let old_brokers = old.map(|old| old.brokers.as_slice()).unwrap_or_default();
        let old_topics = old.map(|old| old.topics.as_slice()).unwrap_or_default();
        for (before, after) in pairs(old_lookupds, &new.lookupds, |lookupd| lookupd.ordinal) {
            self.lookupds.extend(lookupd_change(id.clone(), before, after));
        }
        for (before, after) in pairs(old_brokers, &new.brokers, |broker| broker.ordinal) {
            self.brokers.extend(broker_change(id.clone(), before, after));
        }
        for (before, after) in pairs(old_topics, &new.topics, |topic| topic.name.clone()) {
            self.topic(id, before, after);
        }
    }

    fn topic(&mut self, id: &ClusterId, old: Option<&TopicPlan>, new: Option<&TopicPlan>) {
        let cluster = id.clone();
        let Some(new) = new else {
            let removed = old.map(|old| Change::TopicRemoved { cluster, topic: old.name.clone() });
            return self.topics.extend(removed);
        };
        let topic = new.name.clone();
        if old.is_none() {
            self.topics.push(Change::CreateTopic { cluster: cluster.clone(), topic: topic.clone() });
        }
        if let Some(durability) = newly(old.map(|old| old.durability), new.durability) {
            let (cluster, topic) = (cluster.clone(), topic.clone());
            self.topics.push(Change::SetTopicDurability { cluster, topic, durability });
        }
        match newly(old.map(|old| old.is_paused), new.is_paused) {
            Some(true) => self.pauses.push(Change::PauseTopic { cluster, topic }),
            Some(false) => self.pauses.push(Change::UnpauseTopic { cluster, topic }),
            None => {}
        }
        let old_channels = old.map(|old| old.channels.as_slice()).unwrap_or_default();
        for (before, after) in pairs(old_channels, &new.channels, |channel| channel.name.clone()) {
            self.channel(id, &new.name, before, after);
        }
    }

    fn channel(&mut self, id: &ClusterId, topic: &str, old: Option<&ChannelPlan>, new: Option<&ChannelPlan>) {
        let (cluster, topic) = (id.clone(), topic.to_owned());
        let Some(new) = new else {
            let removed = old.map(|old| Change::ChannelRemoved { cluster, topic, channel: old.name.clone() });
            return self.channels.extend(removed);
        };
        let channel = new.name.clone();
        if old.is_none() {
            let (cluster, topic, channel) = (cluster.clone(), topic.clone(), channel.clone());
            self.channels.push(Change::CreateChannel { cluster, topic, channel });
        }
        match newly(old.map(|old| old.is_paused), new.is_paused) {
            Some(true) => self.pauses.push(Change::PauseChannel { cluster, topic, channel }),
            Some(false) => self.pauses.push(Change::UnpauseChannel { cluster, topic, channel }),
            None => {}
        }
    }
}

/// The pause or level to bring about. What is new may exist already, paused or not and with any level, from
/// before it was declared: so that even what a new one would have is a step then.
fn newly<T: PartialEq + Copy>(old: Option<Option<T>>, new: Option<T>) -> Option<T> {
    if old == Some(new) { None } else { new }
}

fn lookupd_change(
    cluster: ClusterId,
    old: Option<&LookupdPlan>,
    new: Option<&LookupdPlan>,
) -> Option<Change> {
    match (old, new) {
        (None, Some(new)) => Some(Change::StartLookupd { cluster, lookupd: new.clone() }),
        (Some(old), Some(new)) if old != new => {
            Some(Change::RestartLookupd { cluster, lookupd: new.clone() })
        }
        (Some(old), None) => Some(Change::LookupdRemoved { cluster, ordinal: old.ordinal }),
        _ => None,
    }
}

fn broker_change(cluster: ClusterId, old: Option<&BrokerPlan>, new: Option<&BrokerPlan>) -> Option<Change> {
    match (old, new) {
        (None, Some(new)) => Some(Change::StartBroker { cluster, broker: new.clone() }),
        (Some(old), Some(new)) if old != new => Some(Change::RestartBroker { cluster, broker: new.clone() }),
        (Some(old), None) => Some(Change::BrokerRemoved { cluster, ordinal: old.ordinal }),
        _ => None,
    }
}

/// What is on both sides, or on one, by key and in its order.
fn pairs<'a, T, K: Ord>(
    old: &'a [T],
    new: &'a [T],
    key: impl Fn(&T) -> K,
) -> impl Iterator<Item = (Option<&'a T>, Option<&'a T>)> {
    let mut pairs: BTreeMap<K, (Option<&T>, Option<&T>)> = BTreeMap::new();
    for item in old {
        pairs.entry(key(item)).or_default().0 = Some(item);
    }
    for item in new {
        pairs.entry(key(item)).or_default().1 = Some(item);
    }
    pairs.into_values()
}

#[cfg(test)]
mod tests;
