//! Crashes at every call, failures at every call, torn tails at every byte, flipped bits, power cuts.

use super::*;
use crate::Fault;

/// What was committed before the disk gave up, and what may be there besides.
#[derive(Debug, Default)]
struct Ledger {
    committed: Vec<(u64, Vec<u8>)>,
    /// The batches of a commit that failed.
    unknown: Vec<Vec<(u64, Vec<u8>)>>,
}

/// Commits of one and several batches over several segments, with a failed commit given up at the end.
fn script(log: &mut Log, ledger: &mut Ledger) {
    for round in 0..12u32 {
        let mut batches = Vec::new();
        for batch in 0..=round % 3 {
            let count = 1 + (round + batch) % 4;
            let first = log.tail().seq;
            append(log, count, 20 + round as usize * 3);
            let records =
                (first..first + u64::from(count)).map(|seq| (seq, payload(seq, 20 + round as usize * 3)));
            batches.push(records.collect::<Vec<_>>());
        }
        match log.commit() {
            Ok(_) => ledger.committed.extend(batches.into_iter().flatten()),
            Err(_) => {
                ledger.unknown = batches;
                return;
            }
        }
    }
}

/// Everything committed is there, and of the rest whole batches from the front only.
fn check(log: &Log, ledger: &Ledger, context: &str) {
    let found = contents(log, 300);
    assert_eq!(found.holes, 0, "{context}");
    let (committed, rest) = found.records.split_at(ledger.committed.len().min(found.records.len()));
    assert_eq!(committed, ledger.committed, "{context}");
    let mut whole = vec![Vec::new()];
    for batch in &ledger.unknown {
        whole.push([whole.last().unwrap().as_slice(), batch].concat());
    }
    assert!(whole.iter().any(|batches| batches == rest), "{context}: {} more", rest.len());
    assert_eq!(log.ordinal_of(u64::MAX), found.records.len() as u64, "{context}");
}

#[test]
fn a_kill_at_any_call_loses_nothing_committed_and_splits_no_batch() {
    for keep in [0, 1, 19, 70, 4200, usize::MAX] {
        for call in 1.. {
            let disk = FakeDisk::default();
            let mut ledger = Ledger::default();
            disk.fail_at(call, Fault::io().keeping(keep).lasting());
            if let Ok((mut log, _)) = Log::open(Arc::new(disk.clone()), &dir(), small(), 0) {
                script(&mut log, &mut ledger);
            }
            let is_over = disk.calls() < call;
            let context = format!("killed at call {call} keeping {keep}");
            let disk = disk.crash();
            let (mut log, _) = open(&disk, small(), 0);
            check(&log, &ledger, &context);
            // Life goes on behind it, twice.
            let before = contents(&log, 300).records.len();
            publish(&mut log, 2, 40);
            let (mut log, _) = open(&disk, small(), 1_000_000);
            publish(&mut log, 1, 40);
            let (log, recovered) = open(&disk, small(), 0);
            assert_eq!(seqs(&log).len(), before + 3, "{context}");
            assert_eq!(recovered.torn_bytes, 0, "{context}");
            if is_over {
                break;
            }
        }
    }
}

#[test]
fn a_kill_while_opening_loses_nothing() {
    let disk = FakeDisk::default();
    let mut ledger = Ledger::default();
    disk.fail_at(30, Fault::io().keeping(30).lasting());
    let (mut log, _) = open(&disk, small(), 0);
    script(&mut log, &mut ledger);
    assert!(!ledger.unknown.is_empty());
    for call in 1.. {
        let disk = disk.crash();
        disk.put(&dir().join("00000000000000090000.log"), &[]);
        disk.put(&dir().join("00000000000000091000.log"), &[0; 900]);
        disk.fail_at(call, Fault::io().lasting());
        let result = Log::open(Arc::new(disk.clone()), &dir(), small(), 0);
        let disk = disk.crash();
        check(&open(&disk, small(), 0).0, &ledger, &format!("killed at call {call}"));
        if result.is_ok() {
            break;
        }
    }
}

#[test]
fn a_failed_call_costs_one_commit_and_later_ones_work() {
    let faults = [Fault::io(), Fault::full(), Fault::io().keeping(50), Fault::full().keeping(50)];
    for fault in faults {
        for call in 2.. {
            let disk = FakeDisk::default();
            let (mut log, _) = open(&disk, small(), 0);
            let mut ledger = Ledger::default();
            disk.fail_at(call, fault);
            script(&mut log, &mut ledger);
            let is_over = disk.calls() < call;
            disk.heal();
            let context = format!("{fault:?} at call {call}");
            // What failed is forgotten, also by the disk: another try is not a second copy.
            ledger.unknown.clear();
            check(&log, &ledger, &context);
            // Also when what follows is shorter than what failed.
            let seq = log.tail().seq;
            publish(&mut log, 1, 5);
            ledger.committed.push((seq, payload(seq, 5)));
            let (reopened, recovered) = open(&disk.crash(), small(), 0);
            check(&reopened, &ledger, &context);
            assert_eq!(recovered.torn_bytes, 0, "{context}");
            script(&mut log, &mut ledger);
            check(&log, &ledger, &context);
            let (log, recovered) = open(&disk.crash(), small(), 0);
            check(&log, &ledger, &context);
            assert!(recovered.quarantined.is_empty(), "{context}");
            if is_over {
                break;
            }
        }
    }
}

#[test]
fn a_file_is_not_written_to_again_after_it_failed_unless_the_disk_was_full() {
    for (fault, segments) in [(Fault::io(), 2), (Fault::full(), 1)] {
        let disk = FakeDisk::default();
        let (mut log, _) = open(&disk, small(), 0);
        publish(&mut log, 1, 20);
        disk.fail_at(disk.calls() + 1, fault);
        append(&mut log, 1, 20);
        log.commit().unwrap_err();
        publish(&mut log, 1, 20);
        assert_eq!((log.segment_count(), seqs(&log)), (segments, vec![0, 1]), "{fault:?}");
    }
}

#[test]
fn a_full_disk_refuses_commits_until_there_is_space_and_reads_go_on() {
    for call in 5..25 {
        let disk = FakeDisk::default();
        let (mut log, _) = open(&disk, small(), 0);
        let mut ledger = Ledger::default();
        disk.fail_at(call, Fault::full().keeping(33).lasting());
        script(&mut log, &mut ledger);
        ledger.unknown.clear();
        for _ in 0..5 {
            append(&mut log, 3, 100);
            assert!(log.commit().unwrap_err().is_full());
            check(&log, &ledger, "while full");
        }
        disk.heal();
        script(&mut log, &mut ledger);
        check(&log, &ledger, "when healed");
        check(&open(&disk.crash(), small(), 0).0, &ledger, "after a restart");
    }
}

#[test]
fn a_disk_that_stays_broken_fails_every_commit_cleanly() {
    for call in 2..25 {
        let disk = FakeDisk::default();
        let (mut log, _) = open(&disk, small(), 0);
        let mut ledger = Ledger::default();
        disk.fail_at(call, Fault::io().keeping(10).lasting());
        script(&mut log, &mut ledger);
        ledger.unknown.clear();
        for _ in 0..3 {
            append(&mut log, 1, 10);
            log.commit().unwrap_err();
        }
        disk.heal();
        check(&log, &ledger, "when healed");
        script(&mut log, &mut ledger);
        check(&log, &ledger, "after more commits");
        check(&open(&disk.crash(), small(), 0).0, &ledger, "after a restart");
    }
}

#[test]
fn a_tail_torn_at_any_byte_is_left_alone_and_its_numbers_are_not_given_again() {
    let disk = FakeDisk::default();
    let options = LogOptions { cache_bytes: 0, ..LogOptions::default() };
    let (mut log, _) = open(&disk, options, 10);
    publish(&mut log, 2, 20);
    publish(&mut log, 3, 20);
    let path = dir().join("00000000000000000000.log");
    let whole = disk.content(&path).unwrap();
    let batch = HEADER_BYTES + 2 * 40;
    for cut in batch + 1..whole.len() {
        let disk = disk.crash();
        disk.put(&path, &whole[..cut]);
        let (mut log, recovered) = open(&disk, options, 0);
        assert_eq!(recovered.torn_bytes, (cut - batch) as u64);
        assert_eq!(recovered.torn_records, (cut - batch) as u64 / 40);
        assert_eq!(seqs(&log), [10, 11], "cut at {cut}");
        publish(&mut log, 1, 20);
        let next = seqs(&log)[2];
        assert!(next >= 12 + recovered.torn_records, "number {next} was in the torn batch");
        assert_eq!(disk.content(&path).unwrap(), &whole[..cut]);
        assert_eq!(seqs(&open(&disk, options, 0).0), [10, 11, next]);
    }
}

#[test]
fn a_flipped_bit_costs_one_record_in_any_segment() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 0);
    (0..4).for_each(|_| publish(&mut log, 3, 20));
    // A last record that is never hit, so that damage before it is not taken for a torn tail.
    let all: Vec<u64> = seqs(&log);
    assert_eq!(log.segment_count(), 2);
    let places = [("00000000000000000000.log", 6usize), ("00000000000000000240.log", 5)];
    for (index, (name, records)) in places.into_iter().enumerate() {
        let path = dir().join(name);
        let whole = disk.content(&path).unwrap();
        for place in HEADER_BYTES..HEADER_BYTES + records * 40 {
            let disk = disk.crash();
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << (place % 8);
            disk.put(&path, &bytes);
            let (log, recovered) = open(&disk, small(), 0);
            let hit = (index * 6 + (place - HEADER_BYTES) / 40) as u64;
            let found = contents(&log, 300);
            let expected: Vec<u64> = all.iter().copied().filter(|seq| *seq != hit).collect();
            let seqs: Vec<u64> = found.records.iter().map(|(seq, _)| *seq).collect();
            assert_eq!((seqs, found.holes, found.lost), (expected, 1, 1), "{name} at {place}");
            assert_eq!(log.committed().ordinal, 12);
            assert_eq!(recovered.damaged_records, index as u64, "only the last segment is walked");
        }
    }
}

#[test]
fn a_sealed_segment_that_is_cut_headless_or_missing_costs_its_records_only() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 0);
    (0..9).for_each(|_| publish(&mut log, 1, 80));
    let path = dir().join("00000000000000000300.log");
    let whole = disk.content(&path).unwrap();
    let mut headless = whole.clone();
    headless[20] ^= 1;
    headless[HEADER_BYTES - 1] ^= 1;
    for (bytes, left) in [
        (&whole[..HEADER_BYTES + 136], vec![3]),
        (&whole[..HEADER_BYTES], vec![]),
        (&headless, vec![]),
        (&[], vec![]),
    ] {
        let disk = disk.crash();
        disk.put(&path, bytes);
        let (log, _) = open(&disk, small(), 0);
        let found = contents(&log, 1000);
        let seqs: Vec<u64> = found.records.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, [vec![0, 1, 2], left, vec![6, 7, 8]].concat());
        assert_eq!((found.holes, log.committed().ordinal), (1, 9));
        assert_eq!(found.lost, 9 - seqs.len() as u64);
    }
}

#[test]
fn a_last_segment_without_any_record_is_set_aside_and_the_log_goes_on_before_it() {
    let disk = FakeDisk::default();
    let (mut log, _) = open(&disk, small(), 40);
    (0..4).for_each(|_| publish(&mut log, 1, 80));
    let path = dir().join("00000000000000000300.log");
    let mut bytes = disk.content(&path).unwrap();
    bytes[HEADER_BYTES..].fill(0);
    disk.put(&path, &bytes);
    let (mut log, recovered) = open(&disk, small(), 0);
    assert_eq!(recovered.quarantined, [dir().join("00000000000000000300.log.bad0")]);
    publish(&mut log, 1, 80);
    let (log, recovered) = open(&disk, small(), 0);
    assert_eq!((recovered.quarantined.len(), recovered.records), (0, 4));
    let found = seqs(&log);
    assert!(found[..3] == [40, 41, 42] && found[3] > 43, "{found:?}: 43 may have been given out");
}

#[test]
fn after_a_power_cut_synced_records_are_there_and_no_record_is_wrong() {
    for seed in 0..400 {
        let disk = FakeDisk::default();
        let (mut log, _) = open(&disk, LogOptions { segment_bytes: 4000, ..small() }, 0);
        disk.sync_dir(&PathBuf::from("/data/topics")).unwrap();
        for parent in ["/", "/data"] {
            disk.sync_dir(&PathBuf::from(parent)).unwrap();
        }
        publish(&mut log, 5, 30);
        disk.sync_dir(&dir()).unwrap();
        log.take_unsynced().unwrap().sync().unwrap();
        (0..seed % 7).for_each(|_| publish(&mut log, 2, 60));
        let disk = disk.power_cut(seed);
        let (mut log, _) = open(&disk, small(), 10_000);
        let found = contents(&log, 300);
        let seqs: Vec<u64> = found.records.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs[..5], [0, 1, 2, 3, 4], "seed {seed}");
        assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "seed {seed}: {seqs:?}");
        assert!(found.records.iter().all(|(seq, stored)| *stored == payload(*seq, stored.len())));
        publish(&mut log, 1, 30);
        assert_eq!(contents(&open(&disk, small(), 0).0, 300).records.len(), seqs.len() + 1);
    }
}
