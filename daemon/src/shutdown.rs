//! One token that tells every task of a daemon to stop, and carries the reason when it was a failure.
//! How long a drain may take is each listener's own matter.

use std::fmt;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

/// Clones share one state: triggered once, triggered for good.
#[derive(Clone)]
pub struct Shutdown {
    state: Arc<State>,
}

impl Shutdown {
    /// Not triggered yet.
    pub fn new() -> Self {
        Self { state: Arc::new(State { triggered: watch::Sender::new(false), failure: OnceLock::new() }) }
    }

    /// Asks everything to stop. Calling it again does nothing.
    pub fn trigger(&self) {
        self.state.triggered.send_replace(true);
    }

    /// Asks everything to stop because this process cannot go on; `main` prints the reason and exits with 1.
    /// The first reason wins, since later ones tend to be its consequences.
    pub fn fail(&self, reason: String) {
        let _later = self.state.failure.set(reason);
        self.trigger();
    }

    /// Why a task called `fail`, if one did.
    pub fn failure(&self) -> Option<String> {
        self.state.failure.get().cloned()
    }

    /// Whether stopping has begun.
    pub fn is_triggered(&self) -> bool {
        *self.state.triggered.borrow()
    }

    /// Returns once triggered, at once if that has happened already. Safe to drop and call again.
    pub async fn wait(&self) {
        // The sender lives in our own state, so the only end of this wait is the trigger.
        let _ = self.state.triggered.subscribe().wait_for(|triggered| *triggered).await;
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (triggered, failure) = (self.is_triggered(), self.failure());
        f.debug_struct("Shutdown").field("triggered", &triggered).field("failure", &failure).finish()
    }
}

struct State {
    triggered: watch::Sender<bool>,
    failure: OnceLock<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_clone_hears_of_it() {
        let shutdown = Shutdown::new();
        let clone = shutdown.clone();
        let waiting = tokio::spawn(async move { clone.wait().await });
        assert!(!shutdown.is_triggered());
        shutdown.trigger();
        waiting.await.expect("the waiting task");
        assert!(shutdown.is_triggered());
        assert_eq!(shutdown.failure(), None);
    }

    #[tokio::test]
    async fn waiting_after_the_trigger_returns_at_once() {
        let shutdown = Shutdown::new();
        shutdown.trigger();
        shutdown.wait().await;
        shutdown.wait().await;
    }

    #[tokio::test]
    async fn first_failure_is_the_one_reported() {
        let shutdown = Shutdown::new();
        shutdown.fail("disk full".to_owned());
        shutdown.clone().fail("cannot write nsqd.dat".to_owned());
        shutdown.wait().await;
        assert_eq!(shutdown.failure().as_deref(), Some("disk full"));
    }
}
