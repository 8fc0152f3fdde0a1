//! From resources to what must run: which brokers and lookupds with which flags, which topics and channels.
//! Pure: the same declaration gives the same plan, whatever the order of its documents. Addresses, folders
//! and discovery are not here: whoever runs the plan (a StatefulSet, `nsq up`) owns them.

pub(crate) mod flags;

use std::collections::BTreeMap;
use std::fmt;

use crate::Declaration;
use crate::relations::{TopicKey, Topics, id_of_cluster, key_of_topic};
use crate::resources::{Durability, NsqCluster};

/// All that must run. Clusters are sorted by namespace and name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// One per NsqCluster.
    pub clusters: Vec<ClusterPlan>,
}

/// Which cluster: names repeat across namespaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId {
    /// `default` where the resource names none.
    pub namespace: String,
    /// The NsqCluster's `metadata.name`.
    pub name: String,
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What one NsqCluster and the topics and channels that refer to it ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPlan {
    /// The NsqCluster's `metadata.name`.
    pub name: String,
    /// `default` where the resource names none.
    pub namespace: String,
    /// By ordinal, 0 to replicas - 1.
    pub brokers: Vec<BrokerPlan>,
    /// By ordinal, 0 to replicas - 1.
    pub lookupds: Vec<LookupdPlan>,
    /// Sorted by name. Every broker has all of them.
    pub topics: Vec<TopicPlan>,
}

impl ClusterPlan {
    /// The namespace and name, as changes carry them.
    pub fn id(&self) -> ClusterId {
        ClusterId { namespace: self.namespace.clone(), name: self.name.clone() }
    }
}

/// One nsqd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerPlan {
    /// Its place in the cluster; stable over restarts.
    pub ordinal: u32,
    /// `--node-id`; always the ordinal, so that message ids of two brokers never meet.
    pub node_id: u32,
    /// Flag names without dashes and their values, sorted; only what the resource sets.
    pub flags: Vec<(String, String)>,
}

/// One nsqlookupd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupdPlan {
    /// Its place in the cluster; stable over restarts.
    pub ordinal: u32,
    /// Flag names without dashes and their values, sorted; only what the resource sets.
    pub flags: Vec<(String, String)>,
}

/// One topic that must exist on every broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPlan {
    /// NSQ's name of the topic.
    pub name: String,
    /// `None` where no resource says: whoever paused it by hand keeps it so.
    pub is_paused: Option<bool>,
    /// What the OK to its publishes means. `None` where no resource says: it has the broker's default, or what
    /// somebody set by hand.
    pub durability: Option<Durability>,
    /// Sorted by name.
    pub channels: Vec<ChannelPlan>,
}

/// One channel that must exist on every broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelPlan {
    /// NSQ's name of the channel.
    pub name: String,
    /// `None` where no resource says: whoever paused it by hand keeps it so.
    pub is_paused: Option<bool>,
}

/// What must run for `declaration`.
pub fn plan(declaration: &Declaration) -> Plan {
    let mut topics = topics(declaration);
    let mut clusters: Vec<ClusterPlan> = declaration
        .clusters
        .iter()
        .map(|cluster| {
            let id = id_of_cluster(cluster);
            let own = topics.remove(&id).unwrap_or_default();
            cluster_plan(cluster, id, own)
        })
        .collect();
    clusters.sort_by_key(ClusterPlan::id);
    Plan { clusters }
}

/// A topic while its resources are being gathered: from an NsqTopic, from channels, or from both.
#[derive(Default)]
struct Gathered {
    is_paused: Option<bool>,
    durability: Option<Durability>,
    channels: BTreeMap<String, Option<bool>>,
}

type TopicsByName = BTreeMap<String, Gathered>;

fn topics(declaration: &Declaration) -> BTreeMap<ClusterId, TopicsByName> {
    let mut clusters: BTreeMap<ClusterId, TopicsByName> = BTreeMap::new();
    for topic in &declaration.topics {
        let TopicKey { cluster, topic: name } = key_of_topic(topic);
        let gathered = clusters.entry(cluster).or_default().entry(name).or_default();
        gathered.is_paused = topic.spec.paused;
        gathered.durability = topic.spec.settings.as_ref().and_then(|settings| settings.durability);
    }
    let by_reference = Topics::new(&declaration.topics);
    for channel in &declaration.channels {
        let Some(TopicKey { cluster, topic }) = by_reference.of_channel(channel) else { continue };
        let topic = clusters.entry(cluster).or_default().entry(topic).or_default();
        topic.channels.insert(channel.channel_name(), channel.spec.paused);
    }
    clusters
}

fn cluster_plan(cluster: &NsqCluster, id: ClusterId, topics: TopicsByName) -> ClusterPlan {
    let broker_flags = flags::of_broker(&cluster.spec);
    let lookupd_flags = flags::of_lookupd(&cluster.spec.lookupds.config);
    let broker = |ordinal| BrokerPlan { ordinal, node_id: ordinal, flags: broker_flags.clone() };
    let lookupd = |ordinal| LookupdPlan { ordinal, flags: lookupd_flags.clone() };
    ClusterPlan {
        name: id.name,
        namespace: id.namespace,
        brokers: (0..cluster.spec.brokers.replicas).map(broker).collect(),
        lookupds: (0..cluster.spec.lookupds.replicas).map(lookupd).collect(),
        topics: topics.into_iter().map(topic_plan).collect(),
    }
}

fn topic_plan((name, gathered): (String, Gathered)) -> TopicPlan {
    let Gathered { is_paused, durability, channels } = gathered;
    let channels = channels.into_iter().map(|(name, is_paused)| ChannelPlan { name, is_paused }).collect();
    TopicPlan { name, is_paused, durability, channels }
}

#[cfg(test)]
mod tests;
