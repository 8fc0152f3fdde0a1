//! Staying registered with every nsqlookupd: one task per address keeps a connection, tells what topics and
//! channels there are, and pings. A lookupd that is away costs the others nothing.

mod peer;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::lookup::{LookupdInfo, PeerInfo};
use protocol::{ChannelName, TopicName};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::broker::Broker;
use peer::Peer;

/// What a lookupd is asked for at most: channels of a topic that is being made. nsqd waits longer, but here
/// the first publisher of the topic waits too.
const CHANNELS_WITHIN: Duration = Duration::from_secs(1);

/// The lookupds to be registered with, and those that answer now.
#[derive(Debug)]
pub(crate) struct Lookups {
    wanted: watch::Sender<Vec<String>>,
    connected: Mutex<Vec<Connected>>,
}

/// A lookupd with a live connection.
#[derive(Debug, Clone)]
struct Connected {
    /// As in the options.
    address: String,
    info: LookupdInfo,
}

impl Lookups {
    /// Nobody is connected yet.
    pub(crate) fn new(addresses: &[String]) -> Self {
        Self { wanted: watch::Sender::new(addresses.to_vec()), connected: Mutex::default() }
    }

    /// Where they are.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.wanted.borrow().clone()
    }

    /// Where they are, and whether each has our registrations.
    pub(crate) fn peers(&self) -> Vec<(String, bool)> {
        let connected = self.lock().clone();
        let is_up = |address: &String| connected.iter().any(|peer| peer.address == *address);
        self.addresses().into_iter().map(|address| (address.clone(), is_up(&address))).collect()
    }

    /// Be registered with these from now on, and with no others.
    pub(crate) fn follow(&self, addresses: Vec<String>) {
        self.wanted.send_replace(addresses);
    }

    /// The durable channels any connected lookupd knows for a topic, sorted. What does not answer in time is
    /// left out, as nsqd does, and logged.
    pub(crate) async fn channels_of(&self, topic: &TopicName, within: Duration) -> Vec<ChannelName> {
        let peers = self.lock().clone();
        let asked = peers.iter().map(|peer| channels_at(peer, topic, within.min(CHANNELS_WITHIN)));
        let found: BTreeSet<ChannelName> =
            futures::future::join_all(asked).await.into_iter().flatten().collect();
        found.into_iter().filter(|channel| !channel.is_ephemeral()).collect()
    }

    fn joined(&self, address: &str, info: LookupdInfo) {
        self.left(address);
        self.lock().push(Connected { address: address.to_owned(), info });
    }

    fn left(&self, address: &str) {
        self.lock().retain(|peer| peer.address != address);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Connected>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Keep one task per address, as addresses come and go, until the broker stops.
pub(crate) async fn run(broker: Arc<Broker>, me: PeerInfo) {
    let mut wanted = broker.lookups.wanted.subscribe();
    let mut running: HashMap<String, AbortHandle> = HashMap::new();
    loop {
        let addresses = wanted.borrow_and_update().clone();
        running.retain(|address, task| {
            let is_wanted = addresses.contains(address);
            if !is_wanted {
                // The connection ends with the task, and with it the registrations.
                task.abort();
                broker.lookups.left(address);
            }
            is_wanted
        });
        for address in addresses {
            let start = || tokio::spawn(Peer::new(&broker, &address, &me).run()).abort_handle();
            running.entry(address.clone()).or_insert_with(start);
        }
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            () = broker.context.shutdown.wait() => return,
        }
    }
}

/// What a lookupd must know of this broker: topics alone, and topics with a channel.
type Registrations = BTreeSet<(TopicName, Option<ChannelName>)>;

fn registrations(broker: &Broker) -> Registrations {
    let mut all = Registrations::new();
    for topic in broker.topics() {
        let channels = topic.channels();
        all.extend(channels.iter().map(|channel| (topic.name.clone(), Some(channel.name.clone()))));
        all.insert((topic.name.clone(), None));
    }
    all
}

async fn channels_at(peer: &Connected, topic: &TopicName, within: Duration) -> Vec<ChannelName> {
    #[derive(serde::Deserialize)]
    struct Answer {
        channels: Vec<String>,
    }
    let address = format!("{}:{}", peer.info.broadcast_address, peer.info.http_port);
    let path = format!("/channels?topic={}", topic.as_str().replace('#', "%23"));
    let answer = match daemon::http_client::get(&address, &path, within).await {
        Ok((200, body)) => serde_json::from_slice::<Answer>(&body).map_err(|error| error.to_string()),
        Ok((status, _)) => Err(format!("status {status}")),
        Err(error) => Err(error.to_string()),
    };
    match answer {
        Ok(answer) => answer.channels.iter().filter_map(|name| ChannelName::new(name).ok()).collect(),
        Err(error) => {
            tracing::error!(lookupd = peer.address, %topic, error, "cannot ask for the channels of a new topic");
            Vec::new()
        }
    }
}
