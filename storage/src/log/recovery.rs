//! Opening a log: judge every file before touching any, walk what is not known to be synced, decide where writing
//! goes on. What was synced is not read: a start must not take longer the more is stored.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, File};
use crate::error::{ErrorKind, StorageError};
use crate::log::files::Files;
use crate::log::rewrite::{Piece, Rewrite};
use crate::log::walk::{Course, WINDOW_BYTES, Walk};
use crate::log::{Log, LogOptions, LogStart, Position};
use crate::quarantine;
use crate::record;
use crate::scan::Scan;
use crate::segment::{self, Segment};

/// What opening a log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records in the log, readable or not.
    pub records: u64,
    /// Bytes that were not synced and are no whole batch: writes that a crash cut off or took in part. Normal after
    /// one. The next number given leaves room for them.
    pub torn_bytes: u64,
    /// Whole records among those bytes, of batches that are not whole. At the log's level nobody was told they are
    /// stored.
    pub torn_records: u64,
    /// Bytes that were stored and are not there any more, as far as they were looked at: below what was synced,
    /// between valid records, or in a file that is cut or missing.
    pub damaged_bytes: u64,
    /// Records lost in those bytes.
    pub damaged_records: u64,
    /// Bytes between the lowest place a cursor still needed and the log's start.
    pub missing_bytes: u64,
    /// At most so many records were in them.
    pub missing_records: u64,
    /// Files moved aside: nothing in them could be read as part of this log. They are kept for the operator.
    pub quarantined: Vec<PathBuf>,
    /// Bytes of damage copied to the folder `damaged`, now and earlier.
    pub kept_bytes: u64,
    /// Bytes an unclean end left unsynced, which were written again to new files.
    pub rewritten_bytes: u64,
    /// They were not: the disk is full, and they will be before the first commit.
    pub is_rewrite_due: bool,
}

/// See [`Log::open`].
pub(crate) fn open(
    disk: Arc<dyn Disk>,
    dir: &Path,
    options: LogOptions,
    start: LogStart,
) -> Result<(Log, Recovered), StorageError> {
    disk.create_dir(dir)?;
    let mut opening = Opening {
        disk: &*disk,
        dir,
        options,
        start,
        recovered: Recovered::default(),
        unread: Unread::default(),
    };
    let mut segments = opening.find_segments()?;
    let last = opening.walk_last(&mut segments)?;
    opening.count_gaps(&segments)?;
    let mut end = last.as_ref().map_or(opening.unread.base, |last| last.end);
    let mut active = last.as_ref().map(|last| last.file.clone());
    let behind = opening.behind_synced(&segments, last)?;
    let mut rewrite = opening.unsynced(&behind);
    if opening.go_behind_synced(&mut end, segments.first()) {
        active = None;
    }
    opening.rewrite(&mut rewrite, &mut segments, &mut active)?;
    opening.count_missing(segments.first().map_or(end, |first| first.base));
    let Opening { mut recovered, unread, .. } = opening;
    // Behind a torn tail the numbers jump too: so nothing is ever written over it.
    let seq_next = start.seq_min.max(unread.seq_behind(end.seq));
    let mut replaced = None;
    if end.seq < seq_next {
        // Numbers rise by one inside a segment, so a jump needs a new one; an empty one makes place for it.
        end.seq = seq_next;
        active = None;
        replaced = segments.pop_if(|last| last.base.offset == end.offset);
    }
    recovered.records = segments.first().map_or(0, |first| end.ordinal - first.base.ordinal);
    recovered.kept_bytes = quarantine::kept_bytes(&*disk, dir);
    let mut files = Files::new(disk, dir, active, options);
    // What is behind the synced place and was not written again is synced with the next.
    behind
        .iter()
        .filter(|piece| segments.contains(&piece.segment))
        .for_each(|piece| files.add_unsynced(&piece.file));
    if let Some(segment) = replaced {
        files.replace(&segment);
    }
    if !rewrite.is_done() {
        recovered.is_rewrite_due = true;
        files.rewrite_first(rewrite);
    }
    Ok((Log::assemble(options, Some(files), segments, end), recovered))
}

/// What is known while a log is opened.
struct Opening<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    options: LogOptions,
    start: LogStart,
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
    /// From where on it was walked.
    from: Position,
    end: Position,
    split: Vec<u64>,
    file: Arc<dyn File>,
}

impl Opening<'_> {
    /// The segments in order. Files whose header says nothing are taken out of the way, after all were judged.
    fn find_segments(&mut self) -> Result<Vec<Segment>, StorageError> {
        let mut segments = Vec::new();
        let mut headless = Vec::new();
        let mut temporary = Vec::new();
        for entry in self.disk.list(self.dir)? {
            let path = self.dir.join(&entry.name);
            if entry.name.ends_with(".log.tmp") && !entry.is_dir {
                temporary.push(path);
                continue;
            }
            let Some(offset) = segment::offset_in_name(&entry.name) else { continue };
            if entry.is_dir {
                let kind = ErrorKind::Io(std::io::ErrorKind::IsADirectory);
                return Err(StorageError::new(kind, "open", &path));
            }
            let file = self.disk.open(&path)?;
            match Segment::read(&*file, offset, &path)? {
                Some(segment) => segments.push(segment),
                None => headless.push((path, entry.bytes, offset)),
            }
        }
        for path in temporary {
            self.disk.remove(&path)?;
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
            let file_end = segment.base.offset + bytes;
            // A clean end syncs everything: something behind means that a power cut took the journal's word of a
            // later start.
            self.start.is_clean &= self.start.synced.is_none_or(|synced| file_end <= synced.offset);
            let walked = self.walk(&*file, segment, file_end)?;
            self.unread.bytes += walked.torn_bytes;
            self.recovered.torn_bytes += walked.torn_bytes;
            self.recovered.torn_records += walked.torn_records;
            if walked.end.offset > segment.base.offset || bytes == 0 {
                self.recovered.damaged_bytes += walked.damaged_bytes;
                self.recovered.damaged_records += walked.damaged_records;
                return Ok(Some(Last {
                    from: walked.course.from,
                    end: walked.end,
                    split: walked.split,
                    file,
                }));
            }
            segments.pop();
            self.unread.seq = self.unread.seq.max(segment.base.seq);
            self.unread.base = segment.base;
            let synced = self.start.synced.filter(|_| !self.start.is_clean);
            if synced.is_some_and(|synced| segment.base.offset >= synced.offset) {
                // Its first write was cut off; there never was a record in it.
                self.disk.remove(&path)?;
            } else {
                self.set_aside(path)?;
            }
        }
        Ok(None)
    }

    /// Walk a segment from where it is not known to be synced. What a crash split is made unreadable, damage kept.
    fn walk(&self, file: &dyn File, segment: Segment, file_end: u64) -> Result<Walk, StorageError> {
        // It was full and synced when space of it was freed, though it may be the last now: a power cut took the next.
        // What is not there is no damage, and no batch of it was split.
        let is_punched = segment::is_punched(file)?;
        let from = self.checkpoint(file, segment, file_end, is_punched)?;
        // Without a word about syncs, a clean end synced all and an unclean one nothing.
        let unknown = if self.start.is_clean { u64::MAX } else { 0 };
        let synced = self.start.synced.map_or(unknown, |at| at.offset);
        let course =
            Course { segment, from, file_end, synced, is_strict: !self.start.is_clean && !is_punched };
        let mut walked = Walk::along(file, course, self.options)?;
        if is_punched {
            walked.forget_damage();
        }
        self.forget_split(file, segment, &walked.split)?;
        for hole in &walked.holes {
            let places = (segment.place(hole.start), segment.place(hole.end));
            quarantine::keep(self.disk, self.dir, file, places, hole.start);
        }
        Ok(walked)
    }

    /// What is left of a batch must not be read by anybody. A disk too full even for this has them left out when the
    /// tail is written again.
    fn forget_split(&self, file: &dyn File, segment: Segment, split: &[u64]) -> Result<(), StorageError> {
        for offset in split {
            match file.write_at(&[0; record::HEADER_BYTES], segment.place(*offset)) {
                Err(error) if error.is_full() => return Ok(()),
                other => other?,
            }
        }
        if split.is_empty() { Ok(()) } else { file.sync_data() }
    }

    /// Where the walk begins: at the synced place, if it is one of this segment and a batch begins there.
    fn checkpoint(
        &self,
        file: &dyn File,
        segment: Segment,
        file_end: u64,
        is_punched: bool,
    ) -> Result<Position, StorageError> {
        let base = segment.base;
        let inside = |at: &Position| (base.offset..=file_end).contains(&at.offset);
        let Some(at) = self.start.synced.filter(inside) else { return Ok(base) };
        let Some(records) = at.ordinal.checked_sub(base.ordinal) else { return Ok(base) };
        let dense = Position { seq: base.seq.saturating_add(records), ..at };
        if at.seq < dense.seq {
            return Ok(base);
        }
        // At the end the numbers may have jumped already, though not in this segment.
        if at.offset == file_end || is_punched {
            return Ok(dense);
        }
        if at.seq > dense.seq {
            return Ok(base);
        }
        let mut scan = Scan::new(file, segment, file_end, WINDOW_BYTES, self.options.record_bytes_max);
        let found = scan.record(at.offset)?;
        let begins = found.is_some_and(|header| header.seq == at.seq && header.is_first());
        Ok(if begins { at } else { base })
    }

    /// Files that end before the next segment begins, and segments that are not there.
    fn count_gaps(&mut self, segments: &[Segment]) -> Result<(), StorageError> {
        for pair in segments.windows(2) {
            let [segment, next] = pair else { continue };
            let file = self.disk.open(&segment.path(self.dir))?;
            let bytes = file.len()?;
            let expected = segment.place(next.base.offset);
            if bytes >= expected {
                continue;
            }
            let file_end = segment.base.offset + bytes.saturating_sub(segment::HEADER_BYTES as u64);
            let course = Course {
                segment: *segment,
                from: segment.base,
                file_end,
                synced: u64::MAX,
                is_strict: false,
            };
            let walked = Walk::along(&*file, course, self.options)?;
            // What was not synced may be missing in the middle, too: a power cut keeps what it likes.
            let synced = match self.start.synced {
                Some(synced) if !self.start.is_clean => synced,
                None if !self.start.is_clean => Position::default(),
                _ => next.base,
            };
            let lost = walked.end.ordinal..next.base.ordinal;
            let bound = synced.ordinal.clamp(lost.start, lost.end.max(lost.start));
            self.recovered.damaged_records += bound - lost.start;
            self.recovered.torn_records += lost.end.saturating_sub(bound);
            let (from, to) = (walked.end.offset, next.base.offset);
            let bound = synced.offset.clamp(from, to.max(from));
            self.recovered.damaged_bytes += bound - from;
            self.recovered.torn_bytes += to.saturating_sub(bound);
        }
        Ok(())
    }

    /// A log that ends before what was synced has lost it: it goes on behind, with a hole. True: it did.
    fn go_behind_synced(&mut self, end: &mut Position, first: Option<&Segment>) -> bool {
        let Some(synced) = self.start.synced.filter(|at| at.offset > end.offset) else { return false };
        let is_later = synced.seq >= end.seq && synced.ordinal >= end.ordinal;
        if !is_later {
            return false;
        }
        if first.is_some() {
            self.recovered.damaged_bytes += synced.offset - end.offset;
            self.recovered.damaged_records += synced.ordinal - end.ordinal;
        }
        *end = synced;
        true
    }

    /// What lies behind the synced place. Where none is known, all is taken for unsynced.
    fn behind_synced(
        &mut self,
        segments: &[Segment],
        last: Option<Last>,
    ) -> Result<Vec<Piece>, StorageError> {
        let mut pieces = Vec::new();
        let Some(last) = last.filter(|_| !self.start.is_clean || self.start.synced.is_some()) else {
            return Ok(pieces);
        };
        let synced = self.start.synced.map_or(0, |at| at.offset);
        for pair in segments.windows(2) {
            let [segment, next] = pair else { continue };
            if next.base.offset > synced {
                pieces.extend(self.piece(*segment, next.base)?);
            }
        }
        if let Some(segment) = segments.last().filter(|_| last.end.offset > last.from.offset.max(synced)) {
            let Last { from, end, split, file } = last;
            if !segment::is_punched(&*file)? {
                pieces.push(Piece { segment: *segment, from, end, split, file });
            }
        }
        Ok(pieces)
    }

    /// What a segment that is not the last holds behind the synced place.
    fn piece(&mut self, segment: Segment, end: Position) -> Result<Option<Piece>, StorageError> {
        let file = self.disk.open(&segment.path(self.dir))?;
        // Where space was freed it was synced before, whatever is known of that now.
        if end.offset <= segment.base.offset || segment::is_punched(&*file)? {
            return Ok(None);
        }
        let file_end = segment.base.offset + file.len()?.saturating_sub(segment::HEADER_BYTES as u64);
        let from = self.checkpoint(&*file, segment, file_end, false)?;
        let mut split = Vec::new();
        if !self.start.is_clean && self.start.synced.is_some() {
            let walked = self.walk(&*file, segment, file_end.min(end.offset))?;
            self.recovered.torn_bytes += walked.torn_bytes;
            self.recovered.torn_records += walked.torn_records;
            split = walked.split;
        }
        Ok(Some(Piece { segment, from, end, split, file }))
    }

    /// What an unclean end left in the page cache, perhaps only there. Where no place is known to be synced, the
    /// last segment bounds what writing it again may cost.
    fn unsynced(&self, behind: &[Piece]) -> Rewrite {
        let skipped = if self.start.synced.is_some() { 0 } else { behind.len().saturating_sub(1) };
        let pieces = if self.start.is_clean { &[] } else { behind.get(skipped..).unwrap_or_default() };
        Rewrite::new(self.options, pieces.to_vec())
    }

    fn rewrite(
        &mut self,
        rewrite: &mut Rewrite,
        segments: &mut Vec<Segment>,
        active: &mut Option<Arc<dyn File>>,
    ) -> Result<(), StorageError> {
        if rewrite.is_done() {
            return Ok(());
        }
        *active = None;
        let cuts = rewrite.cuts();
        self.recovered.rewritten_bytes = rewrite.bytes();
        match rewrite.run(self.disk, self.dir, segments) {
            Ok(()) => {}
            Err(error) if error.is_full() => {
                self.recovered.rewritten_bytes = 0;
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        // Only now that the copy is safe. Nobody reads yet; later the old bytes are left where they are: behind
        // the next segment's beginning they mean nothing.
        for (file, bytes) in cuts {
            file.set_len(bytes)?;
        }
        Ok(())
    }

    /// What the cursors still needed and the oldest segments would have held.
    fn count_missing(&mut self, start: Position) {
        // What was not synced may be torn from the front, too.
        let synced = self.start.synced.filter(|_| !self.start.is_clean);
        let start = synced.filter(|synced| synced.offset < start.offset).unwrap_or(start);
        let Some((seq, offset)) = self.start.floor.filter(|(_, offset)| *offset < start.offset) else {
            return;
        };
        self.recovered.missing_bytes = start.offset - offset;
        let records_max = self.recovered.missing_bytes / record::HEADER_BYTES as u64;
        self.recovered.missing_records = start.seq.saturating_sub(seq).min(records_max);
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
