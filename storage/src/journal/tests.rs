//! The journal on a disk that fails: what was flushed is known after a restart, what was noted is never
//! overstated, and a journal of any length comes to the same state as its snapshot.

mod copies;

use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::fake_disk::{FakeDisk, Fault};
use crate::log::Position;

fn dir() -> PathBuf {
    PathBuf::from("/data/topics/t")
}

fn disk() -> FakeDisk {
    let disk = FakeDisk::default();
    disk.create_dir(&dir()).unwrap();
    disk
}

fn open(disk: &FakeDisk) -> (Journal, State) {
    Journal::open(Arc::new(disk.clone()), &dir()).unwrap()
}

fn at(seq: u64) -> Position {
    Position { seq, offset: seq * 100, ordinal: seq }
}

/// Two cursors and one of everything, flushed after each entry.
fn script(journal: &mut Journal, mut after_flush: impl FnMut(&Journal, Result<(), StorageError>)) {
    let ranges = [12..14, 20..30, 13..17];
    let entries = [
        Entry::Opened,
        Entry::CursorOpened { id: 0, name: "archive", at: at(10) },
        Entry::CursorOpened { id: 1, name: "mail", at: at(10) },
        Entry::CursorPaused { id: 1, is_paused: true },
        Entry::Delivered { id: 0, seq: 25 },
        Entry::Pending { id: 0, seq: 11, offset: 1100, attempts: 2, due_ns: Some(-5) },
        Entry::Pending { id: 0, seq: 15, offset: 1500, attempts: 3, due_ns: None },
        Entry::Finished { id: 0, ranges: &ranges },
        Entry::Pending { id: 0, seq: 21, offset: 2100, attempts: 4, due_ns: Some(i64::MAX) },
        Entry::Skipped { id: 0, from: at(40), to: at(50) },
        Entry::Paused { is_paused: true },
        Entry::Visible { at: at(60) },
        Entry::Floor { id: 0, seq: 13, offset: 1300 },
        Entry::Floor { id: 0, seq: 12, offset: 1200 },
        Entry::CursorOpened { id: 2, name: "gone", at: at(60) },
        Entry::CursorClosed { id: 2 },
        Entry::Emptied { id: 1, at: at(55) },
        Entry::Closed,
    ];
    for entry in entries {
        journal.note(entry);
        let result = journal.flush();
        after_flush(journal, result);
    }
}

#[test]
fn a_journal_comes_to_what_its_entries_say() {
    let disk = disk();
    let (mut journal, state) = open(&disk);
    assert_eq!(state, State::default());
    script(&mut journal, |_, result| result.unwrap());
    let (journal, state) = open(&disk);
    assert_eq!(&state, journal.state());
    assert!(state.is_clean && state.is_paused && !journal.has_pending());
    assert_eq!((state.visible, state.next_cursor), (Some(at(60)), 3));
    let archive = &state.cursors[&0];
    assert_eq!((archive.name.as_str(), archive.floor, archive.delivered), ("archive", (13, 1300), 25));
    assert_eq!(archive.finished.iter().collect::<Vec<_>>(), [13..17, 20..30]);
    assert!(archive.pending.is_empty(), "finished or below the floor: {:?}", archive.pending);
    assert_eq!(archive.skipped, [(at(40), at(50))]);
    let mail = &state.cursors[&1];
    assert_eq!((mail.floor, mail.delivered, mail.is_paused), ((55, 5500), 55, true));
    assert_eq!(state.cursors.len(), 2);
}

#[test]
fn what_was_passed_untouched_costs_a_range_until_it_is_delivered_or_finished() {
    let (mut journal, _) = open(&disk());
    journal.note(Entry::CursorOpened { id: 0, name: "a", at: at(10) });
    let mut check = |entry: Entry<'_>, left: &[(u64, u64)]| {
        journal.note(entry);
        let cursor = &journal.state().cursors[&0];
        let ranges = cursor.untouched.iter().map(|range| (range.start, range.end));
        assert_eq!(ranges.collect::<Vec<_>>(), left, "{entry:?}");
    };
    let pending = |attempts| Entry::Pending { id: 0, seq: 20, offset: 1, attempts, due_ns: Some(5) };
    check(Entry::Untouched { id: 0, ranges: &[0..500_000, 500_000..1_000_000] }, &[(10, 1_000_000)]);
    check(pending(0), &[(10, 1_000_000)]);
    check(pending(1), &[(10, 20), (21, 1_000_000)]);
    check(Entry::Finished { id: 0, ranges: &[30..35, 35..40] }, &[(10, 20), (21, 30), (40, 1_000_000)]);
    check(Entry::Floor { id: 0, seq: 35, offset: 1 }, &[(40, 1_000_000)]);
    check(Entry::Untouched { id: 0, ranges: &[0..45, 44..45] }, &[(40, 1_000_000)]);
    check(Entry::Emptied { id: 0, at: at(2_000_000) }, &[]);
}

#[test]
fn what_is_known_of_syncs_and_durability_comes_back() {
    let disk = disk();
    let (mut journal, state) = open(&disk);
    assert_eq!((state.synced, state.durability), (None, None));
    journal.note(Entry::Durability { level: 2 });
    journal.note(Entry::Closed);
    journal.note(Entry::Synced { at: at(7) });
    journal.flush().unwrap();
    let (_, state) = open(&disk);
    assert_eq!((state.synced, state.durability, state.is_clean), (Some(at(7)), Some(2), true));
}

#[test]
fn numbers_never_fall_behind_what_the_journal_has_seen() {
    let (mut journal, state) = open(&disk());
    assert_eq!(state.seq_min(), 0);
    let entries = [
        (Entry::Visible { at: at(5) }, 5),
        (Entry::CursorOpened { id: 0, name: "a", at: at(7) }, 7),
        (Entry::Delivered { id: 0, seq: 9 }, 9),
        (Entry::Pending { id: 0, seq: 11, offset: 1100, attempts: 1, due_ns: None }, 12),
        (Entry::Finished { id: 0, ranges: &[13..15, 11..12] }, 15),
        (Entry::Skipped { id: 0, from: at(1), to: at(20) }, 20),
        (Entry::Floor { id: 0, seq: 30, offset: 1 }, 30),
    ];
    for (entry, seq) in entries {
        journal.note(entry);
        assert_eq!(journal.state().seq_min(), seq, "{entry:?}");
    }
}

#[test]
fn the_end_is_clean_only_if_closed_was_the_last_word() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    journal.note(Entry::Closed);
    journal.flush_durable().unwrap();
    let (mut journal, state) = open(&disk);
    assert!(state.is_clean);
    journal.note(Entry::Opened);
    journal.flush().unwrap();
    assert!(!open(&disk).1.is_clean);
}

#[test]
fn a_kill_at_any_call_leaves_what_was_flushed() {
    for keep in [0, 5, 13] {
        for call in 2.. {
            let disk = disk();
            disk.fail_at(call, Fault::io().keeping(keep).lasting());
            let mut flushed = 0;
            let mut noted = vec![State::default()];
            if let Ok((mut journal, _)) = Journal::open(Arc::new(disk.clone()), &dir()) {
                script(&mut journal, |journal, result| {
                    noted.push(journal.state().clone());
                    if result.is_ok() {
                        flushed = noted.len() - 1;
                    }
                });
            }
            let is_over = disk.calls() < call;
            let disk = disk.crash();
            let (mut journal, state) = open(&disk);
            // A write that was cut may have brought the whole entry: one more is fine, anything else is not.
            let allowed = noted.iter().skip(flushed).take(2);
            assert!(allowed.into_iter().any(|noted| *noted == state), "killed at call {call} keeping {keep}");
            // The next life writes behind it, or over what is torn, and is found again.
            journal.note(Entry::CursorOpened { id: 9, name: "late", at: at(1) });
            journal.flush().unwrap();
            let state = journal.state().clone();
            assert_eq!(open(&disk).1, state);
            if is_over {
                break;
            }
        }
    }
}

#[test]
fn a_failed_flush_keeps_what_was_noted_for_the_next() {
    for fault in [Fault::io(), Fault::full(), Fault::io().keeping(7), Fault::full().keeping(7)] {
        for call in 3.. {
            let disk = disk();
            let (mut journal, _) = open(&disk);
            disk.fail_at(call, fault);
            script(&mut journal, |_, _| {});
            let is_over = disk.calls() < call;
            disk.heal();
            journal.flush().unwrap();
            assert!(!journal.has_pending());
            assert_eq!(&open(&disk.crash()).1, journal.state(), "{fault:?} at call {call}");
            if is_over {
                break;
            }
        }
    }
}

#[test]
fn a_long_journal_is_replaced_by_a_snapshot_and_a_kill_on_the_way_loses_nothing() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    script(&mut journal, |_, result| result.unwrap());
    for seq in 0..85_000 {
        journal.note(Entry::Delivered { id: 1, seq: 100 + seq });
        if seq % 5000 == 0 {
            journal.flush().unwrap();
        }
    }
    let state = journal.state().clone();
    let path = dir().join(NAME);
    let before = disk.content(&path).unwrap().len();
    assert!(before > 900_000, "{before} bytes");
    for call in 1..=9 {
        let disk = disk.crash();
        let (mut journal, _) = open(&disk);
        journal.note(Entry::Delivered { id: 1, seq: 100 + 85_000 });
        (0..10_000).for_each(|_| journal.note(Entry::CursorPaused { id: 1, is_paused: true }));
        let noted = journal.state().clone();
        disk.fail_at(disk.calls() + call, Fault::io().keeping(100).lasting());
        let is_flushed = journal.flush().is_ok();
        let survivor = disk.crash();
        let (_, found) = open(&survivor);
        // What a killed snapshot left is in nobody's way.
        let (mut next, _) = open(&survivor);
        next.main.is_condemned = true;
        next.flush().unwrap();
        assert_eq!(open(&survivor).1, found);
        assert!(found == noted || (!is_flushed && found.cursors[&1].delivered < 85_099), "call {call}");
        if is_flushed {
            assert!(survivor.content(&path).unwrap().len() < 1000, "the snapshot is short");
            disk.heal();
            journal.note(Entry::Delivered { id: 0, seq: 90_000 });
            journal.flush().unwrap();
            assert_eq!(&open(&disk).1, journal.state());
        }
    }
    journal.flush().unwrap();
    assert_eq!(open(&disk).1, state);
}

#[test]
fn entries_that_cannot_be_written_do_not_pile_up_in_memory() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    script(&mut journal, |_, result| result.unwrap());
    disk.fail_at(disk.calls() + 1, Fault::full().lasting());
    for seq in 0..200_000 {
        journal.note(Entry::Delivered { id: 0, seq });
    }
    assert!(journal.flush().unwrap_err().is_full());
    assert!(journal.main.buffer.capacity() < 3 * file::BUFFER_BYTES_MAX);
    disk.heal();
    journal.flush().unwrap();
    assert_eq!(&open(&disk).1, journal.state());
}

#[test]
fn damage_costs_the_entries_it_hits_and_is_written_out_of_the_file() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    script(&mut journal, |_, result| result.unwrap());
    let path = dir().join(NAME);
    let whole = disk.content(&path).unwrap();
    for place in 8..whole.len() {
        let disk = disk.crash();
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        disk.put(&path, &bytes);
        let (mut journal, state) = open(&disk);
        assert!(journal.has_pending(), "byte {place} went unnoticed");
        assert!(state.cursors.len() >= 2 || (state.next_cursor == 3 && !state.cursors.is_empty()));
        journal.note(Entry::Opened);
        journal.flush().unwrap();
        let (journal, state) = open(&disk);
        assert_eq!((state.damaged_frames, journal.has_pending()), (0, false));
    }
}

#[test]
fn foreign_and_newer_journals_are_refused_untouched() {
    let mut newer = [b"NSQBEjnl".as_slice(), &7u32.to_le_bytes()].concat();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&newer), &[7; 16]);
    newer.extend([crc.to_le_bytes().as_slice(), &[7; 16]].concat());
    let newer_kind = ErrorKind::Newer { found: 7, known: 1 };
    for (bytes, kind) in [(b"-- systemd journal".to_vec(), ErrorKind::Foreign), (newer, newer_kind)] {
        let disk = disk();
        let path = dir().join(NAME);
        disk.put(&path, &bytes);
        let error = Journal::open(Arc::new(disk.clone()), &dir()).unwrap_err();
        assert_eq!((error.kind, &error.path), (kind, &path));
        assert_eq!(disk.content(&path).unwrap(), bytes);
    }
}

#[test]
fn after_a_power_cut_what_was_flushed_durably_is_there() {
    for seed in 0..200 {
        let disk = disk();
        for parent in ["/", "/data", "/data/topics"] {
            disk.sync_dir(&PathBuf::from(parent)).unwrap();
        }
        let (mut journal, _) = open(&disk);
        journal.note(Entry::CursorOpened { id: 0, name: "a", at: at(1) });
        journal.flush_durable().unwrap();
        script(&mut journal, |_, result| result.unwrap());
        if seed % 2 == 0 {
            // A snapshot must not take the place of what was durable before it is so itself.
            journal.main.is_condemned = true;
            journal.flush().unwrap();
        }
        let (_, state) = open(&disk.power_cut(seed));
        assert!(state.cursors.contains_key(&0), "seed {seed}");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Note(u32, u8, u64, u64),
    Flush,
    Reopen,
}

/// An entry from a few numbers.
fn note(journal: &mut Journal, (id, kind, a, b): (u32, u8, u64, u64)) {
    let ranges = [a..a + b % 9, a + 20..a + 20 + b % 5];
    journal.note(match kind {
        0 => Entry::CursorOpened { id, name: "c", at: at(a) },
        1 => Entry::CursorClosed { id },
        2 => Entry::CursorPaused { id, is_paused: b.is_multiple_of(2) },
        3 => Entry::Floor { id, seq: a, offset: a * 100 },
        4 => Entry::Delivered { id, seq: a + b },
        5 => Entry::Pending {
            id,
            seq: a,
            offset: a * 100,
            attempts: b as u16,
            due_ns: b.is_multiple_of(2).then_some(b as i64),
        },
        6 => Entry::Skipped { id, from: at(a), to: at(a + b) },
        7 => Entry::Emptied { id, at: at(a) },
        8 => Entry::Paused { is_paused: b.is_multiple_of(2) },
        9 => Entry::Visible { at: at(a) },
        10 => Entry::Closed,
        11 => Entry::Untouched { id, ranges: &ranges },
        12 => Entry::Synced { at: at(a) },
        13 => Entry::Durability { level: b as u8 },
        _ => Entry::Finished { id, ranges: &ranges },
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_snapshot_comes_to_the_same_state_as_the_entries(steps in prop::collection::vec(prop_oneof![
        8 => (0u32..4, 0u8..17, 0u64..80, 0u64..40).prop_map(|(id, kind, a, b)| Step::Note(id, kind, a, b)),
        2 => Just(Step::Flush),
        1 => Just(Step::Reopen),
    ], 1..80)) {
        let disk = disk();
        let (mut journal, _) = open(&disk);
        for step in steps {
            match step {
                Step::Note(id, kind, a, b) => note(&mut journal, (id, kind, a, b)),
                Step::Flush => journal.flush().unwrap(),
                Step::Reopen => {
                    journal.flush().unwrap();
                    let before = journal.state().clone();
                    let (reopened, state) = open(&disk);
                    prop_assert_eq!(&state, &before);
                    journal = reopened;
                    // And the same from its snapshot.
                    journal.main.is_condemned = true;
                    journal.flush().unwrap();
                    prop_assert_eq!(&open(&disk).1, &before);
                }
            }
            for cursor in journal.state().cursors.values() {
                prop_assert!(cursor.finished.iter().all(|range| range.start >= cursor.floor.0));
                prop_assert!(cursor.pending.keys().all(|seq| *seq >= cursor.floor.0));
                prop_assert!(cursor.pending.keys().all(|seq| !cursor.finished.contains(*seq)));
                for seq in cursor.untouched.iter().flatten() {
                    prop_assert!(seq >= cursor.floor.0 && !cursor.finished.contains(seq));
                    prop_assert!(cursor.pending.get(&seq).is_none_or(|pending| pending.attempts == 0));
                }
            }
        }
    }
}

#[test]
fn what_is_written_after_a_sync_was_prepared_is_not_taken_for_synced() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    journal.note(Entry::Opened);
    journal.flush().unwrap();
    let prepared = journal.sync_target().unwrap();
    journal.note(Entry::Paused { is_paused: true });
    journal.flush().unwrap();
    prepared.was_synced();
    let calls = disk.calls();
    journal.sync_target().unwrap().sync_data().unwrap();
    assert!(disk.calls() > calls, "the second write still needs its sync");
    let calls = disk.calls();
    journal.sync_target().unwrap().sync_data().unwrap();
    assert_eq!(disk.calls(), calls);
}
