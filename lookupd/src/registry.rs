//! Who has which topic and channel: brokers by connection, their tombstones and last sign of life.
//! Pure: the time is an argument, counted from the start of the process. What is asked for leaves as values
//! of `answers`; sockets and locks live with the callers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
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

/// How long a broker counts, and how much there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// A broker silent for longer is inactive.
    pub(crate) inactive_after: Duration,
    /// A tombstone younger than this hides its broker.
    pub(crate) tombstone: Duration,
    /// Topics and channels, and which broker has them, all counted one by one.
    pub(crate) registrations_max: usize,
    /// Topics and channels of one broker.
    pub(crate) broker_registrations_max: usize,
}

/// There is as much as there may be. The text names the flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// One broker registered more than it may.
    Broker(usize),
    /// All together.
    All(usize),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker(max) => {
                write!(f, "too many registrations: --max-registrations-per-connection={max}")
            }
            Self::All(max) => write!(f, "too many registrations: --max-registrations={max}"),
        }
    }
}

/// Counts of what is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Brokers that are connected and said who they are.
    pub(crate) producers: usize,
    /// Those heard of lately.
    pub(crate) active: usize,
    pub(crate) topics: usize,
    pub(crate) channels: usize,
    /// Tombstones that hide a broker now.
    pub(crate) tombstones: usize,
}

/// All that nsqlookupd knows. Nothing is persisted: brokers register again when they reconnect.
#[derive(Debug)]
pub(crate) struct Registry {
    rules: Rules,
    brokers: BTreeMap<BrokerId, Broker>,
    topics: BTreeMap<TopicName, Topic>,
    /// Names, and brokers by name: what `registrations_max` limits.
    size: usize,
    swept_at: Option<Duration>,
}

impl Registry {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, brokers: BTreeMap::new(), topics: BTreeMap::new(), size: 0, swept_at: None }
    }

    /// A broker said who it is.
    pub(crate) fn identify(&mut self, id: BrokerId, info: PeerInfo, now: Duration) {
        self.brokers.insert(id, Broker { info, seen: now, topics: BTreeSet::new(), held: 0 });
    }

    /// A sign of life. Only this and `identify` count as one: a busy REGISTER does not, as in nsqlookupd.
    pub(crate) fn ping(&mut self, id: BrokerId, now: Duration) {
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.seen = now;
        }
    }

    /// The broker has the topic, and the channel of it. Repeating it changes nothing, not even a tombstone. Says
    /// whether anything is new.
    ///
    /// # Errors
    /// There is no room for it; nothing is changed.
    pub(crate) fn register(
        &mut self,
        id: BrokerId,
        topic: TopicName,
        channel: Option<ChannelName>,
        now: Duration,
    ) -> Result<bool, Full> {
        let Some(held) = self.brokers.get(&id).map(|broker| broker.held) else { return Ok(false) };
        let missing = self.room_for(Some(id), topic.as_str(), channel.as_ref(), now)?;
        if held + missing.holdings > self.rules.broker_registrations_max {
            return Err(Full::Broker(self.rules.broker_registrations_max));
        }
        let name = topic.clone();
        let entry = self.topics.entry(topic).or_default();
        entry.is_named = true;
        entry.brokers.entry(id).or_insert(None);
        if let Some(channel) = channel {
            entry.channels.entry(channel).or_default().insert(id);
        }
        self.size += missing.all();
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.held += missing.holdings;
            broker.topics.insert(name);
        }
        Ok(missing.all() > 0)
    }

    /// The broker no longer has the channel, or without one the topic with all its channels. Names stay
    /// known, but an ephemeral one goes if it is named here and no broker is left. Says whether the broker had it.
    pub(crate) fn unregister(
        &mut self,
        id: BrokerId,
        topic: &TopicName,
        channel: Option<&ChannelName>,
    ) -> bool {
        let Some(entry) = self.topics.get_mut(topic) else { return false };
        let Some(channel) = channel else { return self.unregister_topic(id, topic) };
        let Some(brokers) = entry.channels.get_mut(channel) else { return false };
        let had_it = brokers.remove(&id);
        self.size -= usize::from(had_it);
        // nsqd: also if it was another broker that registered it, or nobody.
        if brokers.is_empty() && channel.is_ephemeral() {
            entry.channels.remove(channel);
            self.size -= 1;
            self.forget_unused(topic.as_str());
        }
        if had_it && let Some(broker) = self.brokers.get_mut(&id) {
            broker.held -= 1;
        }
        had_it
    }

    /// The connection ended, and with it all the broker registered.
    // nsqd: ephemeral names stay, too, until somebody unregisters or deletes them. They are let go when room is
    // needed.
    pub(crate) fn disconnect(&mut self, id: BrokerId) {
        let Some(broker) = self.brokers.remove(&id) else { return };
        for topic in &broker.topics {
            if let Some(entry) = self.topics.get_mut(topic) {
                self.size -= entry.leave(id);
            }
        }
    }

    /// Says whether it is new.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) fn create_topic(&mut self, topic: TopicName, now: Duration) -> Result<bool, Full> {
        let missing = self.room_for(None, topic.as_str(), None, now)?;
        self.topics.entry(topic).or_default().is_named = true;
        self.size += missing.all();
        Ok(missing.all() > 0)
    }

    /// Creates the topic too.
    ///
    /// # Errors
    /// There is no room for it.
    pub(crate) fn create_channel(
        &mut self,
        topic: TopicName,
        channel: ChannelName,
        now: Duration,
    ) -> Result<(), Full> {
        let missing = self.room_for(None, topic.as_str(), Some(&channel), now)?;
        let entry = self.topics.entry(topic).or_default();
        entry.is_named = true;
        entry.channels.entry(channel).or_default();
        self.size += missing.all();
        Ok(())
    }

    /// Forgets the topic and its channels. Brokers keep theirs, and bring it back when they register again.
    pub(crate) fn delete_topic(&mut self, topic: &str) {
        let Some(entry) = self.topics.remove(topic) else { return };
        self.size -= entry.size();
        for id in entry.brokers.keys() {
            if let Some(broker) = self.brokers.get_mut(id) {
                broker.topics.remove(topic);
                broker.held -= entry.held_by(*id);
            }
        }
    }

    /// Forgets the channel; false if it was not known.
    pub(crate) fn delete_channel(&mut self, topic: &str, channel: &str) -> bool {
        let Some(brokers) = self.topics.get_mut(topic).and_then(|entry| entry.channels.remove(channel))
        else {
            return false;
        };
        self.size -= 1 + brokers.len();
        for id in &brokers {
            if let Some(broker) = self.brokers.get_mut(id) {
                broker.held -= 1;
            }
        }
        self.forget_unused(topic);
        true
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
        let named = self.topics.iter().filter(|(_, topic)| topic.is_named);
        TopicList { topics: named.map(|(name, _)| name.to_string()).collect() }
    }

    /// Every channel of the topic; none if it is unknown.
    pub(crate) fn channels(&self, topic: &str) -> ChannelList {
        ChannelList { channels: self.topics.get(topic).map(Topic::channel_names).unwrap_or_default() }
    }

    /// Where consumers of the topic should connect; `None` if the topic is unknown.
    pub(crate) fn lookup(&self, topic: &str, now: Duration) -> Option<Lookup> {
        let topic = self.topics.get(topic).filter(|topic| topic.is_named)?;
        let shown = topic.brokers.iter().filter(|(_, tombstone)| !self.is_tombstoned(**tombstone, now));
        let brokers = shown.filter_map(|(id, _)| Some((*id, self.brokers.get(id)?)));
        let producers = brokers.filter(|(_, broker)| self.is_active(broker, now)).map(producer).collect();
        Some(Lookup { channels: topic.channel_names(), producers })
    }

    /// Every active broker with its topics. Tombstones are shown here and hide nothing.
    pub(crate) fn nodes(&self, now: Duration) -> Nodes {
        let active = self.brokers.iter().filter(|(_, broker)| self.is_active(broker, now));
        let nodes = active.map(|(id, broker)| {
            let is_hidden = |topic: &TopicName| {
                let tombstone = self.topics.get(topic).and_then(|entry| entry.brokers.get(id)).copied();
                self.is_tombstoned(tombstone.flatten(), now)
            };
            Node {
                producer: producer((*id, broker)),
                tombstones: broker.topics.iter().map(is_hidden).collect(),
                topics: broker.topics.iter().map(ToString::to_string).collect(),
            }
        });
        Nodes { producers: nodes.collect() }
    }

    /// How much there is, for `/metrics`.
    pub(crate) fn totals(&self, now: Duration) -> Totals {
        let is_active = |broker: &&Broker| self.is_active(broker, now);
        let stones = self.topics.values().flat_map(|topic| topic.brokers.values());
        Totals {
            producers: self.brokers.len(),
            active: self.brokers.values().filter(is_active).count(),
            topics: self.topics.len(),
            channels: self.topics.values().map(|topic| topic.channels.len()).sum(),
            tombstones: stones.filter(|stone| self.is_tombstoned(**stone, now)).count(),
        }
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
        now.saturating_sub(broker.seen) <= self.rules.inactive_after
    }

    fn is_tombstoned(&self, tombstone: Option<Duration>, now: Duration) -> bool {
        tombstone.is_some_and(|since| now.saturating_sub(since) < self.rules.tombstone)
    }

    /// What `register` or `create` of these names would add.
    fn missing(&self, id: Option<BrokerId>, topic: &str, channel: Option<&ChannelName>) -> Missing {
        let entry = self.topics.get(topic);
        let brokers = channel.map(|channel| entry.and_then(|entry| entry.channels.get(channel)));
        let mut missing =
            Missing { names: usize::from(entry.is_none_or(|entry| !entry.is_named)), holdings: 0 };
        missing.names += usize::from(brokers.is_some_and(|brokers| brokers.is_none()));
        if let Some(id) = id {
            missing.holdings += usize::from(entry.is_none_or(|entry| !entry.brokers.contains_key(&id)));
            let is_new = |brokers: Option<&BTreeSet<_>>| brokers.is_none_or(|brokers| !brokers.contains(&id));
            missing.holdings += usize::from(brokers.is_some_and(is_new));
        }
        missing
    }

    /// What these names would add, once there is room for it.
    fn room_for(
        &mut self,
        id: Option<BrokerId>,
        topic: &str,
        channel: Option<&ChannelName>,
        now: Duration,
    ) -> Result<Missing, Full> {
        let max = self.rules.registrations_max;
        let missing = self.missing(id, topic, channel);
        if missing.all() == 0 || self.size + missing.all() <= max {
            return Ok(missing);
        }
        // Looking through everything for each refusal would be a way to keep us busy.
        if self.swept_at.is_none_or(|at| now.saturating_sub(at) >= SWEEP_EVERY) {
            self.swept_at = Some(now);
            self.sweep();
        }
        // What was let go may be the very name that is asked for.
        let missing = self.missing(id, topic, channel);
        if self.size + missing.all() > max { Err(Full::All(max)) } else { Ok(missing) }
    }

    /// Forgets ephemeral names that no broker has.
    fn sweep(&mut self) {
        for (name, topic) in &mut self.topics {
            topic.channels.retain(|channel, brokers| !channel.is_ephemeral() || !brokers.is_empty());
            topic.is_named &= !name.is_ephemeral() || !topic.brokers.is_empty();
        }
        self.topics.retain(|_, topic| topic.is_used());
        self.size = self.topics.values().map(Topic::size).sum();
    }

    fn unregister_topic(&mut self, id: BrokerId, topic: &TopicName) -> bool {
        let Some(entry) = self.topics.get_mut(topic) else { return false };
        let left = entry.leave(id);
        self.size -= left;
        if let Some(broker) = self.brokers.get_mut(&id) {
            broker.held -= left;
            broker.topics.remove(topic);
        }
        // nsqd: the names of its channels outlive an ephemeral topic.
        if entry.brokers.is_empty() && topic.is_ephemeral() && entry.is_named {
            entry.is_named = false;
            self.size -= 1;
            self.forget_unused(topic.as_str());
        }
        left > 0
    }

    fn forget_unused(&mut self, topic: &str) {
        if self.topics.get(topic).is_some_and(|entry| !entry.is_used()) {
            self.topics.remove(topic);
        }
    }
}

/// Between two searches for names that could be forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// What a command would add.
#[derive(Debug, Clone, Copy)]
struct Missing {
    names: usize,
    /// A broker having a topic or a channel.
    holdings: usize,
}

impl Missing {
    fn all(self) -> usize {
        self.names + self.holdings
    }
}

#[derive(Debug)]
struct Broker {
    info: PeerInfo,
    seen: Duration,
    topics: BTreeSet<TopicName>,
    /// Its topics and channels.
    held: usize,
}

impl Broker {
    fn node(&self) -> String {
        format!("{}:{}", self.info.broadcast_address, self.info.http_port)
    }
}

/// Its brokers with the time of their tombstone. A channel's brokers also have the topic.
#[derive(Debug, Default)]
struct Topic {
    /// False for what is left of an ephemeral topic: its channels' names.
    is_named: bool,
    brokers: BTreeMap<BrokerId, Option<Duration>>,
    channels: BTreeMap<ChannelName, BTreeSet<BrokerId>>,
}

impl Topic {
    /// How much the broker had.
    fn leave(&mut self, id: BrokerId) -> usize {
        let channels =
            self.channels.values_mut().map(|brokers| usize::from(brokers.remove(&id))).sum::<usize>();
        channels + usize::from(self.brokers.remove(&id).is_some())
    }

    fn held_by(&self, id: BrokerId) -> usize {
        let channels = self.channels.values().filter(|brokers| brokers.contains(&id)).count();
        channels + usize::from(self.brokers.contains_key(&id))
    }

    fn size(&self) -> usize {
        let channels = self.channels.values().map(|brokers| 1 + brokers.len()).sum::<usize>();
        usize::from(self.is_named) + self.brokers.len() + channels
    }

    fn is_used(&self) -> bool {
        self.is_named || !self.brokers.is_empty() || !self.channels.is_empty()
    }

    fn channel_names(&self) -> Vec<String> {
        self.channels.keys().map(ToString::to_string).collect()
    }
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
