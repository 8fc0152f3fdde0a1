//! "Read your files again": SIGHUP, told to whoever has something to read. What is read again is the listener's
//! matter; a file that cannot be read leaves it with what it has.

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;

/// Clones share one state.
#[derive(Clone)]
pub struct Reload {
    asked: Arc<watch::Sender<u64>>,
}

impl Reload {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self { asked: Arc::new(watch::Sender::new(0)) }
    }

    /// Asks everybody who listens to read again.
    pub fn trigger(&self) {
        self.asked.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Hears of what is asked from now on.
    pub fn subscribe(&self) -> Reloads {
        Reloads { asked: self.asked.subscribe(), _keeps_it_open: Arc::clone(&self.asked) }
    }
}

impl Default for Reload {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("asked", &*self.asked.borrow()).finish()
    }
}

/// One listener. Several requests while it was busy count as one: it reads what is there now.
#[derive(Debug)]
pub struct Reloads {
    asked: watch::Receiver<u64>,
    _keeps_it_open: Arc<watch::Sender<u64>>,
}

impl Reloads {
    /// Returns at the next request, at once if there was one since the last call. Safe to drop and call again.
    pub async fn next(&mut self) {
        // The sender lives in this value, so the only end of this wait is a request.
        let _ = self.asked.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn every_listener_hears_of_a_request_once() {
        let reload = Reload::new();
        let (mut first, mut second) = (reload.subscribe(), reload.clone().subscribe());
        assert!(first.next().now_or_never().is_none(), "nobody has asked");
        reload.trigger();
        reload.trigger();
        first.next().await;
        second.next().await;
        assert!(first.next().now_or_never().is_none(), "two requests at once are one");
    }

    #[tokio::test]
    async fn a_listener_outlives_the_reload() {
        let reload = Reload::new();
        let mut listener = reload.subscribe();
        drop(reload);
        assert!(listener.next().now_or_never().is_none());
    }
}
