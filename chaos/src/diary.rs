//! Who writes events down: a clock that all share, and one diary per thread. What the events mean is in `history`.

use std::time::{Duration, Instant};

use crate::history::{Event, Op};

/// Nanoseconds since the run began, monotonic, the same for all threads.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// Begins now. Not at zero, so that a time of 0 always means "before all".
    pub fn start() -> Self {
        let now = Instant::now();
        Self(now.checked_sub(Duration::from_millis(1)).unwrap_or(now))
    }

    /// Now.
    pub fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The events of one thread.
#[derive(Debug)]
pub struct Diary {
    clock: Clock,
    last: u64,
    events: Vec<Event>,
}

impl Diary {
    /// An empty one.
    pub fn new(clock: Clock) -> Self {
        Self { clock, last: 0, events: Vec::new() }
    }

    /// Now, later than every time this diary gave before: no two events of a thread have one time.
    pub fn tick(&mut self) -> u64 {
        self.last = self.clock.now().max(self.last + 1);
        self.last
    }

    /// Write down that this happens now; `set` fills in the rest.
    pub fn note(&mut self, op: Op, set: impl FnOnce(&mut Event)) -> u64 {
        let mut event = Event::new(op, self.tick());
        set(&mut event);
        self.events.push(event);
        event.at
    }

    /// All of it.
    pub fn into_events(self) -> Vec<Event> {
        self.events
    }
}
