//! The fence of a broker on its way out: publishes are refused, whatever they come over. Who raises it is in `control`.

use std::sync::atomic::{AtomicBool, Ordering};

/// What a publisher is told.
pub(crate) const DRAINING: &str = "draining: this nsqd leaves its cluster, publish to another";

/// Up or down.
#[derive(Debug, Default)]
pub(crate) struct Fence(AtomicBool);

impl Fence {
    /// Raise or lower it.
    pub(crate) fn set(&self, is_up: bool) {
        self.0.store(is_up, Ordering::SeqCst);
    }

    /// Are publishes refused?
    pub(crate) fn is_up(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
