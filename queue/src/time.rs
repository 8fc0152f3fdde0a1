//! Time as an argument: two readings of the shell's clocks, and sums that cannot overflow.
//! Nothing here reads a clock.

use std::time::Duration;

/// Nanoseconds on a monotonic clock whose origin the shell chose. Message timeouts are measured on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// This instant plus `wait`; the end of time if that is too far to count.
    #[must_use]
    #[inline]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Nanoseconds since the Unix epoch. Deferred messages are measured on it, since they outlive the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub i64);

impl WallTime {
    /// This time plus `wait`; the end of time if that is too far to count.
    #[must_use]
    #[inline]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX)))
    }
}

/// How long something took, kept in 32 bits with seven digits: what is in flight has room for no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Age(u32);

impl Age {
    /// From nanoseconds.
    #[must_use]
    #[inline]
    pub fn from_ns(ns: u64) -> Self {
        Self((ns as f32).to_bits())
    }

    /// In nanoseconds.
    #[must_use]
    #[inline]
    pub fn ns(self) -> u64 {
        f32::from_bits(self.0) as u64
    }
}

/// One reading of both clocks, shared by a whole batch of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For message timeouts. Must not go backwards between calls.
    pub instant: Instant,
    /// For deferred messages. May jump, as wall clocks do.
    pub wall: WallTime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_keeps_seven_digits_of_a_microsecond_as_of_a_year() {
        assert_eq!(Age::default().ns(), 0);
        for ns in [1, 999, 1_234_567, 60_000_000_000, 31_536_000_000_000_000, u64::MAX / 2] {
            let kept = Age::from_ns(ns).ns();
            assert!(kept.abs_diff(ns) <= ns / 8_000_000, "{ns} became {kept}");
        }
    }
}
