//! Staying registered with every nsqlookupd: one task per address keeps a connection (`peer`), tells what topics and
//! channels there are, and pings. Which connections there should be follows from names and addresses (`peers`,
//! `resolve`). A lookupd that is away costs the others nothing.

mod changes;
mod channels;
mod peer;
mod peers;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::lookup::PeerInfo;
use protocol::{ChannelName, TopicName};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::broker::Broker;
use crate::topic::Topic;
use channels::Asked;
use peer::Peer;
use peers::{Addresses, PeerId, desired};
use resolve::Resolver;

pub(crate) use changes::Changes;

/// How often names are resolved again: the pods behind a headless Service come and go.
const RESOLVE_EVERY: Duration = Duration::from_secs(10);

/// How long the first publisher of a topic waits for lookupds to know it. Clients ask rarely, and who asked too early
/// stays away for a minute.
const KNOWN_WITHIN: Duration = Duration::from_millis(20);

/// The lookupds to be registered with, and those that answer now.
#[derive(Debug)]
pub(crate) struct Lookups {
    /// Names as given.
    wanted: watch::Sender<Vec<String>>,
    state: Mutex<State>,
    /// Changes when a lookupd was told something, or is gone.
    told: watch::Sender<()>,
    /// A connection failed: its name may have other addresses now.
    failed: Notify,
}

#[derive(Debug, Default)]
struct State {
    addresses: Addresses,
    connected: BTreeMap<PeerId, Connected>,
    /// The connections there should be: a task that was just ended may still be on its way to say it is connected.
    wanted: BTreeSet<PeerId>,
}

/// A lookupd with a live connection.
#[derive(Debug)]
struct Connected {
    at: SocketAddr,
    /// Where its HTTP may be.
    http: Arc<Asked>,
    /// How many changes it knows.
    told: u64,
    /// It refused something of them.
    owes: bool,
}

impl Lookups {
    /// Nobody is connected yet.
    pub(crate) fn new(addresses: &[String]) -> Self {
        Self {
            wanted: watch::Sender::new(addresses.to_vec()),
            state: Mutex::default(),
            told: watch::Sender::new(()),
            failed: Notify::new(),
        }
    }

    /// Where they are, as given.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.wanted.borrow().clone()
    }

    /// Be registered with these from now on, and with no others.
    pub(crate) fn follow(&self, addresses: Vec<String>) {
        self.wanted.send_replace(addresses);
    }

    /// Every connection there should be, by address, and whether it stands.
    pub(crate) fn peers(&self) -> Vec<(String, bool)> {
        let names = self.addresses();
        let state = self.lock();
        let is_missing = |name: &&String| !state.wanted.iter().any(|peer| peer.name == **name);
        let unresolved = names.iter().filter(is_missing).map(|name| (name.clone(), false));
        let known = state.wanted.iter().map(|peer| {
            let label = peer.at.map_or_else(|| peer.name.clone(), |at| at.to_string());
            (label, state.connected.contains_key(peer))
        });
        known.chain(unresolved).collect()
    }

    /// The durable channels any connected lookupd knows for a topic, sorted. What does not answer in time is
    /// left out, as nsqd does, and logged.
    pub(crate) async fn channels_of(&self, topic: &TopicName, within: Duration) -> Vec<ChannelName> {
        let asked: Vec<_> = self.lock().connected.values().map(|peer| Arc::clone(&peer.http)).collect();
        let answers = asked.iter().map(|lookupd| lookupd.channels_of(topic, within));
        let found: BTreeSet<ChannelName> =
            futures::future::join_all(answers).await.into_iter().flatten().collect();
        found.into_iter().filter(|channel| !channel.is_ephemeral()).collect()
    }

    /// The same, and whether each knows of all topics and channels after `changes` changes.
    pub(crate) fn registrations(&self, changes: u64) -> Vec<(String, bool)> {
        let label = |peer: &PeerId| peer.at.map_or_else(|| peer.name.clone(), |at| at.to_string());
        let state = self.lock();
        let knows = |peer: &&Connected| peer.told >= changes && !peer.owes;
        let whole: BTreeSet<String> =
            state.connected.iter().filter(|(_, peer)| knows(peer)).map(|(peer, _)| label(peer)).collect();
        drop(state);
        let peers = self.peers().into_iter();
        peers.map(|(address, _)| (address.clone(), whole.contains(&address))).collect()
    }

    /// Wait a moment until every connected lookupd knows the first `changes` changes.
    pub(crate) async fn know(&self, changes: u64) {
        self.know_within(changes, KNOWN_WITHIN).await;
    }

    /// Wait so long at most.
    pub(crate) async fn know_within(&self, changes: u64, within: Duration) {
        let mut told = self.told.subscribe();
        let all_know = async {
            while self.lock().connected.values().any(|peer| peer.told < changes) {
                if told.changed().await.is_err() {
                    return;
                }
            }
        };
        // Who is late is told later.
        let _late = tokio::time::timeout(within, all_know).await;
    }

    /// The connections there should be from now on.
    fn choose(&self, names: &[String], addresses: &Addresses) -> BTreeSet<PeerId> {
        let mut state = self.lock();
        state.addresses.clone_from(addresses);
        state.wanted = desired(names, addresses, &state.standing());
        state.wanted.clone()
    }

    fn joined(&self, peer: &PeerId, connected: Connected) {
        let mut state = self.lock();
        if state.wanted.contains(peer) {
            state.connected.insert(peer.clone(), connected);
        }
    }

    fn told(&self, peer: &PeerId, changes: u64, owes: bool) {
        if let Some(connected) = self.lock().connected.get_mut(peer) {
            (connected.told, connected.owes) = (changes, owes);
        }
        self.told.send_replace(());
    }

    fn left(&self, peer: &PeerId) {
        self.lock().connected.remove(peer);
        self.told.send_replace(());
        self.failed.notify_one();
    }

    /// Where to connect to.
    fn places_of(&self, peer: &PeerId) -> Vec<SocketAddr> {
        match peer.at {
            Some(at) => vec![at],
            None => self.lock().addresses.get(&peer.name).cloned().unwrap_or_default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn standing(&self) -> BTreeMap<PeerId, SocketAddr> {
        self.connected.iter().map(|(peer, connected)| (peer.clone(), connected.at)).collect()
    }
}

/// Keep one task per connection, as names and addresses come and go, until the broker stops.
pub(crate) async fn run(broker: Arc<Broker>, me: PeerInfo) {
    let lookups = &broker.lookups;
    let mut wanted = lookups.wanted.subscribe();
    let mut running: BTreeMap<PeerId, AbortHandle> = BTreeMap::new();
    let (mut resolver, mut addresses) = (Resolver::new(), Addresses::new());
    let mut look = tokio::time::interval(RESOLVE_EVERY);
    loop {
        let names = wanted.borrow_and_update().clone();
        resolver.ask(&names, &mut addresses);
        let peers = lookups.choose(&names, &addresses);
        follow(&broker, &me, &mut running, &peers);
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            _ = look.tick() => {}
            () = lookups.failed.notified() => {}
            () = resolver.learn(&mut addresses) => {}
            () = broker.context.shutdown.wait() => return,
        }
    }
}

/// Start and end tasks until those of `peers` run.
fn follow(
    broker: &Arc<Broker>,
    me: &PeerInfo,
    running: &mut BTreeMap<PeerId, AbortHandle>,
    peers: &BTreeSet<PeerId>,
) {
    running.retain(|peer, task| {
        let is_wanted = peers.contains(peer);
        if !is_wanted {
            // The connection ends with the task, and with it the registrations.
            task.abort();
            broker.lookups.lock().connected.remove(peer);
        }
        is_wanted
    });
    for peer in peers {
        let start = || tokio::spawn(Peer::new(broker, peer, me).run()).abort_handle();
        running.entry(peer.clone()).or_insert_with(start);
    }
}

/// What a lookupd must know of this broker: topics alone, and topics with a channel.
type Registrations = BTreeSet<(TopicName, Option<ChannelName>)>;

fn registrations(broker: &Broker) -> Registrations {
    broker.topics().iter().flat_map(|topic| registrations_of(broker, topic)).collect()
}

/// A broker that has retired is not to be found any more.
fn registrations_of(broker: &Broker, topic: &Topic) -> Vec<(TopicName, Option<ChannelName>)> {
    if broker.control_state.drain.is_retired() {
        return Vec::new();
    }
    let channels = topic.channels();
    let channels = channels.iter().map(|channel| Some(channel.name.clone()));
    std::iter::once(None).chain(channels).map(|channel| (topic.name.clone(), channel)).collect()
}
