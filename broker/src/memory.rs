//! One budget for memory: cached tails of logs, what channels have read, what waits to be sent, bodies that are
//! half here. Caches give way first; then publishers are no longer read from, until consumers have taken something.

mod limit;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::broker::Broker;

pub(crate) use limit::default_limit;

/// How often the meter is read. At 1 GB/s of publishes that is 100 MB.
const EVERY: Duration = Duration::from_millis(100);

/// Bodies are counted in pieces of this, so that the largest limit fits the semaphore.
const PIECE_BYTES: usize = 4096;

/// A broker's budget.
#[derive(Debug)]
pub(crate) struct Memory {
    limit: usize,
    /// Large bodies on their way in take their whole length of it before they are read.
    bodies: Arc<Semaphore>,
    body_pieces: usize,
    is_tight: AtomicBool,
    is_crowded: AtomicBool,
    eased: Notify,
    held: Mutex<Held>,
}

/// What is held at one moment, in bytes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    /// Can be read from disk again.
    pub caches: usize,
    /// Ephemeral topics: in memory only.
    pub ephemeral: usize,
    /// What clients have not taken.
    pub unsent: usize,
}

impl Memory {
    /// A budget of `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        // A quarter for bodies, and always enough for the largest there can be.
        let body_pieces = (limit / 4 / PIECE_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            limit,
            bodies: Arc::new(Semaphore::new(body_pieces)),
            body_pieces,
            is_tight: AtomicBool::new(false),
            is_crowded: AtomicBool::new(false),
            eased: Notify::new(),
            held: Mutex::default(),
        }
    }

    /// What one topic's log may keep of its tail before the meter looks.
    pub(crate) fn cache_bytes_max(&self) -> usize {
        (self.limit / 64).clamp(64 * 1024, 4 * 1024 * 1024)
    }

    /// Wait until there is room for a body of this length. Bodies larger than the whole share take all of it.
    pub(crate) async fn room_for(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let pieces = bytes.div_ceil(PIECE_BYTES).min(self.body_pieces);
        Arc::clone(&self.bodies).acquire_many_owned(u32::try_from(pieces).unwrap_or(u32::MAX)).await.ok()
    }

    /// What was held when the meter was last read.
    pub(crate) fn held(&self) -> Held {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The budget, in bytes.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Must publishers wait?
    pub(crate) fn is_tight(&self) -> bool {
        self.is_tight.load(Ordering::Relaxed)
    }

    /// Do ephemeral topics hold so much that they must drop what comes? Nobody may ever read them, so making publishers
    /// wait would not help.
    pub(crate) fn is_crowded(&self) -> bool {
        self.is_crowded.load(Ordering::Relaxed)
    }

    /// Ends when publishers need not wait any more.
    pub(crate) async fn eased(&self) {
        let notified = self.eased.notified();
        if self.is_tight() {
            notified.await;
        }
    }

    /// How many bytes all caches together must come down to; none if they may stay.
    fn caches_max(&self, held: Held) -> Option<usize> {
        let room = (self.limit / 2).min(self.limit.saturating_sub(held.ephemeral + held.unsent));
        (held.caches > room).then_some(room)
    }

    fn judge(&self, held: Held) {
        self.is_crowded.store(held.ephemeral > self.limit / 4, Ordering::Relaxed);
        let is_tight = held.unsent > self.limit / 2;
        if self.is_tight.swap(is_tight, Ordering::Relaxed) != is_tight {
            if is_tight {
                let (held, limit) = (held.unsent >> 20, self.limit >> 20);
                tracing::warn!(held_mib = held, limit_mib = limit, "memory is short: publishers wait");
            } else {
                tracing::info!("memory is no longer short");
                self.eased.notify_waiters();
            }
        }
    }
}

/// Read the meter for ever and act on it.
pub(crate) async fn watch_for_ever(broker: Arc<Broker>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let memory = &broker.context.memory;
    loop {
        tokio::select! {
            _tick = every.tick() => {}
            () = broker.context.shutdown.wait() => return,
        }
        let held = measure(&broker);
        if let Some(room) = memory.caches_max(held) {
            shrink(&broker, held.caches, room);
        }
        memory.judge(held);
        *memory.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
        if memory.is_tight() {
            broker.context.figures.pressed_ns.add(u64::try_from(EVERY.as_nanos()).unwrap_or(0));
        }
    }
}

fn measure(broker: &Broker) -> Held {
    let mut held = Held { unsent: broker.clients.unsent_bytes(), ..Held::default() };
    for topic in broker.topics() {
        let bytes = topic.memory_bytes();
        // What is in memory only is not a cache.
        if topic.name.is_ephemeral() {
            held.ephemeral += bytes;
        } else {
            held.caches += bytes;
        }
    }
    held
}

/// Every cache gives the same share of what it has.
fn shrink(broker: &Broker, caches: usize, room: usize) {
    for topic in broker.topics().iter().filter(|topic| !topic.name.is_ephemeral()) {
        let share = topic.memory_bytes() as u128 * room as u128 / caches.max(1) as u128;
        topic.shrink(usize::try_from(share).unwrap_or(usize::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(caches: usize, unsent: usize) -> Held {
        Held { caches, ephemeral: 0, unsent }
    }

    #[test]
    fn an_ephemeral_topic_that_nobody_reads_makes_nobody_wait() {
        let memory = Memory::new(1000);
        memory.judge(Held { caches: 0, ephemeral: 900, unsent: 0 });
        assert!(memory.is_crowded() && !memory.is_tight());
        assert_eq!(memory.caches_max(Held { caches: 200, ephemeral: 900, unsent: 0 }), Some(100));
    }

    #[test]
    fn caches_give_way_to_what_cannot_be_let_go() {
        let memory = Memory::new(1000);
        assert_eq!(memory.caches_max(held(500, 0)), None);
        assert_eq!(memory.caches_max(held(501, 0)), Some(500));
        assert_eq!(memory.caches_max(held(300, 800)), Some(200));
        assert_eq!(memory.caches_max(held(1, 5000)), Some(0));
    }

    #[test]
    fn publishers_wait_while_what_clients_have_not_taken_fills_the_budget() {
        let memory = Memory::new(1000);
        memory.judge(held(0, 501));
        assert!(memory.is_tight());
        memory.judge(held(500, 100));
        assert!(!memory.is_tight());
    }

    #[tokio::test]
    async fn a_body_larger_than_its_share_takes_all_of_it_and_then_goes_on() {
        let memory = Memory::new(16 * PIECE_BYTES);
        let all = memory.room_for(100 * PIECE_BYTES).await;
        assert!(all.is_some());
        assert_eq!(memory.bodies.available_permits(), 0);
        drop(all);
        assert_eq!(memory.bodies.available_permits(), 4);
    }
}
