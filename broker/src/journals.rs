//! The task that writes channels' progress to the journals a little behind: FINs of some milliseconds share
//! one write. A kill costs at most that much of redelivery, never a message.

use std::sync::Arc;
use std::time::Duration;

use daemon::shutdown::Shutdown;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::topic::Topic;

/// FINs that a kill can undo: those of this long.
const BEHIND: Duration = Duration::from_millis(10);

/// A full disk is tried again this much later.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Save what is enlisted, every [`BEHIND`], until the broker stops.
pub(crate) async fn save_for_ever(mut unsaved: UnboundedReceiver<Arc<Topic>>, shutdown: Shutdown) {
    let mut topics = Vec::new();
    while !shutdown.is_triggered() {
        tokio::select! {
            received = unsaved.recv_many(&mut topics, 1024) => if received == 0 { return },
            () = shutdown.wait() => return,
        }
        tokio::time::sleep(BEHIND).await;
        while let Ok(topic) = unsaved.try_recv() {
            topics.push(topic);
        }
        for topic in topics.drain(..) {
            // What a full disk refuses is tried again by the topic itself.
            let _refused = crate::blocking::wait(|| topic.save_progress());
        }
    }
}

/// What a full disk refused is tried again.
pub(crate) async fn save_later(topic: Arc<Topic>) {
    tokio::time::sleep(AGAIN_AFTER).await;
    topic.save_again();
}
