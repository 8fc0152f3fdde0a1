//! Random sequences of everything a log can do, against a list.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Batch(u32, usize),
    Commit,
    Discard,
    /// Open again, with numbers from this many above the next.
    Reopen(u64),
    /// Drop below this share of what is there, in percent.
    Drop(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1u32..6, 0usize..150).prop_map(|(count, bytes)| Step::Batch(count, bytes)),
        4 => Just(Step::Commit),
        1 => Just(Step::Discard),
        1 => (0u64..3).prop_map(|jump| Step::Reopen(jump * 500)),
        1 => (0u64..120).prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 1..60)
}

fn options(cache_bytes: usize) -> LogOptions {
    LogOptions { segment_bytes: 600, cache_bytes, record_bytes_max: 100 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_log_holds_what_a_list_holds(steps in steps(), cache_bytes in prop_oneof![Just(0), Just(700), Just(1 << 20)]) {
        let disk = FakeDisk::default();
        let (mut log, _) = open(&disk, options(cache_bytes), 0);
        let (mut committed, mut pending) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Batch(count, bytes) => {
                    let first = log.tail().seq;
                    append(&mut log, count, bytes);
                    pending.extend((first..first + u64::from(count)).map(|seq| (seq, payload(seq, bytes))));
                }
                Step::Commit => {
                    log.commit().unwrap();
                    committed.append(&mut pending);
                }
                Step::Discard => {
                    log.discard();
                    pending.clear();
                }
                Step::Reopen(jump) => {
                    let seq_min = log.committed().seq + jump;
                    pending.clear();
                    drop(log);
                    log = open(&disk, options(cache_bytes), seq_min).0;
                }
                Step::Drop(percent) => {
                    let start = log.start();
                    log.drop_below(start.offset + log.bytes() * percent / 100).unwrap();
                    committed.drain(..(log.start().ordinal - start.ordinal) as usize);
                }
            }
            let found = contents(&log, 256);
            prop_assert_eq!(&found.records, &committed);
            prop_assert_eq!(log.committed().ordinal - log.start().ordinal, committed.len() as u64);
            for (index, (seq, _)) in committed.iter().enumerate() {
                prop_assert_eq!(log.ordinal_of(*seq), log.start().ordinal + index as u64);
            }
        }
    }
}
