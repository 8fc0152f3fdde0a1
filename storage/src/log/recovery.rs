//! Opening a log: judge every file before touching any, walk the last segment, decide where writing goes on.
//! Full segments are not read: a start must not take longer the more is stored.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, File};
use crate::error::StorageError;
use crate::log::files::Files;
use crate::log::{Log, LogOptions, Position};
use crate::record;
use crate::scan::Scan;
use crate::segment::{self, Segment};

/// How much one read of the last segment brings.
const WINDOW_BYTES: usize = 1024 * 1024;

/// What opening a log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records in the log, readable or not.
    pub records: u64,
    /// Bytes behind the last whole batch: a write that a crash cut off. The next number given leaves room for them.
    pub torn_bytes: u64,
    /// Whole records among those bytes, of a batch that was not whole. Nobody was told they are stored.
    pub torn_records: u64,
    /// Bytes between valid records of the last segment that are none.
    pub damaged_bytes: u64,
    /// Records lost in those bytes.
    pub damaged_records: u64,
    /// Files moved aside: nothing in them could be read. They are kept for the operator.
    pub quarantined: Vec<PathBuf>,
}

/// See [`Log::open`].
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    options: LogOptions,
    seq_min: u64,
) -> Result<(Log, Recovered), StorageError> {
    disk.create_dir(dir)?;
    let mut opening =
        Opening { disk: &*disk, dir, options, recovered: Recovered::default(), unread: Unread::default() };
    let mut segments = opening.find_segments()?;
    let last = opening.walk_last(&mut segments)?;
    let Opening { mut recovered, unread, .. } = opening;
    let (mut end, mut active) = match last {
        Some(Last { end, file }) => (end, Some(file)),
        None => (unread.base, None),
    };
    // Behind a torn tail the numbers jump too: so nothing is ever written over it.
    let seq_next = seq_min.max(unread.seq_behind(end.seq));
    let mut replaced = None;
    if end.seq < seq_next {
        // Numbers rise by one inside a segment, so a jump needs a new one; an empty one makes place for it.
        end.seq = seq_next;
        active = None;
        replaced = segments.pop_if(|last| last.base.offset == end.offset);
    }
    recovered.records = segments.first().map_or(0, |first| end.ordinal - first.base.ordinal);
    let mut files = Files::new(disk, dir, active);
    if let Some(segment) = replaced {
        files.replace(&segment);
    }
    Ok((Log::assemble(options, Some(files), segments, end), recovered))
}

/// What is known while a log is opened.
struct Opening<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    options: LogOptions,
    recovered: Recovered,
    unread: Unread,
}

/// What stood at the log's end and cannot be read any more.
#[derive(Debug, Default)]
struct Unread {
    bytes: u64,
    /// The first number of the newest segment in it.
    seq: u64,
    /// Where the oldest of it began: a log that is left without segments goes on from there, so that no cursor's
    /// offset is used for another record. The name gives the offset, a header the rest.
    base: Position,
}

impl Unread {
    /// A number above every one that may have stood there. Some may have been given to clients, or be called
    /// finished by a journal: they must not be given again.
    fn seq_behind(&self, seq: u64) -> u64 {
        let records_max = self.bytes.div_ceil(record::HEADER_BYTES as u64);
        seq.max(self.seq).saturating_add(records_max)
    }
}

struct Last {
    end: Position,
    file: Arc<dyn File>,
}

impl Opening<'_> {
    /// The segments in order. Files whose header says nothing are taken out of the way, after all were judged.
    fn find_segments(&mut self) -> Result<Vec<Segment>, StorageError> {
        let mut segments = Vec::new();
        let mut headless = Vec::new();
        for entry in self.disk.list(self.dir)?.into_iter().filter(|entry| !entry.is_dir) {
            let Some(offset) = segment::offset_in_name(&entry.name) else { continue };
            let path = self.dir.join(&entry.name);
            let file = self.disk.open(&path)?;
            match Segment::read(&*file, offset, &path)? {
                Some(segment) => segments.push(segment),
                None => headless.push((path, entry.bytes, offset)),
            }
        }
        for (path, bytes, offset) in headless {
            if bytes > segment::HEADER_BYTES as u64 {
                self.unread.bytes += bytes;
                self.unread.base.offset = self.unread.base.offset.max(offset);
                self.set_aside(path)?;
            } else {
                // Killed between creating the file and writing its header: no record was ever in it.
                self.disk.remove(&path)?;
            }
        }
        segments.sort_by_key(|segment: &Segment| segment.base.offset);
        Ok(segments)
    }

    /// Walk the last segment with anything in it. One that holds bytes and no record is set aside: its offset is
    /// needed for a new one, and its bytes may be wanted by a human.
    fn walk_last(&mut self, segments: &mut Vec<Segment>) -> Result<Option<Last>, StorageError> {
        while let Some(segment) = segments.last().copied() {
            let path = segment.path(self.dir);
            let file = self.disk.open(&path)?;
            let bytes = file.len()?.saturating_sub(segment::HEADER_BYTES as u64);
            let walked = Walk::all(&*file, segment, segment.base.offset + bytes, self.options)?;
            self.unread.bytes += walked.torn_bytes;
            self.recovered.torn_bytes += walked.torn_bytes;
            self.recovered.torn_records += walked.torn_records;
            if walked.end.offset > segment.base.offset || bytes == 0 {
                self.recovered.damaged_bytes += walked.damaged_bytes;
                self.recovered.damaged_records += walked.damaged_records;
                return Ok(Some(Last { end: walked.end, file }));
            }
            segments.pop();
            self.unread.seq = self.unread.seq.max(segment.base.seq);
            self.unread.base = segment.base;
            self.set_aside(path)?;
        }
        Ok(None)
    }

    fn set_aside(&mut self, path: PathBuf) -> Result<(), StorageError> {
        let mut number = 0;
        let aside = loop {
            let candidate = path.with_extension(format!("log.bad{number}"));
            if !self.disk.exists(&candidate)? {
                break candidate;
            }
            number += 1;
        };
        self.disk.rename(&path, &aside)?;
        self.recovered.quarantined.push(aside);
        Ok(())
    }
}

/// What the records of one segment come to.
#[derive(Debug)]
struct Walk {
    base: Position,
    /// Behind the last whole batch.
    end: Position,
    damaged_bytes: u64,
    damaged_records: u64,
    torn_bytes: u64,
    torn_records: u64,
    /// The batch that is not whole yet, if the records end in the middle of one.
    open: Option<Open>,
}

/// A batch whose last record has not been seen.
#[derive(Debug, Clone, Copy)]
struct Open {
    records: u64,
    damaged_bytes: u64,
    damaged_records: u64,
}

impl Walk {
    fn all(
        file: &dyn File,
        segment: Segment,
        file_end: u64,
        options: LogOptions,
    ) -> Result<Self, StorageError> {
        let mut scan = Scan::new(file, segment, file_end, WINDOW_BYTES, options.record_bytes_max);
        let base = segment.base;
        let mut walk = Self {
            base,
            end: base,
            damaged_bytes: 0,
            damaged_records: 0,
            torn_bytes: 0,
            torn_records: 0,
            open: None,
        };
        let (mut offset, mut seq) = (base.offset, base.seq);
        while let Some((at, header)) = scan.first_valid(offset)? {
            if header.seq >= seq {
                let open = walk.open.get_or_insert(Open { records: 0, damaged_bytes: 0, damaged_records: 0 });
                open.records += 1;
                open.damaged_bytes += at - offset;
                open.damaged_records += header.seq - seq;
                seq = header.seq + 1;
                offset = at + header.record_bytes();
                if header.left == 0 {
                    walk.close(seq, offset);
                }
            } else {
                // Valid by chance inside of damage: not where its number belongs.
                offset = at + 1;
            }
        }
        walk.torn_bytes = file_end.saturating_sub(walk.end.offset);
        walk.torn_records = walk.open.map_or(0, |open| open.records);
        Ok(walk)
    }

    /// The batch is whole, or as whole as damage left it: what was damaged inside or before it counts as lost.
    fn close(&mut self, seq: u64, offset: u64) {
        if let Some(open) = self.open.take() {
            self.damaged_bytes += open.damaged_bytes;
            self.damaged_records += open.damaged_records;
        }
        self.end = Position { seq, offset, ordinal: self.base.ordinal + (seq - self.base.seq) };
    }
}
