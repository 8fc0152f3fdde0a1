//! How durations are spread over fixed bounds: under a lock, or shared by threads. Recording is an addition or two.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How many bounds there are; beyond the last is one more bucket.
const BOUNDS: usize = 16;

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const S: u64 = 1_000 * MS;

/// Bounds in nanoseconds.
pub type Bounds = &'static [u64; BOUNDS];

/// For what a machine does: 100 us to 10 s.
pub const SHORT: Bounds = &[
    100 * US,
    250 * US,
    500 * US,
    MS,
    5 * MS / 2,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    S,
    5 * S / 2,
    5 * S,
    10 * S,
];

/// For how long messages take: 1 ms to an hour.
pub const LONG: Bounds = &[
    MS,
    5 * MS / 2,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    S,
    5 * S,
    15 * S,
    60 * S,
    300 * S,
    900 * S,
    3600 * S,
];

/// What a scrape is given.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// In seconds.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
    /// Upper bounds in seconds, the last infinite, and how many lie below each and above the one before.
    pub buckets: Vec<(f64, u64)>,
}

impl Distribution {
    /// Add another of the same bounds.
    pub fn merge(&mut self, other: &Self) {
        self.sum += other.sum;
        self.count += other.count;
        for ((_, mine), (_, theirs)) in self.buckets.iter_mut().zip(&other.buckets) {
            *mine += theirs;
        }
    }

    /// How many time series it makes.
    pub fn series(&self) -> usize {
        self.buckets.len() + 2
    }
}

/// Durations counted by one thread at a time.
#[derive(Debug, Clone)]
pub struct Histogram {
    bounds: Bounds,
    counts: [u64; BOUNDS + 1],
    sum_ns: u64,
}

impl Histogram {
    /// None yet.
    pub const fn new(bounds: Bounds) -> Self {
        Self { bounds, counts: [0; BOUNDS + 1], sum_ns: 0 }
    }

    /// One more.
    pub fn record(&mut self, duration: Duration) {
        self.record_ns(nanos(duration));
    }

    /// One more, in nanoseconds.
    #[inline]
    pub fn record_ns(&mut self, ns: u64) {
        if let Some(count) = self.counts.get_mut(bucket(self.bounds, ns)) {
            *count += 1;
        }
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// For a scrape.
    pub fn snapshot(&self) -> Distribution {
        distribution(self.bounds, self.counts, self.sum_ns)
    }
}

/// Durations counted by many threads.
#[derive(Debug)]
pub struct SharedHistogram {
    bounds: Bounds,
    counts: [AtomicU64; BOUNDS + 1],
    sum_ns: AtomicU64,
}

impl SharedHistogram {
    /// None yet.
    pub const fn new(bounds: Bounds) -> Self {
        Self { bounds, counts: [const { AtomicU64::new(0) }; BOUNDS + 1], sum_ns: AtomicU64::new(0) }
    }

    /// One more.
    pub fn record(&self, duration: Duration) {
        let ns = nanos(duration);
        if let Some(count) = self.counts.get(bucket(self.bounds, ns)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
    }

    /// For a scrape. What is recorded meanwhile may be in the sum and not yet in a bucket.
    pub fn snapshot(&self) -> Distribution {
        let counts =
            std::array::from_fn(|at| self.counts.get(at).map_or(0, |count| count.load(Ordering::Relaxed)));
        distribution(self.bounds, counts, self.sum_ns.load(Ordering::Relaxed))
    }
}

#[inline]
fn bucket(bounds: Bounds, ns: u64) -> usize {
    bounds.partition_point(|bound| *bound < ns)
}

fn distribution(bounds: Bounds, counts: [u64; BOUNDS + 1], sum_ns: u64) -> Distribution {
    let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
    let uppers = bounds.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
    Distribution { sum: seconds(sum_ns), count: counts.iter().sum(), buckets: uppers.zip(counts).collect() }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_rise_and_belong_to_their_bucket() {
        for bounds in [SHORT, LONG] {
            assert!(bounds.is_sorted_by(|a, b| a < b), "{bounds:?}");
            let mut histogram = Histogram::new(bounds);
            bounds.iter().for_each(|bound| histogram.record_ns(*bound));
            histogram.record_ns(u64::MAX);
            assert!(histogram.snapshot().buckets.iter().all(|(_, count)| *count == 1));
        }
    }

    #[test]
    fn both_kinds_count_alike_and_can_be_added_up() {
        let (mut one, other) = (Histogram::new(SHORT), SharedHistogram::new(SHORT));
        for us in [0, 99, 100, 101, 5_000, 99_999_999] {
            one.record(Duration::from_micros(us));
            other.record(Duration::from_micros(us));
        }
        assert_eq!(one.snapshot(), other.snapshot());
        let mut sum = one.snapshot();
        sum.merge(&other.snapshot());
        assert_eq!((sum.count, sum.buckets.len(), sum.series()), (12, 17, 19));
    }
}
