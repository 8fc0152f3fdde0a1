//! A random life: batches, commits, syncs, cursors that come, finish, are emptied and go, segments dropped and freed,
//! restarts. Every step tells the model before and after, so that at each call it is known what must survive.

use std::collections::BTreeMap;

use bytes::BufMut;

use super::look::{self, End, Opened};
use super::model::{Cursor, Model, Stored};
use crate::fake_disk::{Dice, FakeDisk};
use crate::{Entry, Journal, Log, State, StorageError};

/// Numbers given by one life stay below this many.
const NUMBERS_PER_LIFE: u64 = 1_000_000;

pub(super) struct World {
    pub(super) disk: FakeDisk,
    dice: Dice,
    log: Log,
    journal: Journal,
    /// Appended, not committed.
    pending: BTreeMap<u64, Stored>,
    pub(super) model: Model,
    /// The model before each group of calls, by the number of the first.
    pub(super) timeline: Vec<(u64, Model)>,
    lives: u64,
}

type Done = Result<(), StorageError>;

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let disk = FakeDisk::default();
        let opened = look::open(&disk, 0).unwrap();
        for parent in ["/", "/data"] {
            crate::Disk::sync_dir(&disk, std::path::Path::new(parent)).unwrap();
        }
        Self::from_opened(disk, Dice(seed), opened, Model::default(), 1)
    }

    fn from_opened(disk: FakeDisk, dice: Dice, opened: Opened, model: Model, lives: u64) -> Self {
        let (log, journal) = (opened.log, opened.journal);
        let mut world =
            Self { disk, dice, log, journal, pending: BTreeMap::new(), model, timeline: Vec::new(), lives };
        world.mark();
        world
    }

    /// The number that the next life's numbers begin above.
    pub(super) fn clock(&self) -> u64 {
        self.lives * NUMBERS_PER_LIFE
    }

    /// From here on the model is what it is now.
    fn mark(&mut self) {
        self.timeline.push((self.disk.calls(), self.model.clone()));
    }

    /// What the model was when the call numbered `call` was made.
    pub(super) fn model_at(&self, call: u64) -> &Model {
        let index = self.timeline.partition_point(|(first, _)| *first < call);
        &self.timeline[index.saturating_sub(1)].1
    }

    /// One random step.
    pub(super) fn step(&mut self) -> Done {
        match self.dice.below(100) {
            0..30 => self.append(),
            30..50 => return self.commit(),
            50..60 => return self.sync(),
            60..78 => return self.finish(),
            78..83 => return self.open_cursor(),
            83..85 => return self.close_cursor(),
            85..87 => return self.empty_cursor(),
            87..91 => return self.drop_below(),
            91..94 => return self.punch(),
            94..97 => return self.restart(),
            97..99 => return self.stop_and_start(),
            _ => {
                self.log.discard();
                self.pending.clear();
            }
        }
        Ok(())
    }

    fn append(&mut self) {
        let count = 1 + self.dice.below(5) as u64;
        let first = self.log.tail().seq;
        for left in (0..count).rev() {
            let offset = self.log.tail().offset;
            let length = if self.dice.below(8) == 0 { self.dice.below(1800) } else { self.dice.below(200) };
            let payload: Vec<u8> = (0..length).map(|_| self.dice.below(256) as u8).collect();
            let seq = self.log.append(left as u32, |_, to| to.put_slice(&payload));
            self.pending.insert(seq, Stored { payload, offset, batch: (first, first + count) });
        }
    }

    fn commit(&mut self) -> Done {
        self.model.maybe = std::mem::take(&mut self.pending);
        let given = self.log.tail().seq;
        self.mark();
        let result = self.log.commit();
        let mut tried = std::mem::take(&mut self.model.maybe);
        if result.is_err() {
            self.model.failed.extend(tried);
        } else {
            self.model.records.append(&mut tried);
            self.model.given = self.model.given.max(given);
        }
        self.mark();
        result.map(drop)
    }

    /// As the broker's background sync: log, journal, then a note of how far.
    fn sync(&mut self) -> Done {
        let at = self.log.syncable();
        if let Some(unsynced) = self.log.take_unsynced() {
            unsynced.sync()?;
        }
        self.model.synced = self.model.synced.max(at.seq);
        self.mark();
        if let Some(files) = self.journal.sync_target() {
            let created: Vec<String> = self.created();
            files.sync_data()?;
            self.now_durable(&created);
        }
        self.journal.note(Entry::Synced { at });
        self.flush()
    }

    fn finish(&mut self) -> Done {
        for _ in 0..1 + self.dice.below(4) {
            let Some(name) = self.any_cursor() else { return Ok(()) };
            let Some(cursor) = self.model.cursors.get_mut(&name) else { return Ok(()) };
            let seqs: Vec<u64> =
                self.model.records.keys().copied().filter(|seq| cursor.owes(*seq)).take(12).collect();
            let count = self.dice.below(6);
            let from = if self.dice.below(3) == 0 { self.dice.below(seqs.len().max(1)) } else { 0 };
            let done: Vec<u64> = seqs.into_iter().skip(from).take(count).collect();
            let ranges: Vec<_> = done.iter().map(|seq| *seq..*seq + 1).collect();
            cursor.finished.extend(done);
            let (id, cursor) = (cursor.id, cursor.clone());
            self.journal.note(Entry::Finished { id, ranges: &ranges });
            let floor = self.model.records.iter().find(|(seq, _)| cursor.owes(**seq));
            if let Some((seq, stored)) = floor {
                self.journal.note(Entry::Floor { id, seq: *seq, offset: stored.offset });
                let (seq, offset, attempts) = (*seq, stored.offset, 1 + self.dice.below(9) as u16);
                self.journal.note(Entry::Pending { id, seq, offset, attempts, due_ns: None });
            }
        }
        if self.dice.below(3) > 0 { self.flush() } else { Ok(()) }
    }

    fn open_cursor(&mut self) -> Done {
        let name = format!("c{}", self.dice.below(6));
        if self.model.cursors.contains_key(&name) {
            return Ok(());
        }
        let (id, at) = (self.journal.state().next_cursor, self.log.committed());
        // A power cut may have taken all that was known of an earlier one.
        self.model.closed.remove(&id);
        self.model.cursors.insert(name.clone(), Cursor { id, from: at.seq, ..Cursor::default() });
        self.journal.note(Entry::CursorOpened { id, name: &name, at });
        if let Err(error) = self.flush() {
            // As the broker: it was refused, so it is not there.
            self.journal.note(Entry::CursorClosed { id });
            self.model.cursors.remove(&name);
            self.mark();
            return Err(error);
        }
        if self.dice.below(2) == 0 { self.flush_durable() } else { Ok(()) }
    }

    fn close_cursor(&mut self) -> Done {
        let Some(name) = self.any_cursor() else { return Ok(()) };
        let Some(cursor) = self.model.cursors.get_mut(&name) else { return Ok(()) };
        cursor.is_closing = true;
        cursor.from = u64::MAX;
        let id = cursor.id;
        self.journal.note(Entry::CursorClosed { id });
        self.flush()?;
        self.model.cursors.remove(&name);
        self.model.closed.insert(id);
        self.mark();
        Ok(())
    }

    fn empty_cursor(&mut self) -> Done {
        let Some(name) = self.any_cursor() else { return Ok(()) };
        let at = self.log.committed();
        let Some(cursor) = self.model.cursors.get_mut(&name) else { return Ok(()) };
        cursor.from = at.seq;
        let id = cursor.id;
        self.journal.note(Entry::Emptied { id, at });
        self.flush()?;
        if let Some(cursor) = self.model.cursors.get_mut(&name) {
            cursor.emptied = at.seq;
        }
        self.mark();
        Ok(())
    }

    fn drop_below(&mut self) -> Done {
        if self.model.cursors.is_empty() {
            return Ok(());
        }
        self.note_floors();
        self.flush_durable()?;
        let floor = self.model.lowest_owed(self.log.committed().offset);
        self.model.dropped = self.model.dropped.max(floor);
        self.mark();
        self.log.drop_below(floor).map(drop)
    }

    /// A cursor's floor is in front of the first record it is owed, or at the end.
    fn note_floors(&mut self) {
        let end = self.log.committed();
        for cursor in self.model.cursors.values() {
            let first = self.model.records.iter().find(|(seq, _)| cursor.owes(**seq));
            let (seq, offset) = first.map_or((end.seq, end.offset), |(seq, stored)| (*seq, stored.offset));
            self.journal.note(Entry::Floor { id: cursor.id, seq, offset });
        }
    }

    fn punch(&mut self) -> Done {
        let offsets: Vec<u64> = self.log.segment_offsets().collect();
        let at = offsets[self.dice.below(offsets.len().max(1)).min(offsets.len().saturating_sub(1))..]
            .first()
            .copied();
        let Some(at) = at.filter(|_| !self.model.cursors.is_empty()) else { return Ok(()) };
        self.flush_durable()?;
        let synced = self.journal.state().synced.unwrap_or_default();
        let owed = self.model.records.iter().filter(|(seq, _)| self.model.is_owed(**seq));
        let keep: Vec<(u64, u64)> = owed.map(|(_, stored)| (stored.offset, stored.offset)).collect();
        let Some(punch) = self.log.punch(at, &keep, synced) else { return Ok(()) };
        let next = offsets.iter().copied().find(|next| *next > at).unwrap_or(u64::MAX);
        self.model.punched.push((at, next));
        self.mark();
        punch.run().map(drop)
    }

    /// Killed, and started again.
    fn restart(&mut self) -> Done {
        self.pending.clear();
        self.lives += 1;
        self.mark();
        let opened = match look::open(&self.disk, (self.lives - 1) * NUMBERS_PER_LIFE) {
            Err(error) if error.is_full() => panic!("consumers cannot drain a full disk: {error}"),
            other => other?,
        };
        opened.check(&self.model, End::Kill);
        self.model.take_in_failed(&opened.found);
        (self.log, self.journal) = (opened.log, opened.journal);
        self.forget_unflushed(&opened.state);
        self.close_unknown(&opened.state);
        self.flush()
    }

    /// Ended well, and started again.
    fn stop_and_start(&mut self) -> Done {
        self.commit()?;
        self.note_floors();
        self.sync()?;
        self.journal.note(Entry::Closed);
        self.flush_durable()?;
        self.restart()
    }

    /// What was noted and never flushed may not be known any more: those messages come again.
    fn forget_unflushed(&mut self, state: &State) {
        self.model.cursors.retain(|_, cursor| cursor.is_created && !cursor.is_closing);
        for cursor in self.model.cursors.values_mut() {
            let known = &state.cursors[&cursor.id];
            cursor.finished.retain(|seq| *seq < known.floor.0 || known.finished.contains(*seq));
        }
        self.mark();
    }

    /// After a power cut: what survived is the truth from here on.
    pub(super) fn adopt(mut self, disk: FakeDisk, opened: Opened) -> Self {
        let mut model = self.model.clone();
        model.take_in_failed(&opened.found);
        model.records.retain(|seq, _| opened.found.contains_key(seq));
        model.cursors.retain(|_, cursor| opened.state.cursors.contains_key(&cursor.id));
        model.closed.retain(|id| !opened.state.cursors.contains_key(id));
        for cursor in model.cursors.values_mut() {
            let state = &opened.state.cursors[&cursor.id];
            let is_done = |seq: &u64| *seq < state.floor.0 || state.finished.contains(*seq);
            cursor.finished = model.records.keys().copied().filter(is_done).collect();
            cursor.flushed = cursor.finished.clone();
            (cursor.from, cursor.emptied) = (state.floor.0, 0);
            (cursor.is_created, cursor.is_durable, cursor.is_closing) = (true, true, false);
        }
        let state = opened.state.clone();
        let kept = opened.log.committed().ordinal - opened.log.start().ordinal;
        model.has_holes |= opened.found.len() as u64 != kept;
        model.synced = 0;
        self.lives += 1;
        let mut world = Self::from_opened(disk, self.dice, opened, model, self.lives);
        world.close_unknown(&state);
        world.flush_durable().unwrap();
        world
    }

    /// A close that a crash took is made again.
    fn close_unknown(&mut self, state: &State) {
        for id in state.cursors.keys().copied() {
            if !self.model.cursors.values().any(|cursor| cursor.id == id) {
                self.journal.note(Entry::CursorClosed { id });
            }
        }
    }

    /// How many calls so many steps make.
    pub(super) fn calls_of(mut self, steps: usize) -> u64 {
        let before = self.disk.calls();
        (0..steps).for_each(|_| self.step().unwrap());
        self.disk.calls() - before
    }

    /// All that is owed can be read now.
    pub(super) fn check_readable(&self) {
        let found = look::contents(&self.log).unwrap();
        let owed = self.model.records.keys().filter(|seq| self.model.is_owed(**seq));
        let gone = owed.into_iter().find(|seq| !found.contains_key(seq));
        assert_eq!(gone, None, "cannot be read while the disk is full");
    }

    fn flush(&mut self) -> Done {
        self.mark();
        self.journal.flush()?;
        for cursor in self.model.cursors.values_mut() {
            cursor.is_created = true;
            cursor.flushed.clone_from(&cursor.finished);
        }
        self.mark();
        Ok(())
    }

    fn flush_durable(&mut self) -> Done {
        self.flush()?;
        let created = self.created();
        self.journal.flush_durable()?;
        self.now_durable(&created);
        Ok(())
    }

    fn created(&self) -> Vec<String> {
        let created = self.model.cursors.iter().filter(|(_, cursor)| cursor.is_created);
        created.map(|(name, _)| name.clone()).collect()
    }

    fn now_durable(&mut self, names: &[String]) {
        for (name, cursor) in &mut self.model.cursors {
            cursor.is_durable |= names.contains(name);
        }
        self.mark();
    }

    fn any_cursor(&mut self) -> Option<String> {
        let count = self.model.cursors.len();
        self.model.cursors.keys().nth(self.dice.below(count.max(1))).cloned()
    }
}
