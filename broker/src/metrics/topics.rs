//! What `/metrics` says of each topic and channel, and what becomes of those beyond `--metrics-max-series`: they are
//! added up as `__other__`, so that a flood of names cannot flood whoever scrapes.

use std::sync::Arc;

use daemon::metrics::{Exposition, Family, Kind, Value};

use super::{age, counter_by, gauge_by};
use crate::broker::Broker;
use crate::channel::Channel;
use crate::topic::Topic;

const TOPIC: &[&str] = &["topic"];
const CHANNEL: &[&str] = &["topic", "channel"];
const REASON: &[&str] = &["topic", "channel", "reason"];
const LOCALITY: &[&str] = &["topic", "channel", "locality"];

const TOPIC_FAMILIES: [Family; 10] = [
    gauge_by("nsq_topic_depth", TOPIC, "messages no channel has been given yet"),
    gauge_by("nsq_topic_backend_depth", TOPIC, "how far the depth is above --mem-queue-size"),
    gauge_by("nsq_topic_channels", TOPIC, "channels of the topic"),
    gauge_by("nsq_topic_paused", TOPIC, "1 while messages are not handed on to the channels"),
    gauge_by(
        "nsq_topic_oldest_message_age_seconds",
        TOPIC,
        "age of the oldest message in the depth; 0 without",
    ),
    counter_by("nsq_topic_messages", TOPIC, "messages published"),
    counter_by("nsq_topic_bytes", TOPIC, "bytes of their bodies"),
    counter_by("nsq_topic_discarded", TOPIC, "messages an ephemeral topic dropped because it was full"),
    gauge_by("nsq_storage_bytes", TOPIC, "bytes of the topic's log, from the first record kept to the last"),
    gauge_by("nsq_storage_segments", TOPIC, "files of the topic's log"),
];

const DEPTH: Family = gauge_by("nsq_channel_depth", CHANNEL, "messages that wait for a consumer");
const BACKEND_DEPTH: Family =
    gauge_by("nsq_channel_backend_depth", CHANNEL, "how far the depth is above --mem-queue-size");
const IN_FLIGHT: Family =
    gauge_by("nsq_channel_in_flight", CHANNEL, "messages that consumers have and have not finished");
const DEFERRED: Family = gauge_by("nsq_channel_deferred", CHANNEL, "messages that wait for their time");
const CLIENTS: Family = gauge_by("nsq_channel_clients", CHANNEL, "consumers that are subscribed");
const READY: Family = gauge_by("nsq_channel_ready", CHANNEL, "sum of the consumers' RDY counts");
const PAUSED: Family = gauge_by("nsq_channel_paused", CHANNEL, "1 while nothing is delivered");
const OLDEST: Family = gauge_by(
    "nsq_channel_oldest_message_age_seconds",
    CHANNEL,
    "age of the oldest message not delivered yet; 0 without",
);
const MESSAGES: Family = counter_by("nsq_channel_messages", CHANNEL, "messages that entered the channel");
const DELIVERED: Family = counter_by(
    "nsq_channel_delivered",
    LOCALITY,
    "messages sent, each time they were: to consumers in the broker's zone, its region, or anywhere (global)",
);
const FINISHED: Family = counter_by("nsq_channel_finished", CHANNEL, "messages that consumers finished");
const REQUEUED: Family = counter_by(
    "nsq_channel_requeued",
    REASON,
    "messages given back: by the client, after a timeout, when the connection ended (disconnect)",
);
const TIMED_OUT: Family =
    counter_by("nsq_channel_timed_out", CHANNEL, "messages that were in flight for too long");
const DISCARDED: Family = counter_by(
    "nsq_channel_discarded",
    REASON,
    "messages thrown away: emptied by somebody, or dropped by an ephemeral channel",
);
const PROCESSING: Family = spread_by("nsq_channel_processing_seconds", "time from publish to FIN");
const DELIVERY: Family =
    spread_by("nsq_channel_delivery_seconds", "time from publish to the first send, a deferral included");

const CHANNEL_FAMILIES: [Family; 16] = [
    DEPTH,
    BACKEND_DEPTH,
    IN_FLIGHT,
    DEFERRED,
    CLIENTS,
    READY,
    PAUSED,
    OLDEST,
    MESSAGES,
    DELIVERED,
    FINISHED,
    REQUEUED,
    TIMED_OUT,
    DISCARDED,
    PROCESSING,
    DELIVERY,
];

/// Stands for every topic that is not shown. A topic of this very name, which is legal, would share its series.
const OTHER: &str = "__other__";

/// Add topics and channels to a page, as far as its limit goes. Gives how many series were added up instead.
pub(super) fn expose(page: &mut Exposition, broker: &Broker) -> usize {
    for family in TOPIC_FAMILIES.iter().chain(&CHANNEL_FAMILIES) {
        page.family(family);
    }
    let options = &broker.options;
    let is_shown = |name: bool| !(options.metrics_exclude_ephemeral && name);
    let mut guard = Guard::new(options.metrics_max_series.saturating_sub(page.series()));
    for topic in broker.topics().iter().filter(|topic| is_shown(topic.name.is_ephemeral())) {
        let channels = topic.channels();
        let shown = channels.iter().filter(|channel| is_shown(channel.name.is_ephemeral()));
        let rows: Vec<_> =
            shown.map(|channel| (channel.name.as_str().to_owned(), of_channel(topic, channel))).collect();
        guard.add(page, topic.name.as_str(), of_topic(topic, channels.len()), rows);
    }
    guard.finish(page)
}

/// One figure of a row.
#[derive(Debug, Clone)]
struct Figure {
    family: Family,
    /// The value of the label behind the names.
    word: Option<&'static str>,
    value: Value,
}

type Row = Vec<Figure>;

/// Shows what there is room for, and adds up the rest.
struct Guard {
    left: usize,
    folded: Option<(Row, Row)>,
    dropped: usize,
}

impl Guard {
    fn new(left: usize) -> Self {
        Self { left, folded: None, dropped: 0 }
    }

    fn add(&mut self, page: &mut Exposition, topic: &str, row: Row, channels: Vec<(String, Row)>) {
        let count = series(&row) + channels.iter().map(|(_, row)| series(row)).sum::<usize>();
        // Names come in order, so which of them are shown changes little from scrape to scrape.
        if self.folded.is_none() && count <= self.left {
            self.left -= count;
            show(page, &[topic], &row);
            channels.iter().for_each(|(channel, row)| show(page, &[topic, channel], row));
            return;
        }
        self.dropped += count;
        let (of_topics, of_channels) = self.folded.get_or_insert_default();
        fold(of_topics, row);
        channels.into_iter().for_each(|(_, row)| fold(of_channels, row));
    }

    fn finish(self, page: &mut Exposition) -> usize {
        if let Some((topics, channels)) = &self.folded {
            show(page, &[OTHER], topics);
            show(page, &[OTHER, OTHER], channels);
        }
        self.dropped
    }
}

fn show(page: &mut Exposition, names: &[&str], row: &Row) {
    for figure in row {
        let labels: Vec<_> = names.iter().copied().chain(figure.word).collect();
        page.family(&figure.family).add(&labels, figure.value.clone());
    }
}

fn series(row: &Row) -> usize {
    let of = |figure: &Figure| if let Value::Spread(spread) = &figure.value { spread.series() } else { 1 };
    row.iter().map(of).sum()
}

/// All rows have the same figures in the same order.
fn fold(sum: &mut Row, row: Row) {
    if sum.is_empty() {
        *sum = row;
        return;
    }
    for (mine, theirs) in sum.iter_mut().zip(row) {
        match (&mut mine.value, theirs.value) {
            (Value::Count(mine), Value::Count(theirs)) => *mine = mine.saturating_add(theirs),
            // The ages: the oldest of all.
            (Value::Number(mine), Value::Number(theirs)) => *mine = mine.max(theirs),
            (Value::Spread(mine), Value::Spread(theirs)) => mine.merge(&theirs),
            _ => {}
        }
    }
}

fn of_topic(topic: &Topic, channels: usize) -> Row {
    let counts = topic.counts();
    let age = (counts.depth > 0).then(|| age::of_message_at(topic, counts.next_offset)).flatten();
    let values: [Value; 10] = [
        counts.depth.into(),
        topic.backend_depth(counts.depth).into(),
        channels.into(),
        counts.is_paused.into(),
        age.unwrap_or(0.0).into(),
        counts.messages.into(),
        counts.bytes.into(),
        topic.discarded.total().into(),
        counts.log_bytes.into(),
        counts.segments.into(),
    ];
    TOPIC_FAMILIES
        .into_iter()
        .zip(values)
        .map(|(family, value)| Figure { family, word: None, value })
        .collect()
}

fn of_channel(topic: &Topic, channel: &Arc<Channel>) -> Row {
    let state = channel.lock();
    let (queue, figures) = (&state.queue, &state.figures);
    let (depth, cursor, delivered) = (queue.depth(), queue.cursor(), queue.delivered_counts());
    let has_unread = depth > 0 && cursor.offset < queue.visible().offset;
    let ready: u64 = queue.consumers().map(|(_, _, counts)| counts.ready).sum();
    let row = vec![
        figure(DEPTH, depth),
        figure(BACKEND_DEPTH, topic.backend_depth(depth)),
        figure(IN_FLIGHT, queue.in_flight_count()),
        figure(DEFERRED, queue.deferred_count()),
        figure(CLIENTS, queue.consumer_count()),
        figure(READY, ready),
        figure(PAUSED, queue.is_paused()),
        figure(MESSAGES, queue.message_count()),
        of_word(DELIVERED, "zone", delivered.zone),
        of_word(DELIVERED, "region", delivered.region),
        of_word(DELIVERED, "global", delivered.global),
        figure(FINISHED, figures.processing.count()),
        of_word(REQUEUED, "client", queue.requeue_count()),
        of_word(REQUEUED, "timeout", queue.timeout_count()),
        of_word(REQUEUED, "disconnect", figures.disconnected),
        figure(TIMED_OUT, queue.timeout_count()),
        of_word(DISCARDED, "emptied", queue.emptied_count()),
        of_word(DISCARDED, "ephemeral", queue.dropped_count()),
        figure(PROCESSING, figures.processing.snapshot()),
        figure(DELIVERY, figures.delivery.snapshot()),
    ];
    drop(state);
    // Without the lock: the record may have to be read.
    let age = has_unread.then(|| age::of_message_at(topic, cursor.offset)).flatten();
    row.into_iter().chain([figure(OLDEST, age.unwrap_or(0.0))]).collect()
}

fn figure(family: Family, value: impl Into<Value>) -> Figure {
    Figure { family, word: None, value: value.into() }
}

fn of_word(family: Family, word: &'static str, value: u64) -> Figure {
    Figure { word: Some(word), ..figure(family, value) }
}

const fn spread_by(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Histogram, labels: CHANNEL, help }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(depth: u64, age: f64) -> Row {
        vec![figure(DEPTH, depth), figure(OLDEST, age)]
    }

    fn topic(guard: &mut Guard, page: &mut Exposition, name: &str, depth: u64) {
        guard.add(
            page,
            name,
            vec![figure(TOPIC_FAMILIES[0], depth)],
            vec![("c".to_owned(), row(depth, depth as f64))],
        );
    }

    #[test]
    fn topics_beyond_the_limit_are_added_up() {
        let mut page = Exposition::default();
        let mut guard = Guard::new(7);
        for (name, depth) in [("a", 1), ("b", 2), ("c", 4), ("d", 8)] {
            topic(&mut guard, &mut page, name, depth);
        }
        assert_eq!(guard.finish(&mut page), 6);
        let text = page.text();
        for line in [
            "nsq_topic_depth{topic=\"b\"} 2\n",
            "nsq_topic_depth{topic=\"__other__\"} 12\n",
            "nsq_channel_depth{topic=\"__other__\",channel=\"__other__\"} 12\n",
            "nsq_channel_oldest_message_age_seconds{topic=\"__other__\",channel=\"__other__\"} 8.0\n",
        ] {
            assert!(text.contains(line), "no {line:?} in\n{text}");
        }
        assert!(!text.contains("topic=\"c\""), "{text}");
    }

    #[test]
    fn with_room_for_all_nothing_is_added_up() {
        let mut page = Exposition::default();
        let mut guard = Guard::new(6);
        topic(&mut guard, &mut page, "a", 1);
        topic(&mut guard, &mut page, "b", 2);
        assert_eq!(guard.finish(&mut page), 0);
        assert!(!page.text().contains(OTHER));
    }
}
