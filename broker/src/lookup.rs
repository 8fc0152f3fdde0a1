//! Staying registered with every nsqlookupd: one task per address keeps a connection, tells what topics and
//! channels there are, and pings. A lookupd that is away costs the others nothing.

mod peer;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::lookup::{LookupdInfo, PeerInfo};
use protocol::{ChannelName, TopicName};

use crate::broker::Broker;
use peer::Peer;

/// What a lookupd is asked for at most: channels of a topic that is being made. nsqd waits longer, but here
/// the first publisher of the topic waits too.
const CHANNELS_WITHIN: Duration = Duration::from_secs(1);

/// The lookupds that answer now.
#[derive(Debug, Default)]
pub(crate) struct Lookups(Mutex<Vec<Connected>>);

/// A lookupd with a live connection.
#[derive(Debug, Clone)]
struct Connected {
    /// As in the options.
    address: String,
    info: LookupdInfo,
}

impl Lookups {
    /// The durable channels any connected lookupd knows for a topic, sorted. What does not answer in time is
    /// left out, as nsqd does, and logged.
    pub(crate) async fn channels_of(&self, topic: &TopicName) -> Vec<ChannelName> {
        let peers = self.lock().clone();
        let asked = peers.iter().map(|peer| channels_at(peer, topic));
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Start one task per address on the present runtime; they end with the broker.
pub(crate) fn start(broker: &Arc<Broker>, me: &PeerInfo) {
    for address in &broker.options.lookupd_tcp_addresses {
        tokio::spawn(Peer::new(broker, address, me).run());
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

async fn channels_at(peer: &Connected, topic: &TopicName) -> Vec<ChannelName> {
    #[derive(serde::Deserialize)]
    struct Answer {
        channels: Vec<String>,
    }
    let address = format!("{}:{}", peer.info.broadcast_address, peer.info.http_port);
    let path = format!("/channels?topic={}", topic.as_str().replace('#', "%23"));
    let answer = match daemon::http_client::get(&address, &path, CHANNELS_WITHIN).await {
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
