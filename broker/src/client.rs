//! Who is at the other end of a connection: what `/stats` shows of it and what it asked for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::Identify;
use protocol::TopicName;

use crate::socket::Peer;

/// What is kept of each string a client sends about itself, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// A connection as its client described it.
#[derive(Debug)]
pub(crate) struct Client {
    /// Where the connection comes from.
    pub peer: Peer,
    /// When it was accepted, in Unix seconds.
    pub connected_at: i64,
    state: AtomicU8,
    about: Mutex<About>,
}

/// The part that changes with IDENTIFY and PUB.
#[derive(Debug, Clone)]
pub(crate) struct About {
    /// As sent, or the peer's IP.
    pub client_id: String,
    /// As sent, or the peer's address.
    pub hostname: String,
    /// As sent.
    pub user_agent: String,
    /// Per cent of a channel's messages the client wants; 0 means all.
    pub sample_rate: u8,
    /// How long a message may be in flight with this client.
    pub msg_timeout: Option<Duration>,
    /// As sent.
    pub topology_region: String,
    /// As sent.
    pub topology_zone: String,
    /// What the auth server calls the client, and where more is told of it; none before AUTH.
    pub identity: Option<Box<(String, String)>>,
    /// It compresses with snappy.
    pub snappy: bool,
    /// It compresses with deflate.
    pub deflate: bool,
    /// What TLS agreed on; none in the clear.
    pub tls: Option<Box<Encrypted>>,
    /// Messages published over this connection, by topic.
    pub published: BTreeMap<TopicName, u64>,
}

/// What TLS agreed on with a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encrypted {
    /// `TLS1.2` or `TLS1.3`.
    pub version: &'static str,
    /// As Go names them.
    pub cipher_suite: String,
    /// Of ALPN; mostly empty.
    pub protocol: String,
    /// Of the certificate the client showed, if authorities signed it.
    pub common_name: Option<String>,
}

/// The states of a connection, numbered as stock `/stats` shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    /// Connected, not subscribed.
    Init = 0,
    /// Subscribed to a channel.
    Subscribed = 3,
    /// Asked to close: finishes what is in flight.
    Closing = 4,
}

impl Client {
    /// A client that has said nothing yet.
    pub(crate) fn new(peer: Peer, connected_at: i64) -> Self {
        // nsqd: nothing, for who comes over a unix socket.
        let address = peer.ip().map_or_else(String::new, |ip| ip.to_string());
        let about = About {
            client_id: address.clone(),
            hostname: address,
            user_agent: String::new(),
            sample_rate: 0,
            msg_timeout: None,
            topology_region: String::new(),
            topology_zone: String::new(),
            identity: None,
            snappy: false,
            deflate: false,
            tls: None,
            published: BTreeMap::new(),
        };
        Self { peer, connected_at, state: AtomicU8::new(State::Init as u8), about: Mutex::new(about) }
    }

    /// Keep what IDENTIFY said.
    pub(crate) fn identify(&self, asked: &Identify) {
        let mut about = self.lock();
        about.client_id = shortened(asked.client_id.as_deref().unwrap_or_default());
        about.hostname = shortened(&asked.hostname);
        about.user_agent = shortened(&asked.user_agent);
        about.sample_rate = asked.sample_rate;
        about.msg_timeout = asked.msg_timeout;
        about.topology_region = shortened(&asked.topology_region);
        about.topology_zone = shortened(&asked.topology_zone);
    }

    /// The auth server knows it.
    pub(crate) fn authorize(&self, identity: &str, url: &str) {
        self.lock().identity = Some(Box::new((shortened(identity), shortened(url))));
    }

    /// TLS is up.
    pub(crate) fn encrypted(&self, agreed: Encrypted) {
        self.lock().tls = Some(Box::new(agreed));
    }

    /// Compression is on.
    pub(crate) fn compressed(&self, is_snappy: bool) {
        let mut about = self.lock();
        about.snappy = is_snappy;
        about.deflate = !is_snappy;
    }

    /// Count messages of `topic` as published over this connection.
    pub(crate) fn count_published(&self, topic: &TopicName, messages: u64) {
        let mut about = self.lock();
        // Looked up first: cloning the name for every publish would allocate.
        if let Some(count) = about.published.get_mut(topic) {
            *count += messages;
        } else {
            about.published.insert(topic.clone(), messages);
        }
    }

    /// Has anything been published over this connection?
    pub(crate) fn has_published(&self) -> bool {
        !self.lock().published.is_empty()
    }

    /// A copy of what is known.
    pub(crate) fn about(&self) -> About {
        self.lock().clone()
    }

    /// The connection's state number.
    pub(crate) fn state(&self) -> u8 {
        self.state.load(Ordering::Relaxed)
    }

    /// Note a new state.
    pub(crate) fn enter(&self, state: State) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, About> {
        self.about.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// At most [`TEXT_BYTES_MAX`] bytes of `text`: a client must not fill our memory with its name.
fn shortened(text: &str) -> String {
    let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}
