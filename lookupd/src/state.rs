//! What the sessions and HTTP routes of one nsqlookupd share: the registry behind its lock, the clock, our
//! own name.

use std::sync::{Mutex, MutexGuard, PoisonError};
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
    /// What brokers must register with.
    pub(crate) token: SharedToken,
}

impl State {
    pub(crate) fn new(rules: Rules, about: LookupdInfo, token: SharedToken) -> Self {
        let started_at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let registry = Mutex::new(Registry::new(rules));
        Self { registry, started: Instant::now(), started_at, about, token, requests: Requests::default() }
    }

    /// Hold it for one call only. A panic elsewhere leaves whole entries, so poison is no reason to stop
    /// serving.
    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
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
