//! The broker's two clocks, read together: the monotonic one judges timeouts, the wall clock judges
//! deferrals, because only a wall time means anything after a restart. Nobody else reads a clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use queue::{Now, WallTime};

/// First millisecond of 2020, the origin of message numbers: see [`Clock::first_seq`].
const YEAR_2020_MS: u64 = 1_577_836_800_000;

/// Both clocks; cheap to copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    origin: Instant,
    started: SystemTime,
}

impl Clock {
    /// A clock whose monotonic zero is now.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now(), started: SystemTime::now() }
    }

    /// One reading of both clocks, to be shared by a whole batch (a reading costs 28 ns or more).
    pub(crate) fn now(&self) -> Now {
        Now { instant: queue::Instant(nanos(self.origin.elapsed())), wall: WallTime(self.wall_ns()) }
    }

    /// Unix time in nanoseconds.
    pub(crate) fn wall_ns(&self) -> i64 {
        i64::try_from(nanos(since_epoch(SystemTime::now()))).unwrap_or(i64::MAX)
    }

    /// When the clock was started, in whole Unix seconds: `start_time` of `/info` and `/stats`.
    pub(crate) fn start_seconds(&self) -> u64 {
        since_epoch(self.started).as_secs()
    }

    /// How long ago the clock was started.
    pub(crate) fn uptime(&self) -> Duration {
        self.origin.elapsed()
    }

    /// The runtime's instant that lies at `at` on the queue's monotonic clock.
    pub(crate) fn instant_of(&self, at: queue::Instant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.origin + Duration::from_nanos(at.0))
    }

    /// A message number no earlier run can have used: milliseconds since 2020, with room for 4,096
    /// messages in each. 54 bits of it fit a message id until the year 2159.
    pub(crate) fn first_seq(&self) -> u64 {
        let ms = u64::try_from(since_epoch(SystemTime::now()).as_millis()).unwrap_or(u64::MAX);
        ms.saturating_sub(YEAR_2020_MS) << 12
    }
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
