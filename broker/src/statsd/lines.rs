//! The lines that stock nsqd sends to statsd, name by name, and how they fill packets. Pure: from one picture of the
//! broker to the next.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::latency::Latency;
use crate::stats::{ChannelStats, Memory, Stats, TopicStats};

/// What names begin with. nsqd: %s is the host and port with `_` for their dots and colons, and a dot ends it all.
pub(crate) fn prefix(pattern: &str, host: &str, port: u16) -> String {
    // nsqd: an IPv6 address stands in brackets.
    let address = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut prefix = pattern.replace("%s", &address.replace(['.', ':'], "_"));
    if !prefix.is_empty() && !prefix.ends_with('.') {
        prefix.push('.');
    }
    prefix
}

/// Makes lines, and remembers what its counters were told before.
#[derive(Debug)]
pub(super) struct Pusher {
    prefix: String,
    with_memory: bool,
    excludes_ephemeral: bool,
    /// Totals by the names of their counters.
    told: HashMap<String, u64>,
}

impl Pusher {
    pub(super) fn new(prefix: String, with_memory: bool, excludes_ephemeral: bool) -> Self {
        Self { prefix, with_memory, excludes_ephemeral, told: HashMap::new() }
    }

    /// Everything since the last push, one line each.
    pub(super) fn push(&mut self, stats: &Stats) -> String {
        let mut out = Lines { before: std::mem::take(&mut self.told), ..Lines::new(&self.prefix) };
        for topic in stats.topics.iter().flatten() {
            if !(self.excludes_ephemeral && is_ephemeral(&topic.topic_name)) {
                out.topic(topic, self.excludes_ephemeral);
            }
        }
        if let Some(memory) = stats.memory.as_ref().filter(|_| self.with_memory) {
            out.memory(memory);
        }
        // Topics that are gone are forgotten here.
        self.told = out.told;
        out.text
    }
}

/// Whole lines in packets of at most `size` bytes; a line that is longer has a packet of its own.
pub(super) fn packets(text: &str, size: usize) -> Vec<&[u8]> {
    let (bytes, mut packets, mut start, mut end) = (text.as_bytes(), Vec::new(), 0, 0);
    for line in text.split_inclusive('\n') {
        if end > start && end + line.len() - start > size {
            packets.extend(bytes.get(start..end));
            start = end;
        }
        end += line.len();
    }
    packets.extend(bytes.get(start..end).filter(|rest| !rest.is_empty()));
    packets
}

struct Lines<'a> {
    prefix: &'a str,
    text: String,
    before: HashMap<String, u64>,
    told: HashMap<String, u64>,
}

impl<'a> Lines<'a> {
    fn new(prefix: &'a str) -> Self {
        Self { prefix, text: String::new(), before: HashMap::new(), told: HashMap::new() }
    }

    fn topic(&mut self, topic: &TopicStats, excludes_ephemeral: bool) {
        let name = format!("topic.{}", topic.topic_name);
        self.count(&name, "message_count", topic.message_count);
        self.count(&name, "message_bytes", topic.message_bytes);
        self.gauge(&name, "depth", topic.depth);
        self.gauge(&name, "backend_depth", topic.backend_depth);
        self.latency(&name, &topic.e2e_processing_latency);
        for channel in &topic.channels {
            if !(excludes_ephemeral && is_ephemeral(&channel.channel_name)) {
                self.channel(&format!("{name}.channel.{}", channel.channel_name), channel);
            }
        }
    }

    fn channel(&mut self, name: &str, channel: &ChannelStats) {
        self.count(name, "message_count", channel.message_count);
        self.gauge(name, "depth", channel.depth);
        self.gauge(name, "backend_depth", channel.backend_depth);
        self.gauge(name, "in_flight_count", channel.in_flight_count);
        self.gauge(name, "deferred_count", channel.deferred_count);
        self.count(name, "requeue_count", channel.requeue_count);
        self.count(name, "timeout_count", channel.timeout_count);
        self.gauge(name, "clients", channel.client_count as u64);
        self.latency(name, &channel.e2e_processing_latency);
    }

    fn memory(&mut self, memory: &Memory) {
        self.gauge("mem", "heap_objects", memory.heap_objects);
        self.gauge("mem", "heap_idle_bytes", memory.heap_idle_bytes);
        self.gauge("mem", "heap_in_use_bytes", memory.heap_in_use_bytes);
        self.gauge("mem", "heap_released_bytes", memory.heap_released_bytes);
        self.gauge("mem", "gc_pause_usec_100", memory.gc_pause_usec_100);
        self.gauge("mem", "gc_pause_usec_99", memory.gc_pause_usec_99);
        self.gauge("mem", "gc_pause_usec_95", memory.gc_pause_usec_95);
        self.gauge("mem", "next_gc_bytes", memory.next_gc_bytes);
        self.count("mem", "gc_runs", memory.gc_total_runs);
    }

    fn latency(&mut self, name: &str, latency: &Latency) {
        for one in latency.percentiles.iter().flatten() {
            // nsqd: rounded, so that 0.999 is named like 1.
            let key = format!("e2e_processing_latency_{:.0}", one.quantile * 100.0);
            self.gauge(name, &key, one.value as u64);
        }
    }

    fn gauge(&mut self, name: &str, key: &str, value: u64) {
        self.line(name, key, value, 'g');
    }

    /// What was added since the last push. A total that fell belongs to a new topic or channel of the same name.
    fn count(&mut self, name: &str, key: &str, total: u64) {
        let full = format!("{name}.{key}");
        let before = self.before.get(&full).copied().filter(|before| *before <= total).unwrap_or(0);
        self.line(name, key, total - before, 'c');
        self.told.insert(full, total);
    }

    fn line(&mut self, name: &str, key: &str, value: u64, kind: char) {
        // Writing to a string cannot fail.
        let _infallible = writeln!(self.text, "{}{name}.{key}:{value}|{kind}", self.prefix);
    }
}

fn is_ephemeral(name: &str) -> bool {
    name.ends_with("#ephemeral")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Percentile;

    fn channel(name: &str) -> ChannelStats {
        ChannelStats {
            channel_name: name.to_owned(),
            message_count: 7,
            depth: 1,
            backend_depth: 2,
            in_flight_count: 3,
            deferred_count: 4,
            requeue_count: 5,
            timeout_count: 6,
            client_count: 8,
            ..ChannelStats::default()
        }
    }

    fn topic(name: &str, messages: u64, channels: Vec<ChannelStats>) -> TopicStats {
        TopicStats {
            topic_name: name.to_owned(),
            channels,
            message_count: messages,
            message_bytes: 10 * messages,
            depth: 11,
            backend_depth: 12,
            ..TopicStats::default()
        }
    }

    fn stats(topics: Vec<TopicStats>) -> Stats {
        Stats { topics: Some(topics), memory: Some(Memory::default()), ..Stats::default() }
    }

    fn lines(pusher: &mut Pusher, topics: Vec<TopicStats>) -> Vec<String> {
        pusher.push(&stats(topics)).lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_prefix_names_the_broker() {
        assert_eq!(prefix("nsq.%s", "host.example", 4151), "nsq.host_example_4151.");
        assert_eq!(prefix("nsq.%s.", "::1", 4151), "nsq.[__1]_4151.");
        assert_eq!(prefix("fixed", "h", 1), "fixed.");
        assert_eq!(prefix("", "h", 1), "");
    }

    #[test]
    fn names_and_kinds_are_those_of_stock() {
        let mut pusher = Pusher::new("p.".to_owned(), true, false);
        let mut one = topic("t", 2, vec![channel("c#ephemeral")]);
        one.e2e_processing_latency.percentiles =
            Some(vec![Percentile { quantile: 0.999, value: 9.9 }, Percentile { quantile: 0.5, value: 4.0 }]);
        assert_eq!(
            lines(&mut pusher, vec![one]),
            [
                "p.topic.t.message_count:2|c",
                "p.topic.t.message_bytes:20|c",
                "p.topic.t.depth:11|g",
                "p.topic.t.backend_depth:12|g",
                "p.topic.t.e2e_processing_latency_100:9|g",
                "p.topic.t.e2e_processing_latency_50:4|g",
                "p.topic.t.channel.c#ephemeral.message_count:7|c",
                "p.topic.t.channel.c#ephemeral.depth:1|g",
                "p.topic.t.channel.c#ephemeral.backend_depth:2|g",
                "p.topic.t.channel.c#ephemeral.in_flight_count:3|g",
                "p.topic.t.channel.c#ephemeral.deferred_count:4|g",
                "p.topic.t.channel.c#ephemeral.requeue_count:5|c",
                "p.topic.t.channel.c#ephemeral.timeout_count:6|c",
                "p.topic.t.channel.c#ephemeral.clients:8|g",
                "p.mem.heap_objects:0|g",
                "p.mem.heap_idle_bytes:0|g",
                "p.mem.heap_in_use_bytes:0|g",
                "p.mem.heap_released_bytes:0|g",
                "p.mem.gc_pause_usec_100:0|g",
                "p.mem.gc_pause_usec_99:0|g",
                "p.mem.gc_pause_usec_95:0|g",
                "p.mem.next_gc_bytes:0|g",
                "p.mem.gc_runs:0|c",
            ]
        );
    }

    #[test]
    fn counters_tell_what_was_added_and_begin_anew_with_a_new_topic_of_the_name() {
        let mut pusher = Pusher::new(String::new(), false, false);
        let mut count = |messages| lines(&mut pusher, vec![topic("t", messages, Vec::new())])[0].clone();
        assert_eq!(count(5), "topic.t.message_count:5|c");
        assert_eq!(count(5), "topic.t.message_count:0|c");
        assert_eq!(count(9), "topic.t.message_count:4|c");
        assert_eq!(count(3), "topic.t.message_count:3|c", "deleted and made again");
        assert!(lines(&mut pusher, Vec::new()).is_empty());
        assert!(pusher.told.is_empty(), "what is gone is forgotten");
    }

    #[test]
    fn ephemeral_topics_and_channels_can_be_left_out() {
        let mut pusher = Pusher::new(String::new(), false, true);
        let topics = vec![
            topic("e#ephemeral", 1, vec![channel("c")]),
            topic("t", 1, vec![channel("x#ephemeral"), channel("c")]),
        ];
        let seen = lines(&mut pusher, topics);
        assert_eq!(seen.len(), 4 + 8, "{seen:#?}");
        assert!(seen.iter().all(|line| !line.contains("#ephemeral")), "{seen:#?}");
    }

    #[test]
    fn packets_hold_whole_lines_up_to_their_size() {
        let text = "aaaa\nbb\ncccccccccccc\nd\ne\n";
        let whole = |size| -> Vec<String> {
            packets(text, size).iter().map(|packet| String::from_utf8_lossy(packet).into_owned()).collect()
        };
        assert_eq!(whole(8), ["aaaa\nbb\n", "cccccccccccc\n", "d\ne\n"]);
        assert_eq!(whole(1).len(), 5);
        assert_eq!(whole(1000), [text]);
        assert!(packets("", 8).is_empty());
    }
}
