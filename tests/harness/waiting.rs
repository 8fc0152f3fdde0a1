//! Waiting for a condition with a limit: the only pause in all the tests is here, between two looks.

use std::time::{Duration, Instant};

/// How long anything that must happen may take. Far more than it needs: machines that run tests are busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Return as soon as `condition` holds.
///
/// # Panics
/// When it does not within [`PATIENCE`]; `what` says what was waited for.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, condition);
}

/// The same of what is known to take longer than [`PATIENCE`].
///
/// # Panics
/// When `condition` does not hold within `patience`.
#[track_caller]
pub fn eventually_within(patience: Duration, what: &str, condition: impl FnMut() -> bool) {
    eventually_every(Duration::from_millis(5), patience, what, condition);
}

/// Waits for a condition that is dear to look at, and looks only so often.
///
/// # Panics
/// When it does not come true in time.
#[track_caller]
pub fn eventually_every(
    interval: Duration,
    patience: Duration,
    what: &str,
    mut condition: impl FnMut() -> bool,
) {
    let limit = Instant::now() + patience;
    while !condition() {
        assert!(Instant::now() < limit, "not within {} s: {what}", patience.as_secs());
        std::thread::sleep(interval);
    }
}

/// The pause of something that looks again and again by itself, as a kubelet does.
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}
