//! What nsqlookupd's HTTP API answers, as JSON values whose names and order are the contract.
//! JSON says producer where we say broker. Which broker is in an answer is decided in `registry`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

/// `/topics`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct TopicList {
    pub(crate) topics: Vec<String>,
}

/// `/channels`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ChannelList {
    pub(crate) channels: Vec<String>,
}

/// `/lookup`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Lookup {
    pub(crate) channels: Vec<String>,
    pub(crate) producers: Vec<Producer>,
}

/// `/nodes`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Nodes {
    pub(crate) producers: Vec<Node>,
}

/// `/debug`: `category:key:subkey` to the brokers there.
pub(crate) type Debug = BTreeMap<String, Vec<DebugProducer>>;

/// `/info`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Info {
    pub(crate) version: &'static str,
}

/// Where a broker can be reached.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Producer {
    pub(crate) remote_address: String,
    pub(crate) hostname: String,
    pub(crate) broadcast_address: String,
    pub(crate) tcp_port: u16,
    pub(crate) http_port: u16,
    pub(crate) version: String,
    pub(crate) topology_zone: String,
    pub(crate) topology_region: String,
}

/// A broker and what it has: the two lists run in parallel.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Node {
    #[serde(flatten)]
    pub(crate) producer: Producer,
    pub(crate) tombstones: Vec<bool>,
    pub(crate) topics: Vec<String>,
}

/// One registration of a broker; times in ns since the epoch. The names are in stock's order, which is the alphabet's.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct DebugProducer {
    pub(crate) broadcast_address: String,
    pub(crate) hostname: String,
    pub(crate) http_port: u16,
    pub(crate) id: String,
    pub(crate) last_update: i64,
    pub(crate) tcp_port: u16,
    pub(crate) tombstoned: bool,
    pub(crate) tombstoned_at: i64,
    pub(crate) version: String,
}

impl DebugProducer {
    /// `seen` and `tombstone` count from `started_at`.
    pub(crate) fn new(
        producer: Producer,
        seen: Duration,
        tombstone: Option<Duration>,
        started_at: Duration,
    ) -> Self {
        let since_epoch = |at: Duration| i64::try_from((started_at + at).as_nanos()).unwrap_or(i64::MAX);
        Self {
            broadcast_address: producer.broadcast_address,
            hostname: producer.hostname,
            http_port: producer.http_port,
            id: producer.remote_address,
            last_update: since_epoch(seen),
            tcp_port: producer.tcp_port,
            tombstoned: tombstone.is_some(),
            tombstoned_at: tombstone.map_or(GO_ZERO_TIME, since_epoch),
            version: producer.version,
        }
    }
}

// nsqd: Go's zero time as nanoseconds, overflow included.
const GO_ZERO_TIME: i64 = -6_795_364_578_871_345_152;
