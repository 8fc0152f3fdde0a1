//! Freed space: what is kept is read, what is freed is a hole with a known end, and no start takes it for torn.

use super::*;
use crate::Fault;

const RECORD_BYTES: u64 = 1000;

/// Two full segments of 40 records and one more, all synced.
fn filled(disk: &FakeDisk) -> Log {
    let options = LogOptions { segment_bytes: 40 * RECORD_BYTES, ..small() };
    let (mut log, _) = open(disk, options, 0);
    (0..27).for_each(|_| publish(&mut log, 3, 980));
    log.take_unsynced().unwrap().sync().unwrap();
    log
}

/// A stretch of one record.
fn single(seq: u64) -> (u64, u64) {
    (seq * RECORD_BYTES, seq * RECORD_BYTES)
}

/// What is read at each record's offset of the first segment, as a consumer with a list of them does.
fn readable(log: &Log, seqs: impl Iterator<Item = u64>) -> Vec<u64> {
    let is_read = |seq: &u64| {
        let chunk = log.reader(seq * RECORD_BYTES).unwrap().read(100).unwrap();
        match chunk.record_at(seq * RECORD_BYTES) {
            Read::Record(record) => record.seq == *seq && record.payload == payload(*seq, 980),
            _ => false,
        }
    };
    seqs.filter(is_read).collect()
}

#[test]
fn what_is_kept_stays_and_the_rest_gives_its_space_back() {
    for keep in [vec![], vec![0], vec![7], vec![38], vec![3, 4, 20, 37]] {
        let disk = FakeDisk::default();
        let log = filled(&disk);
        let offsets: Vec<(u64, u64)> = keep.iter().map(|seq| single(*seq)).collect();
        let freed = log.punch(0, &offsets, log.committed()).unwrap().run().unwrap();
        let blocks = freed / 4096;
        assert!(blocks + 2 + 2 * keep.len() as u64 >= 10 && blocks <= 9, "{keep:?}: {blocks} blocks");
        let left = readable(&log, 0..39);
        assert!(keep.iter().all(|seq| left.contains(seq)), "{keep:?} of {left:?}");
        assert!(left.len() < 39);
        assert_eq!(readable(&log, 39..78).len(), 39, "another segment is not touched");
        assert!(disk.files().iter().all(|path| !path.starts_with(dir().join("damaged"))));
        // Again costs nothing, and later more can go.
        assert_eq!(log.punch(0, &offsets, log.committed()).unwrap().run().unwrap(), 0);
    }
}

#[test]
fn a_hole_tells_the_number_behind_it() {
    let disk = FakeDisk::default();
    let log = filled(&disk);
    log.punch(0, &[single(20)], log.committed()).unwrap().run().unwrap();
    // A few records share their blocks with the one that is kept.
    let chunk = log.reader(5 * RECORD_BYTES).unwrap().expecting(5).read(100).unwrap();
    let Read::Damaged { next: Some(next), next_seq } = chunk.record_at(5 * RECORD_BYTES) else {
        panic!("no hole: {chunk:?}")
    };
    assert!((17..=20).contains(&next_seq), "{next_seq}");
    assert_eq!((next, chunk.lost()), (next_seq * RECORD_BYTES, next_seq - 5));
    let chunk = log.reader(30 * RECORD_BYTES).unwrap().read(100).unwrap();
    // So do the last two with the segment's end, which may be in the middle of one.
    let next = Some(37 * RECORD_BYTES);
    assert_eq!(chunk.record_at(30 * RECORD_BYTES), Read::Damaged { next, next_seq: 37 });
}

#[test]
fn an_unclean_end_does_not_take_freed_space_for_a_split_batch_whatever_it_knows() {
    let disk = FakeDisk::default();
    let log = filled(&disk);
    let keep = [single(4), single(20)];
    log.punch(0, &keep, log.committed()).unwrap().run().unwrap();
    let committed = log.committed();
    let before = readable(&log, 0..39);
    for synced in [Some(committed), None, Some(Position::default())] {
        for is_clean in [false, true] {
            let disk = disk.crash();
            let start = LogStart { seq_min: 0, synced, floor: None, is_clean };
            let (log, recovered) = Log::open(Arc::new(disk), &dir(), log.options, start).unwrap();
            assert_eq!(readable(&log, 0..39), before, "{start:?}");
            assert_eq!(recovered.damaged_records, 0, "{start:?}");
        }
    }
}

#[test]
fn a_power_cut_that_takes_the_next_segment_leaves_the_freed_one_as_it_is() {
    let disk = FakeDisk::default();
    let mut log = filled(&disk);
    log.drop_below(39 * RECORD_BYTES).unwrap();
    log.punch(39 * RECORD_BYTES, &[single(50), single(60)], log.committed()).unwrap().run().unwrap();
    let synced = Position { seq: 78, offset: 78 * RECORD_BYTES, ordinal: 78 };
    disk.remove(&dir().join("00000000000000078000.log")).unwrap();
    let path = dir().join("00000000000000039000.log");
    for torn in [0, 1500] {
        for synced in [Some(synced), None] {
            let disk = disk.crash();
            let mut bytes = disk.content(&path).unwrap();
            bytes.resize(bytes.len() + torn, 7);
            disk.put(&path, &bytes);
            let start = LogStart { seq_min: 0, synced, floor: None, is_clean: false };
            let (log, recovered) = Log::open(Arc::new(disk), &dir(), log.options, start).unwrap();
            assert_eq!(readable(&log, [50, 60].into_iter()), [50, 60], "{torn} {synced:?}");
            assert_eq!(recovered.damaged_records, 0, "{torn} {synced:?}");
        }
    }
}

#[test]
fn what_is_not_full_or_not_synced_is_not_freed() {
    let disk = FakeDisk::default();
    let log = filled(&disk);
    assert!(log.punch(78 * RECORD_BYTES, &[], log.committed()).is_none(), "the last segment");
    let half = Position { offset: 38 * RECORD_BYTES, ..log.committed() };
    assert!(log.punch(0, &[], half).is_none(), "not all of it is synced");
    assert!(Log::in_memory(small(), 0).punch(0, &[], log.committed()).is_none());
    assert_eq!(log.segment_offsets().collect::<Vec<_>>(), [0, 39_000, 78_000]);
}

#[test]
fn freeing_that_fails_at_any_call_touches_nothing_that_is_kept() {
    for call in 1.. {
        let disk = FakeDisk::default();
        let log = filled(&disk);
        let keep = [4, 20, 30].map(single);
        let punch = log.punch(0, &keep, log.committed()).unwrap();
        disk.fail_at(disk.calls() + call, Fault::io().lasting());
        let result = punch.run();
        disk.heal();
        for seed in 0..5 {
            let disk = if seed == 0 { disk.crash() } else { disk.power_cut(seed) };
            let start = LogStart { seq_min: 0, synced: None, floor: None, is_clean: false };
            disk.create_dir(&dir()).unwrap();
            let (log, _) = Log::open(Arc::new(disk), &dir(), log.options, start).unwrap();
            if log.segment_count() == 3 {
                assert_eq!(readable(&log, [4, 20, 30].into_iter()), [4, 20, 30], "call {call}, seed {seed}");
            }
        }
        if result.is_ok() {
            break;
        }
    }
}

#[test]
fn a_stretch_is_kept_as_a_whole_also_where_it_leaves_the_segment() {
    let disk = FakeDisk::default();
    let log = filled(&disk);
    // Of the first segment the last nine, of the second the first eleven.
    let keep = [(30 * RECORD_BYTES, 49 * RECORD_BYTES), (60 * RECORD_BYTES, 62 * RECORD_BYTES)];
    for offset in [0, 39 * RECORD_BYTES] {
        log.punch(offset, &keep, log.committed()).unwrap().run().unwrap();
    }
    let left = readable(&log, 0..78);
    assert!((30..=49).chain(60..=62).all(|seq| left.contains(&seq)), "{left:?}");
    assert!([5, 20, 55, 70].iter().all(|seq| !left.contains(seq)), "{left:?}");
}

#[test]
fn a_record_that_cannot_be_read_keeps_all_behind_it() {
    let disk = FakeDisk::default();
    let log = filled(&disk);
    let path = dir().join("00000000000000000000.log");
    let mut bytes = disk.content(&path).unwrap();
    bytes[HEADER_BYTES + 10_050] ^= 1;
    disk.put(&path, &bytes);
    let keep = [single(10), single(30)];
    log.punch(0, &keep, log.committed()).unwrap().run().unwrap();
    let left = readable(&log, 0..39);
    assert!((11..=30).all(|seq| left.contains(&seq)), "{left:?}");
    assert!(!left.contains(&5) && !left.contains(&36), "{left:?}");
}
