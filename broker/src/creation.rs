//! How many topics there may be, and how fast topics and channels are made: a client that makes up names must not
//! fill the disk with folders. What exists already, a restart and an import are never limited.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use queue::Instant;

/// As many are made at once before the rate counts: a new cluster's topics come all together.
const BURST: u32 = 1000;

/// Who would have to wait longer is refused.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What is made, and may be.
#[derive(Debug)]
pub(crate) struct Creation {
    topics_max: usize,
    rate: u32,
    pace: Mutex<Pace>,
    /// Topics that are being made now.
    making: AtomicUsize,
}

/// Why nothing is made; the texts name the flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMany {
    /// There are as many topics as there may be.
    Topics(usize),
    /// The topic has as many channels as it may have.
    Channels(usize),
    /// Others are in front for too long.
    AtOnce(u32),
}

impl TooMany {
    /// The code of the answer over HTTP.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Topics(_) => "TOO_MANY_TOPICS",
            Self::Channels(_) => "TOO_MANY_CHANNELS",
            Self::AtOnce(_) => "TOO_MANY_CREATIONS",
        }
    }
}

impl std::fmt::Display for TooMany {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Topics(max) => write!(f, "too many topics: --max-topics={max}"),
            Self::Channels(max) => write!(f, "too many channels of this topic: --max-channels={max}"),
            Self::AtOnce(rate) => {
                write!(f, "too many topics and channels made at once: --max-creation-rate={rate} a second")
            }
        }
    }
}

impl std::error::Error for TooMany {}

/// The right to make one topic, which counts from now on.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Creation {
    /// `topics_max` topics, and `rate` topics and channels a second; 0 means any number.
    pub(crate) fn new(topics_max: usize, rate: u32) -> Self {
        Self { topics_max, rate, pace: Mutex::new(Pace::new(rate)), making: AtomicUsize::new(0) }
    }

    /// A place for one more topic, when there are `topics` of them.
    pub(crate) fn place(&self, topics: usize) -> Result<Place<'_>, TooMany> {
        let making = self.making.fetch_add(1, Ordering::AcqRel);
        let place = Place(&self.making);
        let is_full = self.topics_max > 0 && topics + making >= self.topics_max;
        if is_full { Err(TooMany::Topics(self.topics_max)) } else { Ok(place) }
    }

    /// How long the next topic or channel must wait before it is made.
    pub(crate) fn turn(&self, now: Instant) -> Result<Duration, TooMany> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.turn(now).ok_or(TooMany::AtOnce(self.rate))
    }
}

/// A token bucket, kept as the time at which it will be full again.
#[derive(Debug)]
struct Pace {
    /// Nanoseconds between two; 0 for no limit.
    every: u64,
    full_at: u64,
}

impl Pace {
    fn new(rate: u32) -> Self {
        Self { every: 1_000_000_000_u64.checked_div(rate.into()).unwrap_or(0), full_at: 0 }
    }

    /// The wait of the next one, which has its turn then; none, and no turn, if that is too long.
    fn turn(&mut self, now: Instant) -> Option<Duration> {
        let before = self.full_at.max(now.0);
        let burst = self.every * u64::from(BURST - 1);
        let wait = Duration::from_nanos(before.saturating_sub(burst).saturating_sub(now.0));
        if wait > WAIT_MAX {
            return None;
        }
        self.full_at = before.saturating_add(self.every);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// The waits in milliseconds of `count` turns at `at`; none for a refusal.
    fn turns(pace: &mut Pace, count: usize, at_ms: u64) -> Vec<Option<u64>> {
        let mut turn = || Some(pace.turn(Instant(at_ms * MS))?.as_nanos() as u64 / MS);
        (0..count).map(|_| turn()).collect()
    }

    #[test]
    fn a_burst_passes_and_then_each_waits_for_its_turn() {
        let mut pace = Pace::new(100);
        assert_eq!(turns(&mut pace, 1000, 7), vec![Some(0); 1000]);
        assert_eq!(turns(&mut pace, 3, 7), [Some(10), Some(20), Some(30)]);
        assert_eq!(turns(&mut pace, 1, 37), [Some(10)]);
        assert_eq!(turns(&mut pace, 6, 97), [0, 0, 0, 0, 0, 10].map(Some));
    }

    #[test]
    fn who_would_wait_too_long_is_refused_and_takes_no_turn() {
        let mut pace = Pace::new(100);
        let waits = turns(&mut pace, 1600, 0);
        assert_eq!(waits.iter().flatten().count(), 1500);
        assert_eq!(waits[1499], Some(5000));
        assert_eq!(waits[1500], None);
        assert_eq!(turns(&mut pace, 2, 10), [Some(5000), None]);
    }

    #[test]
    fn after_a_rest_there_is_a_burst_again_and_no_more() {
        let mut pace = Pace::new(1);
        turns(&mut pace, 1000, 0);
        let waits = turns(&mut pace, 1001, 2_000_000);
        assert_eq!((waits[999], waits[1000]), (Some(0), Some(1000)));
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let mut pace = Pace::new(0);
        assert_eq!(turns(&mut pace, 5000, 3), vec![Some(0); 5000]);
    }

    #[test]
    fn topics_that_are_being_made_count() {
        let creation = Creation::new(2, 0);
        let first = creation.place(0).unwrap();
        let second = creation.place(0).unwrap();
        assert_eq!(creation.place(0).unwrap_err(), TooMany::Topics(2));
        drop(first);
        drop(second);
        assert!(creation.place(1).is_ok());
        assert_eq!(creation.place(2).unwrap_err(), TooMany::Topics(2));
        assert!(Creation::new(0, 0).place(1_000_000).is_ok());
    }
}
