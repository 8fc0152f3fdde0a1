//! Which names directories hold: as processes see it, as of the last sync of each directory, and the changes between
//! the two in the order they were made. A rename is one change, however many names it touches.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use super::chance::Chance;
use super::{Ino, Mode};

/// Names of every directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    seen: Tables,
    durable: Tables,
    unsynced: Vec<Change>,
}

type Table = BTreeMap<OsString, Ino>;
type Tables = BTreeMap<Ino, Table>;

#[derive(Debug, Clone)]
struct Change {
    number: u64,
    sets: Vec<Set>,
}

/// In a directory a name stands for something from now on, or for nothing.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) dir: Ino,
    pub(super) name: OsString,
    pub(super) to: Option<Ino>,
}

impl Set {
    pub(super) fn new(dir: Ino, name: &OsStr, to: Option<Ino>) -> Self {
        Self { dir, name: name.to_owned(), to }
    }
}

impl Names {
    pub(super) fn find(&self, dir: Ino, name: &OsStr) -> Option<Ino> {
        self.seen.get(&dir)?.get(name).copied()
    }

    pub(super) fn list(&self, dir: Ino) -> impl Iterator<Item = (&OsStr, Ino)> {
        let table = self.seen.get(&dir).into_iter().flatten();
        table.map(|(name, &ino)| (name.as_os_str(), ino))
    }

    pub(super) fn is_empty(&self, dir: Ino) -> bool {
        self.list(dir).next().is_none()
    }

    /// One change that happens as a whole or not at all.
    pub(super) fn change(&mut self, number: u64, sets: Vec<Set>) {
        apply(&mut self.seen, &sets);
        self.unsynced.push(Change { number, sets });
    }

    /// The changes of `dir` up to `number` become durable, with what they cannot be told apart from: the other
    /// directory of a rename, and what happened there before.
    pub(super) fn sync(&mut self, dir: Ino, number: u64) {
        let mut dirs = BTreeSet::from([dir]);
        let mut done = Vec::new();
        let mut rest = Vec::new();
        for change in std::mem::take(&mut self.unsynced).into_iter().rev() {
            if change.number <= number && change.sets.iter().any(|set| dirs.contains(&set.dir)) {
                dirs.extend(change.sets.iter().map(|set| set.dir));
                done.push(change);
            } else {
                rest.push(change);
            }
        }
        rest.reverse();
        self.unsynced = rest;
        for change in done.into_iter().rev() {
            apply(&mut self.durable, &change.sets);
        }
    }

    /// Every change up to `number` becomes durable, in whatever directory.
    pub(super) fn sync_all(&mut self, number: u64) {
        let later = self.unsynced.partition_point(|change| change.number <= number);
        let rest = self.unsynced.split_off(later);
        for change in std::mem::replace(&mut self.unsynced, rest) {
            apply(&mut self.durable, &change.sets);
        }
    }

    /// A failed sync: the changes of `dir` up to `number` count as written and are not.
    pub(super) fn forget(&mut self, dir: Ino, number: u64) {
        self.unsynced.retain(|change| change.number > number || change.sets.iter().all(|set| set.dir != dir));
    }

    /// What a machine finds after the power came back. `Ordered` keeps the changes up to one of them, as a
    /// journalling file system does; `Random` any of them.
    pub(super) fn cut(&mut self, mode: Mode, chance: &mut Chance) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let end = chance.below(unsynced.len() as u64 + 1) as usize;
        let kept_percent = chance.pick(&[10, 50, 90]);
        for (at, change) in unsynced.iter().enumerate() {
            let is_kept = match mode {
                Mode::None => false,
                Mode::All => true,
                Mode::Ordered => at < end,
                Mode::Random => chance.is(kept_percent),
            };
            if is_kept {
                for moved in change.sets.iter().filter_map(|set| set.to) {
                    // An earlier rename may have been forgotten: the file must not be left with two names.
                    self.durable.values_mut().for_each(|table| table.retain(|_, ino| *ino != moved));
                }
                apply(&mut self.durable, &change.sets);
            }
        }
        self.seen = self.durable.clone();
    }

    /// Drop the tables of directories that are gone.
    pub(super) fn retain(&mut self, is_there: impl Fn(Ino) -> bool) {
        self.seen.retain(|&dir, _| is_there(dir));
        self.durable.retain(|&dir, _| is_there(dir));
    }

    /// Everything a cut may bring back, or that is there now.
    pub(super) fn referenced(&self) -> BTreeSet<Ino> {
        let tables =
            self.seen.values().chain(self.durable.values()).flat_map(|table| table.values().copied());
        let sets = self.unsynced.iter().flat_map(|change| &change.sets);
        tables.chain(sets.flat_map(|set| set.to.into_iter().chain([set.dir]))).collect()
    }

    /// How many changes a cut may forget.
    pub(super) fn unsynced(&self) -> u64 {
        self.unsynced.len() as u64
    }
}

fn apply(tables: &mut Tables, sets: &[Set]) {
    for set in sets {
        let table = tables.entry(set.dir).or_default();
        match set.to {
            Some(ino) => table.insert(set.name.clone(), ino),
            None => table.remove(&set.name),
        };
    }
}
