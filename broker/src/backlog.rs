//! The task that goes on with channels whose backlog is longer than one turn, so that no shard, timer or HTTP
//! thread is kept by it.

use std::sync::Arc;

use daemon::shutdown::Shutdown;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::channel::Channel;

/// Give each channel a turn, and another one as long as it has more, until the broker stops.
pub(crate) async fn serve_for_ever(mut unserved: UnboundedReceiver<Arc<Channel>>, shutdown: Shutdown) {
    loop {
        let received = tokio::select! {
            received = unserved.recv() => received,
            () = shutdown.wait() => return,
        };
        let Some(channel) = received else { return };
        let Some(topic) = channel.topic.upgrade() else { continue };
        // What is left then goes to the end of the line.
        channel.dispatch_once(topic.context.clock.now());
        tokio::task::yield_now().await;
    }
}
