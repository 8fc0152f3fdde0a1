//! What one resource may not say, beyond what its schema and CEL rules refuse: the same checks in every mode,
//! for resources from a file and from an API server. How resources go together is in relations.rs.

use std::ops::RangeInclusive;

use kube::ResourceExt as _;

use crate::resources::cluster::{
    BrokerConfig, HeartbeatInterval, LookupdConfig, NAME_LENGTH_MAX, Tracing, extra_flags,
};
use crate::resources::units::{ByteSize, GoDuration};
use crate::resources::{NsqChannel, NsqCluster, NsqClusterSpec, NsqTopic, name};

/// One thing that is wrong with a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The path of the field, as `spec.topicName`; empty if it is the resource as a whole.
    pub field: String,
    /// What is wrong, to follow the field: `is "1 d", which is no duration`.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What is wrong with a cluster.
pub fn cluster(cluster: &NsqCluster) -> Vec<Violation> {
    let NsqClusterSpec { brokers, lookupds, topics, observability, .. } = &cluster.spec;
    let mut found = Vec::new();
    found.extend(metadata(cluster));
    let is_service_name = {
        let name = cluster.name_any();
        name.len() <= NAME_LENGTH_MAX
            && !name.contains('.')
            && name.starts_with(|c: char| c.is_ascii_lowercase())
    };
    if found.is_empty() && !is_service_name {
        found.push(Violation {
            field: "metadata.name".to_owned(),
            message: format!(
                "has more than {NAME_LENGTH_MAX} characters, a dot, or does not start with a letter"
            ),
            hint: Some("names of pods, volumes and services are built from it".to_owned()),
        });
    }
    broker_config(&brokers.config, &mut found);
    lookupd_config(&lookupds.config, &mut found);
    found.extend(size("spec.brokers.storage.size".to_owned(), Some(&brokers.storage.size), A_VOLUME));
    let resync = topics.resync_interval.as_ref();
    found.extend(duration("spec.topics.resyncInterval".to_owned(), resync, 5000));
    let interval = observability.pod_monitor.interval.as_ref();
    found.extend(duration("spec.observability.podMonitor.interval".to_owned(), interval, 1000));
    tracing(&observability.tracing, &mut found);
    found
}

/// What is wrong with a topic.
pub fn topic(topic: &NsqTopic) -> Vec<Violation> {
    let mut found = metadata(topic);
    found.extend(nsq_name("spec.topicName", topic.spec.topic_name.as_deref(), &topic.name_any()));
    found
}

/// What is wrong with a channel.
pub fn channel(channel: &NsqChannel) -> Vec<Violation> {
    let spec = &channel.spec;
    let mut found = metadata(channel);
    found.extend(nsq_name("spec.channelName", spec.channel_name.as_deref(), &channel.name_any()));
    if let Some(topic) = &spec.topic_name
        && !name::is_legal(topic)
    {
        found.push(illegal_name("spec.topicName", topic));
    }
    let once = match (&spec.topic_ref, &spec.cluster_ref, &spec.topic_name) {
        (Some(_), None, None) | (None, Some(_), Some(_)) => None,
        (Some(_), ..) => Some("has topicRef and also clusterRef or topicName"),
        (None, None, None) => Some("does not say which topic it belongs to"),
        (None, Some(_), None) => Some("has clusterRef but no topicName"),
        (None, None, Some(_)) => Some("has topicName but no clusterRef"),
    };
    found.extend(once.map(|message| Violation {
        field: "spec".to_owned(),
        message: message.to_owned(),
        hint: Some("name the topic once: either topicRef, or clusterRef and topicName".to_owned()),
    }));
    found
}

fn metadata(resource: &impl kube::Resource) -> Vec<Violation> {
    let name = resource.name_any();
    let namespace = resource.namespace();
    let wrong = |field: &str, value: &str, rule: &str| Violation {
        field: field.to_owned(),
        message: format!("is {value:?}, which Kubernetes takes for no name"),
        hint: Some(rule.to_owned()),
    };
    let mut found = Vec::new();
    if name.len() > 253 || !name.split('.').all(is_dns_label) {
        found.push(wrong(
            "metadata.name",
            &name,
            "write a-z, 0-9, - and ., with a letter or digit at both ends",
        ));
    }
    if let Some(namespace) = namespace.filter(|namespace| namespace.len() > 63 || !is_dns_label(namespace)) {
        found.push(wrong("metadata.namespace", &namespace, "write a-z, 0-9 and -, at most 63 characters"));
    }
    found
}

fn is_dns_label(label: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty() && label.bytes().all(is_legal) && !label.starts_with('-') && !label.ends_with('-')
}

/// `given` is the field, `fallback` is metadata.name, which counts where the field is absent.
fn nsq_name(field: &str, given: Option<&str>, fallback: &str) -> Option<Violation> {
    match given {
        Some(given) => (!name::is_legal(given)).then(|| illegal_name(field, given)),
        // A name Kubernetes refuses is reported as such; what is left to go wrong here is the length.
        None if fallback.len() > name::LENGTH_MAX => Some(Violation {
            field: "metadata.name".to_owned(),
            message: format!("has more than the {} characters of an NSQ name", name::LENGTH_MAX),
            hint: Some(format!("set {field}")),
        }),
        None => None,
    }
}

fn illegal_name(field: &str, name: &str) -> Violation {
    Violation {
        field: field.to_owned(),
        message: format!("is {name:?}, which NSQ does not take as a name"),
        hint: Some(name::hint(name)),
    }
}

fn broker_config(config: &BrokerConfig, found: &mut Vec<Violation>) {
    let BrokerConfig {
        mem_queue_size: _,
        max_message_size,
        max_body_size,
        message_timeout,
        max_message_timeout,
        max_requeue_timeout,
        max_ready_count: _,
        max_channel_consumers: _,
        heartbeat_interval,
        durability: _,
        memory_limit,
        min_free,
        log_level: _,
        extra_flags,
    } = config;
    let field = |name: &str| format!("spec.brokers.config.{name}");
    found.extend(size(field("maxMessageSize"), max_message_size.as_ref(), ON_THE_WIRE));
    found.extend(size(field("maxBodySize"), max_body_size.as_ref(), ON_THE_WIRE));
    found.extend(size(field("memoryLimit"), memory_limit.as_ref(), MEMORY_LIMIT));
    found.extend(size(field("minFree"), min_free.as_ref(), ANY_SIZE));
    found.extend(duration(field("messageTimeout"), message_timeout.as_ref(), 1));
    found.extend(duration(field("maxMessageTimeout"), max_message_timeout.as_ref(), 1));
    found.extend(duration(field("maxRequeueTimeout"), max_requeue_timeout.as_ref(), 1));
    let HeartbeatInterval { max } = heartbeat_interval.clone().unwrap_or_default();
    // nsqd: a client may not ask for less than a second, so that less would refuse every client that asks.
    found.extend(duration(field("heartbeatInterval.max"), max.as_ref(), 1000));
    for flag in extra_flags.keys() {
        found.extend(extra_flag(flag));
    }
}

fn lookupd_config(config: &LookupdConfig, found: &mut Vec<Violation>) {
    let LookupdConfig { inactive_producer_timeout, tombstone_lifetime } = config;
    let field = |name: &str| format!("spec.lookupds.config.{name}");
    found.extend(duration(field("inactiveProducerTimeout"), inactive_producer_timeout.as_ref(), 1));
    found.extend(duration(field("tombstoneLifetime"), tombstone_lifetime.as_ref(), 0));
}

/// The sizes a field takes, and how to say so.
type Sizes = (RangeInclusive<u64>, &'static str);

/// Lengths on the wire have 32 bits with a sign.
const ON_THE_WIRE: Sizes = (1..=i32::MAX as u64, "write 1 to 2147483647 bytes");
/// nsqd refuses to start with less.
const MEMORY_LIMIT: Sizes = (16 << 20..=u64::MAX, "write at least 16Mi");
const ANY_SIZE: Sizes = (0..=u64::MAX, "");
/// Less than what nsqd keeps free and a segment of the log need is no volume for it.
const A_VOLUME: Sizes = (64 << 20..=u64::MAX, "write at least 64Mi");

fn size(field: String, size: Option<&ByteSize>, (allowed, hint_for_range): Sizes) -> Option<Violation> {
    let size = size?;
    let (message, hint) = match size.bytes() {
        None => ("which is no size", "write bytes, or a number with k, M, G, Ki, Mi or Gi, as in 1Mi"),
        Some(bytes) if !allowed.contains(&bytes) => ("which is out of range", hint_for_range),
        Some(_) => return None,
    };
    Some(Violation {
        field,
        message: format!("is {:?}, {message}", size.text()),
        hint: Some(hint.to_owned()),
    })
}

fn duration(field: String, duration: Option<&GoDuration>, millis_min: u128) -> Option<Violation> {
    let duration = duration?;
    let (message, hint) = match duration.duration() {
        None => ("which is no duration", "write a number with ms, s, m or h, as in 60s or 1m30s".to_owned()),
        Some(length) if length.as_millis() < millis_min => {
            ("which is too short", format!("write at least {millis_min}ms"))
        }
        Some(_) => return None,
    };
    Some(Violation { field, message: format!("is {:?}, {message}", duration.text()), hint: Some(hint) })
}

fn tracing(tracing: &Tracing, found: &mut Vec<Violation>) {
    let Tracing { endpoint, sampling_ratio } = tracing;
    let is_url = |url: &&String| {
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        rest.is_some_and(|rest| !rest.is_empty() && !rest.contains([' ', '?', '#', '@']))
    };
    if let Some(endpoint) = endpoint.as_ref().filter(|it| !is_url(it)) {
        found.push(Violation {
            field: "spec.observability.tracing.endpoint".to_owned(),
            message: format!("is {endpoint:?}, which is no URL of a collector"),
            hint: Some("write a URL without user, query or spaces, as http://collector:4318".to_owned()),
        });
    }
    let is_share = |text: &&String| text.parse().is_ok_and(|ratio: f64| (0.0..=1.0).contains(&ratio));
    if let Some(ratio) = sampling_ratio.as_ref().filter(|it| !is_share(it)) {
        found.push(Violation {
            field: "spec.observability.tracing.samplingRatio".to_owned(),
            message: format!("is {ratio:?}, which is no share"),
            hint: Some("write a number from 0 to 1 as text, as \"0.01\"".to_owned()),
        });
    }
}

fn extra_flag(flag: &str) -> Option<Violation> {
    let (message, hint) = match extra_flags::check(flag) {
        Ok(()) => return None,
        Err(extra_flags::Refusal::Owned) => {
            ("belongs to the operator, which sets it itself", "remove it".to_owned())
        }
        Err(extra_flags::Refusal::Typed(field)) => {
            ("has a field of its own", format!("write it as spec.brokers.config.{field}"))
        }
        Err(extra_flags::Refusal::Spelling) => {
            ("is no name of a flag", "write the name without dashes before it, as in sync-every".to_owned())
        }
    };
    let field = format!("spec.brokers.config.extraFlags.{flag}");
    Some(Violation { field, message: message.to_owned(), hint: Some(hint) })
}

#[cfg(test)]
mod tests;
