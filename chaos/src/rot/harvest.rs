//! Everything that an nsqd has for its channels, consumed to the end; and some publishes, to see that it still works.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, anyhow, bail};
use protocol::{Command, MessageHead, MessageId, Messages};

use super::rest::{ROUND, answers, receive, subscribe};
use crate::body;
use crate::diary::Clock;
use crate::drain;
use crate::history::key;
use crate::http;
use crate::nsqd::Nsqd;

/// Topics of a folder at rest.
pub(super) const TOPICS: [&str; 2] = ["orders", "clicks"];
/// Channels of each.
pub(super) const CHANNELS: [&str; 2] = ["mail", "archive"];
/// Published to each topic once nsqd serves again.
const FRESH: u32 = 5;
/// Their numbers begin here.
const FRESH_FROM: u32 = 1_000_000;

/// A message as it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    /// None: the body is none that was published.
    pub(super) key: Option<u64>,
    pub(super) id: u64,
    pub(super) timestamp: u64,
    pub(super) message_id: MessageId,
}

impl Delivery {
    pub(super) fn of(head: &MessageHead, body: &[u8]) -> Self {
        Self {
            key: body::read(body),
            id: head.id.to_bits().unwrap_or_default(),
            timestamp: head.timestamp_ns.cast_unsigned(),
            message_id: head.id,
        }
    }
}

/// What came on each of [`channels`].
#[derive(Debug)]
pub(super) struct Harvest {
    pub(super) came: Vec<Vec<Delivery>>,
    /// Channels that do not become empty, or are not there.
    pub(super) stuck: Option<String>,
    /// Published after the start.
    pub(super) fresh: Vec<BTreeSet<u64>>,
}

/// Topic and channel, as indices.
pub(super) fn channels() -> impl Iterator<Item = (usize, usize)> {
    (0..TOPICS.len()).flat_map(|topic| (0..CHANNELS.len()).map(move |channel| (topic, channel)))
}

impl Harvest {
    /// Publish a few more messages, consume and finish everything, until all channels are empty.
    ///
    /// # Errors
    /// nsqd does not answer, or closes connections.
    pub(super) fn gather(nsqd: &Nsqd, clock: Clock) -> Result<Self> {
        if let Some(stuck) = missing(nsqd)? {
            // A SUB would make the channel, and hide that it was forgotten.
            return Ok(Self { came: Vec::new(), stuck: Some(stuck), fresh: Vec::new() });
        }
        let fresh = publish(nsqd, clock)?;
        Self::look(nsqd, clock).map(|harvest| Self { fresh, ..harvest })
    }

    /// The same without publishing.
    ///
    /// # Errors
    /// As `gather`.
    pub(super) fn look(nsqd: &Nsqd, clock: Clock) -> Result<Self> {
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let consumers: Vec<_> = channels()
                .map(|channel| {
                    let is_over = &is_over;
                    scope.spawn(move || consume(nsqd, clock, channel, is_over))
                })
                .collect();
            let stuck = drain::until_empty(nsqd.http(), &names(), &names());
            is_over.store(true, Ordering::Relaxed);
            let mut came = Vec::new();
            for consumer in consumers {
                came.push(consumer.join().map_err(|_| anyhow!("a consumer of the driver panicked"))??);
            }
            Ok(Self { came, stuck: stuck?, fresh: Vec::new() })
        })
    }
}

fn consume(
    nsqd: &Nsqd,
    clock: Clock,
    (topic, channel): (usize, usize),
    is_over: &AtomicBool,
) -> Result<Vec<Delivery>> {
    let mut connection = subscribe(nsqd, clock, topic, channel)?;
    let mut came = Vec::new();
    let mut out = Vec::new();
    Command::Ready { count: 500 }.encode(&mut out);
    while !is_over.load(Ordering::Relaxed) {
        connection.send(&out)?;
        out.clear();
        for delivery in receive(&mut connection, &mut out)? {
            Command::Finish { id: delivery.message_id }.encode(&mut out);
            came.push(delivery);
        }
    }
    Ok(came)
}

fn publish(nsqd: &Nsqd, clock: Clock) -> Result<Vec<BTreeSet<u64>>> {
    let mut connection = crate::wire::Connection::open(nsqd.tcp(), clock, None)?;
    let mut fresh = Vec::new();
    let mut out = Vec::new();
    for (topic, name) in (0_u16..).zip(TOPICS) {
        let keys: BTreeSet<u64> =
            (FRESH_FROM..FRESH_FROM + FRESH).map(|number| key(ROUND, topic, number)).collect();
        let bodies = keys.iter().map(|key| {
            let mut body = Vec::new();
            body::write(&mut body, *key, 0, 100, false);
            body
        });
        let mut packed = Vec::new();
        Command::MultiPublish { topic: name, messages: Messages::pack(&mut packed, bodies) }.encode(&mut out);
        fresh.push(keys);
    }
    connection.send(&out)?;
    let mut unanswered = TOPICS.len();
    answers(&mut connection, &mut unanswered, 0).context("publishing after the start")?;
    Ok(fresh)
}

/// Channels that nsqd does not know any more.
fn missing(nsqd: &Nsqd) -> Result<Option<String>> {
    let mut missing = Vec::new();
    for (topic, channel) in channels() {
        let (Some(topic), Some(channel)) = (TOPICS.get(topic), CHANNELS.get(channel)) else {
            bail!("channels are those of the tables");
        };
        let target = format!("/stats?format=json&topic={topic}&channel={channel}");
        let stats = http::get_json(nsqd.http(), &target)?;
        let found = stats.pointer("/topics/0/channels").and_then(|channels| channels.as_array());
        if found.is_none_or(|found| found.is_empty()) {
            missing.push(format!("{topic}/{channel}"));
        }
    }
    Ok((!missing.is_empty()).then(|| format!("forgotten: {}", missing.join(", "))))
}

fn names() -> BTreeSet<String> {
    TOPICS.iter().flat_map(|topic| CHANNELS.iter().map(move |channel| format!("{topic}/{channel}"))).collect()
}
