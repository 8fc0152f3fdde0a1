//! Messages deferred until far away: parked in the window at a bit each, recalled by reading their records again when
//! the first of a word is due. What a parked word looks like is in window/word.rs.

use std::collections::VecDeque;
use std::time::Duration;

use super::Channel;
use super::dispatch::{Fetched, Outlet, Pass};
use crate::consumer::Weight;
use crate::time::{Age, WallTime};
use crate::window::{Parked, Slot, State, base_of, bit_of, bits_of};

/// No more is recalled while so many messages are ready again: a million due at the same moment wait where they are.
const AGAIN_MAX: u64 = 1024;

/// How far away is far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parking {
    /// Later than this is far, since reading a record twice costs more than a slot for a short time.
    pub(super) wait_min: Duration,
    /// The same when there are many slots already.
    pub(super) wait_min_crowded: Duration,
    /// How many are many.
    pub(super) slots_max: u64,
}

impl Default for Parking {
    fn default() -> Self {
        Self {
            wait_min: Duration::from_secs(60),
            wait_min_crowded: Duration::from_secs(2),
            slots_max: 64 * 1024,
        }
    }
}

/// Parked words whose time has come, and how far the first of them has been read.
#[derive(Debug, Default)]
pub(super) struct Recalls {
    waiting: VecDeque<u64>,
    reading: Option<Box<Reading>>,
}

#[derive(Debug)]
struct Reading {
    base: u64,
    parked: Parked,
    at: u64,
    found: Vec<Found>,
}

#[derive(Clone, Copy, Debug)]
struct Found {
    seq: u64,
    offset: u64,
    due: WallTime,
}

impl Recalls {
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty() || self.reading.is_some()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// What was read may have been forgotten meanwhile.
    pub(super) fn begin_anew(&mut self) {
        if let Some(reading) = self.reading.take() {
            self.waiting.push_front(reading.base);
        }
    }

    fn pop(&mut self) -> Option<u64> {
        let base = self.waiting.pop_front();
        if self.waiting.is_empty() {
            self.waiting = VecDeque::new();
        }
        base
    }

    fn is_reading(&self, base: u64) -> bool {
        self.reading.as_ref().is_some_and(|reading| reading.base == base)
    }
}

impl<H> Channel<H> {
    /// What is due later than this is far away.
    fn far(&self, now: WallTime) -> WallTime {
        let Parking { wait_min, wait_min_crowded, slots_max } = self.parking;
        now.after(if self.slot_count() > slots_max { wait_min_crowded } else { wait_min })
    }

    /// Keep no more than the message's number until the first of its word is due. False: it needs a slot.
    pub(super) fn park(&mut self, seq: u64, offset: u64, due: WallTime, now: WallTime) -> bool {
        let is_alone = !self.recalls.is_reading(base_of(seq));
        if due <= self.far(now) || !is_alone || !self.window.can_park(seq, offset) {
            return false;
        }
        if self.window.park(seq, offset, due) {
            self.deferred.push(due, base_of(seq));
        }
        self.tally.deferred += 1;
        true
    }

    /// The alarm of a word rang. False: it was not one.
    pub(super) fn recall_later(&mut self, base: u64, due: WallTime) -> bool {
        let is_word = self.holds_parked(base, due);
        if is_word {
            self.recalls.waiting.push_back(base);
        }
        is_word
    }

    /// Look up the parked messages whose time has come, even if nobody could take them now: they count as ready.
    #[inline]
    pub(super) fn recall(&mut self, pass: &mut Pass, now: WallTime, outlet: &mut impl Outlet<H>) {
        if self.recalls.is_waiting() && !pass.recall_is_blocked {
            self.recall_words(pass, now, outlet);
        }
    }

    /// Keep memory in proportion to what is owed.
    #[inline]
    pub(super) fn tidy(&mut self) {
        self.window.age();
        if self.deferred.is_long() {
            self.forget_stale_alarms();
        }
    }

    fn forget_stale_alarms(&mut self) {
        let slots = self.tally.deferred.saturating_sub(self.window.parked_count());
        let words = self.window.word_count() as u64;
        let alarms = slots.saturating_add(words.min(self.window.parked_count()));
        let (window, restored) = (&self.window, &self.backlog.restored);
        self.deferred.compact(alarms.saturating_add(restored.deferred_count()), |due, seq| {
            window.slot(seq).is_some_and(|slot| slot.state == (State::Deferred { due }))
                || is_alarm(window.parked_with(seq), seq, due)
                || restored.known(seq).is_some_and(|known| known.due == Some(due))
        });
    }

    /// What it takes to know what is owed.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        let again = self.again.capacity() + self.recalls.waiting.capacity();
        self.window.bytes() + self.deferred.bytes() + again * size_of::<u64>()
    }

    #[cfg(test)]
    pub(crate) fn park_after(&mut self, wait: Duration) {
        self.parking.wait_min = wait;
    }

    #[cfg(test)]
    pub(crate) fn owes(&self, seq: u64) -> bool {
        self.window.slot(seq).is_some() || self.window.parked_with(seq).contains(seq)
    }

    fn holds_parked(&self, base: u64, due: WallTime) -> bool {
        base_of(base) == base && is_alarm(self.window.parked_with(base), base, due)
    }

    fn slot_count(&self) -> u64 {
        let deferred = self.tally.deferred.saturating_sub(self.window.parked_count());
        self.tally.again + self.tally.in_flight + deferred
    }

    fn recall_words(&mut self, pass: &mut Pass, now: WallTime, outlet: &mut impl Outlet<H>) {
        while pass.budget > 0 && self.tally.again < AGAIN_MAX {
            let Some(mut reading) = self.next_reading() else { return };
            if reading.at > reading.parked.last() {
                self.put_back(*reading, now);
                continue;
            }
            pass.budget -= 1;
            match outlet.fetch(reading.at) {
                Fetched::Message { seq, next, due } if next > reading.at => {
                    if base_of(seq) == reading.base && reading.parked.contains(seq) {
                        reading.found.push(Found { seq, offset: reading.at, due: due.unwrap_or(now) });
                    }
                    reading.at = next;
                }
                Fetched::Lost { next, .. } if next > reading.at => reading.at = next,
                Fetched::Message { .. } | Fetched::Lost { .. } | Fetched::Missing => {
                    pass.recall_is_blocked = true;
                    pass.missing = pass.missing.or(Some(reading.at));
                    self.recalls.reading = Some(reading);
                    return;
                }
            }
            self.recalls.reading = Some(reading);
        }
    }

    /// The word that is being read, or the next one that still has something parked.
    fn next_reading(&mut self) -> Option<Box<Reading>> {
        if let Some(reading) = self.recalls.reading.take() {
            return Some(reading);
        }
        loop {
            let base = self.recalls.pop()?;
            let parked = self.window.parked_with(base);
            if !parked.is_empty() {
                return Some(Box::new(Reading { base, parked, at: parked.offset, found: Vec::new() }));
            }
        }
    }

    /// All records of a word have been read: what is due is ready, what is far away is parked again, and what was not
    /// found is lost.
    fn put_back(&mut self, reading: Reading, now: WallTime) {
        let far = self.far(now);
        let Reading { base, parked, mut found, .. } = reading;
        let (mut left, mut slots, mut missed) = (Parked::default(), Vec::new(), parked.numbers);
        for Found { seq, offset, due } in &found {
            missed &= !bit_of(*seq);
            if *due > far && left.takes(*offset) {
                left.add(*seq, *offset, *due);
                continue;
            }
            let state = if *due > now { State::Deferred { due: *due } } else { State::Ready };
            slots.push((
                *seq,
                Slot {
                    offset: *offset,
                    attempts: 0,
                    weight: Weight::default(),
                    waited: Age::default(),
                    state,
                },
            ));
        }
        self.window.unpark(base, left, &slots);
        if !left.is_empty() {
            self.deferred.push(left.due, base);
        }
        found.retain(|found| !left.contains(found.seq));
        found.sort_by_key(|found| found.due);
        for Found { seq, due, .. } in found {
            if due > now {
                self.deferred.push(due, seq);
                continue;
            }
            self.again.push_back(seq);
            self.tally.again += 1;
            self.tally.deferred -= 1;
        }
        for seq in bits_of(base, missed) {
            self.tally.deferred -= 1;
            self.tally.lost += 1;
            self.changes.finish(seq);
        }
    }
}

/// Whether this is the alarm of the word that begins at `base`.
fn is_alarm(parked: Parked, base: u64, due: WallTime) -> bool {
    base_of(base) == base && !parked.is_empty() && parked.due == due
}
