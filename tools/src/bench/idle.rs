//! What things cost that do nothing: connections, topics, channels.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use daemon::http_client;
use futures::future::try_join_all;
use protocol::Command;

use super::connection::Connection;
use super::report::Sample;
use super::target::Target;

/// What there is many of.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// Clients that have connected and said their magic.
    Connections,
    /// Topics without channels.
    Topics,
    /// Channels, ten in each topic.
    Channels,
}

const WITHIN: Duration = Duration::from_secs(30);

/// Make `count` of them, and tell what one takes.
pub(super) async fn run(target: &Target, count: usize, what: What) -> Result<Sample> {
    ensure!(
        matches!(what, What::Connections) || !target.http.is_empty(),
        "topics and channels are made over HTTP: --nsqd-http-address is missing"
    );
    let before = target.usage();
    let since = Instant::now();
    let kept = match what {
        What::Connections => connections(target, count).await?,
        What::Topics => {
            topics(target, count).await?;
            Vec::new()
        }
        What::Channels => {
            channels(target, count).await?;
            Vec::new()
        }
    };
    let elapsed = since.elapsed();
    let after = target.usage();
    let peak = after.map_or(0, |usage| usage.resident);
    let mut sample = Sample::of(count as u64, elapsed, before.zip(after), peak);
    sample.add("ms each", elapsed.as_secs_f64() * 1000.0 / count as f64);
    if let Some((before, after)) = before.zip(after) {
        sample.add("bytes each", after.resident.saturating_sub(before.resident) as f64 / count as f64);
    }
    drop(kept);
    Ok(sample)
}

async fn connections(target: &Target, count: usize) -> Result<Vec<Connection>> {
    let mut open = Vec::new();
    while open.len() < count {
        let batch = (open.len()..count.min(open.len() + 100)).map(|_| Connection::open(target));
        let more = try_join_all(batch).await;
        open.extend(more.with_context(|| {
            format!("after {} connections; `ulimit -n` of this shell or of nsqd may be too low", open.len())
        })?);
    }
    // The kernel lets connections in that nsqd never does: each has been served once nsqd has answered the last.
    if let Some(last) = open.last_mut() {
        last.pack(&Command::Identify { body: b"{}" });
        last.flush().await?;
        let answered = last.oks(1).await;
        answered.context("nsqd does not serve the last connection; its `ulimit -n` may be too low")?;
    }
    Ok(open)
}

async fn topics(target: &Target, count: usize) -> Result<()> {
    for number in 0..count {
        create(target, &format!("/topic/create?topic=idle{number}")).await?;
    }
    Ok(())
}

async fn channels(target: &Target, count: usize) -> Result<()> {
    for number in 0..count {
        let topic = number / 10;
        if number % 10 == 0 {
            create(target, &format!("/topic/create?topic=idle{topic}")).await?;
        }
        create(target, &format!("/channel/create?topic=idle{topic}&channel=c{number}")).await?;
    }
    Ok(())
}

async fn create(target: &Target, path: &str) -> Result<()> {
    let answer = http_client::post(&target.http, path, bytes::Bytes::new(), WITHIN).await;
    let (status, _) = answer.with_context(|| format!("POST {path}"))?;
    ensure!(status == 200, "POST {path} was answered with {status}");
    Ok(())
}
