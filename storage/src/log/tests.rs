//! The log by itself: what is appended is found again, in order, wherever it lies. Crashes and failing disks are
//! in `faults`, random sequences in `model`.

mod faults;
mod model;
mod punching;
mod restart;

use std::path::PathBuf;

use bytes::BufMut;

use super::*;
use crate::chunk::Read;
use crate::error::ErrorKind;
use crate::fake_disk::FakeDisk;
use crate::segment::HEADER_BYTES;

/// What is found when a whole log is read.
#[derive(Debug, Default, PartialEq, Eq)]
struct Contents {
    records: Vec<(u64, Vec<u8>)>,
    /// How many times damage had to be stepped over.
    holes: usize,
    /// How many records were in it.
    lost: u64,
}

fn dir() -> PathBuf {
    PathBuf::from("/data/topics/t")
}

/// Segments of a few records, and nothing cached: every read goes to the disk.
fn small() -> LogOptions {
    LogOptions { segment_bytes: 336, cache_bytes: 0, record_bytes_max: 1024 }
}

fn open(disk: &FakeDisk, options: LogOptions, seq_min: u64) -> (Log, Recovered) {
    Log::open(Arc::new(disk.clone()), &dir(), options, seq_min).unwrap()
}

fn payload(seq: u64, bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (seq as usize * 31 + i * 7) as u8).collect()
}

/// Append a batch of records whose payloads follow from their numbers.
fn append(log: &mut Log, count: u32, bytes: usize) {
    for left in (0..count).rev() {
        log.append(left, |seq, to| to.put_slice(&payload(seq, bytes)));
    }
}

fn publish(log: &mut Log, count: u32, bytes: usize) {
    append(log, count, bytes);
    log.commit().unwrap();
}

fn chunk_at(log: &Log, offset: u64, bytes: usize) -> Chunk {
    let cached = log.cached(offset);
    cached.unwrap_or_else(|| log.reader(offset).expect("inside the log").read(bytes).unwrap())
}

/// Read everything from the start, and check what must hold on the way.
fn contents(log: &Log, bytes: usize) -> Contents {
    let mut found = Contents::default();
    let mut offset = log.start().offset;
    while offset < log.committed().offset {
        let chunk = chunk_at(log, offset, bytes);
        assert!(chunk.contains(offset) && chunk.end() <= log.committed().offset, "{chunk:?} at {offset}");
        loop {
            match chunk.record_at(offset) {
                Read::Record(record) => {
                    assert!(record.next > offset && record.next <= chunk.end());
                    found.records.push((record.seq, record.payload.to_vec()));
                    offset = record.next;
                }
                Read::Damaged { next, .. } => {
                    found.holes += 1;
                    found.lost += chunk.lost();
                    offset = next.unwrap_or(chunk.end());
                }
                Read::Outside => break,
            }
        }
    }
    found
}

fn seqs(log: &Log) -> Vec<u64> {
    let found = contents(log, 300);
    for (seq, stored) in &found.records {
        assert_eq!(*stored, payload(*seq, stored.len()), "record {seq}");
    }
    assert_eq!(found.holes, 0);
    found.records.iter().map(|(seq, _)| *seq).collect()
}

#[test]
fn committed_records_are_read_back_in_order_from_memory_and_from_disk() {
    for cache_bytes in [0, 200, 1 << 20] {
        let disk = FakeDisk::default();
        let (mut log, _) = open(&disk, LogOptions { cache_bytes, ..small() }, 1000);
        for count in [1, 3, 2, 1, 1, 4] {
            publish(&mut log, count, 30);
        }
        assert_eq!(seqs(&log), (1000..1012).collect::<Vec<_>>(), "cache of {cache_bytes}");
        assert_eq!(log.committed(), Position { seq: 1012, offset: 12 * 50, ordinal: 12 });
        assert_eq!(log.bytes(), 600);
    }
}

#[test]
fn appended_records_cannot_be_read_before_the_commit_and_can_be_discarded() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, LogOptions::default(), 5);
    append(&mut log, 2, 10);
    assert!(log.has_pending());
    assert_eq!((log.tail().seq, log.committed().seq), (7, 5));
    assert!(log.cached(0).is_none() && log.reader(0).is_none());
    log.discard();
    assert_eq!(log.tail(), log.committed());
    publish(&mut log, 1, 10);
    assert_eq!(seqs(&log), [5]);
}

#[test]
fn a_commit_is_one_write() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, LogOptions::default(), 0);
    publish(&mut log, 1, 10);
    let before = disk.calls();
    append(&mut log, 50, 100);
    append(&mut log, 1, 100);
    log.commit().unwrap();
    assert_eq!(disk.calls() - before, 1);
    log.commit().unwrap();
    assert_eq!(disk.calls() - before, 1, "nothing appended, nothing written");
}

#[test]
fn a_batch_never_spans_two_segments() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 0);
    publish(&mut log, 5, 30);
    // 250 + 150 bytes would be too long: a new segment begins, in the middle of one commit.
    append(&mut log, 1, 30);
    append(&mut log, 3, 30);
    log.commit().unwrap();
    assert_eq!(log.segment_count(), 2);
    assert_eq!(disk.content(&dir().join("00000000000000000000.log")).unwrap().len(), HEADER_BYTES + 300);
    assert_eq!(disk.content(&dir().join("00000000000000000300.log")).unwrap().len(), HEADER_BYTES + 150);
    // Longer than any segment: it gets one for itself.
    publish(&mut log, 20, 30);
    publish(&mut log, 1, 30);
    assert_eq!(log.segment_count(), 4);
    assert_eq!(seqs(&log), (0..30).collect::<Vec<_>>());
    let (log, recovered) = open(&disk, small(), 0);
    assert_eq!(recovered, Recovered { records: 30, ..Recovered::default() });
    assert_eq!(seqs(&log), (0..30).collect::<Vec<_>>());
}

#[test]
fn a_log_goes_on_densely_or_at_the_number_asked_for() {
    let disk = FakeDisk::default();
    publish(&mut open(&disk, small(), 100).0, 3, 10);
    let (mut log, _) = open(&disk, small(), 0);
    publish(&mut log, 1, 10);
    assert_eq!(log.segment_count(), 1);
    let (mut log, _) = open(&disk, small(), 50);
    publish(&mut log, 1, 10);
    let (mut log, _) = open(&disk, small(), 5000);
    assert_eq!(log.tail(), Position { seq: 5000, offset: 150, ordinal: 5 });
    publish(&mut log, 2, 10);
    assert_eq!(log.segment_count(), 2, "numbers jump only where a segment begins");
    let (log, _) = open(&disk, small(), 0);
    assert_eq!(seqs(&log), [100, 101, 102, 103, 104, 5000, 5001]);
    for (seq, ordinal) in [(0, 0), (100, 0), (104, 4), (105, 5), (4999, 5), (5000, 5), (5001, 6), (9999, 7)] {
        assert_eq!(log.ordinal_of(seq), ordinal, "seq {seq}");
    }
}

#[test]
fn an_empty_segment_makes_place_for_one_with_higher_numbers() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 7);
    // A kill between the header and the records leaves an empty segment.
    let calls = disk.calls();
    disk.fail_at(calls + 3, crate::Fault::io().lasting());
    append(&mut log, 1, 10);
    log.commit().unwrap_err();
    let disk = disk.crash();
    assert_eq!(disk.files().len(), 1);
    let (mut log, recovered) = open(&disk, small(), 900);
    assert_eq!(recovered, Recovered::default());
    publish(&mut log, 2, 10);
    assert_eq!(seqs(&open(&disk, small(), 0).0), [900, 901]);
    assert_eq!(disk.files().len(), 1);
}

#[test]
fn whole_segments_below_an_offset_are_dropped_but_never_the_last() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 0);
    (0..20).for_each(|_| publish(&mut log, 1, 80));
    assert_eq!(log.segment_count(), 7);
    assert_eq!(log.drop_below(299), Ok(0));
    assert_eq!(log.drop_below(900), Ok(3));
    assert_eq!(log.start(), Position { seq: 9, offset: 900, ordinal: 9 });
    assert_eq!(log.ordinal_of(3), 9, "below the start is the start");
    assert!(log.reader(600).is_none());
    assert_eq!(log.drop_below(u64::MAX), Ok(3));
    assert_eq!((log.segment_count(), disk.files().len()), (1, 1));
    let (log, recovered) = open(&disk, small(), 0);
    assert_eq!((log.start().ordinal, recovered.records), (18, 2));
    assert_eq!(seqs(&log), [18, 19]);
}

#[test]
fn a_reader_outlives_its_segment_as_an_error_not_as_wrong_data() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 0);
    (0..8).for_each(|_| publish(&mut log, 1, 80));
    let reader = log.reader(0).unwrap();
    log.drop_below(u64::MAX).unwrap();
    assert!(reader.read(1000).unwrap_err().is_missing());
}

#[test]
fn records_longer_than_a_read_are_read_whole() {
    let disk = FakeDisk::default();
    let options = LogOptions { cache_bytes: 0, record_bytes_max: 1000, ..LogOptions::default() };
    let (mut log, _) = open(&disk, options, 0);
    for bytes in [10, 3000, 0, 700_000, 5] {
        publish(&mut log, 1, bytes);
    }
    let found = contents(&log, 64);
    let lengths: Vec<usize> = found.records.iter().map(|(_, payload)| payload.len()).collect();
    assert_eq!(lengths, [10, 3000, 0, 700_000, 5]);
    assert_eq!(seqs(&open(&disk, options, 0).0), [0, 1, 2, 3, 4]);
}

#[test]
fn the_cache_keeps_the_newest_and_finds_by_offset() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, LogOptions { cache_bytes: 1000, ..LogOptions::default() }, 0);
    (0..100).for_each(|_| publish(&mut log, 2, 30));
    assert!(log.cached(0).is_none());
    let chunk = log.cached(9950).expect("the newest commit");
    assert_eq!((chunk.start(), chunk.end()), (9900, 10_000));
    assert!(log.cached(10_000).is_none());
    assert!(chunk.record_at(9899) == Read::Outside && chunk.record_at(10_000) == Read::Outside);
    assert!(log.memory_bytes() < 1000 + 8192);
    log.trim_cache(0);
    assert!(log.cached(9950).is_none() && log.reader(9950).is_some());
}

#[test]
fn an_idle_log_costs_little_memory_and_a_busy_one_uses_large_blocks() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, LogOptions::default(), 0);
    publish(&mut log, 1, 100);
    assert!(log.memory_bytes() <= 6000, "{}", log.memory_bytes());
    (0..40).for_each(|_| publish(&mut log, 200, 100));
    append(&mut log, 1, 100);
    assert!(log.pending.capacity() > 20_000, "{}", log.pending.capacity());
    append(&mut log, 40, 100_000);
    log.commit().unwrap();
    assert_eq!(log.pending.capacity(), 0, "a large commit's block is let go");
}

#[test]
fn a_log_in_memory_behaves_like_one_on_disk_and_keeps_what_is_not_dropped() {
    let mut log = Log::in_memory(LogOptions { cache_bytes: 0, ..small() }, 70);
    (0..30).for_each(|_| publish(&mut log, 2, 30));
    assert_eq!(seqs(&log), (70..130).collect::<Vec<_>>());
    assert!(log.reader(0).is_none() && log.take_unsynced().is_none());
    assert_eq!(log.drop_below(250), Ok(2), "commits that end below it");
    assert_eq!(log.start(), Position { seq: 74, offset: 200, ordinal: 4 });
    assert_eq!((log.ordinal_of(0), log.ordinal_of(75), log.ordinal_of(500)), (4, 5, 60));
    assert_eq!(log.drop_below(u64::MAX), Ok(28));
    assert_eq!(log.start(), log.committed());
    publish(&mut log, 1, 30);
    assert_eq!(seqs(&log), [130]);
}

#[test]
fn a_stored_place_is_brought_inside_the_log() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 0);
    (0..9).for_each(|_| publish(&mut log, 1, 80));
    log.drop_below(300).unwrap();
    drop(log);
    let (mut log, _) = open(&disk, small(), 100);
    publish(&mut log, 1, 80);
    // Three records of 100 bytes a segment: 3 to 5, 6 to 8; then number 100 at offset 900.
    let at = |seq, offset, ordinal| Position { seq, offset, ordinal };
    for (stored, place) in [
        ((4, 400), at(4, 400, 4)),
        ((100, 900), at(100, 900, 9)),
        ((0, 0), at(3, 300, 3)),
        ((9, 900), at(100, 900, 9)),
        ((50, 5000), log.committed()),
        ((200, 300), log.committed()),
        ((7, 300), at(6, 600, 6)),
        ((4, 800), at(6, 600, 6)),
    ] {
        assert_eq!(log.locate(stored.0, stored.1), place, "{stored:?}");
    }
}

#[test]
fn newer_and_foreign_files_are_refused_by_name_and_nothing_is_touched() {
    for (first, kind) in [(1, ErrorKind::Foreign), (9, ErrorKind::Newer { found: 3, known: 1 })] {
        let disk = FakeDisk::default();
        publish(&mut open(&disk, small(), 0).0, 1, 10);
        // A crash's leftover in front: it must survive the refusal.
        disk.put(&dir().join("00000000000000000700.log"), &[]);
        let path = dir().join("00000000000000000030.log");
        let mut bytes = if first == 1 { b"SQLite format 3\0".to_vec() } else { newer() };
        bytes.resize(200, 1);
        disk.put(&path, &bytes);
        let before: Vec<_> = disk.files().iter().map(|path| disk.content(path)).collect();
        let error = Log::open(Arc::new(disk.clone()), &dir(), small(), 0).unwrap_err();
        assert_eq!((error.kind, &error.path), (kind, &path));
        assert_eq!(before, disk.files().iter().map(|path| disk.content(path)).collect::<Vec<_>>());
    }
}

/// The header of a segment of format 3.
fn newer() -> Vec<u8> {
    let mut bytes = Segment::new(Position { seq: 1, offset: 30, ordinal: 1 }).header(&dir());
    bytes.truncate(64);
    bytes[8..12].copy_from_slice(&3u32.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn a_log_on_the_real_disk_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let open =
        |seq_min| Log::open(Arc::new(crate::RealDisk), &dir.path().join("t"), small(), seq_min).unwrap();
    (0..10).for_each(|_| publish(&mut open(0).0, 2, 50));
    let (mut log, recovered) = open(0);
    assert_eq!((seqs(&log), recovered.records), ((0..20).collect::<Vec<_>>(), 20));
    log.take_unsynced().expect("something was written").sync().unwrap();
    assert!(log.take_unsynced().is_none());
}
