//! The load of one round: who publishes and consumes what, in threads of their own, until told otherwise. What each of
//! them does is in `load/publisher.rs` and `load/consumer.rs`.

mod consumer;
mod publisher;
mod temper;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::chance::Chance;
use crate::diary::Clock;
use crate::history::{Channel, Event};
use crate::stage::{Phase, Stage};
use consumer::Consumer;
use publisher::{Kind, Publisher};
use temper::Temper;

/// Topics under load.
pub const TOPICS: [&str; 3] = ["orders", "clicks", "mails"];
/// Channels each topic has from the start, and how their consumers behave.
const CHANNELS: [(&str, &[Temper]); 3] = [
    ("careful", &[Temper::Careful]),
    ("mixed", &[Temper::Mixed, Temper::Mixed]),
    ("sloppy", &[Temper::Sloppy, Temper::Abrupt]),
];

/// How much load, and of which kind.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Messages per second aimed for, over all topics.
    pub rate: u64,
    /// No REQ, no timeout, no early end of a connection: what is delivered twice then is wrong.
    pub is_plain: bool,
}

/// What all threads of a round know.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) stage: Stage,
    pub(crate) clock: Clock,
    pub(crate) round: u16,
    pub(crate) next_conn: Arc<AtomicU32>,
    pub(crate) acked: AtomicU64,
}

impl Shared {
    pub(crate) fn conn(&self) -> u32 {
        self.next_conn.fetch_add(1, Ordering::Relaxed)
    }
}

/// The load at work.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    publishers: Vec<JoinHandle<Vec<Event>>>,
    consumers: Vec<JoinHandle<Vec<Event>>>,
}

/// The channels of a round: those that are always there, and one per topic that is made under load.
pub fn channels(round: u16) -> Vec<Channel> {
    let mut channels = Vec::new();
    for (topic, _) in (0_u8..).zip(TOPICS) {
        for (name, consumers) in CHANNELS {
            channels.push(Channel { topic, name: name.to_owned(), is_single: consumers.len() == 1 });
        }
        channels.push(Channel { topic, name: format!("late-{round}"), is_single: true });
    }
    channels
}

/// Whether a channel is made under load, by its first SUB.
pub fn is_late(channel: &Channel) -> bool {
    channel.name.starts_with("late-")
}

impl Load {
    /// Start all threads. `time` is about how long the load will last: channels are made at some time in it.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn start(
        stage: Stage,
        clock: Clock,
        round: u16,
        next_conn: Arc<AtomicU32>,
        size: Size,
        chance: &mut Chance,
        time: Duration,
    ) -> Result<Self> {
        let shared = Arc::new(Shared { stage, clock, round, next_conn, acked: AtomicU64::new(0) });
        let seed = chance.next();
        let mut load = Self { shared: Arc::clone(&shared), publishers: Vec::new(), consumers: Vec::new() };
        for (topic, name) in (0_u8..).zip(TOPICS) {
            let rate = size.rate / TOPICS.len() as u64;
            for (kind, rate) in [(Kind::Single, rate / 4), (Kind::Batch, rate - rate / 4)] {
                let number = u16::try_from(load.publishers.len()).unwrap_or_default();
                let chance = Chance::of_part(seed, number.into());
                let publisher = Publisher::new(
                    Arc::clone(&shared),
                    kind,
                    number,
                    topic,
                    name,
                    rate,
                    size.is_plain,
                    chance,
                );
                load.publishers.push(spawn("publisher", move || publisher.run())?);
            }
        }
        for (index, channel) in (0_u8..).zip(channels(round)) {
            let tempers = CHANNELS.iter().find(|(name, _)| *name == channel.name);
            let late = [Temper::Careful];
            for temper in tempers.map_or(late.as_slice(), |(_, tempers)| tempers) {
                let part = 1000 + load.consumers.len() as u64;
                let mut chance = Chance::of_part(seed, part);
                let begin = if is_late(&channel) {
                    millis(chance.between(0, time.as_millis() as u64 + 1))
                } else {
                    Duration::ZERO
                };
                let temper = if size.is_plain { Temper::Plain } else { *temper };
                let consumer = Consumer::new(Arc::clone(&shared), index, &channel, temper, begin, chance)?;
                load.consumers.push(spawn("consumer", move || consumer.run())?);
            }
        }
        Ok(load)
    }

    /// Where the driver says what nsqd is at.
    pub fn stage(&self) -> &Stage {
        &self.shared.stage
    }

    /// Messages acknowledged so far.
    pub fn acked(&self) -> u64 {
        self.shared.acked.load(Ordering::Relaxed)
    }

    /// End the publishing, having waited for the answers to come. Gives what the publishers saw.
    pub fn stop_publishing(&mut self) -> Vec<Event> {
        self.shared.stage.enter(Phase::Drain);
        join(std::mem::take(&mut self.publishers))
    }

    /// End it all. Gives what the consumers saw.
    pub fn finish(mut self) -> Vec<Event> {
        self.shared.stage.enter(Phase::Over);
        join(std::mem::take(&mut self.consumers))
    }
}

impl Drop for Load {
    /// An error ended the round: no thread may stay behind.
    fn drop(&mut self) {
        self.shared.stage.enter(Phase::Over);
        for thread in self.publishers.drain(..).chain(self.consumers.drain(..)) {
            let _ = thread.join();
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() -> Vec<Event> + Send + 'static) -> Result<JoinHandle<Vec<Event>>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .context("could not start a thread of the load")
}

fn join(threads: Vec<JoinHandle<Vec<Event>>>) -> Vec<Event> {
    // A thread that panicked is a bug of the driver: its events are missing, and the checker will say so loudly.
    threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
