//! When messages in flight time out. FIN costs nothing here: what is no longer in flight is noticed when its entry
//! comes to the front. Who holds a message and until when is in the window; these are only the orders of deadlines.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use crate::time::Instant;
use crate::window::{State, Window};

/// Stale entries are squeezed out of an order when they outnumber the messages in flight by this many.
const STALE_MAX: usize = 64;

/// One queue per distinct timeout: as now only grows, deadlines of equal timeouts come in order by themselves.
#[derive(Debug, Default)]
pub(crate) struct Timeouts {
    classes: Vec<Class>,
    /// TOUCHes cut short by the longest timeout allowed: their deadlines follow the delivery, not the order of time.
    capped: BinaryHeap<Reverse<Entry>>,
}

#[derive(Debug)]
struct Class {
    timeout: Duration,
    consumers: usize,
    queue: VecDeque<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    deadline: Instant,
    seq: u64,
}

impl Timeouts {
    /// One more consumer has this timeout. The class's number is good until `leave`.
    pub(crate) fn join(&mut self, timeout: Duration) -> usize {
        let used = |class: &Class| class.consumers > 0 && class.timeout == timeout;
        let same = self.classes.iter().position(used);
        let reusable = || self.classes.iter().position(|class| class.consumers == 0);
        let number = same.or_else(reusable).unwrap_or(self.classes.len());
        match self.classes.get_mut(number) {
            Some(class) => {
                class.timeout = timeout;
                class.consumers += 1;
            }
            None => self.classes.push(Class { timeout, consumers: 1, queue: VecDeque::new() }),
        }
        number
    }

    /// A consumer of this class is gone and nothing is in flight with it any more.
    pub(crate) fn leave(&mut self, class: usize) {
        if let Some(class) = self.classes.get_mut(class) {
            class.consumers = class.consumers.saturating_sub(1);
            if class.consumers == 0 {
                class.queue = VecDeque::new();
            }
        }
    }

    /// Wait one timeout of this class. Gives the deadline to put into the message's slot.
    #[inline]
    pub(crate) fn arm(&mut self, class: usize, now: Instant, seq: u64) -> Instant {
        let Some(class) = self.classes.get_mut(class) else { return now };
        let last = class.queue.back().map_or(Instant(0), |entry| entry.deadline);
        let deadline = now.after(class.timeout).max(last);
        class.queue.push_back(Entry { deadline, seq });
        deadline
    }

    /// Wait until a deadline that follows no class.
    pub(crate) fn arm_at(&mut self, deadline: Instant, seq: u64) {
        self.capped.push(Reverse(Entry { deadline, seq }));
    }

    /// `seq` is no longer in flight or has a new deadline: give up its entry if that costs nothing, and what stale
    /// ones it hid, so that the next deadline stays a true one.
    #[inline]
    pub(crate) fn settle(&mut self, class: usize, seq: u64, window: &Window) {
        let Some(class) = self.classes.get_mut(class) else { return };
        if class.queue.front().is_none_or(|entry| entry.seq != seq) {
            return;
        }
        while class.queue.front().is_some_and(|entry| !entry.holds(window)) {
            class.queue.pop_front();
        }
    }

    /// Keep memory in proportion to what is in flight.
    pub(crate) fn compact(&mut self, class: usize, in_flight: u64, window: &Window) {
        let limit =
            usize::try_from(in_flight).unwrap_or(usize::MAX).saturating_mul(2).saturating_add(STALE_MAX);
        if let Some(class) = self.classes.get_mut(class)
            && class.queue.len() > limit
        {
            class.queue.retain(|entry| entry.holds(window));
        }
        if self.capped.len() > limit {
            self.capped.retain(|Reverse(entry)| entry.holds(window));
        }
    }

    /// Never later than the first message times out; earlier if entries of gone messages are still in front.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        let fronts = self.classes.iter().filter_map(|class| class.queue.front());
        let capped = self.capped.peek().map(|Reverse(entry)| entry);
        fronts.chain(capped).map(|entry| entry.deadline).min()
    }

    /// A message whose deadline has come.
    pub(crate) fn pop_due(&mut self, now: Instant, window: &Window) -> Option<u64> {
        for class in &mut self.classes {
            while let Some(entry) = class.queue.front().copied().filter(|entry| entry.deadline <= now) {
                class.queue.pop_front();
                if entry.holds(window) {
                    return Some(entry.seq);
                }
            }
        }
        while self.capped.peek().is_some_and(|Reverse(entry)| entry.deadline <= now) {
            let Reverse(entry) = self.capped.pop()?;
            if entry.holds(window) {
                return Some(entry.seq);
            }
        }
        None
    }

    /// Nothing is in flight any more.
    pub(crate) fn clear(&mut self) {
        for class in &mut self.classes {
            class.queue.clear();
        }
        self.capped.clear();
    }
}

impl Entry {
    /// Whether the message is still in flight with this very deadline.
    #[inline]
    fn holds(&self, window: &Window) -> bool {
        let slot = window.slot(self.seq);
        slot.is_some_and(
            |slot| matches!(slot.state, State::InFlight { deadline, .. } if deadline == self.deadline),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_goes_back_does_not_disorder_the_deadlines() {
        let mut timeouts = Timeouts::default();
        let class = timeouts.join(Duration::from_nanos(10));
        let first = timeouts.arm(class, Instant(100), 1);
        assert!(timeouts.arm(class, Instant(50), 2) >= first);
    }

    #[test]
    fn equal_timeouts_share_a_queue_until_the_last_leaves() {
        let mut timeouts = Timeouts::default();
        let (long, short) = (Duration::from_secs(60), Duration::from_secs(5));
        assert_eq!([timeouts.join(long), timeouts.join(short), timeouts.join(long)], [0, 1, 0]);
        timeouts.leave(0);
        assert_eq!(timeouts.join(long), 0);
        timeouts.leave(1);
        assert_eq!(timeouts.join(Duration::from_secs(7)), 1);
    }

    #[test]
    fn deadlines_of_what_is_gone_take_no_memory() {
        let (mut timeouts, window) = (Timeouts::default(), Window::default());
        let class = timeouts.join(Duration::from_secs(60));
        for seq in 0..1000 {
            timeouts.arm(class, Instant(seq), seq);
            timeouts.arm_at(Instant(seq), seq);
            timeouts.compact(class, 0, &window);
        }
        assert!(timeouts.capped.len() <= STALE_MAX);
        assert!(timeouts.classes[class].queue.len() <= STALE_MAX);
    }
}
