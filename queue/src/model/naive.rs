//! The naive model: one list of messages, each with its state, looked through from the front for everything.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::TIMEOUT_MAX;
use crate::{Fetched, Instant, Now, Pending, Position, Progress, Saved, WallTime};

pub(super) const RECORD: u64 = 10;

#[derive(Default)]
pub(super) struct Naive {
    pub(super) entries: Vec<Entry>,
    pub(super) visible: usize,
    pub(super) cursor: usize,
    pub(super) next_seq: u64,
    pub(super) consumers: BTreeMap<u64, Consumer>,
    pub(super) is_paused: bool,
    pub(super) messages: u64,
    pub(super) requeued: u64,
    pub(super) timed_out: u64,
    pub(super) lost: u64,
    pub(super) holes: Vec<(usize, usize)>,
    pub(super) journal: Journal,
    /// Ready again, in order; the members of one group became so at the same time.
    again: VecDeque<BTreeSet<u64>>,
    prefers_again: bool,
    start: usize,
    /// Read and found damaged, although the cursor had passed them.
    suspects: BTreeSet<usize>,
}

pub(super) struct Entry {
    seq: u64,
    /// What the record says, or the journal after a restart.
    due: Option<WallTime>,
    record_due: Option<WallTime>,
    attempts: u16,
    /// Attempts when it was last requeued, timed out or left behind.
    attempts_noted: u16,
    state: Place,
    /// Its due time is known before the cursor comes to it.
    is_known: bool,
    /// It is known to be deferred before the cursor comes to it, but not until when.
    is_untouched: bool,
    is_damaged: bool,
    /// It was finished, or thrown away on purpose.
    is_excused: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Unread,
    Again,
    InFlight { owner: u64, deadline: Instant, delivered_at: Instant },
    Deferred { due: WallTime },
    Done,
}

pub(super) struct Consumer {
    ready: u64,
    timeout: Duration,
    is_closing: bool,
}

/// What a journal keeps of the progress it was told.
#[derive(Default)]
pub(super) struct Journal {
    floor: (u64, u64),
    finished: BTreeSet<u64>,
    delivered: u64,
    untouched: BTreeSet<u64>,
    pending: BTreeMap<u64, Pending>,
    cursor: Position,
}

impl Journal {
    pub(super) fn merge(&mut self, progress: Progress) {
        assert!(progress.floor >= self.floor, "a floor never goes back");
        assert!(progress.finished.iter().all(|range| range.start >= progress.floor.0));
        assert!(progress.finished.windows(2).all(|pair| pair[0].end < pair[1].start), "coalesced");
        assert!(progress.untouched.iter().all(|range| range.start >= progress.floor.0));
        self.floor = progress.floor;
        self.delivered = progress.delivered;
        self.cursor = progress.cursor;
        self.untouched.extend(progress.untouched.into_iter().flatten());
        self.finished.extend(progress.finished.into_iter().flatten());
        self.pending.extend(progress.pending.into_iter().map(|entry| (entry.seq, entry)));
        self.finished.retain(|seq| *seq >= progress.floor.0);
        self.pending.retain(|seq, _| *seq >= progress.floor.0 && !self.finished.contains(seq));
        let (finished, pending) = (&self.finished, &self.pending);
        self.untouched
            .retain(|seq| *seq >= progress.floor.0 && !finished.contains(seq) && !pending.contains_key(seq));
    }
}

impl Naive {
    pub(super) fn append(&mut self, due: Option<WallTime>) {
        let entry = Entry {
            seq: self.next_seq,
            due,
            record_due: due,
            attempts: 0,
            attempts_noted: 0,
            state: Place::Unread,
            is_known: false,
            is_untouched: false,
            is_damaged: false,
            is_excused: false,
        };
        self.entries.push(entry);
        self.next_seq += 1;
    }

    pub(super) fn position(&self, at: usize) -> Position {
        let seq = self.entries.get(at).map_or(self.next_seq, |entry| entry.seq);
        Position { seq, offset: at as u64 * RECORD, ordinal: at as u64 }
    }

    pub(super) fn tail(&self) -> Position {
        self.position(self.entries.len())
    }

    pub(super) fn subscribe(&mut self, id: u64, timeout: Duration) {
        self.consumers.insert(id, Consumer { ready: 0, timeout, is_closing: false });
    }

    pub(super) fn unsubscribe(&mut self, id: u64) -> u64 {
        self.consumers.remove(&id);
        let held: Vec<u64> =
            self.entries.iter().filter(|entry| entry.owner() == Some(id)).map(|e| e.seq).collect();
        for seq in held.iter().rev() {
            self.entry(*seq).state = Place::Again;
            self.note_attempts(*seq);
            self.again.push_front(BTreeSet::from([*seq]));
        }
        held.len() as u64
    }

    pub(super) fn set_ready(&mut self, id: u64, count: u64) {
        let consumer = self.consumers.get_mut(&id).unwrap();
        consumer.ready = if consumer.is_closing { 0 } else { count };
    }

    pub(super) fn close(&mut self, id: u64) {
        let consumer = self.consumers.get_mut(&id).unwrap();
        (consumer.ready, consumer.is_closing) = (0, true);
    }

    pub(super) fn fetch(&mut self, at: usize, now: Now) -> Fetched {
        let next = (at as u64 + 1) * RECORD;
        let entry = &self.entries[at];
        if !entry.is_damaged {
            return Fetched::Message { seq: entry.seq, next, due: entry.record_due };
        }
        self.pass_undeliverable_below(at, now);
        match self.entries[at].state {
            Place::Unread if at >= self.cursor => {
                (self.entries[at].state, self.entries[at].is_excused) = (Place::Done, true);
                self.cursor = at + 1;
                self.lost += 1;
            }
            Place::Done => {}
            _ => drop(self.suspects.insert(at)),
        }
        Fetched::Lost { next, messages: 1, next_seq: self.entries.get(at + 1).map(|entry| entry.seq) }
    }

    /// A damaged record that was read is given up if it was looked for, not if it was only passed on the way.
    pub(super) fn give_up_damaged(&mut self, is_owed: impl Fn(u64) -> bool) {
        for at in std::mem::take(&mut self.suspects) {
            let seq = self.entries[at].seq;
            if self.entries[at].state == Place::Done || is_owed(seq) {
                continue;
            }
            (self.entries[at].state, self.entries[at].is_excused) = (Place::Done, true);
            self.leave_again(seq);
            self.lost += 1;
        }
    }

    pub(super) fn deliver(&mut self, to: u64, at: usize, seq: u64, attempts: u16, now: Now, is_warm: bool) {
        assert!(self.takes(to), "{to} is not ready");
        self.pass_undeliverable_below(at, now);
        let is_again = self.entries[at].state == Place::Again;
        if is_again {
            assert!(
                self.first_again().unwrap().contains(&seq),
                "{seq} is not the first of those ready again"
            );
        } else {
            assert!(at == self.cursor && at < self.visible, "{seq} is not the next unread message");
            assert!(self.entries[at].is_deliverable(now));
        }
        if is_warm && self.first_again().is_some() && self.next_unread(now).is_some() {
            assert_eq!(is_again, self.prefers_again, "new and ready ones alternate");
        }
        self.prefers_again = !is_again;
        if is_again {
            self.leave_again(seq);
        } else {
            self.cursor = at + 1;
        }
        let deadline = now.instant.after(self.consumers[&to].timeout);
        let entry = &mut self.entries[at];
        assert_eq!((seq, attempts), (entry.seq, entry.attempts + 1));
        entry.attempts = attempts;
        entry.state = Place::InFlight { owner: to, deadline, delivered_at: now.instant };
    }

    pub(super) fn finish(&mut self, seq: u64) {
        let entry = self.entry(seq);
        (entry.state, entry.is_excused) = (Place::Done, true);
    }

    pub(super) fn requeue(&mut self, seq: u64, delay: Duration, now: Now) {
        self.requeued += 1;
        self.note_attempts(seq);
        if delay.is_zero() {
            self.entry(seq).state = Place::Again;
            self.again.push_back(BTreeSet::from([seq]));
        } else {
            self.entry(seq).state = Place::Deferred { due: now.wall.after(delay) };
        }
    }

    pub(super) fn touch(&mut self, seq: u64, now: Now) {
        let Place::InFlight { owner, delivered_at, .. } = self.entry(seq).state else {
            panic!("not in flight")
        };
        let deadline = now.instant.after(self.consumers[&owner].timeout).min(delivered_at.after(TIMEOUT_MAX));
        self.entry(seq).state = Place::InFlight { owner, deadline, delivered_at };
    }

    pub(super) fn expire(&mut self, now: Now) -> (u64, u64) {
        let (mut late, mut due, mut woken) = (BTreeSet::new(), BTreeSet::new(), 0);
        let (cursor, visible) = (self.cursor, self.visible);
        for (at, entry) in self.entries.iter_mut().enumerate() {
            match entry.state {
                Place::InFlight { deadline, .. } if deadline <= now.instant => drop(late.insert(entry.seq)),
                Place::Deferred { due: time } if time <= now.wall => drop(due.insert(entry.seq)),
                Place::Unread if at >= cursor && at < visible && entry.is_known_due_by(now.wall) => {
                    entry.due = None;
                    woken += 1;
                }
                _ => continue,
            }
        }
        for seq in &late {
            self.note_attempts(*seq);
        }
        for seq in late.iter().chain(&due) {
            self.entry(*seq).state = Place::Again;
        }
        self.timed_out += late.len() as u64;
        let counts = (late.len() as u64, due.len() as u64 + woken);
        self.again.extend([late, due].into_iter().filter(|group| !group.is_empty()));
        counts
    }

    pub(super) fn empty(&mut self) {
        for entry in &mut self.entries[..self.visible] {
            (entry.state, entry.is_excused) = (Place::Done, true);
        }
        self.again.clear();
        self.cursor = self.visible;
    }

    /// The entries are gone for good, restarts included.
    pub(super) fn dig(&mut self, from: usize, to: usize) {
        self.holes.push((from, to));
        for entry in &mut self.entries[from..to] {
            (entry.state, entry.is_excused) = (Place::Done, true);
        }
    }

    pub(super) fn is_untouched(&self, from: usize, to: usize) -> bool {
        let is_plain = |entry: &Entry| {
            entry.state == Place::Unread && entry.attempts == 0 && !entry.is_known && !entry.is_untouched
        };
        to <= self.visible && self.entries[from..to].iter().all(is_plain)
    }

    pub(super) fn truncate(&mut self, start: usize) {
        self.start = self.start.max(start);
        for at in 0..start {
            let seq = self.entries[at].seq;
            self.leave_again(seq);
            (self.entries[at].state, self.entries[at].is_excused) = (Place::Done, true);
        }
        self.cursor = self.cursor.max(start);
    }

    pub(super) fn damage(&mut self, pick: u64) {
        let count = self.entries.len() as u64;
        if count > 0 && pick.is_multiple_of(3) {
            self.entries[(pick % count) as usize].is_damaged = true;
        }
    }

    /// Only the log and the journal are left. Gives what the channel is restored from.
    pub(super) fn restart(&mut self) -> Saved {
        let floor = ((self.journal.floor.1 / RECORD) as usize).max(self.start);
        for (at, entry) in self.entries.iter_mut().enumerate() {
            let is_finished = at < floor || self.journal.finished.contains(&entry.seq);
            let is_hole = self.holes.iter().any(|(from, to)| (*from..*to).contains(&at));
            if is_finished || is_hole {
                assert!(entry.is_excused, "the journal calls {} finished, which it never was", entry.seq);
                entry.state = Place::Done;
                continue;
            }
            let known = self.journal.pending.get(&entry.seq);
            entry.is_untouched = self.journal.untouched.contains(&entry.seq);
            let was_delivered = entry.seq < self.journal.delivered && !entry.is_untouched;
            let attempts = known.map_or(u16::from(was_delivered), |known| known.attempts);
            assert!(attempts >= entry.attempts_noted, "{attempts} attempts, {} noted", entry.attempts_noted);
            assert!(attempts + 1 >= entry.attempts, "{attempts} attempts left of {}", entry.attempts);
            (entry.attempts, entry.attempts_noted) = (attempts, attempts);
            entry.due = known.map_or(entry.record_due, |known| known.due);
            (entry.state, entry.is_known) = (Place::Unread, known.is_some());
        }
        self.consumers.clear();
        self.again.clear();
        self.prefers_again = false;
        self.cursor = floor;
        (self.messages, self.requeued, self.timed_out, self.lost) = (0, 0, 0, 0);
        let position = self.position(floor);
        let floor = Position { seq: position.seq.min(self.journal.floor.0.max(position.seq)), ..position };
        Saved {
            floor,
            finished: self.journal.finished.iter().map(|seq| *seq..*seq + 1).collect(),
            delivered: self.journal.delivered,
            untouched: self.journal.untouched.iter().map(|seq| *seq..*seq + 1).collect(),
            landmarks: self.landmarks(),
            pending: self.journal.pending.values().copied().collect(),
            is_paused: self.is_paused,
        }
    }

    /// The segments of the log: a new one wherever numbers jump. Sometimes places that are none.
    fn landmarks(&self) -> Vec<Position> {
        let begins = |at: &usize| *at == 0 || self.entries[*at].seq != self.entries[*at - 1].seq + 1;
        let begins = (0..self.entries.len()).filter(begins).map(|at| self.position(at));
        begins.chain([self.journal.cursor, self.tail()]).collect()
    }

    /// Attempts of what is owed.
    pub(super) fn attempts(&self) -> BTreeMap<u64, u16> {
        let owed = self.entries.iter().filter(|entry| entry.state != Place::Done);
        owed.map(|entry| (entry.seq, entry.attempts)).collect()
    }

    pub(super) fn expect_attempts(&mut self, before: &BTreeMap<u64, u16>) {
        for (seq, attempts) in before {
            assert_eq!(self.entry(*seq).attempts, *attempts, "attempts of {seq} over a restart");
            assert_eq!(self.entry(*seq).state, Place::Unread, "{seq} is lost by a restart");
        }
    }

    /// What the cursor steps over as soon as it can.
    pub(super) fn pass_undeliverable(&mut self, now: Now) {
        self.pass_undeliverable_below(self.visible, now);
    }

    fn pass_undeliverable_below(&mut self, end: usize, now: Now) {
        while self.cursor < end.min(self.visible) {
            let entry = &mut self.entries[self.cursor];
            if entry.is_deliverable(now) {
                if std::mem::take(&mut entry.is_untouched) {
                    // It has been looked at, and is found to be due.
                    (entry.is_known, entry.due) = (true, None);
                }
                return;
            }
            if entry.state == Place::Unread {
                entry.state = Place::Deferred { due: entry.due.unwrap() };
            }
            self.cursor += 1;
        }
    }

    pub(super) fn expect_nothing_left(&self, now: Now) {
        if self.consumers.keys().any(|id| self.takes(*id)) {
            assert_eq!(self.next_unread(now), None, "somebody is ready for an unread message");
            assert!(self.again.iter().all(BTreeSet::is_empty), "somebody is ready for {:?}", self.again);
        }
    }

    pub(super) fn expect_nobody_forgotten(&self) {
        let forgotten = self.entries.iter().find(|entry| !entry.is_excused || entry.state != Place::Done);
        assert_eq!(forgotten.map(|entry| entry.seq), None, "never finished");
    }

    pub(super) fn depth(&self) -> u64 {
        let unread = self.entries[self.cursor.min(self.visible)..self.visible].iter();
        let unread = unread.filter(|entry| entry.state == Place::Unread && !entry.is_known_deferred());
        unread.count() as u64 + self.count(|entry| entry.state == Place::Again)
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.count(|entry| entry.owner().is_some())
    }

    pub(super) fn held_by(&self, id: u64) -> u64 {
        self.count(|entry| entry.owner() == Some(id))
    }

    pub(super) fn deferred(&self) -> u64 {
        self.count(|entry| match entry.state {
            Place::Deferred { .. } => true,
            Place::Unread => entry.is_known_deferred(),
            _ => false,
        })
    }

    pub(super) fn floor(&self) -> u64 {
        let owed = |entry: &Entry| !matches!(entry.state, Place::Done | Place::Unread);
        let first = self.entries[..self.cursor].iter().position(owed);
        first.unwrap_or(self.cursor) as u64 * RECORD
    }

    /// How many messages the log dropped in front.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Every owed record is in a stretch, and each stretch begins and ends with one.
    pub(super) fn expect_owed(&self, from: u64, to: u64, stretches: &[(u64, u64)]) {
        let is_owed = |at: &usize| !matches!(self.entries[*at].state, Place::Done | Place::Unread);
        let owed: BTreeSet<u64> = (0..self.cursor).filter(is_owed).map(|at| at as u64 * RECORD).collect();
        for offset in owed.range(from..to) {
            let is_in = stretches.iter().any(|(first, last)| (first..=last).contains(&offset));
            assert!(is_in, "{offset} is owed, but not in {stretches:?}");
        }
        let limits = [from, to.saturating_sub(1), self.start as u64 * RECORD];
        let is_end = |end: &u64| owed.contains(end) || limits.contains(end);
        assert!(
            stretches.iter().all(|(first, last)| is_end(first) && is_end(last)),
            "{stretches:?} of {owed:?}"
        );
        assert!(stretches.is_sorted());
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let deadline = |entry: &Entry| match entry.state {
            Place::InFlight { deadline, .. } => Some(deadline),
            _ => None,
        };
        self.entries.iter().filter_map(deadline).min()
    }

    pub(super) fn next_due(&self) -> Option<WallTime> {
        let due = |entry: &Entry| match entry.state {
            Place::Deferred { due } => Some(due),
            Place::Unread if entry.is_known => entry.due,
            _ => None,
        };
        self.entries.iter().filter_map(due).min()
    }

    pub(super) fn owner(&self, seq: u64) -> Option<u64> {
        self.entries.iter().find(|entry| entry.seq == seq)?.owner()
    }

    pub(super) fn pick_consumer(&self, pick: u64) -> Option<u64> {
        let count = self.consumers.len().max(1);
        self.consumers.keys().nth(pick as usize % count).copied()
    }

    pub(super) fn pick_seq(&self, pick: u64) -> Option<u64> {
        let count = self.entries.len().max(1);
        self.entries.get(pick as usize % count).map(|entry| entry.seq)
    }

    pub(super) fn pick_in_flight(&self, pick: u64) -> Option<(u64, u64)> {
        let held: Vec<_> =
            self.entries.iter().filter_map(|entry| Some((entry.owner()?, entry.seq))).collect();
        held.get(pick as usize % held.len().max(1)).copied()
    }

    fn takes(&self, id: u64) -> bool {
        !self.is_paused && self.consumers.get(&id).is_some_and(|consumer| self.held_by(id) < consumer.ready)
    }

    fn next_unread(&self, now: Now) -> Option<usize> {
        (self.cursor..self.visible)
            .find(|at| self.entries[*at].is_deliverable(now) && !self.entries[*at].is_damaged)
    }

    fn note_attempts(&mut self, seq: u64) {
        let entry = self.entry(seq);
        entry.attempts_noted = entry.attempts;
    }

    /// The first group of those ready again, apart from what was found damaged.
    fn first_again(&self) -> Option<&BTreeSet<u64>> {
        let suspects: BTreeSet<u64> = self.suspects.iter().map(|at| self.entries[*at].seq).collect();
        self.again.iter().find(|group| !group.is_subset(&suspects))
    }

    fn leave_again(&mut self, seq: u64) {
        for group in &mut self.again {
            group.remove(&seq);
        }
        self.again.retain(|group| !group.is_empty());
    }

    fn count(&self, which: impl Fn(&Entry) -> bool) -> u64 {
        self.entries.iter().filter(|entry| which(entry)).count() as u64
    }

    fn entry(&mut self, seq: u64) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.seq == seq).unwrap()
    }
}

impl Entry {
    fn owner(&self) -> Option<u64> {
        match self.state {
            Place::InFlight { owner, .. } => Some(owner),
            _ => None,
        }
    }

    fn is_deliverable(&self, now: Now) -> bool {
        self.state == Place::Unread && self.due.is_none_or(|due| due <= now.wall)
    }

    fn is_known_deferred(&self) -> bool {
        self.is_untouched || self.is_known && self.due.is_some()
    }

    fn is_known_due_by(&self, now: WallTime) -> bool {
        self.is_known && self.due.is_some_and(|due| due <= now)
    }
}
