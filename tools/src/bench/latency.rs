//! Latency from publish to delivery at a fixed rate. A message is late from the instant it was due, not from when a
//! generator that was itself kept waiting got round to sending it: otherwise a stall would hide all but one of the
//! messages it held up (coordinated omission).

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use protocol::Command;

use super::connection::Connection;
use super::consume::Consumer;
use super::report::Sample;
use super::target::Target;

/// How long before a message is due the publisher is awake.
const SPIN: Duration = Duration::from_micros(100);

/// One message of 100 bytes every `1/rate` seconds, for `seconds`.
pub(super) async fn run(target: &Target, seconds: Duration, rate: u32) -> Result<Sample> {
    let mut consumer = Consumer::subscribe(target, 0).await?;
    let publisher = Connection::open(target).await?;
    let epoch = Instant::now();
    let total = (seconds.as_secs_f64() * f64::from(rate)) as u64;
    let before = target.usage();
    // On a thread of its own, which sleeps and spins as it likes.
    let runtime = tokio::runtime::Handle::current();
    let publishing =
        tokio::task::spawn_blocking(move || runtime.block_on(publish(publisher, epoch, total, rate)));
    // Up to a minute, to three digits.
    let mut late = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).context("the histogram")?;
    let mut done = 0;
    while done < total {
        let got = consumer.each(|body| {
            let due = body.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            late.saturating_record(nanos(epoch.elapsed()).saturating_sub(due));
        });
        done += got.await?;
    }
    publishing.await??;
    let peak = target.usage().map_or(0, |usage| usage.resident);
    let mut sample = Sample::of(done, epoch.elapsed(), before.zip(target.usage()), peak);
    for (name, quantile) in [("p50 ms", 0.5), ("p99 ms", 0.99), ("p99.9 ms", 0.999)] {
        sample.add(name, late.value_at_quantile(quantile) as f64 / 1e6);
    }
    sample.add("max ms", late.max() as f64 / 1e6);
    Ok(sample)
}

async fn publish(mut connection: Connection, epoch: Instant, total: u64, rate: u32) -> Result<()> {
    let gap = Duration::from_secs(1) / rate;
    let mut body = [b'x'; 100];
    for number in 0..total {
        let due = gap * u32::try_from(number).unwrap_or(u32::MAX);
        // Waking up takes the system up to that long. Spinning all the time would take a processor from the others.
        std::thread::sleep(due.saturating_sub(epoch.elapsed() + SPIN));
        while epoch.elapsed() < due {
            std::hint::spin_loop();
        }
        if let Some(head) = body.first_chunk_mut() {
            *head = nanos(due).to_be_bytes();
        }
        connection.pack(&Command::Publish { topic: "bench0", body: &body });
        connection.flush().await?;
        connection.oks(1).await?;
    }
    Ok(())
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
