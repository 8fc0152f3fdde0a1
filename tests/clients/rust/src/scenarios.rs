//! The scenarios themselves.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};
use tokio::sync::{Mutex, OnceCell};
use tokio_nsq::{
    NSQChannel, NSQConsumer, NSQConsumerConfig, NSQConsumerConfigSources, NSQConsumerLookupConfig, NSQEvent,
    NSQMessage, NSQProducer, NSQProducerConfig, NSQRequeueDelay, NSQTopic,
};

use crate::flags::Flags;

/// How long a scenario waits for something that must happen. A loaded machine may need much of it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Run one scenario.
pub async fn run(name: &str, flags: &Flags) -> Result<()> {
    let topic = NSQTopic::new(format!("rust-{name}")).context("not a topic's name")?;
    match name {
        "direct" => direct(flags, &topic).await,
        "publish" => publish(flags, &topic).await,
        "multi-publish" => multi_publish(flags, &topic).await,
        "requeue" => requeue(flags, &topic).await,
        "restart" => restart(flags, &topic).await,
        _ => bail!("unknown scenario"),
    }
}

/// A consumer that was told the nsqds' addresses; all connections stay open while they are looked at.
async fn direct(flags: &Flags, topic: &Arc<NSQTopic>) -> Result<()> {
    let (producers, bodies) = publish_each(flags, topic, 50, Publish::Alone).await?;
    let mut consumer = consumer(flags, topic, NSQConsumerConfigSources::Daemons(flags.nsqds.clone()))?;
    exactly_once(&mut consumer, &bodies).await?;
    pause("LOOK").await;
    drop(producers);
    Ok(())
}

/// Every PUB to either nsqd reaches a consumer that knows only nsqlookupd, exactly once.
async fn publish(flags: &Flags, topic: &Arc<NSQTopic>) -> Result<()> {
    let (_, bodies) = publish_each(flags, topic, 100, Publish::Alone).await?;
    drain(flags, topic, &bodies).await
}

/// Each message of an MPUB is delivered on its own.
async fn multi_publish(flags: &Flags, topic: &Arc<NSQTopic>) -> Result<()> {
    let (_, bodies) = publish_each(flags, topic, 200, Publish::Together).await?;
    drain(flags, topic, &bodies).await
}

/// A message given back at once returns with the next attempt and the same id.
async fn requeue(flags: &Flags, topic: &Arc<NSQTopic>) -> Result<()> {
    let (_, bodies) = publish_each(flags, topic, 10, Publish::Alone).await?;
    let mut consumer = consumer(flags, topic, through_lookupd(flags))?;
    let mut first = HashMap::new();
    let mut done = 0;
    while done < bodies.len() {
        let message = next(&mut consumer).await?;
        let body = message.body.clone();
        let Some(id) = first.get(&body) else {
            first.insert(body, message.id);
            message.requeue(NSQRequeueDelay::NoDelay).await;
            continue;
        };
        ensure!(
            *id == message.id && message.attempt == 2,
            "came again with another id, or attempt {}",
            message.attempt
        );
        message.finish().await;
        done += 1;
    }
    pause("CHECK").await;
    Ok(())
}

/// What was acknowledged before the nsqds are killed is delivered after they came back.
async fn restart(flags: &Flags, topic: &Arc<NSQTopic>) -> Result<()> {
    let (_, bodies) = publish_each(flags, topic, 50, Publish::Alone).await?;
    pause("RESTART").await;
    drain(flags, topic, &bodies).await
}

#[derive(Clone, Copy)]
enum Publish {
    Alone,
    Together,
}

/// Publish `count` messages to every nsqd. Gives the producers, still connected, and all bodies.
async fn publish_each(
    flags: &Flags,
    topic: &Arc<NSQTopic>,
    count: usize,
    how: Publish,
) -> Result<(Vec<NSQProducer>, Vec<Vec<u8>>)> {
    let (mut producers, mut bodies) = (Vec::new(), Vec::new());
    for (index, address) in flags.nsqds.iter().enumerate() {
        let mut producer = NSQProducerConfig::new(address).set_shared(flags.shared()?).build();
        answered(&mut producer, |event| matches!(event, NSQEvent::Healthy())).await?;
        let name = |number| format!("message {number} from producer {index}").into_bytes();
        let batch: Vec<Vec<u8>> = (0..count).map(name).collect();
        match how {
            Publish::Together => {
                producer.publish_multiple(topic, batch.clone()).await?;
                answered(&mut producer, |event| matches!(event, NSQEvent::Ok())).await?;
            }
            Publish::Alone => {
                for body in &batch {
                    producer.publish(topic, body.clone()).await?;
                }
                for _ in &batch {
                    answered(&mut producer, |event| matches!(event, NSQEvent::Ok())).await?;
                }
            }
        }
        producers.push(producer);
        bodies.extend(batch);
    }
    Ok((producers, bodies))
}

async fn answered(producer: &mut NSQProducer, is_wanted: impl Fn(&NSQEvent) -> bool) -> Result<()> {
    let event = in_time("a producer's event", producer.consume()).await?;
    let event = event.context("the producer's connection ended for good")?;
    ensure!(is_wanted(&event), "the producer got {event:?}");
    Ok(())
}

fn consumer(flags: &Flags, topic: &Arc<NSQTopic>, sources: NSQConsumerConfigSources) -> Result<NSQConsumer> {
    let channel = NSQChannel::new("ch").context("not a channel's name")?;
    let config = NSQConsumerConfig::new(Arc::clone(topic), channel)
        .set_max_in_flight(50)
        .set_sources(sources)
        .set_rebalance_interval(Duration::from_millis(100));
    Ok(config.set_shared(flags.shared()?).build())
}

fn through_lookupd(flags: &Flags) -> NSQConsumerConfigSources {
    let addresses = HashSet::from([format!("http://{}", flags.lookupd)]);
    let lookup = NSQConsumerLookupConfig::new().set_addresses(addresses);
    NSQConsumerConfigSources::Lookup(lookup.set_poll_interval(Duration::from_millis(100)))
}

/// Consume through nsqlookupd until exactly these bodies have come and their FINs are with the nsqds.
async fn drain(flags: &Flags, topic: &Arc<NSQTopic>, bodies: &[Vec<u8>]) -> Result<()> {
    let mut consumer = consumer(flags, topic, through_lookupd(flags))?;
    exactly_once(&mut consumer, bodies).await?;
    // A consumer that is dropped takes FINs with it that it has not written yet.
    pause("CHECK").await;
    Ok(())
}

async fn exactly_once(consumer: &mut NSQConsumer, bodies: &[Vec<u8>]) -> Result<()> {
    let mut left: HashSet<&[u8]> = bodies.iter().map(Vec::as_slice).collect();
    while !left.is_empty() {
        let message = next(consumer).await.with_context(|| format!("{} messages are missing", left.len()))?;
        let body = String::from_utf8_lossy(&message.body);
        ensure!(left.remove(&*message.body), "{body} came without being owed");
        message.finish().await;
    }
    Ok(())
}

async fn next(consumer: &mut NSQConsumer) -> Result<NSQMessage> {
    in_time("a message", consumer.consume_filtered()).await?.context("the consumer ended")
}

async fn in_time<T>(what: &str, work: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(PATIENCE, work).await.with_context(|| format!("not within {PATIENCE:?}: {what}"))
}

/// Say what whoever runs this should do now; go on when a line or the end of input says that it is done.
async fn pause(what: &str) {
    static INPUT: OnceCell<Mutex<Lines<BufReader<Stdin>>>> = OnceCell::const_new();
    println!("{what}");
    let lines = INPUT.get_or_init(|| async { Mutex::new(BufReader::new(tokio::io::stdin()).lines()) }).await;
    let _ = lines.lock().await.next_line().await;
}
