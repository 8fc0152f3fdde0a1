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

/// One reading of both clocks, shared by a whole batch of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For message timeouts. Must not go backwards between calls.
    pub instant: Instant,
    /// For deferred messages. May jump, as wall clocks do.
    pub wall: WallTime,
}
