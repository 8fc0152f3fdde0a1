//! NsqCluster: how many brokers and lookupds to run, and with which settings.

pub(crate) mod extra_flags;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Durability;
use super::units::{ByteSize, GoDuration};

/// Characters a cluster's name may have: names of pods and volumes are built from it.
pub const NAME_LENGTH_MAX: usize = 40;

/// What an NsqCluster asks for. Every field is optional: `spec: {}` is three brokers and three lookupds.
#[derive(Debug, Clone, Default, PartialEq, Eq, CustomResource, KubeSchema, Serialize, Deserialize)]
#[kube(
    group = "nsqube.io",
    version = "v1alpha1",
    kind = "NsqCluster",
    namespaced,
    shortname = "nsqc",
    category = "nsq",
    category = "all",
    derive = "PartialEq",
    doc = "An NSQ cluster: brokers (nsqd) that hold topics, and lookupds (nsqlookupd) where consumers find them.",
    printcolumn(name = "Brokers", type_ = "integer", json_path = ".spec.brokers.replicas"),
    printcolumn(name = "Lookupds", type_ = "integer", json_path = ".spec.lookupds.replicas"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 40")
        .message("the name of an NsqCluster has at most 40 characters: names of pods and volumes are built from it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z][-a-z0-9]*$')")
        .message("the name of an NsqCluster starts with a letter and has no dots: names of services are built from it")
)]
#[serde(rename_all = "camelCase")]
pub struct NsqClusterSpec {
    /// The brokers (nsqd).
    #[serde(default)]
    pub brokers: Brokers,
    /// The lookupds (nsqlookupd).
    #[serde(default)]
    pub lookupds: Lookupds,
}

/// The brokers of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Brokers {
    /// How many brokers run. Every broker has every declared topic and channel.
    #[serde(default = "replicas_default")]
    #[schemars(range(min = 0, max = 512))]
    pub replicas: u32,
    /// Settings of every broker. What is absent keeps the default of nsqd.
    #[serde(default)]
    pub config: BrokerConfig,
}

impl Default for Brokers {
    fn default() -> Self {
        Self { replicas: replicas_default(), config: BrokerConfig::default() }
    }
}

/// Settings of nsqd. What is absent keeps the default of nsqd.
#[derive(Debug, Clone, Default, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerConfig {
    /// Messages that each topic and each channel keeps in memory (nsqd: --mem-queue-size, 10000).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2147483647))]
    pub mem_queue_size: Option<u32>,
    /// The largest message, in bytes or with a unit as in 1Mi (nsqd: --max-msg-size, 1Mi).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_message_size: Option<ByteSize>,
    /// The largest command or HTTP body, in bytes or with a unit as in 5Mi (nsqd: --max-body-size, 5Mi).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_size: Option<ByteSize>,
    /// How long a consumer has for a message unless it asks otherwise, as in 60s (nsqd: --msg-timeout, 1m).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_timeout: Option<GoDuration>,
    /// The longest a consumer may keep a message by asking or touching (nsqd: --max-msg-timeout, 15m).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_message_timeout: Option<GoDuration>,
    /// The longest delay of a requeue or a deferred publish (nsqd: --max-req-timeout, 1h).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_requeue_timeout: Option<GoDuration>,
    /// The largest ready count of a consumer (nsqd: --max-rdy-count, 2500).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2147483647))]
    pub max_ready_count: Option<u32>,
    /// Consumers of one channel on one broker; 0 is no limit (nsqd: --max-channel-consumers, 0).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2147483647))]
    pub max_channel_consumers: Option<u32>,
    /// Limits of the heartbeat interval that a client may ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval: Option<HeartbeatInterval>,
    /// What the OK to a publish means for topics that do not say otherwise, as in `durability: Fsync`. Memory: the
    /// message was accepted and is never synced. Buffered: it survives a killed process; a power cut may take
    /// the last 200 ms. Fsync: it survives a power cut; publishes that come together share one sync (nsqd:
    /// --durability, Buffered).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// Memory for messages on their way through one broker, as in 512Mi, at least 16Mi; beyond it publishers wait
    /// (nsqd: --memory-limit, half of what the container may use).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<ByteSize>,
    /// Room on the disk that publishes leave free, so that consumers can drain a full broker, as in 1Gi (nsqd:
    /// --min-free, a twentieth of the disk, 256Mi at most).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_free: Option<ByteSize>,
    /// The least severe lines that are logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_level: Option<LogLevel>,
    /// Other flags of nsqd by name, without dashes: {"sync-every": "1000"}. Flags with a field of their own,
    /// and flags that belong to the operator, are refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(
        validation = Rule::new(extra_flags::cel_not_owned()).message(extra_flags::NOT_OWNED),
        validation = Rule::new(extra_flags::cel_not_typed()).message(extra_flags::NOT_TYPED),
        validation = Rule::new(extra_flags::CEL_NO_DASHES).message(extra_flags::NO_DASHES)
    )]
    pub extra_flags: BTreeMap<String, String>,
}

/// Limits of the heartbeat interval.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeartbeatInterval {
    /// The longest interval a client may ask for, at least 1s (nsqd: --max-heartbeat-interval, 1m).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<GoDuration>,
}

/// The least severe lines that are logged: debug is everything, fatal almost nothing (nsqd: --log-level,
/// info).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Everything, each connection's commands included.
    Debug,
    /// What happens to topics, channels and connections.
    Info,
    /// What may need attention.
    Warn,
    /// What failed.
    Error,
    /// Only what ends the process.
    Fatal,
}

impl LogLevel {
    /// As nsqd and nsqlookupd spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }
}

/// The lookupds of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lookupds {
    /// How many lookupds run. They know the same: more of them is safety, not capacity. With 0, consumers
    /// need the addresses of the brokers.
    #[serde(default = "replicas_default")]
    #[schemars(range(min = 0, max = 16))]
    pub replicas: u32,
    /// Settings of every lookupd. What is absent keeps the default of nsqlookupd.
    #[serde(default)]
    pub config: LookupdConfig,
}

impl Default for Lookupds {
    fn default() -> Self {
        Self { replicas: replicas_default(), config: LookupdConfig::default() }
    }
}

/// Settings of nsqlookupd. What is absent keeps the default of nsqlookupd.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LookupdConfig {
    /// How long a silent broker stays listed (nsqlookupd: --inactive-producer-timeout, 5m).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inactive_producer_timeout: Option<GoDuration>,
    /// How long a broker stays hidden for a topic that was deleted on it (nsqlookupd: --tombstone-lifetime,
    /// 45s).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tombstone_lifetime: Option<GoDuration>,
}

fn replicas_default() -> u32 {
    3
}
