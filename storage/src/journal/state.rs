//! What a journal's entries come to, kept as small as the truth allows: ranges joined, nothing below the floor.

use std::collections::BTreeMap;

use crate::journal::entry::{Decoded, Entry};
use crate::journal::ranges::RangeSet;
use crate::log::Position;

/// Everything a journal knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// The whole log is paused.
    pub is_paused: bool,
    /// Where the fan-out stood when it last stopped.
    pub visible: Option<Position>,
    /// The last run ended with `Closed`.
    pub is_clean: bool,
    /// A number no cursor has had.
    pub next_cursor: u32,
    /// Up to where the log is known to be synced: pass it to [`crate::Log::open`].
    pub synced: Option<Position>,
    /// How durable the log is meant to be, by the caller's numbers; `None`: nobody said.
    pub durability: Option<u8>,
    /// The cursors by number.
    pub cursors: BTreeMap<u32, CursorState>,
    /// Frames that could not be read when the journal was opened, counted once per run of damage.
    pub damaged_frames: u64,
}

/// One cursor's progress.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CursorState {
    /// What the caller calls it.
    pub name: String,
    /// Number and offset of the first record not finished: below it everything is.
    pub floor: (u64, u64),
    /// Number and offset of the place from which it read on when that was last noted.
    pub cursor: Option<(u64, u64)>,
    /// The numbers finished above the floor.
    pub finished: RangeSet,
    /// Every record numbered below was delivered at least once, but for those in `untouched`.
    pub delivered: u64,
    /// The numbers below `delivered` that were deferred when the cursor passed them and never delivered.
    pub untouched: RangeSet,
    /// Records with a past, by number; none of them is finished.
    pub pending: BTreeMap<u64, Pending>,
    /// What to pass over: from the first place to the second.
    pub skipped: Vec<(Position, Position)>,
    /// The cursor is paused.
    pub is_paused: bool,
}

/// A record's past on one cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pending {
    /// Where the record is.
    pub offset: u64,
    /// How often it was delivered.
    pub attempts: u16,
    /// Not before this time, in nanoseconds since 1970.
    pub due_ns: Option<i64>,
}

impl State {
    /// A number that no record behind these cursors may stay below: pass it to [`crate::Log::open`] also after a
    /// clean end. A log writes nothing before its first commit, so one that is empty, or has not been written to
    /// since its numbers jumped, does not know how far they had come. 0: the journal knows no number either.
    pub fn seq_min(&self) -> u64 {
        let cursors = self.cursors.values().map(CursorState::seq_min);
        let places = self.visible.into_iter().chain(self.synced);
        cursors.chain(places.map(|at| at.seq)).max().unwrap_or(0)
    }

    /// The lowest place, as number and offset, that a cursor still needs; without cursors, where the fan-out stands.
    pub fn floor(&self) -> Option<(u64, u64)> {
        let cursors = self.cursors.values().map(|cursor| cursor.floor);
        cursors.min_by_key(|(_, offset)| *offset).or(self.visible.map(|at| (at.seq, at.offset)))
    }

    pub(crate) fn apply_owned(&mut self, decoded: &Decoded<'_>) {
        self.apply(&decoded.entry());
    }

    /// Take an entry in. Those of a cursor that is not there have no effect.
    pub(crate) fn apply(&mut self, entry: &Entry<'_>) {
        // That something is synced is news of what was written before.
        self.is_clean = *entry == Entry::Closed || (self.is_clean && matches!(entry, Entry::Synced { .. }));
        match *entry {
            Entry::CursorOpened { id, name, at } => {
                self.next_cursor = self.next_cursor.max(id.saturating_add(1));
                self.cursors.insert(id, CursorState::new(name, at));
            }
            Entry::CursorClosed { id } => {
                self.next_cursor = self.next_cursor.max(id.saturating_add(1));
                self.cursors.remove(&id);
            }
            Entry::Paused { is_paused } => self.is_paused = is_paused,
            Entry::Visible { at } => self.visible = Some(at),
            Entry::Synced { at } => self.synced = Some(at),
            Entry::Durability { level } => self.durability = Some(level),
            Entry::Closed | Entry::Opened => {}
            Entry::CursorPaused { id, .. }
            | Entry::Floor { id, .. }
            | Entry::Finished { id, .. }
            | Entry::Untouched { id, .. }
            | Entry::Cursor { id, .. }
            | Entry::Delivered { id, .. }
            | Entry::Pending { id, .. }
            | Entry::Skipped { id, .. }
            | Entry::Emptied { id, .. } => {
                if let Some(cursor) = self.cursors.get_mut(&id) {
                    cursor.apply(entry);
                }
            }
        }
    }

    /// The fewest entries that come to this state.
    pub(crate) fn entries(&self, mut each: impl FnMut(Entry<'_>)) {
        if self.is_paused {
            each(Entry::Paused { is_paused: true });
        }
        if let Some(at) = self.visible {
            each(Entry::Visible { at });
        }
        if let Some(at) = self.synced {
            each(Entry::Synced { at });
        }
        if let Some(level) = self.durability {
            each(Entry::Durability { level });
        }
        for (id, cursor) in &self.cursors {
            cursor.entries(*id, &mut each);
        }
        // Behind the cursors, so that a file that is cut never knows of a later number than its cursors'.
        if let Some(id) = self.next_cursor.checked_sub(1).filter(|id| !self.cursors.contains_key(id)) {
            // The newest cursor is closed, and its number must not come back.
            each(Entry::CursorClosed { id });
        }
        if self.is_clean {
            each(Entry::Closed);
        }
    }
}

impl CursorState {
    fn new(name: &str, at: Position) -> Self {
        let (name, floor, delivered) = (name.to_owned(), (at.seq, at.offset), at.seq);
        Self { name, floor, delivered, ..Self::default() }
    }

    /// Above everything known to be delivered, finished or passed over.
    fn seq_min(&self) -> u64 {
        let finished = self.finished.iter().next_back().map(|range| range.end);
        let pending = self.pending.last_key_value().map(|(seq, _)| seq.saturating_add(1));
        let untouched = self.untouched.iter().next_back().map(|range| range.end);
        let skipped = self.skipped.iter().map(|(_, to)| to.seq);
        let known = skipped.chain(finished).chain(untouched).chain(pending).max().unwrap_or(0);
        known.max(self.floor.0).max(self.delivered)
    }

    fn apply(&mut self, entry: &Entry<'_>) {
        match *entry {
            Entry::CursorPaused { is_paused, .. } => self.is_paused = is_paused,
            Entry::Floor { seq, offset, .. } => self.raise((seq, offset)),
            Entry::Finished { ranges, .. } => self.finish(ranges),
            Entry::Untouched { ranges, .. } => self.pass_untouched(ranges),
            Entry::Cursor { seq, offset, .. } => self.cursor = Some((seq, offset)),
            Entry::Delivered { seq, .. } => self.delivered = self.delivered.max(seq),
            Entry::Pending { seq, offset, attempts, due_ns, .. } => {
                if seq >= self.floor.0 && !self.finished.contains(seq) {
                    self.pending.insert(seq, Pending { offset, attempts, due_ns });
                    if attempts > 0 {
                        self.untouched.remove(seq..seq.saturating_add(1));
                    }
                }
            }
            Entry::Skipped { from, to, .. } => {
                if to.seq > self.floor.0 {
                    self.skipped.push((from, to));
                }
            }
            Entry::Emptied { at, .. } => {
                self.raise((at.seq, at.offset));
                self.finished.clear();
                self.untouched.clear();
                self.pending.clear();
                self.skipped.clear();
                self.delivered = self.delivered.max(at.seq);
            }
            Entry::CursorOpened { .. }
            | Entry::CursorClosed { .. }
            | Entry::Paused { .. }
            | Entry::Visible { .. }
            | Entry::Synced { .. }
            | Entry::Durability { .. }
            | Entry::Closed
            | Entry::Opened => {}
        }
    }

    /// The floor only rises; what it passes is forgotten.
    pub(crate) fn raise(&mut self, floor: (u64, u64)) {
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        self.delivered = self.delivered.max(floor.0);
        self.finished.remove_below(floor.0);
        self.untouched.remove_below(floor.0);
        self.pending = self.pending.split_off(&floor.0);
        self.skipped.retain(|(_, to)| to.seq > floor.0);
    }

    fn finish(&mut self, ranges: &[std::ops::Range<u64>]) {
        for range in ranges {
            let start = range.start.max(self.floor.0);
            if start >= range.end {
                continue;
            }
            self.finished.insert(start..range.end);
            self.untouched.remove(start..range.end);
            let keys: Vec<u64> = self.pending.range(start..range.end).map(|(seq, _)| *seq).collect();
            for seq in keys {
                self.pending.remove(&seq);
            }
        }
    }

    /// What is finished or was delivered already stays what it is.
    fn pass_untouched(&mut self, ranges: &[std::ops::Range<u64>]) {
        for range in ranges {
            let range = range.start.max(self.floor.0)..range.end;
            self.untouched.insert(range.clone());
            for finished in self.finished.overlapping(range.clone()) {
                self.untouched.remove(finished);
            }
            let delivered = self.pending.range(self.floor.0.max(range.start)..range.end.max(range.start));
            for (seq, _) in delivered.filter(|(_, pending)| pending.attempts > 0) {
                self.untouched.remove(*seq..seq.saturating_add(1));
            }
        }
    }

    fn entries(&self, id: u32, each: &mut impl FnMut(Entry<'_>)) {
        let (seq, offset) = self.floor;
        each(Entry::CursorOpened { id, name: &self.name, at: Position { seq, offset, ordinal: 0 } });
        if self.is_paused {
            each(Entry::CursorPaused { id, is_paused: true });
        }
        if self.delivered > seq {
            each(Entry::Delivered { id, seq: self.delivered });
        }
        let ranges: Vec<_> = self.finished.iter().collect();
        each(Entry::Finished { id, ranges: &ranges });
        if let Some((seq, offset)) = self.cursor {
            each(Entry::Cursor { id, seq, offset });
        }
        let ranges: Vec<_> = self.untouched.iter().collect();
        each(Entry::Untouched { id, ranges: &ranges });
        for (seq, Pending { offset, attempts, due_ns }) in &self.pending {
            let (seq, offset, attempts, due_ns) = (*seq, *offset, *attempts, *due_ns);
            each(Entry::Pending { id, seq, offset, attempts, due_ns });
        }
        for (from, to) in &self.skipped {
            each(Entry::Skipped { id, from: *from, to: *to });
        }
    }
}
