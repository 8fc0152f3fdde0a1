//! From NsqTopics and NsqChannels to what every broker of one cluster must have, and what becomes of each resource:
//! the oldest has a name, another namespace needs the cluster's leave, a channel needs its topic. Values in, values out;
//! who reads resources, writes status and asks brokers is elsewhere.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use protocol::control::{DeclaredChannel, DeclaredTopic};

use crate::plan::ClusterId;

/// An NsqTopic or NsqChannel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    /// Its metadata.namespace.
    pub namespace: String,
    /// Its metadata.name.
    pub name: String,
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// By which the oldest of several resources is found: the time of creation in Unix seconds, then the UID.
pub type Age = (i64, String);

/// What becomes of a topic or channel when its resource is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fate {
    /// It stays on the brokers.
    #[default]
    Stays,
    /// It goes if no message goes with it.
    GoesIfEmpty,
    /// It goes, with all its messages.
    Goes,
}

/// What an NsqTopic asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicClaim {
    /// The resource.
    pub id: ResourceId,
    /// How old it is.
    pub age: Age,
    /// The cluster it refers to.
    pub cluster: ClusterId,
    /// NSQ's name.
    pub topic: String,
    /// `None`: left to whoever pauses by hand.
    pub paused: Option<bool>,
    /// A word of `--durability`; `None`: left to the broker.
    pub durability: Option<String>,
    /// Whether brokers set back what is changed by hand.
    pub enforce: bool,
    /// What a deletion of the resource means.
    pub fate: Fate,
    /// The resource is being deleted.
    pub is_going: bool,
}

/// What an NsqChannel asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelClaim {
    /// The resource.
    pub id: ResourceId,
    /// How old it is.
    pub age: Age,
    /// What it is a channel of.
    pub of: ChannelOf,
    /// NSQ's name.
    pub channel: String,
    /// `None`: left to whoever pauses by hand.
    pub paused: Option<bool>,
    /// Whether brokers set back what is changed by hand.
    pub enforce: bool,
    /// What a deletion of the resource means.
    pub fate: Fate,
    /// The resource is being deleted.
    pub is_going: bool,
}

/// What a channel is a channel of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelOf {
    /// An NsqTopic, of the same namespace.
    Resource(String),
    /// A topic of that name in that cluster, with an NsqTopic or without.
    Topic(ClusterId, String),
}

/// What becomes of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every broker is to have it.
    Declared,
    /// An older resource has the name in this cluster.
    Conflict(ResourceId),
    /// The cluster does not take resources of that namespace.
    NotAllowed,
    /// The NsqTopic that it names is not there.
    TopicNotFound,
    /// The NsqTopic that it names is there, and is not declared itself.
    TopicNotAccepted,
    /// It is being deleted.
    Going,
}

/// Something to be deleted on every broker because its resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// The resource that goes.
    pub id: ResourceId,
    /// NSQ's name of the topic.
    pub topic: String,
    /// NSQ's name of the channel, unless it is the topic.
    pub channel: Option<String>,
    /// Only without messages.
    pub only_if_empty: bool,
    /// Another resource declares it, so that it stays.
    pub still_declared: bool,
}

/// What one cluster's brokers must have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Sorted by name.
    pub topics: Vec<DeclaredTopic>,
    /// Of every NsqTopic that refers to the cluster.
    pub of_topics: BTreeMap<ResourceId, Verdict>,
    /// Of every NsqChannel that does.
    pub of_channels: BTreeMap<ResourceId, Verdict>,
    /// Of those that are going and do not leave their topic or channel behind.
    pub deletions: Vec<Deletion>,
}

/// A cluster, as far as others refer to it.
pub struct Grantor<'a> {
    /// Which it is.
    pub id: ClusterId,
    /// Whether resources of another namespace may refer to it.
    pub admits: &'a dyn Fn(&str) -> bool,
    /// Whether brokers set back topics that have no NsqTopic of their own.
    pub enforce: bool,
}

impl Grantor<'_> {
    fn admits(&self, id: &ResourceId) -> bool {
        id.namespace == self.id.namespace || (self.admits)(&id.namespace)
    }
}

/// All claims, found by their resource: clusters are resolved one by one, among thousands of topics.
#[derive(Debug)]
pub struct Claims {
    topics: Vec<TopicClaim>,
    channels: Vec<ChannelClaim>,
    by_id: HashMap<ResourceId, usize>,
}

impl Claims {
    /// In any order.
    pub fn new(mut topics: Vec<TopicClaim>, mut channels: Vec<ChannelClaim>) -> Self {
        topics.sort_by(|a, b| a.age.cmp(&b.age));
        channels.sort_by(|a, b| a.age.cmp(&b.age));
        let by_id = topics.iter().enumerate().map(|(at, claim)| (claim.id.clone(), at)).collect();
        Self { topics, channels, by_id }
    }

    /// The cluster that a channel belongs to; `None` while its NsqTopic is not there.
    pub fn cluster_of<'a>(&'a self, claim: &'a ChannelClaim) -> Option<&'a ClusterId> {
        match &claim.of {
            ChannelOf::Topic(cluster, _) => Some(cluster),
            ChannelOf::Resource(name) => Some(&self.named(claim, name)?.cluster),
        }
    }

    /// NSQ's name of the topic that a channel belongs to; `None` while its NsqTopic is not there.
    pub fn topic_of(&self, claim: &ChannelClaim) -> Option<String> {
        match &claim.of {
            ChannelOf::Topic(_, topic) => Some(topic.clone()),
            ChannelOf::Resource(name) => Some(self.named(claim, name)?.topic.clone()),
        }
    }

    /// Every NsqTopic.
    pub fn topics(&self) -> &[TopicClaim] {
        &self.topics
    }

    /// Every NsqChannel.
    pub fn channels(&self) -> &[ChannelClaim] {
        &self.channels
    }

    fn named(&self, claim: &ChannelClaim, name: &str) -> Option<&TopicClaim> {
        let id = ResourceId { namespace: claim.id.namespace.clone(), name: name.to_owned() };
        self.topics.get(*self.by_id.get(&id)?)
    }

    fn topics_of<'a>(&'a self, cluster: &'a ClusterId) -> impl Iterator<Item = &'a TopicClaim> {
        self.topics.iter().filter(move |claim| claim.cluster == *cluster)
    }

    fn channels_of<'a>(&'a self, cluster: &'a ClusterId) -> impl Iterator<Item = &'a ChannelClaim> {
        self.channels.iter().filter(move |claim| self.cluster_of(claim) == Some(cluster))
    }
}

/// What the brokers of `cluster` must have. Claims on other clusters are left out of it.
pub fn resolve(cluster: &Grantor<'_>, claims: &Claims) -> Resolved {
    let mut found = Resolved::default();
    let mut declared = declare_topics(cluster, claims, &mut found);
    declare_channels(cluster, claims, &mut declared, &mut found);
    found.topics = declared.into_values().map(Gathered::finished).collect();
    delete(cluster, claims, &mut found);
    found
}

/// A topic whose channels are being gathered.
struct Gathered {
    topic: DeclaredTopic,
    channels: BTreeMap<String, DeclaredChannel>,
}

type ByName = BTreeMap<String, Gathered>;

impl Gathered {
    fn of(claim: &TopicClaim) -> Self {
        let mut gathered = Self::undeclared(&claim.topic, claim.enforce);
        gathered.topic.paused = claim.paused;
        gathered.topic.durability.clone_from(&claim.durability);
        gathered
    }

    /// A topic that is there only because of its channels.
    fn undeclared(name: &str, enforce: bool) -> Self {
        let name = name.to_owned();
        let topic = DeclaredTopic { name, paused: None, durability: None, enforce, channels: Vec::new() };
        Self { topic, channels: BTreeMap::new() }
    }

    fn add(&mut self, claim: &ChannelClaim) {
        let name = claim.channel.clone();
        let channel = DeclaredChannel { name: name.clone(), paused: claim.paused, enforce: claim.enforce };
        self.channels.insert(name, channel);
    }

    fn finished(self) -> DeclaredTopic {
        DeclaredTopic { channels: self.channels.into_values().collect(), ..self.topic }
    }
}

fn declare_topics(cluster: &Grantor<'_>, claims: &Claims, found: &mut Resolved) -> ByName {
    let mut owners: BTreeMap<&str, &ResourceId> = BTreeMap::new();
    let mut declared = ByName::new();
    for claim in claims.topics_of(&cluster.id) {
        let verdict = match owners.get(claim.topic.as_str()) {
            _ if claim.is_going => Verdict::Going,
            _ if !cluster.admits(&claim.id) => Verdict::NotAllowed,
            Some(owner) => Verdict::Conflict((*owner).clone()),
            None => {
                owners.insert(&claim.topic, &claim.id);
                declared.insert(claim.topic.clone(), Gathered::of(claim));
                Verdict::Declared
            }
        };
        found.of_topics.insert(claim.id.clone(), verdict);
    }
    declared
}

fn declare_channels(cluster: &Grantor<'_>, claims: &Claims, declared: &mut ByName, found: &mut Resolved) {
    let mut owners: BTreeMap<(&str, &str), &ResourceId> = BTreeMap::new();
    for claim in claims.channels_of(&cluster.id) {
        let verdict = match topic_of(claim, claims, found) {
            _ if claim.is_going => Verdict::Going,
            _ if !cluster.admits(&claim.id) => Verdict::NotAllowed,
            Err(verdict) => verdict,
            Ok(topic) => match owners.get(&(topic, claim.channel.as_str())) {
                Some(owner) => Verdict::Conflict((*owner).clone()),
                None => {
                    owners.insert((topic, &claim.channel), &claim.id);
                    let undeclared = || Gathered::undeclared(topic, cluster.enforce);
                    declared.entry(topic.to_owned()).or_insert_with(undeclared).add(claim);
                    Verdict::Declared
                }
            },
        };
        found.of_channels.insert(claim.id.clone(), verdict);
    }
}

/// NSQ's name of the topic of a channel, or why it has none.
fn topic_of<'a>(claim: &'a ChannelClaim, claims: &'a Claims, found: &Resolved) -> Result<&'a str, Verdict> {
    let name = match &claim.of {
        ChannelOf::Topic(_, topic) => return Ok(topic),
        ChannelOf::Resource(name) => name,
    };
    let topic = claims.named(claim, name).ok_or(Verdict::TopicNotFound)?;
    match found.of_topics.get(&topic.id) {
        Some(Verdict::Declared) => Ok(&topic.topic),
        Some(Verdict::Going) | None => Err(Verdict::TopicNotFound),
        Some(_) => Err(Verdict::TopicNotAccepted),
    }
}

fn delete(cluster: &Grantor<'_>, claims: &Claims, found: &mut Resolved) {
    let declared: HashMap<&str, &DeclaredTopic> =
        found.topics.iter().map(|topic| (topic.name.as_str(), topic)).collect();
    let mut deletions = Vec::new();
    for claim in claims.channels_of(&cluster.id).filter(|claim| claim.is_going) {
        let topic = match &claim.of {
            ChannelOf::Topic(_, topic) => topic,
            ChannelOf::Resource(name) => match claims.named(claim, name) {
                Some(topic) => &topic.topic,
                None => continue,
            },
        };
        let is_declared = declared
            .get(topic.as_str())
            .is_some_and(|topic| topic.channels.iter().any(|channel| channel.name == claim.channel));
        deletions.extend(deletion(
            cluster,
            &claim.id,
            claim.fate,
            (topic, Some(&claim.channel)),
            is_declared,
        ));
    }
    for claim in claims.topics_of(&cluster.id).filter(|claim| claim.is_going) {
        let is_declared = declared.contains_key(claim.topic.as_str());
        deletions.extend(deletion(cluster, &claim.id, claim.fate, (&claim.topic, None), is_declared));
    }
    found.deletions = deletions;
}

fn deletion(
    cluster: &Grantor<'_>,
    id: &ResourceId,
    fate: Fate,
    (topic, channel): (&str, Option<&str>),
    still_declared: bool,
) -> Option<Deletion> {
    // A namespace without the cluster's leave never had a say.
    let goes = fate != Fate::Stays && cluster.admits(id);
    goes.then(|| Deletion {
        id: id.clone(),
        topic: topic.to_owned(),
        channel: channel.map(str::to_owned),
        only_if_empty: fate == Fate::GoesIfEmpty,
        still_declared,
    })
}
