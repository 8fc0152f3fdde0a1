//! Who has which topic and channel: brokers by connection, their tombstones and last sign of life.
//! Pure: the time is an argument, counted from the start of the process. What is asked for leaves as values
//! of `answers`; sockets and locks live with the callers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use protocol::lookup::PeerInfo;
use protocol::{ChannelName, TopicName};

use crate::answers::{ChannelList, Debug, DebugProducer, Lookup, Node, Nodes, Producer, TopicList};

#[cfg(test)]
mod tests;

/// A broker is its connection's remote address: two connections of one nsqd are two brokers, as in
/// nsqlookupd.
pub(crate) type BrokerId = SocketAddr;

/// How long a broker counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetimes {
    /// A broker silent for longer is inactive.
    pub(crate) inactive_after: Duration,
    /// A tombstone younger than this hides its broker.
    pub(crate) tombstone: Duration,
}

/// All that nsqlookupd knows. Nothing is persisted: brokers register again when they reconnect.
#[derive(Debug)]
pub(crate) struct Registry {
    lifetimes: Lifetimes,
    brokers: BTreeMap<BrokerId, Broker>,
    topics: BTreeMap<TopicName, Topic>,
}

impl Registry {
    pub(crate) fn new(lifetimes: Lifetimes) -> Self {
        Self { lifetimes, brokers: BTreeMap::new(), topics: BTreeMap::new() }
    }

    /// A broker said who it is.
    pub(crate) fn identify(&mut self, id: BrokerId, info: PeerInfo, now: Duration) {
        self.brokers.insert(id, Broker { info, seen: now });
    }

    /// A sign of life. Only this and `identify` count as one: a busy REGISTER does not, as in nsqlookupd.
    pub(crate) fn ping(&mut self, id: BrokerId, now: Duration) {
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.seen = now;
        }
    }

    /// The broker has the topic, and the channel of it. Repeating it changes nothing, not even a tombstone.
    pub(crate) fn register(&mut self, id: BrokerId, topic: TopicName, channel: Option<ChannelName>) {
        let topic = self.topics.entry(topic).or_default();
        topic.brokers.entry(id).or_insert(None);
        if let Some(channel) = channel {
            topic.channels.entry(channel).or_default().insert(id);
        }
    }

    /// The broker no longer has the channel, or without one the topic with all its channels. Names stay
    /// known, but ephemeral ones go with their last broker.
    pub(crate) fn unregister(&mut self, id: BrokerId, topic: &TopicName, channel: Option<&ChannelName>) {
        let Some(entry) = self.topics.get_mut(topic) else { return };
        match channel {
            Some(channel) => entry.leave_channel(id, channel),
            None => {
                if entry.leave(id) && topic.is_ephemeral() {
                    self.topics.remove(topic);
                }
            }
        }
    }

    /// The connection ended, and with it all the broker registered.
    pub(crate) fn disconnect(&mut self, id: BrokerId) {
        self.brokers.remove(&id);
        // nsqd: nsqlookupd forgets ephemeral names only on UNREGISTER, so a crashed nsqd leaves them behind
        // for good.
        self.topics.retain(|name, topic| !(topic.leave(id) && name.is_ephemeral()));
    }

    pub(crate) fn create_topic(&mut self, topic: TopicName) {
        self.topics.entry(topic).or_default();
    }

    /// Creates the topic too.
    pub(crate) fn create_channel(&mut self, topic: TopicName, channel: ChannelName) {
        self.topics.entry(topic).or_default().channels.entry(channel).or_default();
    }

    /// Forgets the topic and its channels. Brokers keep theirs, and bring it back when they register again.
    pub(crate) fn delete_topic(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// Forgets the channel; false if it was not known.
    pub(crate) fn delete_channel(&mut self, topic: &str, channel: &str) -> bool {
        self.topics.get_mut(topic).is_some_and(|topic| topic.channels.remove(channel).is_some())
    }

    /// Hides every broker whose HTTP address is `node` (`broadcast_address:http_port`) from answers about the
    /// topic.
    pub(crate) fn tombstone(&mut self, topic: &str, node: &str, now: Duration) {
        let Some(topic) = self.topics.get_mut(topic) else { return };
        for (id, tombstone) in &mut topic.brokers {
            if self.brokers.get(id).is_some_and(|broker| broker.node() == node) {
                *tombstone = Some(now);
            }
        }
    }

    /// Every topic's name.
    pub(crate) fn topics(&self) -> TopicList {
        TopicList { topics: self.topics.keys().map(ToString::to_string).collect() }
    }

    /// Every channel of the topic; none if it is unknown.
    pub(crate) fn channels(&self, topic: &str) -> ChannelList {
        ChannelList { channels: self.topics.get(topic).map(Topic::channel_names).unwrap_or_default() }
    }

    /// Where consumers of the topic should connect; `None` if the topic is unknown.
    pub(crate) fn lookup(&self, topic: &str, now: Duration) -> Option<Lookup> {
        let topic = self.topics.get(topic)?;
        let shown = topic.brokers.iter().filter(|(_, tombstone)| !self.is_tombstoned(**tombstone, now));
        let brokers = shown.filter_map(|(id, _)| Some((*id, self.brokers.get(id)?)));
        let producers = brokers.filter(|(_, broker)| self.is_active(broker, now)).map(producer).collect();
        Some(Lookup { channels: topic.channel_names(), producers })
    }

    /// Every active broker with its topics. Tombstones are shown here and hide nothing.
    pub(crate) fn nodes(&self, now: Duration) -> Nodes {
        let mut held: BTreeMap<BrokerId, (Vec<bool>, Vec<String>)> = BTreeMap::new();
        for (name, topic) in &self.topics {
            for (id, tombstone) in &topic.brokers {
                let (tombstones, topics) = held.entry(*id).or_default();
                tombstones.push(self.is_tombstoned(*tombstone, now));
                topics.push(name.to_string());
            }
        }
        let active = self.brokers.iter().filter(|(_, broker)| self.is_active(broker, now));
        let nodes = active.map(|(id, broker)| {
            let (tombstones, topics) = held.remove(id).unwrap_or_default();
            Node { producer: producer((*id, broker)), tombstones, topics }
        });
        Nodes { producers: nodes.collect() }
    }

    /// Everything, hidden or not, for `/debug`. `started_at` is the start of the process since the epoch.
    pub(crate) fn debug(&self, started_at: Duration) -> Debug {
        let mut all = Debug::new();
        let mut add = |key: String, id: &BrokerId, tombstone: Option<Duration>| {
            let Some(broker) = self.brokers.get(id) else { return };
            let entry = DebugProducer::new(producer((*id, broker)), broker.seen, tombstone, started_at);
            all.entry(key).or_default().push(entry);
        };
        for id in self.brokers.keys() {
            add("client::".to_owned(), id, None);
        }
        for (name, topic) in &self.topics {
            for (id, tombstone) in &topic.brokers {
                add(format!("topic:{name}:"), id, *tombstone);
            }
            for (channel, ids) in &topic.channels {
                for id in ids {
                    add(format!("channel:{name}:{channel}"), id, None);
                }
            }
        }
        all
    }

    fn is_active(&self, broker: &Broker, now: Duration) -> bool {
        now.saturating_sub(broker.seen) <= self.lifetimes.inactive_after
    }

    fn is_tombstoned(&self, tombstone: Option<Duration>, now: Duration) -> bool {
        tombstone.is_some_and(|since| now.saturating_sub(since) < self.lifetimes.tombstone)
    }
}

#[derive(Debug)]
struct Broker {
    info: PeerInfo,
    seen: Duration,
}

impl Broker {
    fn node(&self) -> String {
        format!("{}:{}", self.info.broadcast_address, self.info.http_port)
    }
}

/// Its brokers with the time of their tombstone. A channel's brokers also have the topic.
#[derive(Debug, Default)]
struct Topic {
    brokers: BTreeMap<BrokerId, Option<Duration>>,
    channels: BTreeMap<ChannelName, BTreeSet<BrokerId>>,
}

impl Topic {
    /// True if the broker had the topic and was the last.
    fn leave(&mut self, id: BrokerId) -> bool {
        self.channels.retain(|name, brokers| !(leave(brokers, id) && name.is_ephemeral()));
        self.brokers.remove(&id).is_some() && self.brokers.is_empty()
    }

    fn leave_channel(&mut self, id: BrokerId, channel: &ChannelName) {
        let Some(brokers) = self.channels.get_mut(channel) else { return };
        if leave(brokers, id) && channel.is_ephemeral() {
            self.channels.remove(channel);
        }
    }

    fn channel_names(&self) -> Vec<String> {
        self.channels.keys().map(ToString::to_string).collect()
    }
}

/// True if the broker was in it and was the last.
fn leave(brokers: &mut BTreeSet<BrokerId>, id: BrokerId) -> bool {
    brokers.remove(&id) && brokers.is_empty()
}

fn producer((id, broker): (BrokerId, &Broker)) -> Producer {
    let info = &broker.info;
    Producer {
        remote_address: id.to_string(),
        hostname: info.hostname.clone(),
        broadcast_address: info.broadcast_address.clone(),
        tcp_port: info.tcp_port,
        http_port: info.http_port,
        version: info.version.clone(),
        topology_zone: info.topology_zone.clone(),
        topology_region: info.topology_region.clone(),
    }
}
