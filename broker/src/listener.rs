//! Accepting client connections and giving each to the shard that serves the fewest.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::broker::Broker;
use crate::shard::ShardHandle;

/// A pause after a failed accept: out of file descriptors, trying at once again would only burn a core.
const PAUSE: Duration = Duration::from_millis(100);

/// Accept until the broker stops.
pub(crate) async fn accept(broker: Arc<Broker>, listener: TcpListener, shards: Vec<ShardHandle>) {
    let stop = broker.context.shutdown.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.wait() => return,
        };
        match accepted.and_then(|(stream, _)| stream.into_std()) {
            Ok(stream) => {
                let idlest = shards.iter().min_by_key(|shard| shard.connections.load(Ordering::Relaxed));
                if let Some(shard) = idlest {
                    shard.serve(stream);
                }
            }
            Err(error) if is_passing(&error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                broker.context.shutdown.fail(format!("cannot accept connections any more: {error}"));
                return;
            }
        }
    }
}

/// The peer was quicker to leave, or something ran out that comes back.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, OutOfMemory};
    /// `EMFILE` and `ENFILE`: no file descriptors left in the process, or in the system.
    const OUT_OF_FILES: [i32; 2] = [24, 23];
    let is_out_of_files = error.raw_os_error().is_some_and(|code| OUT_OF_FILES.contains(&code));
    is_out_of_files || matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | OutOfMemory)
}
