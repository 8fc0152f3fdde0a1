//! The task that syncs what was written, a little behind: an OK at `buffered` means the kernel has it, and a power cut
//! may take what is younger than this.

use std::sync::Arc;
use std::time::{Duration, Instant};

use storage::WholeDisk;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::context::Context;
use crate::topic::Topic;

/// From the first write to the start of its sync. A quarter of the 200 ms that are promised: a sync that is under way and the
/// sync itself take time, on a busy machine more than they need.
const BEHIND: Duration = Duration::from_millis(50);

/// With so many topics the file system is synced as a whole. One by one, a thousand took 170 ms, nearly all that is
/// promised, and four times the CPU time of the publishes; together 6 ms. Fewer are not worth disturbing whoever else
/// writes to that disk.
const TOGETHER_MIN: usize = 64;

/// Somebody else's writes, gigabytes perhaps, are synced with ours. When that took longer than this for each topic, which
/// is twice what they take one by one, they are synced that way for ten times as long as it took.
const TOGETHER_PATIENCE: Duration = Duration::from_micros(350);
const ALONE_TIMES: u32 = 10;

/// Sync what is enlisted, every [`BEHIND`], until the broker stops.
pub(crate) async fn sync_for_ever(
    mut written: UnboundedReceiver<Arc<Topic>>,
    whole: Option<Arc<dyn WholeDisk>>,
    context: Arc<Context>,
) {
    let mut topics = Vec::new();
    let mut alone_until = Instant::now();
    loop {
        tokio::select! {
            received = written.recv_many(&mut topics, 1024) => if received == 0 { return },
            () = context.shutdown.wait() => return,
        }
        tokio::time::sleep(BEHIND).await;
        while let Ok(topic) = written.try_recv() {
            topics.push(topic);
        }
        match &whole {
            Some(whole) if topics.len() >= TOGETHER_MIN && Instant::now() >= alone_until => {
                let began = Instant::now();
                let (topics, whole) = (std::mem::take(&mut topics), Arc::clone(whole));
                let patience = TOGETHER_PATIENCE * u32::try_from(topics.len()).unwrap_or(u32::MAX);
                let done = tokio::task::spawn_blocking(move || Topic::sync_together(&topics, &*whole));
                if done.await.is_err() {
                    // Who waits for it would wait for ever.
                    return context.shutdown.fail("a sync of all topics ended in a panic".to_owned());
                }
                let took = began.elapsed();
                if took > patience {
                    alone_until = Instant::now() + took * ALONE_TIMES;
                }
            }
            // Side by side: a hundred topics must not wait for one another's device time.
            _ => topics.drain(..).for_each(|topic| topic.sync_soon()),
        }
    }
}
