//! What a client must do in time: say its first command, go on with the command it began, be heard from, read what
//! it is sent. A sweep of the shard looks at all of its sessions; nothing here waits.

use std::cell::Cell;
use std::time::Duration;

use protocol::{HEARTBEAT, encode_response};
use queue::Instant;

use super::{Session, nanos};

/// From the connection to the end of its first command: the magic, IDENTIFY, TLS. nsqd waits for ever.
const OPENING_WITHIN: Duration = Duration::from_secs(10);

/// A first command larger than this has begun its body, and need only go on with it.
const OPENING_BYTES_MAX: usize = 16 * 1024;

/// A command that was begun and is not whole must grow by [`PACE_BYTES`] in each of these.
const PACE_WITHIN: Duration = Duration::from_secs(10);

/// 1 KiB a second: slower ones would keep their memory for hours.
const PACE_BYTES: usize = 10 * 1024;

/// How a command that is not whole yet comes in.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace {
    /// Bytes of it that are here.
    bytes: usize,
    /// When it was last seen to go on well enough, in ns of the monotonic clock, and its bytes then.
    since: u64,
    bytes_then: usize,
}

impl Pace {
    /// `bytes` of a command that is not whole are here after a read; a new one if `is_new`.
    pub(super) fn note(pace: &Cell<Self>, bytes: usize, is_new: bool, now: Instant) {
        let before = pace.get();
        pace.set(if is_new || before.bytes == 0 {
            Self { bytes, since: now.0, bytes_then: 0 }
        } else {
            Self { bytes, ..before }
        });
    }

    /// Is it too slow? Looks at whole stretches of time only.
    fn is_too_slow(pace: &Cell<Self>, now: Instant) -> bool {
        let Self { bytes, since, bytes_then } = pace.get();
        if bytes == 0 || now.0.saturating_sub(since) < nanos(PACE_WITHIN) {
            return false;
        }
        pace.set(Self { bytes, since: now.0, bytes_then: bytes });
        bytes.saturating_sub(bytes_then) < PACE_BYTES
    }

    /// The client was not read from, which is no fault of its own.
    fn pause(pace: &Cell<Self>, now: Instant) {
        pace.set(Self { since: now.0, ..pace.get() });
    }
}

impl Session {
    /// Deadlines: a heartbeat that is due, a client that went silent or is too slow, or that does not read.
    pub(crate) fn sweep(&self, now: Instant) {
        let (has_magic, heartbeat) = {
            let state = self.state.borrow();
            (state.has_magic, state.heartbeat)
        };
        if self.is_late_to_open(now) {
            return self.close();
        }
        // Putting layers on has its own limit, and what comes in meanwhile is no command.
        let is_waiting = self.waits_for_room.get() || self.is_upgrading.get();
        let heard_at = if is_waiting { now.0 } else { self.heard_at.get() };
        let silent = Duration::from_nanos(now.0.saturating_sub(heard_at));
        if is_waiting || self.is_held.get() {
            Pace::pause(&self.pace, now);
        }
        // nsqd: a body that stops half way, or drips, keeps its memory until the heartbeats are missed.
        if self.holds_room.get() && silent > PACE_WITHIN || Pace::is_too_slow(&self.pace, now) {
            return self.abandon();
        }
        let Some(interval) = heartbeat else { return };
        // nsqd: two missed heartbeats end the connection, without a frame.
        if silent > 2 * interval || self.unsent.borrow().is_stuck(now, interval) {
            return self.abandon();
        }
        if has_magic && !self.is_upgrading.get() && now.0 >= self.heartbeat_at.get() {
            self.heartbeat_at.set(now.0 + nanos(interval));
            self.outbox.put(|out| encode_response(out, HEARTBEAT));
        }
    }

    fn is_late_to_open(&self, now: Instant) -> bool {
        !self.is_open.get()
            && now.0.saturating_sub(self.came_at) > nanos(OPENING_WITHIN)
            && self.pace.get().bytes <= OPENING_BYTES_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    #[test]
    fn a_command_that_drips_is_too_slow_and_one_that_comes_in_is_not() {
        let pace = Cell::new(Pace::default());
        assert!(!Pace::is_too_slow(&pace, at(100)), "nothing was begun");
        Pace::note(&pace, 50_000, true, at(100));
        assert!(!Pace::is_too_slow(&pace, at(109)));
        assert!(!Pace::is_too_slow(&pace, at(110)), "50 kB came");
        Pace::note(&pace, 50_009, false, at(119));
        assert!(Pace::is_too_slow(&pace, at(120)), "nine bytes came");
        Pace::note(&pace, 70_000, false, at(125));
        assert!(!Pace::is_too_slow(&pace, at(130)));
    }

    #[test]
    fn small_commands_in_quick_succession_are_never_too_slow() {
        let pace = Cell::new(Pace::default());
        for second in 100..200 {
            Pace::note(&pace, 5, true, at(second));
            assert!(!Pace::is_too_slow(&pace, at(second)));
        }
        Pace::note(&pace, 0, true, at(200));
        assert!(!Pace::is_too_slow(&pace, at(300)));
    }

    #[test]
    fn who_was_not_read_from_is_not_slow() {
        let pace = Cell::new(Pace::default());
        Pace::note(&pace, 5, true, at(100));
        Pace::pause(&pace, at(150));
        assert!(!Pace::is_too_slow(&pace, at(155)));
        assert!(Pace::is_too_slow(&pace, at(160)));
    }
}
