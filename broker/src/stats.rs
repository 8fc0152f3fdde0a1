//! A picture of the broker: gathered here as the JSON of `/stats`, with null and [] where stock has them;
//! the text form is made from it.

pub(crate) mod text;

use std::sync::Arc;

use queue::ConsumerCounts;
use serde::Serialize;

use crate::broker::Broker;
use crate::channel::Channel;
use crate::latency::{Latency, merge};
use crate::outbox::Outbox;
use crate::topic::Topic;

/// Which part is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    /// Only this topic.
    pub topic: Option<&'a str>,
    /// Only channels of this name.
    pub channel: Option<&'a str>,
    /// With each connection.
    pub with_clients: bool,
    /// With memory figures.
    pub with_memory: bool,
}

/// The whole answer.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the names are the JSON keys of NSQ's API")]
pub(crate) struct Stats {
    pub version: &'static str,
    pub health: String,
    pub start_time: u64,
    /// nsqd: null when the topic asked for does not exist.
    pub topics: Option<Vec<TopicStats>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// nsqd: null when there are none or clients are not asked for.
    pub producers: Option<Vec<ClientStats>>,
}

/// A topic.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the names are the JSON keys of NSQ's API")]
pub(crate) struct TopicStats {
    pub topic_name: String,
    pub channels: Vec<ChannelStats>,
    pub depth: u64,
    pub backend_depth: u64,
    pub message_count: u64,
    pub message_bytes: u64,
    pub paused: bool,
    pub e2e_processing_latency: Latency,
    /// Ours: what OK to a publish means.
    pub durability: &'static str,
}

/// A channel.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the names are the JSON keys of NSQ's API")]
pub(crate) struct ChannelStats {
    pub channel_name: String,
    pub depth: u64,
    pub backend_depth: u64,
    pub in_flight_count: u64,
    pub deferred_count: u64,
    pub message_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub zone_local_msg_count: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub region_local_msg_count: u64,
    /// nsqd: without the experiment, what was delivered from memory; here all that was delivered.
    #[serde(skip_serializing_if = "is_zero")]
    pub global_msg_count: u64,
    pub requeue_count: u64,
    pub timeout_count: u64,
    /// Ours: messages whose records were found damaged, since the start.
    pub lost_count: u64,
    pub client_count: usize,
    /// nsqd: null when clients are not asked for.
    pub clients: Option<Vec<ClientStats>>,
    pub paused: bool,
    pub e2e_processing_latency: Latency,
}

/// A connection, as a consumer or as a producer.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the JSON keys of NSQ's API")]
pub(crate) struct ClientStats {
    pub client_id: String,
    pub hostname: String,
    pub version: &'static str,
    pub remote_address: String,
    pub state: u8,
    pub ready_count: u64,
    pub in_flight_count: u64,
    pub message_count: u64,
    pub finish_count: u64,
    pub requeue_count: u64,
    pub connect_ts: i64,
    pub sample_rate: u8,
    pub deflate: bool,
    pub snappy: bool,
    pub user_agent: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub authed: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth_identity: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub auth_identity_url: String,
    pub topology_zone: String,
    pub topology_region: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pub_counts: Vec<PubCount>,
    pub tls: bool,
    pub tls_cipher_suite: String,
    pub tls_version: &'static str,
    pub tls_negotiated_protocol: String,
    pub tls_negotiated_protocol_is_mutual: bool,
}

/// Messages a connection published to one topic.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the names are the JSON keys of NSQ's API")]
pub(crate) struct PubCount {
    pub topic: String,
    pub count: u64,
}

/// Go's heap and collector figures. There is no collector here: dashboards find the keys, and the resident
/// size where they look for memory in use.
#[derive(Debug, Default, Serialize)]
#[allow(missing_docs, reason = "the names are the JSON keys of NSQ's API")]
pub(crate) struct Memory {
    pub heap_objects: u64,
    pub heap_idle_bytes: u64,
    pub heap_in_use_bytes: u64,
    pub heap_released_bytes: u64,
    pub gc_pause_usec_100: u64,
    pub gc_pause_usec_99: u64,
    pub gc_pause_usec_95: u64,
    pub next_gc_bytes: u64,
    pub gc_total_runs: u64,
}

/// Take the picture.
pub(crate) fn gather(broker: &Broker, asked: &Asked<'_>) -> Stats {
    let chosen: Vec<_> = match asked.topic {
        None => broker.topics(),
        Some(name) => broker.topic(name).into_iter().collect(),
    };
    let is_unknown = asked.topic.is_some() && chosen.is_empty();
    let topics = chosen.iter().filter_map(|topic| topic_stats(topic, asked)).collect();
    let producers = if asked.with_clients { producers(broker, asked) } else { Vec::new() };
    Stats {
        version: daemon::version::VERSION,
        health: broker.context.health.text(),
        start_time: broker.context.clock.start_seconds(),
        topics: (!is_unknown).then_some(topics),
        memory: asked.with_memory.then(memory),
        producers: Some(producers).filter(|producers| !producers.is_empty()),
    }
}

/// nsqd: with ?channel= a topic without that channel is left out.
fn topic_stats(topic: &Arc<Topic>, asked: &Asked<'_>) -> Option<TopicStats> {
    let counts = topic.counts();
    let all = topic.channels();
    let is_asked = |channel: &&Arc<Channel>| asked.channel.is_none_or(|name| channel.name.as_str() == name);
    let channels: Vec<_> =
        all.iter().filter(is_asked).map(|channel| channel_stats(topic, channel, asked)).collect();
    if asked.channel.is_some() && channels.is_empty() {
        return None;
    }
    Some(TopicStats {
        topic_name: topic.name.as_str().to_owned(),
        channels,
        depth: counts.depth,
        backend_depth: topic.backend_depth(counts.depth),
        message_count: counts.messages,
        message_bytes: counts.bytes,
        paused: counts.is_paused,
        e2e_processing_latency: latency(topic, &all),
        durability: topic.durability().name(),
    })
}

fn channel_stats(topic: &Topic, channel: &Arc<Channel>, asked: &Asked<'_>) -> ChannelStats {
    let e2e_processing_latency = latency(topic, std::slice::from_ref(channel));
    let state = channel.lock();
    let queue = &state.queue;
    let delivered = queue.delivered_counts();
    let clients = asked
        .with_clients
        .then(|| queue.consumers().map(|(_, outbox, counts)| consumer(outbox, &counts)).collect());
    ChannelStats {
        channel_name: channel.name.as_str().to_owned(),
        depth: queue.depth(),
        backend_depth: topic.backend_depth(queue.depth()),
        in_flight_count: queue.in_flight_count(),
        deferred_count: queue.deferred_count(),
        message_count: queue.message_count(),
        zone_local_msg_count: delivered.zone,
        region_local_msg_count: delivered.region,
        global_msg_count: delivered.global,
        requeue_count: queue.requeue_count(),
        timeout_count: queue.timeout_count(),
        lost_count: queue.lost_count(),
        client_count: queue.consumer_count(),
        clients,
        paused: queue.is_paused(),
        e2e_processing_latency,
    }
}

/// nsqd: a topic's latency is that of all its channels together.
fn latency(topic: &Topic, channels: &[Arc<Channel>]) -> Latency {
    let Some(quantiles) = &topic.context.rules.e2e else { return Latency::default() };
    let now = topic.context.clock.now().instant;
    let sketches =
        channels.iter().filter_map(|channel| Some(channel.lock().figures.latencies.as_mut()?.merged(now)));
    let sketches: Vec<_> = sketches.collect();
    Latency::of(&merge(&sketches), quantiles)
}

/// Stock leaves such counts out.
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn consumer(outbox: &Outbox, counts: &ConsumerCounts) -> ClientStats {
    ClientStats {
        ready_count: counts.ready,
        in_flight_count: counts.in_flight,
        message_count: counts.messages,
        finish_count: counts.finished,
        requeue_count: counts.requeued,
        ..client(outbox)
    }
}

fn producers(broker: &Broker, asked: &Asked<'_>) -> Vec<ClientStats> {
    let shown = |count: &PubCount| asked.topic.is_none_or(|name| count.topic == name);
    let producers = broker.clients.producers();
    producers
        .iter()
        .map(|outbox| {
            let mut shown_as = client(outbox);
            shown_as.pub_counts.retain(shown);
            shown_as
        })
        .filter(|producer| !producer.pub_counts.is_empty())
        .collect()
}

fn client(outbox: &Outbox) -> ClientStats {
    let about = outbox.client.about();
    let published = about.published.iter();
    let (auth_identity, auth_identity_url) = *about.identity.clone().unwrap_or_default();
    let tls = about.tls;
    ClientStats {
        client_id: about.client_id,
        hostname: about.hostname,
        version: "V2",
        remote_address: outbox.client.peer.to_string(),
        state: outbox.client.state(),
        ready_count: 0,
        in_flight_count: 0,
        message_count: 0,
        finish_count: 0,
        requeue_count: 0,
        connect_ts: outbox.client.connected_at,
        sample_rate: about.sample_rate,
        deflate: about.deflate,
        snappy: about.snappy,
        user_agent: about.user_agent,
        authed: about.identity.is_some(),
        auth_identity,
        auth_identity_url,
        topology_zone: about.topology_zone,
        topology_region: about.topology_region,
        pub_counts: published
            .map(|(topic, count)| PubCount { topic: topic.to_string(), count: *count })
            .collect(),
        tls: tls.is_some(),
        tls_negotiated_protocol_is_mutual: tls.is_some(),
        tls_version: tls.as_ref().map_or("", |tls| tls.version),
        tls_negotiated_protocol: tls.as_ref().map_or_else(String::new, |tls| tls.protocol.clone()),
        tls_cipher_suite: tls.map_or_else(String::new, |tls| tls.cipher_suite),
    }
}

fn memory() -> Memory {
    let resident = daemon::metrics::process::memory().unwrap_or_default().resident;
    Memory { heap_in_use_bytes: resident, ..Memory::default() }
}
