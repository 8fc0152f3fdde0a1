//! Consuming: a backlog, or what is published at the same time. A consumer finishes every message it gets; FINs leave
//! in one write per read, as a client with a batch in hand would send them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use protocol::{ChannelName, Command, Frame, HEARTBEAT, MessageId, OK, TopicName};
use tokio::sync::Notify;

use super::bodies::Script;
use super::connection::Connection;
use super::publish::{Publisher, Tally, watch};
use super::report::Sample;
use super::target::Target;

const TOPIC: &str = "bench0";

/// What stock allows without a flag.
const READY: u64 = 2500;

/// Messages that may be published and not yet consumed in a stream: enough to keep everybody busy, too few to become
/// a backlog.
const AHEAD_MAX: u64 = 20_000;

/// What happens to a backlog before it is consumed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Between {
    /// Nothing: its end is in nsqd's memory, the rest in the page cache.
    Nothing,
    /// nsqd restarts: it is in the page cache.
    Restart,
    /// nsqd restarts, and the kernel is asked to forget what is in its files: it is on the disk.
    RestartWithoutCache,
}

/// Publish a backlog of `messages`, and consume it.
pub(super) async fn backlog(
    target: &mut Target,
    messages: u64,
    size: usize,
    between: Between,
) -> Result<Sample> {
    const BATCH: usize = 200;
    drop(Consumer::subscribe(target, 0).await?);
    let mut publisher = Connection::open(target).await?;
    let batches = messages.div_ceil(BATCH as u64);
    let mut script = Script::new(1, 0, BATCH, size, 1);
    for _ in 0..batches {
        publisher.send(script.take(1)).await?;
        publisher.oks(1).await.context("publishing the backlog")?;
    }
    drop(publisher);
    let ready_after = match between {
        Between::Nothing => None,
        Between::Restart => Some(target.restart(false).await?),
        Between::RestartWithoutCache => Some(target.restart(true).await?),
    };
    let (before, since) = (target.usage(), Instant::now());
    let mut consumer = Consumer::subscribe(target, 0).await?;
    let mut done = 0;
    while done < batches * BATCH as u64 {
        done += consumer.consume().await?;
        if since.elapsed() > Duration::from_secs(300) {
            bail!("only {done} of {messages} messages of the backlog came in 300 s");
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
    /// Commands each has sent that are not answered yet, at most.
    pub unanswered: usize,
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
            let consumer = Consumer::subscribe(target, channel).await?;
            working.push(tokio::spawn(follow(consumer, Arc::clone(&tally), Arc::clone(&pace), channel == 0)));
        }
        let opened = (0..self.publishers).map(|_| Connection::open(target));
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

    async fn publish(self, connection: Connection, tally: Arc<Tally>, pace: Arc<Pace>) -> Result<()> {
        let script = Script::new(1, 0, self.batch, self.size, self.unanswered);
        let mut publisher = Publisher { connection, script, unanswered: self.unanswered, waiting: 0 };
        while !tally.is_over() {
            pace.wait().await;
            let answered = publisher.turn().await.inspect_err(|_| tally.end())?;
            pace.published.fetch_add((answered * self.batch) as u64, Ordering::Relaxed);
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
        let got = consumer.consume().await.inspect_err(|_| tally.end())?;
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
    pub(super) async fn subscribe(target: &Target, channel: usize) -> Result<Self> {
        let mut connection = Connection::open(target).await?;
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
