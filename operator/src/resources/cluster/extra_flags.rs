//! Which flags of nsqd may not be set by `extraFlags`, as lists for the validation in Rust and as CEL for the
//! CRD.

/// Whoever runs the plan sets these, or they would take the settings out of the resource (`config`) or end
/// the process (`version`, `help`).
const OWNED: [&str; 7] = ["config", "data-path", "help", "identity", "node-id", "topology-file", "version"];
const OWNED_PREFIXES: [&str; 4] = ["broadcast-", "control-", "lookupd-", "tls-"];
const OWNED_SUFFIX: &str = "-address";

/// Flags with a field of their own, and the field below `spec.brokers.config`.
const TYPED: [(&str, &str); 13] = [
    ("durability", "durability"),
    ("log-level", "logLevel"),
    ("max-body-size", "maxBodySize"),
    ("max-channel-consumers", "maxChannelConsumers"),
    ("max-heartbeat-interval", "heartbeatInterval.max"),
    ("max-msg-size", "maxMessageSize"),
    ("max-msg-timeout", "maxMessageTimeout"),
    ("max-rdy-count", "maxReadyCount"),
    ("max-req-timeout", "maxRequeueTimeout"),
    ("mem-queue-size", "memQueueSize"),
    ("memory-limit", "memoryLimit"),
    ("min-free", "minFree"),
    ("msg-timeout", "messageTimeout"),
];

pub(super) const NOT_OWNED: &str = "extraFlags must not set what the operator sets: data-path, node-id, identity, \
     config, version, help, topology-file, broadcast-*, control-*, lookupd-*, tls-*, *-address";
pub(super) const NOT_TYPED: &str =
    "extraFlags must not set a flag that has a field of its own in spec.brokers.config";
pub(super) const NO_DASHES: &str = "names in extraFlags have no leading dashes";
/// No `contains('=')`: its cost grows with the length of the key, which a CRD cannot limit, and the API
/// server refuses a CRD that may be too costly. [`check`] looks for it.
pub(super) const CEL_NO_DASHES: &str = "self.all(f, f != '' && !f.startsWith('-'))";

/// Why a flag cannot be an extra flag.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Whoever runs the plan sets it.
    Owned,
    /// It has a field: this one, below `spec.brokers.config`.
    Typed(&'static str),
    /// No flag is spelled so.
    Spelling,
}

/// Whether `flag` may be set by `extraFlags`.
pub(crate) fn check(flag: &str) -> Result<(), Refusal> {
    if flag.is_empty() || flag.starts_with('-') || flag.contains('=') {
        return Err(Refusal::Spelling);
    }
    let is_owned = OWNED.contains(&flag)
        || OWNED_PREFIXES.iter().any(|prefix| flag.starts_with(prefix))
        || flag.ends_with(OWNED_SUFFIX);
    if is_owned {
        return Err(Refusal::Owned);
    }
    match TYPED.iter().find(|(typed, _)| *typed == flag) {
        Some((_, field)) => Err(Refusal::Typed(field)),
        None => Ok(()),
    }
}

pub(super) fn cel_not_owned() -> String {
    let prefixes = OWNED_PREFIXES.map(|prefix| format!("!f.startsWith('{prefix}')")).join(" && ");
    format!("self.all(f, !(f in {}) && {prefixes} && !f.endsWith('{OWNED_SUFFIX}'))", cel_list(&OWNED))
}

pub(super) fn cel_not_typed() -> String {
    format!("self.all(f, !(f in {}))", cel_list(&TYPED.map(|(flag, _)| flag)))
}

fn cel_list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    format!("[{}]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::{Refusal, check};

    #[test]
    fn extra_flags_cannot_take_what_the_operator_or_a_field_sets() {
        for flag in ["sync-every", "max-bytes-per-file", "statsd-prefix", "e2e-processing-latency-percentile"]
        {
            assert_eq!(check(flag), Ok(()), "{flag}");
        }
        for flag in [
            "data-path",
            "node-id",
            "identity",
            "broadcast-tcp-port",
            "lookupd-tcp-address",
            "tls-cert",
            "tcp-address",
        ] {
            assert_eq!(check(flag), Err(Refusal::Owned), "{flag}");
        }
        for (flag, field) in [
            ("max-msg-size", "maxMessageSize"),
            ("durability", "durability"),
            ("memory-limit", "memoryLimit"),
            ("min-free", "minFree"),
        ] {
            assert_eq!(check(flag), Err(Refusal::Typed(field)));
        }
        for flag in ["", "--sync-every", "sync-every=1"] {
            assert_eq!(check(flag), Err(Refusal::Spelling), "{flag}");
        }
    }
}
