//! The text form of `/stats`, column for column as stock nsqd prints it: people and scripts read it.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use super::{ChannelStats, ClientStats, Memory, Stats, TopicStats};
use crate::clock::Clock;

/// The picture as text.
pub(crate) fn render(stats: &Stats, clock: Clock) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _infallible = write_all(&mut out, stats, clock);
    out
}

fn write_all(out: &mut String, stats: &Stats, clock: Clock) -> std::fmt::Result {
    let now = clock.wall_ns() / 1_000_000_000;
    writeln!(out, "{}", daemon::version::version_line("nsqd"))?;
    writeln!(
        out,
        "start_time {}",
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(stats.start_time))
    )?;
    writeln!(out, "uptime {}", daemon::duration::format(clock.uptime()))?;
    writeln!(out, "\nHealth: {}", stats.health)?;
    if let Some(memory) = &stats.memory {
        write_memory(out, memory)?;
    }
    match stats.topics.as_deref() {
        None | Some([]) => writeln!(out, "\nTopics: None")?,
        Some(topics) => {
            writeln!(out, "\nTopics:")?;
            topics.iter().try_for_each(|topic| write_topic(out, topic, now))?;
        }
    }
    match stats.producers.as_deref() {
        None | Some([]) => writeln!(out, "\nProducers: None"),
        Some(producers) => {
            writeln!(out, "\nProducers:")?;
            producers.iter().try_for_each(|producer| write_producer(out, producer, now))
        }
    }
}

fn write_memory(out: &mut String, memory: &Memory) -> std::fmt::Result {
    let rows = [
        ("heap_objects", memory.heap_objects),
        ("heap_idle_bytes", memory.heap_idle_bytes),
        ("heap_in_use_bytes", memory.heap_in_use_bytes),
        ("heap_released_bytes", memory.heap_released_bytes),
        ("gc_pause_usec_100", memory.gc_pause_usec_100),
        ("gc_pause_usec_99", memory.gc_pause_usec_99),
        ("gc_pause_usec_95", memory.gc_pause_usec_95),
        ("next_gc_bytes", memory.next_gc_bytes),
        ("gc_total_runs", memory.gc_total_runs),
    ];
    writeln!(out, "\nMemory:")?;
    rows.iter().try_for_each(|(name, value)| writeln!(out, "   {name:<25}\t{value}"))
}

fn write_topic(out: &mut String, topic: &TopicStats, now: i64) -> std::fmt::Result {
    let mark = if topic.paused { "*P " } else { "   " };
    writeln!(
        out,
        "\n{mark}[{:<15}] depth: {:<5} be-depth: {:<5} msgs: {:<8} e2e%: {}",
        topic.topic_name,
        topic.depth,
        topic.backend_depth,
        topic.message_count,
        topic.e2e_processing_latency.text()
    )?;
    topic.channels.iter().try_for_each(|channel| write_channel(out, channel, now))
}

fn write_channel(out: &mut String, channel: &ChannelStats, now: i64) -> std::fmt::Result {
    let mark = if channel.paused { "   *P " } else { "      " };
    writeln!(
        out,
        "{mark}[{:<25}] depth: {:<5} be-depth: {:<5} inflt: {:<4} def: {:<4} re-q: {:<5} timeout: {:<5} msgs: {:<8} e2e%: {}",
        channel.channel_name,
        channel.depth,
        channel.backend_depth,
        channel.in_flight_count,
        channel.deferred_count,
        channel.requeue_count,
        channel.timeout_count,
        channel.message_count,
        channel.e2e_processing_latency.text()
    )?;
    channel.clients.iter().flatten().try_for_each(|client| write_consumer(out, client, now))
}

fn write_consumer(out: &mut String, client: &ClientStats, now: i64) -> std::fmt::Result {
    writeln!(
        out,
        "        [{} {:<21}] state: {} inflt: {:<4} rdy: {:<4} fin: {:<8} re-q: {:<8} msgs: {:<8} connected: {}",
        client.version,
        label(client),
        client.state,
        client.in_flight_count,
        client.ready_count,
        client.finish_count,
        client.requeue_count,
        client.message_count,
        since(client, now)
    )
}

fn write_producer(out: &mut String, client: &ClientStats, now: i64) -> std::fmt::Result {
    let messages: u64 = client.pub_counts.iter().map(|count| count.count).sum();
    let topics: Vec<_> =
        client.pub_counts.iter().map(|count| format!("{}={}", count.topic, count.count)).collect();
    writeln!(
        out,
        "   [{} {:<21}] msgs: {messages:<8} topics: {} connected: {}",
        client.version,
        label(client),
        topics.join(","),
        since(client, now)
    )
}

/// nsqd: the host the client names, with the port its connection comes from, and its library.
fn label(client: &ClientStats) -> String {
    let port = client.remote_address.rsplit_once(':').map_or("", |(_, port)| port);
    let label = format!("{}:{port} {}", client.hostname, client.user_agent);
    label.trim_end().to_owned()
}

fn since(client: &ClientStats, now: i64) -> String {
    let seconds = u64::try_from(now.saturating_sub(client.connect_ts)).unwrap_or(0);
    daemon::duration::format(Duration::from_secs(seconds))
}
