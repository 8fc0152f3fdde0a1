//! The task that syncs what was written, a little behind: an OK at `buffered` means the kernel has it, and a power cut
//! may take what is younger than this.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::context::Context;
use crate::topic::Topic;

/// From the first write to the start of its sync. A quarter of the 200 ms that are promised: a sync that is under way and the
/// sync itself take time, on a busy machine more than they need.
const BEHIND: Duration = Duration::from_millis(50);

/// Sync what is enlisted, every [`BEHIND`], until the broker stops.
pub(crate) async fn sync_for_ever(mut written: UnboundedReceiver<Arc<Topic>>, context: Arc<Context>) {
    let mut topics = Vec::new();
    loop {
        tokio::select! {
            received = written.recv_many(&mut topics, 1024) => if received == 0 { return },
            () = context.shutdown.wait() => return,
        }
        tokio::time::sleep(BEHIND).await;
        while let Ok(topic) = written.try_recv() {
            topics.push(topic);
        }
        // Side by side: a hundred topics must not wait for one another's device time.
        topics.drain(..).for_each(|topic| topic.sync_soon());
    }
}
