//! The ConfigMap with a cluster's topology, which brokers read before they open their ports: as text while it is small
//! enough to be read by people, packed beyond. Its epoch grows with every change, also when the ConfigMap was lost.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use kube::ResourceExt as _;
use protocol::control::{DeclaredTopic, TOPOLOGY_VERSION, Topology};
use serde_json::{Value, json};

use super::{Child, ChildKind, Inputs, child, names, template};
use crate::resources::namespace_of;

/// Annotation of the ConfigMap: the epoch of what is in it.
pub const EPOCH: &str = "nsqube.io/topology-epoch";
/// Annotation of the ConfigMap: the hash of what is in it.
pub const HASH: &str = "nsqube.io/topology-hash";

/// Larger ones are packed.
const TEXT_BYTES_MAX: usize = 256 << 10;
/// A ConfigMap has at most 1 MiB, in base64 and with its metadata.
const PACKED_BYTES_MAX: usize = 700 << 10;

/// What was written last, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    /// 0 if there is none.
    pub epoch: u64,
    /// Empty if there is none.
    pub hash: String,
}

/// The topology of a cluster with these topics: the one before if nothing changed, otherwise a newer one. `now_s` is
/// Unix time in seconds; epochs are at least that, so that one whose predecessor was lost is newer than it all the same.
pub fn topology(inputs: &Inputs<'_>, topics: Vec<DeclaredTopic>, before: &Before, now_s: u64) -> Topology {
    let hash = template::digest(&json!(topics));
    let epoch = if before.hash == hash { before.epoch } else { now_s.max(before.epoch + 1) };
    let cluster = format!("{}/{}", namespace_of(inputs.cluster), inputs.cluster.name_any());
    Topology { version: TOPOLOGY_VERSION, cluster, epoch, hash, topics }
}

/// The ConfigMap that says it.
///
/// # Errors
/// It does not fit: so many bytes, packed.
pub fn config_map(inputs: &Inputs<'_>, topology: &Topology) -> Result<Child, usize> {
    let text = json!(topology).to_string();
    let content = if text.len() <= TEXT_BYTES_MAX {
        json!({ "data": { "topology.json": text } })
    } else {
        let packed = packed(&text);
        if packed.len() > PACKED_BYTES_MAX {
            return Err(packed.len());
        }
        json!({ "binaryData": { "topology.json.gz": k8s_openapi::ByteString(packed) } })
    };
    let name = names::topology(&inputs.cluster.name_any());
    let mut body: Value = json!({ "metadata": { "annotations": {
        EPOCH: topology.epoch.to_string(),
        HASH: topology.hash,
    }}});
    super::merge(&mut body, content);
    Ok(child(inputs, ChildKind::ConfigMap, name, "broker", body))
}

fn packed(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    // A Vec takes everything.
    let _always = gzip.write_all(text.as_bytes());
    gzip.finish().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use protocol::control::DeclaredChannel;

    use super::*;
    use crate::children::Images;
    use crate::resources::NsqCluster;

    fn topic(name: String) -> DeclaredTopic {
        let channel = |name: &str| DeclaredChannel { name: name.to_owned(), paused: None, enforce: true };
        let channels = vec![channel("archive"), channel("billing"), channel("shipping")];
        DeclaredTopic { name, paused: None, durability: None, enforce: true, channels }
    }

    fn with<T>(check: impl FnOnce(&Inputs<'_>) -> T) -> T {
        let cluster = NsqCluster::new("prod", serde_json::from_str("{}").unwrap());
        let images = Images { broker: String::new(), lookupd: String::new() };
        check(&Inputs { cluster: &cluster, images: &images, brokers: 3, operator_namespace: "" })
    }

    #[test]
    fn an_epoch_grows_with_each_change_and_only_then() {
        with(|inputs| {
            let first = topology(inputs, vec![topic("a".into())], &Before::default(), 1000);
            assert_eq!(first.epoch, 1000);
            let before = Before { epoch: first.epoch, hash: first.hash.clone() };
            assert_eq!(topology(inputs, vec![topic("a".into())], &before, 2000), first);
            assert_eq!(topology(inputs, Vec::new(), &before, 1000).epoch, 1001);
            assert_eq!(topology(inputs, Vec::new(), &before, 900).epoch, 1001, "a clock that was set back");
        });
    }

    #[test]
    fn ten_thousand_topics_with_three_channels_each_fit() {
        with(|inputs| {
            let topics = (0..10_000).map(|at| topic(format!("orders-{at}"))).collect();
            let topology = topology(inputs, topics, &Before::default(), 1);
            let map = config_map(inputs, &topology).unwrap();
            assert!(map.object["binaryData"]["topology.json.gz"].as_str().unwrap().len() < 200_000);
            assert!(map.object.get("data").is_none());
        });
    }

    #[test]
    fn a_small_one_can_be_read() {
        with(|inputs| {
            let topology = topology(inputs, vec![topic("a".into())], &Before::default(), 1);
            let map = config_map(inputs, &topology).unwrap();
            let text = map.object["data"]["topology.json"].as_str().unwrap();
            assert_eq!(serde_json::from_str::<Topology>(text).unwrap(), topology);
        });
    }
}
