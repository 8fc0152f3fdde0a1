//! NsqCluster: how many brokers and lookupds to run, and with which settings.

pub(crate) mod extra_flags;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::pods::{PodSettings, Scheduling, Storage};
use super::units::{ByteSize, GoDuration};
use super::{AllowedNamespaces, DriftPolicy, Durability, LocalRef, NsqClusterStatus};

/// Characters a cluster's name may have: names of pods and volumes are built from it.
pub const NAME_LENGTH_MAX: usize = 40;

/// What an NsqCluster asks for. Every field is optional: `spec: {}` is three brokers and three lookupds.
#[derive(Debug, Clone, Default, PartialEq, CustomResource, KubeSchema, Serialize, Deserialize)]
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
    status = "NsqClusterStatus",
    scale(
        spec_replicas_path = ".spec.brokers.replicas",
        status_replicas_path = ".status.brokers.replicas",
        label_selector_path = ".status.brokers.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Brokers", type_ = "string", json_path = ".status.brokers.summary"),
    printcolumn(name = "Lookupds", type_ = "string", json_path = ".status.lookupds.summary"),
    printcolumn(name = "Topics", type_ = "integer", json_path = ".status.topology.topics"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Endpoint", type_ = "string", json_path = ".status.endpoints.publish", priority = 1),
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
    /// Rules for the topics and channels of the cluster.
    #[serde(default)]
    pub topics: Topics,
    /// While true, the operator changes neither pods and services nor brokers. It goes on writing status.
    #[serde(default)]
    pub paused: bool,
    /// Secrets with the credentials of image registries, for all pods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<LocalRef>,
    /// Who may reach which port of the pods.
    #[serde(default)]
    pub network_policy: NetworkPolicy,
    /// Who reads the figures of the cluster.
    #[serde(default)]
    pub observability: Observability,
}

/// Rules for the topics and channels of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Topics {
    /// Which namespaces may have NsqTopics and NsqChannels that refer to this cluster.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,
    /// What brokers do when somebody changes a declared topic or channel by hand. Enforce: they set it back within
    /// seconds. Report: they leave it, and the resource says so. Topics and channels may say otherwise.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    /// How often each broker is asked whether it still has everything, from 5s to 1h. One question per broker,
    /// whatever the number of topics. 60s if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(
        validation = Rule::new("duration(self) >= duration('5s') && duration(self) <= duration('1h')")
            .message("resyncInterval is from 5s to 1h")
    )]
    pub resync_interval: Option<GoDuration>,
}

/// Who may reach which port of the pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicy {
    /// Whether NetworkPolicies are made: the ports of clients are open to everybody, the control port of brokers only
    /// to the operator.
    #[serde(default)]
    pub enabled: bool,
}

/// Who reads the figures of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Observability {
    /// A PodMonitor, by which the Prometheus operator finds the pods.
    #[serde(default)]
    pub pod_monitor: PodMonitor,
    /// Traces of publishes, deliveries and what the operator asks of brokers.
    #[serde(default)]
    pub tracing: Tracing,
}

/// Where brokers send traces. A change restarts one broker after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tracing {
    /// The URL of a collector of OpenTelemetry that takes OTLP over HTTP, usually on port 4318. Absent: no traces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^https?://[^\s?#@]+$"), length(max = 512))]
    pub endpoint: Option<String>,
    /// Of what comes without a trace context, the share that is traced, as "0.01", from "0" to "1". Absent: "0.01".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$"))]
    pub sampling_ratio: Option<String>,
}

/// A PodMonitor of the Prometheus operator.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodMonitor {
    /// Whether it is made. Its definition (monitoring.coreos.com/v1) must be there.
    #[serde(default)]
    pub enabled: bool,
    /// Labels by which a Prometheus selects it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub labels: BTreeMap<String, String>,
    /// How often figures are read. 30s if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<GoDuration>,
}

/// The brokers of a cluster.
#[derive(Debug, Clone, PartialEq, KubeSchema, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Brokers {
    /// How many brokers run. Every broker has every declared topic and channel.
    #[serde(default = "replicas_default")]
    #[schemars(range(min = 0, max = 512))]
    pub replicas: u32,
    /// Settings of every broker. What is absent keeps the default of nsqd.
    #[serde(default)]
    pub config: BrokerConfig,
    /// The image of nsqd, as in example.com/nsqube/nsqd:0.1.0. Absent: the one the operator was made for. A change
    /// restarts one broker after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// When the image is pulled. Absent: as Kubernetes decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// What each broker may use. Absent: {requests: {cpu: 100m, memory: 256Mi}, limits: {memory: 512Mi}}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// The volume of each broker. It cannot change.
    #[serde(default)]
    #[x_kube(
        validation = Rule::new("self == oldSelf")
            .message("brokers.storage cannot change in this version: make another cluster and move the publishers")
    )]
    pub storage: Storage,
    /// Where the brokers run.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// What else the brokers' pods have.
    #[serde(default)]
    pub pod: PodSettings,
    /// How changes reach the brokers.
    #[serde(default)]
    pub rollout: Rollout,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum PullPolicy {
    /// At every start of a pod.
    Always,
    /// Where the node does not have it.
    IfNotPresent,
    /// Not at all: the node has it.
    Never,
}

impl PullPolicy {
    /// As a pod spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// How changes reach the brokers: one restarts at a time, the next when the last is ready, registered and complete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// How long a restarted broker must be ready before the next is restarted, in seconds. 5 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub min_ready_seconds: Option<u32>,
}

impl Default for Brokers {
    fn default() -> Self {
        Self {
            replicas: replicas_default(),
            config: BrokerConfig::default(),
            image: None,
            image_pull_policy: None,
            resources: None,
            storage: Storage::default(),
            scheduling: Scheduling::default(),
            pod: PodSettings::default(),
            rollout: Rollout::default(),
        }
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// The image of nsqlookupd. Absent: the one the operator was made for. A change restarts one after the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// When the image is pulled. Absent: as Kubernetes decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_pull_policy: Option<PullPolicy>,
    /// What each lookupd may use. Absent: {requests: {cpu: 20m, memory: 32Mi}, limits: {memory: 128Mi}}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Where the lookupds run.
    #[serde(default)]
    pub scheduling: Scheduling,
    /// What else the lookupds' pods have.
    #[serde(default)]
    pub pod: PodSettings,
}

impl Default for Lookupds {
    fn default() -> Self {
        Self {
            replicas: replicas_default(),
            config: LookupdConfig::default(),
            image: None,
            image_pull_policy: None,
            resources: None,
            scheduling: Scheduling::default(),
            pod: PodSettings::default(),
        }
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
