//! The connections of the broker, for statistics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use queue::ConsumerId;

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

    /// What waits to be sent to all of them, in bytes.
    pub(crate) fn unsent_bytes(&self) -> usize {
        self.lock().values().map(|outbox| outbox.unsent_bytes()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Outbox>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
