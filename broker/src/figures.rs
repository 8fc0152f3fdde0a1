//! What is counted while the broker works, for `/metrics` and statsd: atomics of the whole broker, and what a channel
//! counts under its lock. Counting costs an addition; how it is shown is in `metrics`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::metrics::{Histogram, LONG, SHORT, SharedHistogram};
use queue::{Age, Instant, WallTime};

use crate::latency::Latencies;

/// A number that only rises.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// So many more.
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// So many more, counted by one thread only: others merely read. No locked instruction, for what every command pays.
    #[inline]
    pub(crate) fn add_alone(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    /// Where it is.
    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Of the whole broker.
#[derive(Debug)]
pub(crate) struct Figures {
    /// How long syncs of files took.
    pub syncs: SharedHistogram,
    /// How long writes of batches took.
    pub writes: SharedHistogram,
    /// Messages given up because their records are damaged.
    pub corrupt: Counter,
    /// Messages that were found on disk at the start.
    pub recovered: Counter,
    /// Nanoseconds in which publishers had to wait for memory.
    pub pressed_ns: Counter,
    shards: Mutex<Vec<Arc<ShardFigures>>>,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            syncs: SharedHistogram::new(SHORT),
            writes: SharedHistogram::new(SHORT),
            corrupt: Counter::default(),
            recovered: Counter::default(),
            pressed_ns: Counter::default(),
            shards: Mutex::default(),
        }
    }
}

impl Figures {
    /// What one more shard counts is part of the whole.
    pub(crate) fn join(&self, shard: &Arc<ShardFigures>) {
        self.shards().push(Arc::clone(shard));
    }

    /// Commands of all shards by name.
    pub(crate) fn commands(&self) -> Vec<(&'static str, u64)> {
        let shards = self.shards();
        let total = |at| shards.iter().filter_map(|shard| shard.commands.get(at)).map(Counter::total).sum();
        COMMANDS.iter().enumerate().map(|(at, name)| (*name, total(at))).collect()
    }

    /// Errors that clients were sent, by code.
    pub(crate) fn errors(&self) -> BTreeMap<&'static str, u64> {
        let mut all = BTreeMap::new();
        for shard in self.shards().iter() {
            for (code, count) in shard.errors().iter() {
                *all.entry(*code).or_default() += count;
            }
        }
        all
    }

    fn shards(&self) -> MutexGuard<'_, Vec<Arc<ShardFigures>>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Names of commands, in the order in which a shard counts them.
const COMMANDS: [&str; 12] =
    ["PUB", "MPUB", "DPUB", "FIN", "REQ", "TOUCH", "RDY", "SUB", "CLS", "IDENTIFY", "AUTH", "NOP"];

/// Where FIN is among them.
const FINISHES: usize = 3;

/// Of one shard: each has its own, so that shards do not contend for them.
#[derive(Debug, Default)]
pub(crate) struct ShardFigures {
    commands: [Counter; COMMANDS.len()],
    errors: Mutex<BTreeMap<&'static str, u64>>,
}

impl ShardFigures {
    /// A client was sent an error.
    pub(crate) fn count_error(&self, code: protocol::Code) {
        *self.errors().entry(code.as_str()).or_default() += 1;
    }

    fn errors(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.errors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client sent so many FINs.
    #[inline]
    pub(crate) fn count_finishes(&self, count: u64) {
        if let Some(counter) = self.commands.get(FINISHES) {
            counter.add_alone(count);
        }
    }

    /// A client sent a command.
    #[inline]
    pub(crate) fn count_command(&self, command: &protocol::Command<'_>) {
        use protocol::Command;
        let at = match command {
            Command::Publish { .. } => 0,
            Command::MultiPublish { .. } => 1,
            Command::DeferredPublish { .. } => 2,
            Command::Finish { .. } => FINISHES,
            Command::Requeue { .. } => 4,
            Command::Touch { .. } => 5,
            Command::Ready { .. } => 6,
            Command::Subscribe { .. } => 7,
            Command::Close => 8,
            Command::Identify { .. } => 9,
            Command::Auth { .. } => 10,
            Command::Nop => 11,
        };
        if let Some(counter) = self.commands.get(at) {
            counter.add_alone(1);
        }
    }
}

/// Of one channel, under its lock.
#[derive(Debug)]
pub(crate) struct ChannelFigures {
    /// Messages given back because their consumer's connection ended.
    pub disconnected: u64,
    /// From publish to FIN.
    pub processing: Histogram,
    /// From publish to the first send.
    pub delivery: Histogram,
    /// For the quantiles, if any are asked for.
    pub latencies: Option<Box<Latencies>>,
}

impl ChannelFigures {
    /// All zero. `window`: how far back quantiles reach, if any are asked for.
    pub(crate) fn new(window: Option<Duration>, now: Instant) -> Self {
        Self {
            disconnected: 0,
            processing: Histogram::new(LONG),
            delivery: Histogram::new(LONG),
            latencies: window.map(|window| Box::new(Latencies::new(window, now))),
        }
    }

    /// A message is sent that was published at `published`. Gives how long it waited.
    #[inline]
    pub(crate) fn deliver(&mut self, published: i64, attempts: u16, now: WallTime) -> Age {
        // A wall clock that was set back since makes it 0.
        let waited = u64::try_from(now.0.saturating_sub(published)).unwrap_or(0);
        if attempts == 1 {
            self.delivery.record_ns(waited);
        }
        Age::from_ns(waited)
    }

    /// A message was finished so long after its publish.
    #[inline]
    pub(crate) fn finish(&mut self, took: Duration, now: Instant) {
        self.processing.record(took);
        if let Some(latencies) = &mut self.latencies {
            latencies.record(took, now);
        }
    }
}
