//! What a restart knows of syncs: it walks only what is not known to be synced, writes that again after an unclean
//! end, and never loses a valid record over what it believed.

use super::*;
use crate::Fault;

fn start(log: &Log, is_clean: bool) -> LogStart {
    LogStart { seq_min: 0, synced: Some(log.committed()), floor: None, is_clean }
}

fn reopen(disk: &FakeDisk, options: LogOptions, start: LogStart) -> (Log, Recovered) {
    Log::open(Arc::new(disk.clone()), &dir(), options, start).unwrap()
}

fn large() -> LogOptions {
    LogOptions { cache_bytes: 0, ..LogOptions::default() }
}

fn path(offset: u64) -> PathBuf {
    dir().join(format!("{offset:020}.log"))
}

fn flip(disk: &FakeDisk, path: &Path, place: usize) {
    let mut bytes = disk.content(path).unwrap();
    bytes[place] ^= 4;
    disk.put(path, &bytes);
}

fn found(log: &Log) -> Vec<u64> {
    contents(log, 300).records.iter().map(|(seq, _)| *seq).collect()
}

#[test]
fn what_is_known_to_be_synced_is_not_read_at_a_start() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, large(), 0);
    (0..50).for_each(|_| publish(&mut log, 1, 80));
    let known = start(&log, true);
    publish(&mut log, 2, 80);
    // Damage below the known place goes unseen at the start, and is met by the reader.
    flip(&disk, &path(0), HEADER_BYTES + 1000);
    let (log, recovered) = reopen(&disk, large(), known);
    assert_eq!((recovered.records, recovered.damaged_records, recovered.torn_bytes), (52, 0, 0));
    assert_eq!(log.committed(), Position { seq: 52, offset: 5200, ordinal: 52 });
    let read = contents(&log, 300);
    assert_eq!((read.records.len(), read.lost), (51, 1));
}

#[test]
fn a_place_that_cannot_be_right_is_not_believed() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, large(), 0);
    (0..9).for_each(|_| publish(&mut log, 2, 80));
    for wrong in [
        Position { seq: 3, offset: 300, ordinal: 3 },
        Position { seq: 4, offset: 250, ordinal: 4 },
        Position { seq: 5, offset: 400, ordinal: 4 },
        Position { seq: 6, offset: 400, ordinal: 6 },
    ] {
        for is_clean in [true, false] {
            let disk = disk.crash();
            let known = LogStart { seq_min: 0, synced: Some(wrong), floor: None, is_clean };
            let (log, recovered) = reopen(&disk, large(), known);
            assert_eq!(found(&log), (0..18).collect::<Vec<_>>(), "{wrong:?}");
            assert_eq!((recovered.damaged_bytes, recovered.torn_bytes), (0, 0), "{wrong:?}");
        }
    }
}

#[test]
fn a_log_that_ends_before_what_was_synced_has_a_hole_and_goes_on_behind() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 0);
    (0..8).for_each(|_| publish(&mut log, 1, 80));
    let known = start(&log, false);
    let whole = disk.content(&path(600)).unwrap();
    for (cut, left) in [(Some(HEADER_BYTES + 150), 7), (Some(HEADER_BYTES), 6), (Some(40), 6), (None, 6)] {
        let disk = disk.crash();
        match cut {
            Some(length) => disk.put(&path(600), &whole[..length]),
            None => disk.remove(&path(600)).unwrap(),
        }
        let (mut log, recovered) = reopen(&disk, small(), known);
        assert_eq!(recovered.damaged_records, 8 - left, "{cut:?}: {recovered:?}");
        assert!(log.committed() >= known.synced.unwrap());
        publish(&mut log, 1, 80);
        let (log, _) = reopen(&disk, small(), LogStart { is_clean: true, ..known });
        let read = contents(&log, 300);
        assert_eq!((read.records.len() as u64, read.lost), (left + 1, 8 - left), "{cut:?}");
        assert!(read.records.last().unwrap().0 >= 8, "{cut:?}");
    }
}

#[test]
fn a_missing_segment_is_counted_wherever_it_was() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 0);
    (0..12).for_each(|_| publish(&mut log, 1, 80));
    let known = LogStart { floor: Some((1, 100)), ..start(&log, false) };
    for (gone, damaged, missing) in [(0, 0, 2), (300, 3, 0), (600, 3, 0), (900, 3, 0)] {
        let disk = disk.crash();
        disk.remove(&path(gone)).unwrap();
        let (log, recovered) = reopen(&disk, small(), known);
        let counted = (recovered.damaged_records, recovered.missing_records);
        assert_eq!(counted, (damaged, missing), "without {gone}: {recovered:?}");
        assert_eq!(found(&log).len(), 9, "without {gone}");
    }
}

#[test]
fn an_unclean_end_has_its_unsynced_tail_written_again() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 0);
    (0..4).for_each(|_| publish(&mut log, 1, 80));
    log.take_unsynced().unwrap().sync().unwrap();
    let known = start(&log, false);
    (0..7).for_each(|_| publish(&mut log, 1, 80));
    let (log, recovered) = reopen(&disk, small(), known);
    assert_eq!((recovered.rewritten_bytes, recovered.is_rewrite_due), (700, false));
    assert_eq!(found(&log), (0..11).collect::<Vec<_>>());
    assert_eq!(log.syncable(), log.committed());
    // The old file ends where the new one begins, and all of it survives without another sync.
    assert_eq!(disk.content(&path(300)).unwrap().len(), HEADER_BYTES + 100);
    assert_eq!(disk.content(&path(400)).unwrap().len(), HEADER_BYTES + 200);
    for parent in ["/", "/data", "/data/topics"] {
        disk.sync_dir(&PathBuf::from(parent)).unwrap();
    }
    for seed in 0..20 {
        let (log, _) = reopen(&disk.power_cut(seed), small(), known);
        assert_eq!(found(&log), (0..11).collect::<Vec<_>>(), "seed {seed}");
    }
    // Nothing is left to do at the next.
    let (_, recovered) = reopen(&disk, small(), start(&log, false));
    assert_eq!(recovered.rewritten_bytes, 0);
}

#[test]
fn a_crash_at_any_call_of_writing_again_leaves_the_same_records() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 0);
    for parent in ["/", "/data", "/data/topics"] {
        disk.sync_dir(&PathBuf::from(parent)).unwrap();
    }
    (0..4).for_each(|_| publish(&mut log, 1, 80));
    log.take_unsynced().unwrap().sync().unwrap();
    let known = start(&log, false);
    (0..7).for_each(|_| publish(&mut log, 1, 80));
    // Synced, so that whatever a power cut finds is all there, wherever it is.
    log.take_unsynced().unwrap().sync().unwrap();
    for call in 1.. {
        let disk = disk.crash();
        disk.sync_all();
        disk.fail_at(disk.calls() + call, Fault::io().keeping(77).lasting());
        let result = Log::open(Arc::new(disk.clone()), &dir(), small(), known);
        for seed in 0..6 {
            let survivor = if seed == 0 { disk.crash() } else { disk.power_cut(seed) };
            let (log, recovered) = reopen(&survivor, small(), known);
            assert_eq!(found(&log), (0..11).collect::<Vec<_>>(), "call {call}, seed {seed}");
            assert_eq!(recovered.damaged_records, 0, "call {call}, seed {seed}");
            assert!(survivor.files().iter().all(|path| path.extension().is_some_and(|e| e == "log")));
        }
        if result.is_ok() {
            break;
        }
    }
}

#[test]
fn a_full_disk_delays_writing_again_until_the_first_commit_and_readers_go_on() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 0);
    (0..4).for_each(|_| publish(&mut log, 1, 80));
    let known = start(&log, false);
    (0..7).for_each(|_| publish(&mut log, 1, 80));
    disk.fail_at(disk.calls() + 1, Fault::full().keeping(90).lasting());
    let (mut log, recovered) = reopen(&disk, small(), known);
    assert_eq!((recovered.rewritten_bytes, recovered.is_rewrite_due), (0, true));
    assert_eq!(log.syncable(), known.synced.unwrap());
    assert_eq!(found(&log), (0..11).collect::<Vec<_>>());
    append(&mut log, 1, 80);
    assert!(log.commit().unwrap_err().is_full());
    let reader = log.reader(900).unwrap();
    disk.heal();
    publish(&mut log, 1, 80);
    assert_eq!(log.syncable(), log.committed());
    // A reader made before goes on with the file it had.
    assert_eq!(reader.read(100).unwrap().lost(), 0);
    assert_eq!(found(&log), (0..12).collect::<Vec<_>>());
    let (mut log, _) = reopen(&disk, small(), start(&log, true));
    assert_eq!(found(&log), (0..12).collect::<Vec<_>>());
    log.drop_below(500).unwrap();
    assert_eq!(log.start().seq, 4);
}

#[test]
fn a_dropped_segment_is_not_written_again() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 0);
    (0..7).for_each(|_| publish(&mut log, 1, 80));
    let unknown = LogStart { seq_min: 0, synced: Some(Position::default()), floor: None, is_clean: false };
    disk.fail_at(disk.calls() + 1, Fault::full().lasting());
    let (mut log, _) = reopen(&disk, small(), unknown);
    assert_eq!(log.drop_below(600).unwrap(), 2);
    disk.heal();
    publish(&mut log, 1, 80);
    assert_eq!(found(&log), [6, 7]);
}

#[test]
fn a_batch_that_a_power_cut_split_is_gone_as_a_whole_and_its_neighbours_are_not() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, large(), 0);
    publish(&mut log, 2, 80);
    let known = start(&log, false);
    [3, 1, 4, 2].into_iter().for_each(|count| publish(&mut log, count, 80));
    // Records 2 to 4, 5, 6 to 9, 10 and 11; each is 100 bytes.
    for (lost, left) in [
        (2, vec![0, 1, 5, 6, 7, 8, 9, 10, 11]),
        (4, vec![0, 1, 5, 6, 7, 8, 9, 10, 11]),
        (5, vec![0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]),
        (7, vec![0, 1, 2, 3, 4, 5, 10, 11]),
        (10, vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        (11, vec![0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
    ] {
        let disk = disk.crash();
        flip(&disk, &path(0), HEADER_BYTES + lost * 100 + 50);
        let (log, recovered) = reopen(&disk, large(), known);
        assert_eq!(found(&log), left, "without {lost}");
        assert_eq!(recovered.damaged_records, 0, "torn, not damaged");
        assert!(recovered.torn_bytes > 0);
        // A clean end and another start do not bring the rest of it back.
        let (log, _) = reopen(&disk, large(), start(&log, true));
        assert_eq!(found(&log), left, "without {lost}, later");
    }
}

#[test]
fn a_clean_end_is_not_believed_where_something_was_written_behind_it() {
    // A power cut may take the journal's word that another run began.
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, large(), 0);
    publish(&mut log, 2, 80);
    let known = start(&log, true);
    [3, 1].into_iter().for_each(|count| publish(&mut log, count, 80));
    flip(&disk, &path(0), HEADER_BYTES + 350);
    let (log, recovered) = reopen(&disk, large(), known);
    assert_eq!(found(&log), [0, 1, 5]);
    assert_eq!((recovered.damaged_records, recovered.rewritten_bytes), (0, 400));
}

#[test]
fn either_copy_of_a_header_is_enough_and_another_logs_file_is_none_of_ours() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 0);
    (0..5).for_each(|_| publish(&mut log, 1, 80));
    for place in [0, 3, 17, 48, HEADER_BYTES - 64, HEADER_BYTES - 1] {
        let disk = disk.crash();
        flip(&disk, &path(0), place);
        flip(&disk, &path(300), place);
        assert_eq!(found(&open(&disk, small(), 0).0), [0, 1, 2, 3, 4], "byte {place}");
    }
    // The same name, the same numbers, another topic.
    let other = PathBuf::from("/data/topics/other");
    let (mut theirs, _) = Log::open(Arc::new(disk.clone()), &other, small(), 0).unwrap();
    (0..5).for_each(|_| publish(&mut theirs, 1, 80));
    disk.put(&path(0), &disk.content(&other.join("00000000000000000000.log")).unwrap());
    let known = LogStart { floor: Some((0, 0)), ..start(&log, true) };
    let (log, recovered) = reopen(&disk, small(), known);
    assert_eq!(found(&log), [3, 4]);
    assert_eq!((recovered.quarantined.len(), recovered.missing_records), (1, 3));
}

#[test]
fn what_is_in_the_way_is_named_and_nothing_is_touched() {
    let disk = FakeDisk::default();
    publish(&mut open(&disk, small(), 0).0, 1, 10);
    disk.create_dir(&path(30)).unwrap();
    let error = Log::open(Arc::new(disk), &dir(), small(), 0).unwrap_err();
    assert_eq!(error.path, path(30));
    assert!(error.to_string().contains("move it away"), "{error}");
}

#[test]
fn damage_is_kept_for_a_human_also_when_its_segment_goes() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 0);
    (0..9).for_each(|_| publish(&mut log, 1, 80));
    flip(&disk, &path(300), HEADER_BYTES + 150);
    flip(&disk, &path(600), HEADER_BYTES + 50);
    // The last segment is walked at the start, the others when they are read.
    let (mut log, recovered) = open(&disk, small(), 0);
    assert_eq!((recovered.damaged_records, recovered.kept_bytes), (1, 100));
    assert_eq!(contents(&log, 300).lost, 2);
    log.drop_below(u64::MAX).unwrap();
    let kept = disk.content(&dir().join("damaged/00000000000000000400.bin")).unwrap();
    assert_eq!(kept.len(), 100);
    assert!(disk.content(&dir().join("damaged/00000000000000000600.bin")).is_some());
    assert_eq!(open(&disk, small(), 0).1.kept_bytes, 200);
}

#[test]
fn a_file_that_is_gone_while_it_is_needed_is_a_hole() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 40);
    (0..5).for_each(|_| publish(&mut log, 1, 80));
    disk.remove(&path(0)).unwrap();
    assert!(log.reader(100).unwrap().read(100).unwrap_err().is_missing());
    let hole = log.reader(100).unwrap().expecting(41).without_file();
    assert_eq!((hole.start(), hole.end(), hole.lost()), (100, 300, 2));
    assert_eq!(hole.record_at(100), Read::Damaged { next: None, next_seq: 43 });
}
