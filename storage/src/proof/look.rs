//! Opening what a crash left and holding it against the model.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::model::Model;
use crate::chunk::Read;
use crate::fake_disk::FakeDisk;
use crate::{DataDir, Entry, Journal, Log, LogOptions, LogStart, Recovered, State, StorageError};

/// How the life before ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The process was killed: all completed calls are there.
    Kill,
    /// The power was cut: what was synced is there.
    Cut,
}

/// An opened log and its journal.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) log: Log,
    pub(super) journal: Journal,
    pub(super) state: State,
    pub(super) recovered: Recovered,
    pub(super) found: Found,
    /// How many records were said to be in the holes between them.
    pub(super) holes: u64,
}

pub(super) fn options() -> LogOptions {
    LogOptions { segment_bytes: 12_000, cache_bytes: 600, record_bytes_max: 2000 }
}

/// Open as the broker does: numbers go on above `clock`.
pub(super) fn open(disk: &FakeDisk, clock: u64) -> Result<Opened, StorageError> {
    open_topic(disk, "t", clock)
}

pub(super) fn open_topic(disk: &FakeDisk, name: &str, clock: u64) -> Result<Opened, StorageError> {
    let shared: Arc<dyn crate::Disk> = Arc::new(disk.clone());
    let dir = DataDir::open(Arc::clone(&shared), &PathBuf::from("/data"))?;
    let path = dir.create(name)?;
    dir.sync_names()?;
    let (mut journal, state) = Journal::open(Arc::clone(&shared), &path)?;
    let known = LogStart::from(&state);
    let start = LogStart { seq_min: known.seq_min.max(clock), ..known };
    let (log, recovered) = Log::open(shared, &path, options(), start)?;
    journal.note(Entry::Opened);
    match journal.flush() {
        Err(error) if !error.is_full() => return Err(error),
        _ => {}
    }
    let (found, holes) = read(&log)?;
    Ok(Opened { log, journal, state, recovered, found, holes })
}

/// All that can be read, by number, with its offset.
type Found = BTreeMap<u64, (u64, Vec<u8>)>;

pub(super) fn contents(log: &Log) -> Result<Found, StorageError> {
    Ok(read(log)?.0)
}

/// The records, and how many there are not.
fn read(log: &Log) -> Result<(Found, u64), StorageError> {
    let (mut found, mut holes) = (Found::new(), 0);
    let mut offset = log.start().offset;
    let (mut last, mut expected) = (None, log.start().seq);
    while offset < log.committed().offset {
        let chunk = match log.cached(offset) {
            Some(chunk) => chunk,
            None => log.reader(offset).expect("inside the log").expecting(expected).read(3000)?,
        };
        assert!(chunk.contains(offset), "{chunk:?} at {offset}");
        loop {
            match chunk.record_at(offset) {
                Read::Record(record) => {
                    assert!(last < Some(record.seq), "numbers rise");
                    last = Some(record.seq);
                    expected = record.seq + 1;
                    found.insert(record.seq, (offset, record.payload.to_vec()));
                    offset = record.next;
                }
                Read::Damaged { next, next_seq } => {
                    expected = next_seq.max(expected);
                    holes += chunk.lost();
                    offset = next.unwrap_or(chunk.end());
                }
                Read::Outside => break,
            }
        }
    }
    Ok((found, holes))
}

impl Opened {
    /// Hold everything against what the model knew when the life before ended.
    pub(super) fn check(&self, model: &Model, end: End) {
        let alarm = (self.recovered.damaged_records, self.recovered.missing_records);
        // A power cut may leave the journal with a hole, too; what is unsaid in it is known only roughly.
        let is_known = !model.has_holes && self.state.damaged_frames == 0 && self.state.synced.is_some();
        assert!(alarm == (0, 0) || !is_known, "false alarm: {:?} of {:?}", self.recovered, self.state);
        // Where nothing is known of syncs, a segment without a record may have been one.
        let is_kept = self.state.synced.is_some() && end == End::Kill;
        assert!(!is_kept || self.recovered.quarantined.is_empty(), "{:?}", self.recovered.quarantined);
        for (seq, (offset, payload)) in &self.found {
            let stored = model.stored(*seq, *offset, payload);
            let stored = stored.unwrap_or_else(|| panic!("record {seq} at {offset} was never written"));
            // A batch that was synced may have lost what nobody is owed, and not by a crash.
            if *seq >= model.synced && !model.is_punched(*offset) {
                let mut batch =
                    (stored.batch.0..stored.batch.1).filter(|_| *offset >= self.log.start().offset);
                let gone = batch.find(|seq| !self.found.contains_key(seq));
                assert_eq!(gone, None, "batch {:?} is split", stored.batch);
            }
        }
        self.check_cursors(model, end);
        self.check_records(model, end);
        assert!(self.log.tail().seq >= model.given, "number {} comes again", self.log.tail().seq);
    }

    /// What a start leaves is as good as what it found, also without power: the tail was written again and synced.
    pub(super) fn check_survives(&self, disk: &FakeDisk, clock: u64) {
        if self.state.synced.is_none() || self.recovered.is_rewrite_due {
            return;
        }
        let again = open(&disk.power_cut_losing_all(), clock).unwrap();
        let gone = self.found.keys().find(|seq| !again.found.contains_key(seq));
        assert_eq!(gone, None, "lost by a power cut after {:?}", self.recovered);
    }

    fn check_cursors(&self, model: &Model, end: End) {
        for (name, cursor) in &model.cursors {
            let is_certain = if end == End::Kill { cursor.is_created } else { cursor.is_durable };
            let Some(state) = self.state.cursors.get(&cursor.id) else {
                assert!(
                    !is_certain || cursor.is_closing,
                    "{cursor:?} is forgotten after {end:?}: {:?}",
                    self.state
                );
                continue;
            };
            assert_eq!(&state.name, name);
            let mut claimed = state.finished.iter().flatten();
            let early = claimed.find(|seq| model.records.contains_key(seq) && cursor.owes(*seq));
            assert_eq!(early, None, "{name}: called finished and is not");
            let passed = model.records.range(..state.floor.0).find(|(seq, _)| cursor.owes(**seq));
            assert!(passed.is_none(), "{name}: {passed:?} is below the floor {:?}", state.floor);
            if end == End::Kill {
                assert!(state.floor.0 >= cursor.emptied, "{name}: what was emptied is back");
                let again = cursor
                    .flushed
                    .iter()
                    .find(|seq| **seq >= state.floor.0 && !state.finished.contains(**seq));
                assert_eq!(again, None, "{name}: finished, flushed, and comes again");
            }
        }
        if end == End::Kill {
            let back = self.state.cursors.keys().find(|id| model.closed.contains(id));
            assert_eq!(back, None, "a closed cursor is back");
        }
    }

    fn check_records(&self, model: &Model, end: End) {
        let start = self.log.start().offset;
        for (seq, stored) in &model.records {
            let is_there = self.found.contains_key(seq);
            let is_certain = end == End::Kill || *seq < model.synced;
            if is_certain && !is_there && model.is_owed(*seq) {
                panic!("record {seq} at {} is lost: {:?}", stored.offset, self.recovered);
            }
            if is_certain && !is_there {
                let is_let_go = stored.offset < model.dropped.max(start) || model.is_punched(stored.offset);
                assert!(is_let_go, "record {seq} is gone though nobody let it go");
            }
        }
    }
}
