//! The control API of nsqd, as values: the topology that somebody declared for all brokers of a cluster, and how a
//! broker is drained. nsqd serves it on `--control-address` and reads the same topology from `--topology-file` before
//! it opens its ports; the operator writes both. Sockets and files are elsewhere; stock NSQ has nothing like it.

use serde::{Deserialize, Serialize};

/// The version of [`Topology`] that this code writes, and the highest it reads.
pub const TOPOLOGY_VERSION: u32 = 1;

/// What every broker of a cluster must have: `PUT /control/topology`, and the content of `--topology-file`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// [`TOPOLOGY_VERSION`] of who wrote it.
    pub version: u32,
    /// Which cluster it is for, as `namespace/name`. Compared with nothing when empty.
    #[serde(default)]
    pub cluster: String,
    /// Grows with each change. A broker keeps the highest it has seen.
    pub epoch: u64,
    /// What the writer calls this content; a broker gives it back and does not interpret it.
    #[serde(default)]
    pub hash: String,
    /// Sorted by name.
    #[serde(default)]
    pub topics: Vec<DeclaredTopic>,
}

/// One topic of a [`Topology`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredTopic {
    /// Not ephemeral.
    pub name: String,
    /// Whether its channels get nothing until somebody unpauses it. Absent: whoever pauses it by hand keeps it so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// `memory`, `buffered` or `fsync`. Absent: a new topic has the broker's default, and what was set by hand stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<String>,
    /// Whether the broker sets `paused` back when somebody changed it, or leaves it and reports it.
    #[serde(default = "yes")]
    pub enforce: bool,
    /// Sorted by name.
    #[serde(default)]
    pub channels: Vec<DeclaredChannel>,
}

/// One channel of a [`DeclaredTopic`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclaredChannel {
    /// Not ephemeral.
    pub name: String,
    /// Whether its consumers get nothing until somebody unpauses it. Absent: as for topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// As for topics.
    #[serde(default = "yes")]
    pub enforce: bool,
}

fn yes() -> bool {
    true
}

/// How a broker stands to its topology: the answer to GET and PUT of `/control/topology`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyReport {
    /// Of the last topology applied; 0 before the first.
    pub epoch: u64,
    /// Of the last topology applied; empty before the first.
    pub hash: String,
    /// Whether everything declared is there and is as declared.
    pub in_sync: bool,
    /// How many topics the broker has.
    pub topics: u64,
    /// How many channels the broker has.
    pub channels: u64,
    /// How many topics it has that nobody declared, ephemeral ones aside.
    pub unmanaged: u64,
    /// What is not as declared, at most 100 of them, each with its reason.
    #[serde(default)]
    pub drift: Vec<Drift>,
}

/// Something that is not as declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// The topic.
    pub topic: String,
    /// The channel, unless it is the topic itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// What is different, for people: "is missing: ...", "is paused".
    pub what: String,
}

/// The body of `POST /control/drain`, `/control/undrain`, `/control/certify` and `/control/retire`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRequest {
    /// Which drain is meant: the same one again changes nothing, an older one is refused.
    pub epoch: u64,
}

/// How far a broker is on its way out. Survives a restart of the broker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrainPhase {
    /// It takes publishes.
    #[default]
    Serving,
    /// It refuses publishes; consumers go on.
    Draining,
    /// It was empty when asked, which is on disk, and refuses publishes until an undrain.
    Certified,
    /// It has left its lookupds and closed its consumers.
    Retired,
}

/// The answer to `GET /control/drain` and to every POST about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainReport {
    /// Where it stands.
    pub phase: DrainPhase,
    /// Of the drain that is or was; 0 when there never was one.
    pub epoch: u64,
    /// Messages that some channel, or a topic without channels, still owes: waiting, in flight and deferred.
    pub remaining: u64,
    /// Where they are, the largest first, at most 20.
    #[serde(default)]
    pub waiting: Vec<Waiting>,
}

/// Messages that keep a broker from being empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The topic.
    pub topic: String,
    /// `None`: the topic has no channel that could ever take them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// How many.
    pub messages: u64,
    /// How many consumers the channel has: without any, waiting does not help.
    pub consumers: u64,
}

/// The body of `POST /control/delete`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteRequest {
    /// The topic.
    pub topic: String,
    /// The channel, unless the topic is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// Refuse with 409 if messages would go with it.
    pub only_if_empty: bool,
}

/// Where a broker is registered: the answer to `GET /control/registrations`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registrations {
    /// The lookupds it knows of, as host and port.
    pub lookupds: Vec<Registration>,
}

/// How a broker is: the answer to `GET /control/health`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Why it does not take every publish, as /ping says it: a disk that is full, or that failed. Absent while all is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// One nsqlookupd, as a broker sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// Host and port.
    pub address: String,
    /// Whether it is connected and everything was registered with it.
    pub registered: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topology_needs_little_and_says_no_more() {
        let text = r#"{"version":1,"epoch":3,"topics":[{"name":"t","channels":[{"name":"c"}]}]}"#;
        let topology: Topology = serde_json::from_str(text).unwrap();
        let channel = DeclaredChannel { name: "c".into(), paused: None, enforce: true };
        assert_eq!(topology.topics[0].channels, [channel]);
        assert!(topology.topics[0].enforce);
        assert!(!serde_json::to_string(&topology).unwrap().contains("durability"));
    }

    #[test]
    fn a_report_of_a_drain_names_its_phase_in_lower_case() {
        let report = DrainReport { phase: DrainPhase::Certified, epoch: 2, ..Default::default() };
        let text = r#"{"phase":"certified","epoch":2,"remaining":0,"waiting":[]}"#;
        assert_eq!(serde_json::to_string(&report).unwrap(), text);
    }
}
