//! The connections of the broker, for statistics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use queue::ConsumerId;

use crate::client::State;
use crate::outbox::Outbox;

/// Connections by number, which is the order they came in.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<BTreeMap<u64, Arc<Outbox>>>);

impl Clients {
    /// A connection came.
    pub(crate) fn add(&self, outbox: &Arc<Outbox>) {
        self.lock().insert(outbox.id.0, Arc::clone(outbox));
    }

    /// A connection is gone.
    pub(crate) fn remove(&self, id: ConsumerId) {
        self.lock().remove(&id.0);
    }

    /// nsqd: a producer is a connection that has published.
    pub(crate) fn producers(&self) -> Vec<Arc<Outbox>> {
        self.lock().values().filter(|outbox| outbox.client.has_published()).cloned().collect()
    }

    /// How many there are, by what they do.
    pub(crate) fn kinds(&self) -> [(&'static str, u64); 4] {
        let mut kinds = [("consumer", 0), ("producer", 0), ("both", 0), ("idle", 0)];
        let [consumers, producers, both, idle] = &mut kinds;
        for outbox in self.lock().values() {
            let kind = match (outbox.client.state() != State::Init as u8, outbox.client.has_published()) {
                (true, false) => &mut *consumers,
                (false, true) => &mut *producers,
                (true, true) => &mut *both,
                (false, false) => &mut *idle,
            };
            kind.1 += 1;
        }
        kinds
    }

    /// What waits to be sent to all of them, in bytes.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.lock().values().map(|outbox| outbox.unsent_bytes()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Outbox>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
