//! Accepting client connections and giving each to the shard that serves the fewest. Whether there is a place for
//! one is the admission's to say.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::admission::{Admitted, Refused};
use crate::broker::Broker;
use crate::shard::ShardHandle;
use crate::socket::{Listener, Peer, Stream};

/// A pause after a failed accept: out of file descriptors, trying at once again would only burn a core.
const PAUSE: Duration = Duration::from_millis(100);

/// Refused connections are told of this often at most.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// A connection and its place.
#[derive(Debug)]
pub(crate) struct Arrival {
    /// The connection.
    pub stream: Stream,
    /// Where it comes from.
    pub peer: Peer,
    /// Its place among all connections.
    pub place: Admitted,
}

/// Accept until the broker stops.
pub(crate) async fn accept(broker: Arc<Broker>, listener: Listener, shards: Vec<ShardHandle>) {
    let stop = broker.context.shutdown.clone();
    let mut refusals = Refusals::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.wait() => return,
        };
        match accepted {
            Ok((stream, peer)) => match broker.admission.admit(peer.ip()) {
                Ok(place) => {
                    let idlest = shards.iter().min_by_key(|shard| shard.connections.load(Ordering::Relaxed));
                    if let Some(shard) = idlest {
                        shard.serve(Arrival { stream, peer, place });
                    }
                }
                Err(why) => refusals.tell(peer, why),
            },
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

/// Keeps a flood out of the log.
#[derive(Debug, Default)]
struct Refusals {
    told_at: Option<Instant>,
    untold: u64,
}

impl Refusals {
    fn tell(&mut self, peer: Peer, why: Refused) {
        self.untold += 1;
        if self.told_at.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return;
        }
        tracing::warn!(client = %peer, refused = self.untold, "connections are refused: {why}");
        *self = Self { told_at: Some(Instant::now()), untold: 0 };
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
