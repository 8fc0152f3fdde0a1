//! What must be true of a log and its journal, kept beside them in plain collections.

use std::collections::{BTreeMap, BTreeSet};

/// A record that was committed.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) payload: Vec<u8>,
    pub(super) offset: u64,
    /// The numbers of its batch.
    pub(super) batch: (u64, u64),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Cursor {
    pub(super) id: u32,
    /// Nothing below is owed.
    pub(super) from: u64,
    /// Noted as finished, whether it reached the disk or not.
    pub(super) finished: BTreeSet<u64>,
    /// What of it is with the kernel.
    pub(super) flushed: BTreeSet<u64>,
    /// Up to where it was emptied, with the kernel.
    pub(super) emptied: u64,
    pub(super) is_created: bool,
    pub(super) is_durable: bool,
    pub(super) is_closing: bool,
}

/// Everything at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) records: BTreeMap<u64, Stored>,
    /// Batches whose commit is under way.
    pub(super) maybe: BTreeMap<u64, Stored>,
    /// Those of commits that failed. Nobody was told anything: they may be there, and their numbers were given again.
    pub(super) failed: Vec<(u64, Stored)>,
    /// Records numbered below survive a power cut.
    pub(super) synced: u64,
    pub(super) cursors: BTreeMap<String, Cursor>,
    /// Closed and told so: they must not come back after a kill.
    pub(super) closed: BTreeSet<u32>,
    /// A power cut left holes between records, which every later look at them finds again.
    pub(super) has_holes: bool,
    /// Numbers below were given.
    pub(super) given: u64,
    /// Offsets below may be dropped.
    pub(super) dropped: u64,
    /// Segments, from where to where, of which space may be freed.
    pub(super) punched: Vec<(u64, u64)>,
}

impl Cursor {
    pub(super) fn owes(&self, seq: u64) -> bool {
        seq >= self.from && !self.finished.contains(&seq)
    }
}

impl Model {
    pub(super) fn is_owed(&self, seq: u64) -> bool {
        self.cursors.values().any(|cursor| cursor.owes(seq))
    }

    /// The record that was written with this number at this place, if it has this payload.
    pub(super) fn stored(&self, seq: u64, offset: u64, payload: &[u8]) -> Option<&Stored> {
        let failed = self.failed.iter().filter(|(number, _)| *number == seq).map(|(_, stored)| stored);
        let known = self.records.get(&seq).into_iter().chain(self.maybe.get(&seq)).chain(failed);
        known.into_iter().find(|stored| stored.offset == offset && stored.payload == payload)
    }

    /// After a start: what of the unknown turned out to be there is a record from now on.
    pub(super) fn take_in_failed(&mut self, found: &BTreeMap<u64, (u64, Vec<u8>)>) {
        for (seq, (offset, payload)) in found {
            if !self.records.contains_key(seq)
                && let Some(stored) = self.stored(*seq, *offset, payload).cloned()
            {
                self.records.insert(*seq, stored);
            }
        }
        self.maybe.clear();
    }

    pub(super) fn is_punched(&self, offset: u64) -> bool {
        self.punched.iter().any(|(from, to)| (*from..*to).contains(&offset))
    }

    /// The offset of the first record that is owed, or of the log's end.
    pub(super) fn lowest_owed(&self, end: u64) -> u64 {
        let owed = self.records.iter().find(|(seq, _)| self.is_owed(**seq));
        owed.map_or(end, |(_, stored)| stored.offset)
    }
}
