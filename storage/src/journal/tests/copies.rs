//! The journal and its copy: losing either costs messages that come again, never a cursor, and never brings back what
//! was closed or emptied.

use super::*;

/// Cursors `a` and `b` with progress, `c` closed, `b` emptied and paused; flushed.
fn written() -> FakeDisk {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    for entry in [
        Entry::Opened,
        Entry::CursorOpened { id: 0, name: "a", at: at(10) },
        Entry::CursorOpened { id: 1, name: "b", at: at(10) },
        Entry::CursorOpened { id: 2, name: "c", at: at(10) },
        Entry::Finished { id: 0, ranges: &[12..14, 15..16] },
        Entry::CursorClosed { id: 2 },
        Entry::Emptied { id: 1, at: at(40) },
        Entry::CursorPaused { id: 1, is_paused: true },
        Entry::Skipped { id: 0, from: at(20), to: at(25) },
        Entry::Durability { level: 2 },
        Entry::Paused { is_paused: true },
        Entry::Floor { id: 0, seq: 12, offset: 1200 },
        Entry::Visible { at: at(50) },
    ] {
        journal.note(entry);
        journal.flush().unwrap();
    }
    disk
}

fn names(state: &State) -> Vec<&str> {
    state.cursors.values().map(|cursor| cursor.name.as_str()).collect()
}

/// What no loss of one file may take.
fn check(disk: &FakeDisk, context: &str) {
    for life in 0..2 {
        let (mut journal, state) = open(disk);
        assert_eq!(names(&state), ["a", "b"], "{context}, life {life}");
        assert_eq!((state.next_cursor, state.durability), (3, Some(2)), "{context}, life {life}");
        assert_eq!(state.cursors[&1].floor, (40, 4000), "{context}, life {life}");
        assert_eq!(state.cursors[&0].skipped, [(at(20), at(25))], "{context}, life {life}");
        assert!(state.cursors[&0].floor.0 <= 12 && !state.cursors[&0].finished.contains(14), "{context}");
        journal.note(Entry::Opened);
        journal.flush().unwrap();
        assert!(!journal.has_pending());
    }
}

#[test]
fn either_file_may_be_gone() {
    for gone in [NAME, COPY_NAME] {
        let disk = written();
        disk.remove(&dir().join(gone)).unwrap();
        check(&disk, gone);
        assert_eq!(disk.files().len(), 2, "and is there again");
    }
    let disk = written();
    disk.remove(&dir().join(NAME)).unwrap();
    let (_, state) = open(&disk);
    assert!(state.damaged_frames == 1 && !state.is_clean && state.is_paused && state.cursors[&1].is_paused);
}

#[test]
fn either_file_may_be_cut_anywhere() {
    for cut_file in [NAME, COPY_NAME] {
        let disk = written();
        let path = dir().join(cut_file);
        let whole = disk.content(&path).unwrap();
        for length in 0..whole.len() {
            let disk = disk.crash();
            disk.put(&path, &whole[..length]);
            check(&disk, &format!("{cut_file} cut to {length}"));
        }
    }
}

#[test]
fn any_bit_of_either_file_may_flip_and_any_stretch_of_it_may_be_zeros() {
    for hit_file in [NAME, COPY_NAME] {
        let disk = written();
        let path = dir().join(hit_file);
        let whole = disk.content(&path).unwrap();
        for place in 0..whole.len() {
            for length in [0, 5, 60] {
                let disk = disk.crash();
                let mut bytes = whole.clone();
                let end = whole.len().min(place + length);
                bytes[place..end].fill(0);
                bytes[place] ^= if length == 0 { 2 } else { 0 };
                disk.put(&path, &bytes);
                check(&disk, &format!("{hit_file} hit at {place}, {length}"));
            }
        }
    }
}

#[test]
fn another_logs_journal_is_put_aside() {
    for swapped in [NAME, COPY_NAME] {
        let disk = written();
        let theirs = PathBuf::from("/data/topics/theirs");
        disk.create_dir(&theirs).unwrap();
        let (mut journal, _) = Journal::open(Arc::new(disk.clone()), &theirs).unwrap();
        journal.note(Entry::CursorOpened { id: 0, name: "a", at: at(900) });
        journal.flush().unwrap();
        let path = dir().join(swapped);
        disk.put(&path, &disk.content(&theirs.join(swapped)).unwrap());
        check(&disk, swapped);
        assert!(disk.content(&dir().join(format!("{swapped}.bad0"))).is_some());
    }
}

#[test]
fn without_both_files_the_segments_tell_that_something_is_lost() {
    let disk = written();
    disk.remove(&dir().join(NAME)).unwrap();
    disk.remove(&dir().join(COPY_NAME)).unwrap();
    assert_eq!(open(&disk).1, State::default(), "an empty folder is a new log");
    disk.put(&dir().join("00000000000000000000.log"), b"x");
    let (journal, state) = open(&disk);
    assert!(state.damaged_frames == 1 && state.cursors.is_empty() && journal.has_pending());
}

#[test]
fn what_an_earlier_run_flushed_is_synced_with_the_next_sync() {
    let disk = written();
    for parent in ["/", "/data", "/data/topics"] {
        disk.sync_dir(&PathBuf::from(parent)).unwrap();
    }
    let (journal, state) = open(&disk);
    journal.sync_target().unwrap().sync_data().unwrap();
    assert_eq!(open(&disk.power_cut_losing_all()).1, state);
}

#[test]
fn a_sync_that_fails_condemns_what_was_written() {
    let disk = written();
    disk.sync_all();
    let (mut journal, _) = open(&disk);
    journal.note(Entry::CursorOpened { id: 3, name: "late", at: at(60) });
    for call in 1..40 {
        disk.fail_at(disk.calls() + call, Fault::io());
        if journal.flush_durable().is_ok() && disk.calls() > call {
            break;
        }
    }
    disk.heal();
    journal.flush_durable().unwrap();
    assert_eq!(names(&open(&disk.power_cut_losing_all()).1), ["a", "b", "late"]);
}

#[test]
fn a_sync_that_failed_is_not_made_good_by_another() {
    let disk = written();
    let (mut journal, _) = open(&disk);
    journal.note(Entry::Opened);
    journal.flush().unwrap();
    journal.note(Entry::CursorClosed { id: 0 });
    journal.flush().unwrap();
    let (files, again) = (journal.sync_target().unwrap(), journal.sync_target().unwrap());
    disk.fail_at(disk.calls() + 1, Fault::io());
    files.sync_data().unwrap_err();
    disk.heal();
    again.sync_data().unwrap_err();
    journal.sync_target().unwrap().sync_data().unwrap_err();
    // Only a new file is.
    journal.flush_durable().unwrap_err();
    journal.flush_durable().unwrap();
    assert_eq!(&open(&disk.power_cut_losing_all()).1.cursors, &journal.state().cursors);
}

#[test]
fn what_a_failed_sync_dropped_is_written_again_after_an_unclean_end() {
    let disk = written();
    disk.sync_all();
    let (mut journal, _) = open(&disk);
    journal.note(Entry::CursorOpened { id: 3, name: "late", at: at(60) });
    journal.flush().unwrap();
    disk.fail_at(disk.calls() + 1, Fault::io());
    journal.sync_target().unwrap().sync_data().unwrap_err();
    // The page cache still shows it to the next run, which promises it to clients.
    let disk = disk.crash();
    let (mut journal, state) = open(&disk);
    assert_eq!(names(&state), ["a", "b", "late"]);
    journal.note(Entry::Opened);
    journal.flush().unwrap();
    journal.sync_target().unwrap().sync_data().unwrap();
    assert_eq!(names(&open(&disk.power_cut_losing_all()).1), ["a", "b", "late"]);
}

#[test]
fn a_long_copy_is_replaced_by_a_snapshot() {
    let disk = disk();
    let (mut journal, _) = open(&disk);
    for id in 0..5_000 {
        journal.note(Entry::CursorOpened { id, name: "busy", at: at(1) });
        journal.note(Entry::CursorClosed { id });
    }
    journal.flush().unwrap();
    journal.note(Entry::CursorOpened { id: 5_000, name: "last", at: at(1) });
    journal.flush().unwrap();
    assert!(disk.content(&dir().join(COPY_NAME)).unwrap().len() < 200);
    disk.remove(&dir().join(NAME)).unwrap();
    assert_eq!(names(&open(&disk).1), ["last"]);
}
