//! Room on the disk: below a floor publishes are refused, so that what is left serves the journals, and with them
//! delivering, finishing and draining. The floor is looked at often and counted down in between.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use storage::Disk;

use crate::context::Context;

/// How often the file system is asked: publishing resumes this long after space returns, at the latest.
const EVERY: Duration = Duration::from_millis(250);

/// Unless it is set, the floor is a twentieth of the file system, and no more than this.
const FLOOR_BYTES_MAX: u64 = 256 << 20;

/// What may still be written before publishes are refused.
#[derive(Debug)]
pub(crate) struct Space {
    left: AtomicI64,
    free: AtomicU64,
    size: AtomicU64,
    why: Mutex<String>,
}

impl Default for Space {
    /// Nothing is known yet: nothing is refused.
    fn default() -> Self {
        let (free, size) = Default::default();
        Self { left: AtomicI64::new(i64::MAX), free, size, why: Mutex::default() }
    }
}

impl Space {
    /// So much was written since the last look.
    pub(crate) fn take(&self, bytes: u64) {
        self.left.fetch_sub(i64::try_from(bytes).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Why nothing more may be published, if so.
    pub(crate) fn refusal(&self) -> Option<String> {
        if self.left.load(Ordering::Relaxed) > 0 {
            return None;
        }
        Some(self.why.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Free bytes and size of the file system at the last look; zeros before the first.
    pub(crate) fn volume(&self) -> (u64, u64) {
        (self.free.load(Ordering::Relaxed), self.size.load(Ordering::Relaxed))
    }

    /// The file system was asked. The text says what to do about it.
    fn looked(&self, available: u64, floor: u64) {
        let why = format!(
            "the disk is full: {} MiB are free and {} MiB stay reserved (--min-free), so that consumers can drain; \
             free space or enlarge the volume, publishing resumes by itself",
            available >> 20,
            floor >> 20
        );
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = why;
        let left = i128::from(available) - i128::from(floor);
        self.left.store(i64::try_from(left).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}

/// The floor for a file system of `total` bytes.
fn floor_of(total: u64, asked: Option<u64>) -> u64 {
    asked.unwrap_or_else(|| (total / 20).min(FLOOR_BYTES_MAX))
}

/// Ask once. An error is no reason to refuse anything: the next write tells.
pub(crate) fn look(context: &Context, disk: &dyn Disk, path: &std::path::Path, asked: Option<u64>) {
    let Ok(space) = disk.space(path) else { return };
    context.space.free.store(space.available, Ordering::Relaxed);
    context.space.size.store(space.total, Ordering::Relaxed);
    let floor = floor_of(space.total, asked);
    context.space.looked(space.available, floor);
    match context.space.refusal() {
        Some(why) => context.health.filled(why),
        None => context.health.emptied(),
    }
}

/// Ask for ever, every [`EVERY`].
pub(crate) async fn watch_for_ever(
    context: Arc<Context>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    asked: Option<u64>,
) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _tick = every.tick() => look(&context, &*disk, &path, asked),
            () = context.shutdown.wait() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_keeps_a_twentieth_and_a_large_one_no_more_than_256_mib() {
        assert_eq!(floor_of(64 << 20, None), (64 << 20) / 20);
        assert_eq!(floor_of(1 << 40, None), 256 << 20);
        assert_eq!(floor_of(1 << 40, Some(7)), 7);
        assert_eq!(floor_of(1 << 40, Some(0)), 0, "0 asks for no floor");
    }

    #[test]
    fn publishes_are_refused_from_the_byte_at_which_the_floor_is_reached() {
        let space = Space::default();
        assert_eq!(space.refusal(), None);
        space.looked(1000, 900);
        space.take(99);
        assert_eq!(space.refusal(), None);
        space.take(1);
        assert!(space.refusal().is_some_and(|why| why.contains("--min-free")));
        space.looked(2000, 900);
        assert_eq!(space.refusal(), None);
    }
}
