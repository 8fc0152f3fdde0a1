//! What the sessions and HTTP routes of one nsqlookupd share: the registry behind its lock, the clock, our
//! own name.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use daemon::http::Requests;
use daemon::token::SharedToken;
use protocol::lookup::LookupdInfo;

use crate::registry::{Registry, Rules};

/// One running nsqlookupd.
pub(crate) struct State {
    registry: Mutex<Registry>,
    started: Instant,
    started_at: Duration,
    /// The answer to IDENTIFY.
    pub(crate) about: LookupdInfo,
    /// What was asked over HTTP.
    pub(crate) requests: Requests,
    lookups_found: AtomicU64,
    lookups_missed: AtomicU64,
    /// What brokers must register with.
    pub(crate) token: Arc<SharedToken>,
}

impl State {
    pub(crate) fn new(rules: Rules, about: LookupdInfo, token: Arc<SharedToken>) -> Self {
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let registry = Mutex::new(Registry::new(rules));
        Self {
            registry,
            started: Instant::now(),
            started_at,
            about,
            token,
            requests: Requests::default(),
            lookups_found: AtomicU64::new(0),
            lookups_missed: AtomicU64::new(0),
        }
    }

    /// Hold it for one call only. A panic elsewhere leaves whole entries, so poison is no reason to stop
    /// serving.
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody asked where a topic is.
    pub(crate) fn count_lookup(&self, is_found: bool) {
        let counter = if is_found { &self.lookups_found } else { &self.lookups_missed };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// How many found their topic, and how many did not.
    pub(crate) fn lookups(&self) -> (u64, u64) {
        (self.lookups_found.load(Ordering::Relaxed), self.lookups_missed.load(Ordering::Relaxed))
    }

    /// Since the start; setting the system's clock moves no deadline.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The start as time since the epoch.
    pub(crate) fn started_at(&self) -> Duration {
        self.started_at
    }
}
