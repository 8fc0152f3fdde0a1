//! Damage of every kind to files at rest: a flipped bit, 4 KiB of zeros, a file cut, missing, swapped with another, or
//! a folder in its place. A start finds what is there, or refuses and names the file; nothing is delivered that was
//! not written, what is lost lay in the damage, and it is said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::BufMut;

use super::look::{self, Opened};
use super::seeds;
use crate::fake_disk::{Dice, FakeDisk};
use crate::{Entry, ErrorKind};

/// How far from a flipped bit a record may be lost.
const REACH_BYTES: u64 = 32 * 1024;
/// Records of each cursor that are finished; the others are owed.
const FINISHED: u64 = 30;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Damage {
    Flip(PathBuf, usize),
    Zeros(PathBuf, usize),
    Cut(PathBuf, usize),
    Missing(PathBuf),
    Swapped(PathBuf, PathBuf),
    Folder(PathBuf),
}

/// A log at rest: what is in it, by number, with the offset.
struct Rest {
    disk: FakeDisk,
    records: BTreeMap<u64, (u64, Vec<u8>)>,
}

#[test]
fn damage_at_rest_costs_what_it_hit_and_is_told() {
    let mut checked = (0, 0);
    let rests: Vec<Rest> = (0..4).map(rest).collect();
    for seed in seeds(2_500) {
        let mut dice = Dice(seed);
        let rest = &rests[dice.below(rests.len())];
        let disk = rest.disk.crash();
        let damage = damage(&disk, &mut dice);
        let result = std::panic::catch_unwind(|| check(rest, &disk, &damage));
        match result {
            Ok(true) => checked.0 += 1,
            Ok(false) => checked.1 += 1,
            Err(_) => panic!(
                "seed {seed}: {damage:?}; repeat with: NSQUBE_SEEDS=1 NSQUBE_SEED_FROM={seed} cargo test -p storage rot"
            ),
        }
    }
    println!("{} damages opened, {} refused by name", checked.0, checked.1);
}

/// Two topics with the same numbers, several segments, two cursors, one of them emptied once.
///
/// Kinds: whether it ended well, and whether it is known to be synced, so that a start walks the last segment or not.
fn rest(kind: u64) -> Rest {
    let (is_closed, is_synced) = (kind.is_multiple_of(2), kind < 2);
    let disk = FakeDisk::default();
    let mut dice = Dice(kind);
    let mut records = BTreeMap::new();
    for topic in ["other", "t"] {
        let mut opened = look::open_topic(&disk, topic, 1000).unwrap();
        let start = opened.log.committed();
        for (id, name) in ["mail", "archive"].into_iter().enumerate() {
            opened.journal.note(Entry::CursorOpened { id: id as u32, name, at: start });
        }
        records.clear();
        for _ in 0..60 {
            let offset = opened.log.tail().offset;
            let payload: Vec<u8> = (0..dice.below(1500)).map(|_| dice.below(256) as u8).collect();
            let seq = opened.log.append(0, |_, to| to.put_slice(&payload));
            opened.log.commit().unwrap();
            records.insert(seq, (offset, payload));
        }
        finish_and_sync(&mut opened, is_closed, is_synced);
    }
    disk.sync_all();
    Rest { disk, records }
}

fn finish_and_sync(opened: &mut Opened, is_closed: bool, is_synced: bool) {
    let (log, journal) = (&mut opened.log, &mut opened.journal);
    for id in 0..2 {
        for seq in 1000..1000 + FINISHED {
            journal.note(Entry::Finished { id, ranges: &[seq..seq + 1, seq..seq + 1] });
            journal.flush().unwrap();
        }
    }
    log.take_unsynced().unwrap().sync().unwrap();
    if is_synced {
        journal.note(Entry::Synced { at: log.committed() });
    }
    if is_closed {
        journal.note(Entry::Closed);
    }
    journal.flush_durable().unwrap();
}

fn damage(disk: &FakeDisk, dice: &mut Dice) -> Damage {
    let ours = Path::new("/data/topics/t");
    let files: Vec<PathBuf> = disk.files().into_iter().filter(|path| path.starts_with(ours)).collect();
    let path = if dice.below(20) == 0 {
        PathBuf::from("/data/nsqube")
    } else {
        files[dice.below(files.len())].clone()
    };
    let mut bytes = disk.content(&path).unwrap();
    let place = dice.below(bytes.len());
    match dice.below(12) {
        0..5 => {
            bytes[place] ^= 1 << dice.below(8);
            disk.put(&path, &bytes);
            Damage::Flip(path, place)
        }
        5..8 => {
            let end = bytes.len().min(place + 4096);
            bytes[place..end].fill(0);
            disk.put(&path, &bytes);
            Damage::Zeros(path, place)
        }
        8 => {
            disk.put(&path, &bytes[..place]);
            Damage::Cut(path, place)
        }
        9 => {
            crate::Disk::remove(disk, &path).unwrap();
            Damage::Missing(path)
        }
        10 => {
            // With its like of the other topic, or with one of its neighbours.
            let theirs = Path::new("/data/topics/other").join(path.file_name().unwrap_or_default());
            let other = if dice.below(2) == 0 && disk.content(&theirs).is_some() {
                theirs
            } else {
                files[dice.below(files.len())].clone()
            };
            let others = disk.content(&other).unwrap();
            disk.put(&other, &bytes);
            disk.put(&path, &others);
            Damage::Swapped(path, other)
        }
        _ => {
            crate::Disk::remove(disk, &path).unwrap();
            crate::Disk::create_dir(disk, &path).unwrap();
            Damage::Folder(path)
        }
    }
}

/// True: it opened. False: it refused.
fn check(rest: &Rest, disk: &FakeDisk, damage: &Damage) -> bool {
    let before: Vec<_> = disk.files().into_iter().map(|path| (disk.content(&path), path)).collect();
    let opened = match look::open(disk, 5_000) {
        Ok(opened) => opened,
        Err(error) => {
            let is_named = damage.paths().contains(&error.path);
            let is_told =
                matches!(error.kind, ErrorKind::Foreign | ErrorKind::Io(std::io::ErrorKind::IsADirectory));
            assert!(is_named && is_told, "{error}");
            let after: Vec<_> = disk.files().into_iter().map(|path| (disk.content(&path), path)).collect();
            assert!(before == after, "refused, and something was touched: {error}");
            return false;
        }
    };
    for (seq, record) in &opened.found {
        assert_eq!(rest.records.get(seq), Some(record), "record {seq} is not what was written");
    }
    let lost: BTreeSet<u64> =
        rest.records.keys().copied().filter(|seq| !opened.found.contains_key(seq)).collect();
    damage.check_reach(rest, &lost);
    check_cursors(rest, &opened);
    check_told(rest, &opened, &lost);
    assert!(opened.log.tail().seq >= 1060, "numbers come again");
    true
}

/// No cursor is forgotten, and none has finished what it did not.
fn check_cursors(rest: &Rest, opened: &Opened) {
    for id in 0..2 {
        let cursor = opened.state.cursors.get(&id).unwrap_or_else(|| panic!("cursor {id} is forgotten"));
        let is_owed = |seq: u64| seq >= cursor.floor.0 && !cursor.finished.contains(seq);
        let owed = rest.records.keys().filter(|seq| **seq >= 1000 + FINISHED);
        let gone = owed.into_iter().find(|seq| !is_owed(**seq));
        assert_eq!(gone, None, "cursor {id} has not finished it");
    }
}

/// What is lost shows in a counter at the start, or as a hole when it is read.
fn check_told(rest: &Rest, opened: &Opened, lost: &BTreeSet<u64>) {
    // Without a word about syncs nobody knows how far the log had come.
    let is_tail = lost.iter().next().is_some_and(|first| rest.records.range(first..).count() == lost.len());
    if is_tail && opened.state.synced.is_none() {
        return;
    }
    let told = &opened.recovered;
    let at_start = told.damaged_records + told.torn_records + told.missing_records;
    let is_told = at_start + opened.holes >= lost.len() as u64 || !told.quarantined.is_empty();
    assert!(is_told, "lost {lost:?}, and told {told:?} and {} in holes", opened.holes);
}

impl Damage {
    fn paths(&self) -> Vec<PathBuf> {
        match self {
            Self::Flip(path, _) | Self::Zeros(path, _) | Self::Cut(path, _) => vec![path.clone()],
            Self::Missing(path) | Self::Folder(path) => vec![path.clone()],
            Self::Swapped(path, other) => vec![path.clone(), other.clone()],
        }
    }

    /// Only what the damage can have hit may be lost.
    fn check_reach(&self, rest: &Rest, lost: &BTreeSet<u64>) {
        for seq in lost {
            let (offset, payload) = &rest.records[seq];
            let is_hit = self.paths().iter().any(|path| {
                let Some((from, to)) = extent(rest, path) else { return false };
                let inside = (from..to).contains(offset);
                match self {
                    Self::Flip(_, place) | Self::Zeros(_, place) => {
                        let at = from + (*place as u64).saturating_sub(4224);
                        let (record_from, record_to) = (*offset, offset + 20 + payload.len() as u64);
                        inside && record_from < at + REACH_BYTES && at < record_to + REACH_BYTES
                    }
                    Self::Cut(_, place) => {
                        inside && offset + 20 + payload.len() as u64 + 4224 > from + *place as u64
                    }
                    _ => inside,
                }
            });
            assert!(is_hit, "record {seq} at {offset} was not where the damage was");
        }
        // The damaged record itself, and those that 4 KiB cover.
        let allowed = match self {
            Self::Flip(..) => 1,
            Self::Zeros(..) => 205,
            _ => usize::MAX,
        };
        assert!(lost.len() <= allowed, "{} records lost", lost.len());
    }
}

/// From where to where of the log a file reaches.
fn extent(rest: &Rest, path: &Path) -> Option<(u64, u64)> {
    let begins = |path: &Path| crate::segment::offset_in_name(path.file_name()?.to_str()?);
    let from = begins(path)?;
    let files = rest.disk.files();
    let later = files.iter().filter(|file| file.parent() == path.parent()).filter_map(|file| begins(file));
    Some((from, later.filter(|begin| *begin > from).min().unwrap_or(u64::MAX)))
}
