//! Publishing: PUB or MPUB on some connections, each with a fixed number of commands unanswered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::future::try_join_all;
use protocol::{Command, Messages};

use super::connection::Connection;
use super::report::Sample;
use super::target::Target;

/// Before it counts: connections, topics and caches come up.
const WARM_UP: Duration = Duration::from_millis(500);

/// How it is published.
#[derive(Debug, Clone, Copy)]
pub(super) struct Publish {
    /// Connections that publish.
    pub connections: usize,
    /// Commands each sends before it waits for their OKs.
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
    pub done: AtomicU64,
    /// Everybody ends after what is under way.
    pub is_over: AtomicBool,
}

impl Tally {
    /// Has the time come to end?
    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
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
    tokio::time::sleep(WARM_UP).await;
    let (since, before, done) = (Instant::now(), target.usage(), tally.done());
    let mut peak = 0;
    while since.elapsed() < seconds && !tally.is_over() {
        tokio::time::sleep(Duration::from_millis(50).min(seconds)).await;
        peak = peak.max(target.usage().map_or(0, |usage| usage.resident));
    }
    let messages = tally.done() - done;
    let after = target.usage();
    let elapsed = since.elapsed();
    tally.is_over.store(true, Ordering::Relaxed);
    Sample::of(messages, elapsed, before.zip(after), peak)
}

impl Publish {
    /// Publish for `seconds`.
    pub(super) async fn run(self, target: &Target, seconds: Duration) -> Result<Sample> {
        let tally = Arc::new(Tally::default());
        let opened = (0..self.connections).map(|_| Connection::open(&target.tcp));
        let mut connections = try_join_all(opened).await.context("opening the connections")?;
        // Making topics is a work of its own.
        if let Some(first) = connections.first_mut() {
            for topic in 0..self.topics {
                first.send(&command(&topic_name(topic), 1, self.size)).await?;
                first.oks(1).await?;
            }
        }
        let working: Vec<_> = connections
            .into_iter()
            .enumerate()
            .map(|(index, connection)| tokio::spawn(self.publish(connection, index, Arc::clone(&tally))))
            .collect();
        let sample = watch(target, &tally, seconds).await;
        for worker in working {
            worker.await??;
        }
        Ok(sample)
    }

    async fn publish(self, mut connection: Connection, index: usize, tally: Arc<Tally>) -> Result<()> {
        let messages = (self.unanswered * self.batch) as u64;
        let turns: Vec<Vec<u8>> = (0..self.topics)
            .map(|topic| command(&topic_name(topic), self.batch, self.size).repeat(self.unanswered))
            .collect();
        // Each connection begins elsewhere, so that they do not march through the topics together.
        for bytes in turns.iter().cycle().skip(index * self.topics / self.connections) {
            if tally.is_over() {
                return Ok(());
            }
            connection.send(bytes).await?;
            connection
                .oks(self.unanswered)
                .await
                .inspect_err(|_| tally.is_over.store(true, Ordering::Relaxed))?;
            tally.add(messages);
        }
        Ok(())
    }
}

fn topic_name(number: usize) -> String {
    format!("bench{number}")
}

/// One PUB, or one MPUB when `batch` is more than 1, of bodies of `size` bytes.
pub(super) fn command(topic: &str, batch: usize, size: usize) -> Vec<u8> {
    let body = vec![b'x'; size];
    let mut bytes = Vec::new();
    if batch == 1 {
        Command::Publish { topic, body: &body }.encode(&mut bytes);
    } else {
        let mut packed = Vec::new();
        let messages = Messages::pack(&mut packed, std::iter::repeat_n(&body, batch));
        Command::MultiPublish { topic, messages }.encode(&mut bytes);
    }
    bytes
}
