//! Publishing: PUB or MPUB on some connections, each with a fixed number of commands unanswered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::future::try_join_all;

use super::bodies::Script;
use super::connection::Connection;
use super::report::Sample;
use super::target::Target;

/// Before it counts: connections, topics and caches come up. A short work has a short one.
const WARM_UP: Duration = Duration::from_millis(500);

/// How it is published.
#[derive(Debug, Clone, Copy)]
pub(super) struct Publish {
    /// Connections that publish.
    pub connections: usize,
    /// Commands each has sent that are not answered yet, at most.
    pub unanswered: usize,
    /// Messages of one command: 1 is PUB, more is MPUB.
    pub batch: usize,
    /// Bytes of a body.
    pub size: usize,
    /// Topics that are published to in turn.
    pub topics: usize,
}

/// Counts what was done, and says when to end.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Messages so far.
    done: AtomicU64,
    /// Everybody ends after what is under way.
    is_over: AtomicBool,
}

impl Tally {
    /// Has the time come to end?
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Everybody is to end: the time is up, or somebody failed.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// So many more.
    pub(super) fn add(&self, messages: u64) {
        self.done.fetch_add(messages, Ordering::Relaxed);
    }

    /// Messages so far.
    pub(super) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

/// Watch a work that is running: rate, CPU time per message and memory, after the warm-up, for `seconds`.
pub(super) async fn watch(target: &Target, tally: &Tally, seconds: Duration) -> Sample {
    tokio::time::sleep(WARM_UP.min(seconds)).await;
    let (since, before, done) = (Instant::now(), target.usage(), tally.done());
    let mut peak = 0;
    // A slow machine may need longer than a short work for its first message.
    let is_due = || since.elapsed() >= seconds && tally.done() > done;
    while !is_due() && !tally.is_over() {
        tokio::time::sleep(Duration::from_millis(50).min(seconds)).await;
        peak = peak.max(target.usage().map_or(0, |usage| usage.resident));
    }
    let messages = tally.done() - done;
    let after = target.usage();
    let elapsed = since.elapsed();
    tally.end();
    Sample::of(messages, elapsed, before.zip(after), peak)
}

impl Publish {
    /// Publish for `seconds`.
    pub(super) async fn run(self, target: &Target, seconds: Duration) -> Result<Sample> {
        let tally = Arc::new(Tally::default());
        self.make_topics(target).await?;
        let opened = (0..self.connections).map(|_| Connection::open(target));
        let connections = try_join_all(opened).await.context("opening the connections")?;
        let publisher = |(index, connection)| {
            // Each connection begins elsewhere, so that they do not march through the topics together.
            let first = index * self.topics / self.connections;
            let script = Script::new(self.topics, first, self.batch, self.size, self.unanswered);
            Publisher { connection, script, unanswered: self.unanswered, waiting: 0 }
        };
        // All scripts are written before anybody publishes.
        let publishers: Vec<_> = connections.into_iter().enumerate().map(publisher).collect();
        let publish = |publisher| tokio::spawn(self.publish(publisher, Arc::clone(&tally)));
        let working: Vec<_> = publishers.into_iter().map(publish).collect();
        let sample = watch(target, &tally, seconds).await;
        for worker in working {
            worker.await??;
        }
        Ok(sample)
    }

    /// Making topics is a work of its own. Those who publish come after it: nsqd closes the connection of a client that
    /// says nothing for ten seconds, which a thousand topics may take on a busy machine.
    async fn make_topics(&self, target: &Target) -> Result<()> {
        let mut connection = Connection::open(target).await.context("opening a connection")?;
        let mut script = Script::new(self.topics, 0, 1, self.size, 1);
        for _ in 0..self.topics {
            connection.send(script.take(1)).await?;
            connection.oks(1).await?;
        }
        Ok(())
    }

    async fn publish(self, mut publisher: Publisher, tally: Arc<Tally>) -> Result<()> {
        while !tally.is_over() {
            let answered = publisher.turn().await.inspect_err(|_| tally.end())?;
            tally.add((answered * self.batch) as u64);
        }
        Ok(())
    }
}

/// A connection that keeps commands unanswered.
#[derive(Debug)]
pub(super) struct Publisher {
    /// Where it publishes.
    pub connection: Connection,
    /// What it publishes.
    pub script: Script,
    /// How many commands may be unanswered.
    pub unanswered: usize,
    /// How many are.
    pub waiting: usize,
}

impl Publisher {
    /// Send what may be sent, then wait until half of what is unanswered is answered: nsqd never runs out of commands,
    /// and the generator does not send them one by one. Tells how many were answered.
    pub(super) async fn turn(&mut self) -> Result<usize> {
        let more = self.unanswered - self.waiting;
        self.connection.send(self.script.take(more)).await?;
        let answered = self.connection.oks(self.unanswered.div_ceil(2)).await?;
        self.waiting = self.unanswered.saturating_sub(answered);
        Ok(answered)
    }
}
