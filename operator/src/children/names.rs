//! What everything of a cluster is called, and where its pods listen. `<c>` is the cluster's name, of at most 40
//! characters: names of Services have 63.

/// NSQ's TCP port of nsqd.
pub const BROKER_TCP: u16 = 4150;
/// NSQ's HTTP port of nsqd.
pub const BROKER_HTTP: u16 = 4151;
/// Where brokers listen for the operator.
pub const BROKER_CONTROL: u16 = 4153;
/// NSQ's TCP port of nsqlookupd.
pub const LOOKUPD_TCP: u16 = 4160;
/// NSQ's HTTP port of nsqlookupd.
pub const LOOKUPD_HTTP: u16 = 4161;

/// The key of the control token in its Secret.
pub const TOKEN_KEY: &str = "token";

/// The StatefulSet of the brokers, the Service to publish to, their ServiceAccount and their PodDisruptionBudget.
pub fn broker(cluster: &str) -> String {
    format!("{cluster}-broker")
}

/// The headless Service of the brokers, of which each has its name.
pub fn brokers(cluster: &str) -> String {
    format!("{cluster}-brokers")
}

/// The StatefulSet of the lookupds, the Service for consumers, and what else they have.
pub fn lookupd(cluster: &str) -> String {
    format!("{cluster}-lookupd")
}

/// The headless Service of the lookupds, by which brokers find each of them.
pub fn lookupds(cluster: &str) -> String {
    format!("{cluster}-lookupds")
}

/// The ConfigMap with the topology that brokers read before they open their ports.
pub fn topology(cluster: &str) -> String {
    format!("{cluster}-topology")
}

/// The Secret with the token of the brokers' control ports.
pub fn control(cluster: &str) -> String {
    format!("{cluster}-control")
}

/// A pod of a StatefulSet.
pub fn pod(set: &str, ordinal: u32) -> String {
    format!("{set}-{ordinal}")
}

/// The place of a pod in its StatefulSet.
pub fn ordinal(set: &str, pod: &str) -> Option<u32> {
    pod.strip_prefix(set)?.strip_prefix('-')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_has_its_place_in_its_name() {
        assert_eq!(ordinal("prod-broker", &pod("prod-broker", 12)), Some(12));
        for other in ["prod-broker", "prod-broker-", "prod-broker-x", "prod-lookupd-1", "eu-prod-broker-1"] {
            assert_eq!(ordinal("prod-broker", other), None, "{other}");
        }
    }

    #[test]
    fn the_longest_name_of_a_cluster_leaves_room_for_those_of_its_pods() {
        let cluster = "c".repeat(crate::resources::cluster::NAME_LENGTH_MAX);
        // The label controller-revision-hash is <set>-<10 characters>, of at most 63.
        assert!(broker(&cluster).len() + 11 <= 63 && lookupd(&cluster).len() + 11 <= 63);
        assert!(pod(&broker(&cluster), 511).len() <= 63);
    }
}
