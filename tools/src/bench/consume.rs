//! Consuming: a backlog, or what is published at the same time. A consumer finishes every message it gets; FINs leave
//! in one write per read, as a client with a batch in hand would send them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use protocol::{ChannelName, Command, Frame, HEARTBEAT, MessageId, OK, TopicName};
use tokio::sync::Notify;

use super::connection::Connection;
use super::options::Options;
use super::publish::{Tally, command, watch};
use super::report::Sample;
use super::target::Target;

const TOPIC: &str = "bench0";

/// What stock allows without a flag.
const READY: u64 = 2500;

/// Messages that may be published and not yet consumed in a stream: enough to keep everybody busy, too few to become
/// a backlog.
const AHEAD_MAX: u64 = 20_000;

/// Publish a backlog, perhaps restart, and consume it.
pub(super) async fn backlog(
    target: &mut Target,
    options: &Options,
    size: usize,
    restarts: bool,
) -> Result<Sample> {
    const BATCH: usize = 200;
    drop(Consumer::subscribe(&target.tcp, 0).await?);
    let mut publisher = Connection::open(&target.tcp).await?;
    let batches = options.backlog.div_ceil(BATCH as u64);
    let bytes = command(TOPIC, BATCH, size);
    for _ in 0..batches {
        publisher.send(&bytes).await?;
        publisher.oks(1).await.context("publishing the backlog")?;
    }
    drop(publisher);
    let ready_after = if restarts { Some(target.restart().await?) } else { None };
    let mut consumer = Consumer::subscribe(&target.tcp, 0).await?;
    let (before, since) = (target.usage(), Instant::now());
    let mut done = 0;
    while done < batches * BATCH as u64 {
        done += consumer.consume().await?;
        if since.elapsed() > Duration::from_secs(300) {
            bail!("only {done} of {} messages of the backlog came in 300 s", options.backlog);
        }
    }
    let (elapsed, after) = (since.elapsed(), target.usage());
    let peak = after.map_or(0, |usage| usage.resident);
    let mut sample = Sample::of(done, elapsed, before.zip(after), peak);
    if let Some(after) = ready_after {
        sample.add("serves again after ms", after.as_secs_f64() * 1000.0);
    }
    Ok(sample)
}

/// Publishing and consuming at the same time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stream {
    /// Connections that publish.
    pub publishers: usize,
    /// Messages of one command.
    pub batch: usize,
    /// Bytes of a body.
    pub size: usize,
    /// Channels, each with one consumer; the figure is per delivery.
    pub channels: usize,
}

impl Stream {
    /// Stream for `seconds`.
    pub(super) async fn run(self, target: &Target, seconds: Duration) -> Result<Sample> {
        let tally = Arc::new(Tally::default());
        let pace = Arc::new(Pace::default());
        let mut working = Vec::new();
        for channel in 0..self.channels {
            let consumer = Consumer::subscribe(&target.tcp, channel).await?;
            working.push(tokio::spawn(follow(consumer, Arc::clone(&tally), Arc::clone(&pace), channel == 0)));
        }
        let opened = (0..self.publishers).map(|_| Connection::open(&target.tcp));
        for connection in try_join_all(opened).await.context("opening the connections")? {
            working.push(tokio::spawn(self.publish(connection, Arc::clone(&tally), Arc::clone(&pace))));
        }
        let sample = watch(target, &tally, seconds).await;
        pace.moved.notify_waiters();
        for worker in working {
            // A consumer that waits for the next message would wait for ever: publishing has ended.
            worker.abort();
            if let Ok(Err(error)) = worker.await {
                return Err(error);
            }
        }
        Ok(sample)
    }

    async fn publish(self, mut connection: Connection, tally: Arc<Tally>, pace: Arc<Pace>) -> Result<()> {
        let bytes = command(TOPIC, self.batch, self.size);
        while !tally.is_over() {
            pace.wait().await;
            connection.send(&bytes).await?;
            connection.oks(1).await.inspect_err(|_| tally.is_over.store(true, Ordering::Relaxed))?;
            pace.published.fetch_add(self.batch as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Keeps publishers near their consumer.
#[derive(Debug, Default)]
struct Pace {
    published: AtomicU64,
    consumed: AtomicU64,
    moved: Notify,
}

impl Pace {
    async fn wait(&self) {
        loop {
            let moved = self.moved.notified();
            let ahead =
                self.published.load(Ordering::Relaxed).saturating_sub(self.consumed.load(Ordering::Relaxed));
            if ahead < AHEAD_MAX {
                return;
            }
            moved.await;
        }
    }
}

/// Consume until told to end. The first channel sets the pace.
async fn follow(mut consumer: Consumer, tally: Arc<Tally>, pace: Arc<Pace>, leads: bool) -> Result<()> {
    while !tally.is_over() {
        let got = consumer.consume().await.inspect_err(|_| tally.is_over.store(true, Ordering::Relaxed))?;
        tally.add(got);
        if leads {
            pace.consumed.fetch_add(got, Ordering::Relaxed);
            pace.moved.notify_waiters();
        }
    }
    Ok(())
}

/// A connection that is subscribed and ready.
#[derive(Debug)]
pub(super) struct Consumer {
    connection: Connection,
}

impl Consumer {
    /// Subscribe to the work's topic.
    pub(super) async fn subscribe(address: &str, channel: usize) -> Result<Self> {
        let mut connection = Connection::open(address).await?;
        let topic = TopicName::new(TOPIC).context("the topic's name")?;
        let channel = ChannelName::new(&format!("channel{channel}")).context("the channel's name")?;
        connection.pack(&Command::Subscribe { topic, channel });
        connection.flush().await?;
        connection.oks(1).await.context("SUB")?;
        connection.pack(&Command::Ready { count: READY });
        connection.flush().await?;
        Ok(Self { connection })
    }

    /// Wait for messages, finish them all, say how many.
    pub(super) async fn consume(&mut self) -> Result<u64> {
        self.each(|_| {}).await
    }

    /// Wait for messages, look at each body, finish them all, say how many.
    pub(super) async fn each(&mut self, mut look: impl FnMut(&[u8])) -> Result<u64> {
        let mut ids: Vec<MessageId> = Vec::new();
        let (mut beats, mut refused) = (0, None);
        let arrived = self.connection.frames(|frame| match frame {
            Frame::Message { head, body } => {
                look(body);
                ids.push(head.id);
            }
            Frame::Response(data) if data == HEARTBEAT => beats += 1,
            Frame::Response(data) if data == OK => {}
            other => refused = Some(format!("{other:?}")),
        });
        arrived.await?;
        if let Some(frame) = refused {
            bail!("nsqd sent {frame} instead of a message");
        }
        let count = ids.len() as u64;
        for id in ids {
            self.connection.pack(&Command::Finish { id });
        }
        self.connection.flush().await?;
        self.connection.beat(beats).await?;
        Ok(count)
    }
}
