//! Settings of a resource as flags of nsqd and nsqlookupd: the one place that knows both names. Only what the
//! resource sets becomes a flag, so that a default changes with the daemon and not with the operator.

use std::collections::BTreeMap;

use crate::resources::NsqClusterSpec;
use crate::resources::cluster::{BrokerConfig, LookupdConfig, Tracing};
use crate::resources::units::{ByteSize, GoDuration, flag_text};

/// Flags of nsqd, sorted.
pub(crate) fn of_broker(cluster: &NsqClusterSpec) -> Vec<(String, String)> {
    let BrokerConfig {
        mem_queue_size,
        max_message_size,
        max_body_size,
        message_timeout,
        max_message_timeout,
        max_requeue_timeout,
        max_ready_count,
        max_channel_consumers,
        heartbeat_interval,
        durability,
        memory_limit,
        min_free,
        log_level,
        extra_flags,
    } = &cluster.brokers.config;
    let Tracing { endpoint, sampling_ratio } = &cluster.observability.tracing;
    // Without a collector there is nothing that a share could be of.
    let sampling_ratio = sampling_ratio.as_ref().filter(|_| endpoint.is_some());
    let heartbeat_max = heartbeat_interval.as_ref().and_then(|interval| interval.max.as_ref());
    sorted(
        [
            ("mem-queue-size", mem_queue_size.map(|count| count.to_string())),
            ("max-msg-size", size(max_message_size.as_ref())),
            ("max-body-size", size(max_body_size.as_ref())),
            ("msg-timeout", duration(message_timeout.as_ref())),
            ("max-msg-timeout", duration(max_message_timeout.as_ref())),
            ("max-req-timeout", duration(max_requeue_timeout.as_ref())),
            ("max-rdy-count", max_ready_count.map(|count| count.to_string())),
            ("max-channel-consumers", max_channel_consumers.map(|count| count.to_string())),
            ("max-heartbeat-interval", duration(heartbeat_max)),
            ("durability", durability.map(|level| level.name().to_owned())),
            ("memory-limit", size(memory_limit.as_ref())),
            ("min-free", size(min_free.as_ref())),
            ("log-level", log_level.map(|level| level.name().to_owned())),
            ("otel-endpoint", endpoint.clone()),
            ("otel-sampling-ratio", sampling_ratio.cloned()),
        ]
        .into_iter()
        .chain(extra_flags.iter().map(|(flag, value)| (flag.as_str(), Some(value.clone())))),
    )
}

/// Flags of nsqlookupd, sorted.
pub(crate) fn of_lookupd(config: &LookupdConfig) -> Vec<(String, String)> {
    let LookupdConfig { inactive_producer_timeout, tombstone_lifetime } = config;
    sorted([
        ("inactive-producer-timeout", duration(inactive_producer_timeout.as_ref())),
        ("tombstone-lifetime", duration(tombstone_lifetime.as_ref())),
    ])
}

fn sorted<'a>(flags: impl IntoIterator<Item = (&'a str, Option<String>)>) -> Vec<(String, String)> {
    let set = flags.into_iter().filter_map(|(flag, value)| Some((flag.to_owned(), value?)));
    set.collect::<BTreeMap<_, _>>().into_iter().collect()
}

/// Validation has refused what is no size, so that nothing is left out here.
fn size(size: Option<&ByteSize>) -> Option<String> {
    Some(size?.bytes()?.to_string())
}

fn duration(duration: Option<&GoDuration>) -> Option<String> {
    Some(flag_text(duration?.duration()?))
}
