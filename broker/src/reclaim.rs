//! The task that now and then gives back the space of segments that only stragglers hold.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::Broker;
use crate::topic::Topic;

/// How often topics are looked at. Segments fill in seconds at best, and stragglers stay for hours.
const EVERY: Duration = Duration::from_secs(10);

/// Look at all topics for ever, every [`EVERY`].
pub(crate) async fn reclaim_for_ever(broker: Arc<Broker>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _tick = every.tick() => {}
            () = broker.context.shutdown.wait() => return,
        }
        let topics = broker.topics();
        let done = tokio::task::spawn_blocking(move || topics.iter().all(reclaim));
        match done.await {
            Ok(true) => {}
            // The file system has no holes: segments wait for their last message then.
            Ok(false) | Err(_) => break,
        }
    }
    broker.context.shutdown.wait().await;
}

/// False: it is no use to try again.
fn reclaim(topic: &Arc<Topic>) -> bool {
    match topic.free_space() {
        Ok(0) => {}
        Ok(bytes) => tracing::info!(topic = %topic.name, bytes, "space of finished messages was given back"),
        Err(error) if error.is_unsupported() => {
            tracing::info!(
                "the file system cannot free parts of files: a segment stays until all of it is finished"
            );
            return false;
        }
        // Nothing is lost by it; a sync that failed has ended the process already.
        Err(error) => tracing::warn!(topic = %topic.name, %error, "cannot give space back"),
    }
    true
}
