//! The way home: what is not finished, written as a stock nsqd would have left it at a clean end. Reads our logs and
//! journals as a start would; what is read stays as it is.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use protocol::{ChannelName, TopicName};
use stock::{ChannelEntry, Metadata, QueueName, TopicEntry};
use storage::StorageError;
use storage::{
    Chunk, CursorState, DataDir, Disk, Journal, Log, LogOptions, LogStart, Position, Read, Recovered,
    SegmentReader, State,
};

use super::error::StockError;
use super::found::METADATA;
use super::report::{ExportReport, ExportedQueue};
use super::takeover::is_settled;
use super::writer::QueueWriter;
use crate::record;

/// How much of a log is read at a time.
const READ_BYTES: usize = 1 << 20;
/// What stock is told about who wrote its list; it does not look.
const STOCK_VERSION: &str = "1.3.0";

/// What an export goes by.
#[derive(Debug, Clone, Copy)]
pub(super) struct ExportSettings {
    pub log: LogOptions,
    /// How long stock's files get.
    pub file_bytes_max: u64,
    /// The time, in nanoseconds since 1970: what is due later is deferred.
    pub now_ns: i64,
}

/// Write what `folder` holds into `to`, which must be empty or missing. The folder must be locked.
///
/// # Errors
/// The folder is not ours, `to` is not empty, or the disk failed: what is in `to` then has no `nsqd.dat`.
pub(super) fn export(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    to: &Path,
    settings: ExportSettings,
) -> Result<ExportReport, StockError> {
    if !is_settled(&**disk, folder)? {
        return Err(StockError::NotOurs { folder: folder.to_owned() });
    }
    if disk.exists(to)? && !disk.list(to)?.is_empty() {
        return Err(StockError::NotEmpty { folder: to.to_owned() });
    }
    let dir = DataDir::open(Arc::clone(disk), folder)?;
    disk.create_dir(to)?;
    let mut report = ExportReport { to: to.display().to_string(), ..ExportReport::default() };
    let mut metadata = Metadata { topics: Vec::new(), version: STOCK_VERSION.to_owned() };
    for name in dir.list()? {
        let Ok(name) = TopicName::new(&name) else { continue };
        let mut topic =
            TopicExport::open(disk, &dir.path_of(name.as_str()), to, &name, settings, &mut report)?;
        topic.copy(&mut report)?;
        metadata.topics.push(topic.close(&mut report)?);
    }
    let json = metadata.to_json().map_err(|why| StockError::Metadata { path: to.join(METADATA), why })?;
    // The list comes last: without it a stock nsqd has no topics, and half an export is not taken for a whole one.
    let tmp = to.join("nsqd.dat.0.tmp");
    let file = disk.create(&tmp)?;
    file.write_at(json.as_bytes(), 0)?;
    file.sync_data()?;
    disk.rename(&tmp, &to.join(METADATA))?;
    disk.sync_dir(to)?;
    Ok(report)
}

/// A topic being written.
struct TopicExport {
    name: TopicName,
    log: Log,
    state: State,
    /// Up to here the channels have been shown the log; what is behind is the topic's own.
    shown_to: Position,
    own: QueueWriter,
    /// The channels' cursors, and where their messages go.
    channels: Vec<(u32, QueueWriter)>,
    now_ns: i64,
}

impl TopicExport {
    fn open(
        disk: &Arc<dyn Disk>,
        from: &Path,
        to: &Path,
        name: &TopicName,
        settings: ExportSettings,
        report: &mut ExportReport,
    ) -> Result<Self, StorageError> {
        let (_, state) = Journal::open(Arc::clone(disk), from)?;
        // Nothing will be written: what a crash left unsynced need not be written again.
        let start = LogStart { is_clean: true, ..LogStart::from(&state) };
        let (log, recovered) = Log::open(Arc::clone(disk), from, settings.log, start)?;
        report.notes.extend(damage(name, &state, &recovered));
        let is_kept = state.is_paused || state.cursors.is_empty();
        let stood = state.visible.unwrap_or(log.start());
        let shown_to = if is_kept { log.locate(stood.seq, stood.offset) } else { log.committed() };
        let writer = |channel: Option<&str>| {
            let queue = QueueName { topic: name.as_str().to_owned(), channel: channel.map(str::to_owned) };
            QueueWriter::new(disk, to, queue, settings.file_bytes_max)
        };
        let mut names = BTreeSet::new();
        let channels = state
            .cursors
            .iter()
            // The broker too takes the first one of a name.
            .filter(|(_, cursor)| ChannelName::new(&cursor.name).is_ok() && names.insert(cursor.name.clone()))
            .map(|(id, cursor)| (*id, writer(Some(&cursor.name))))
            .collect();
        let (own, now_ns) = (writer(None), settings.now_ns);
        Ok(Self { name: name.clone(), log, state, shown_to, own, channels, now_ns })
    }

    /// Read the log once, and give each message to those it is owed to.
    fn copy(&mut self, report: &mut ExportReport) -> Result<(), StorageError> {
        let floors =
            self.state.cursors.values().map(|cursor| self.log.locate(cursor.floor.0, cursor.floor.1));
        let start = floors
            .fold(self.shown_to, |lowest, floor| if floor.offset < lowest.offset { floor } else { lowest });
        let (mut offset, mut next_seq) = (start.offset, start.seq);
        while let Some(chunk) = self.read(offset, next_seq)? {
            let begin = offset;
            loop {
                match chunk.record_at(offset) {
                    Read::Outside => break,
                    Read::Damaged { next, next_seq: behind } => {
                        report.damaged += self.lost(next_seq..behind.max(next_seq + 1), &chunk);
                        next_seq = next_seq.max(behind);
                        offset = next.unwrap_or(chunk.end());
                    }
                    Read::Record(found) => {
                        next_seq = found.seq + 1;
                        offset = found.next;
                        self.put(found.seq, found.payload, report)?;
                    }
                }
            }
            if offset == begin {
                // Nothing comes of it, however often it is read.
                break;
            }
        }
        Ok(())
    }

    /// What stands at `offset`, where number `next_seq` should be; `None` at the end.
    fn read(&self, offset: u64, next_seq: u64) -> Result<Option<Chunk>, StorageError> {
        let Some(reader) = self.log.reader(offset) else { return Ok(None) };
        // Numbers jump between segments.
        let segment = self.log.segment_starts().take_while(|start| start.offset <= offset).last();
        let expected = next_seq.max(segment.map_or(0, |start| start.seq));
        match reader.expecting(expected).read(READ_BYTES) {
            Err(error) if error.is_missing() => Ok(self.log.reader(offset).map(SegmentReader::without_file)),
            other => other.map(Some),
        }
    }

    fn put(&mut self, seq: u64, payload: &[u8], report: &mut ExportReport) -> Result<(), StorageError> {
        let Some(message) = record::read(payload) else {
            report.damaged += 1;
            return Ok(());
        };
        let (head, body) = (message.head(seq, 0), message.body);
        let mut is_kept = false;
        if seq >= self.shown_to.seq {
            self.own.put(&head, 0, body)?;
            report.deferred += u64::from(message.due.is_some_and(|due| due.0 > self.now_ns));
            is_kept = true;
        } else {
            for (id, writer) in &mut self.channels {
                let Some(cursor) = self.state.cursors.get(id).filter(|cursor| owes(cursor, seq)) else {
                    continue;
                };
                writer.put(&head, attempts(cursor, seq), body)?;
                let due =
                    cursor.pending.get(&seq).map_or(message.due.map(|due| due.0), |pending| pending.due_ns);
                report.deferred += u64::from(due.is_some_and(|due| due > self.now_ns));
                is_kept = true;
            }
        }
        if is_kept {
            report.body_bytes_max = report.body_bytes_max.max(body.len() as u64);
        }
        Ok(())
    }

    /// How many messages are lost in a hole, if somebody is owed one there; where nobody is, there may be holes.
    fn lost(&self, seqs: Range<u64>, chunk: &Chunk) -> u64 {
        let is_owed = |cursor: &CursorState| {
            let from = seqs.start.max(cursor.floor.0);
            from < seqs.end && (owes(cursor, from) || owes(cursor, seqs.end - 1))
        };
        let is_own = seqs.end > self.shown_to.seq;
        if is_own || self.state.cursors.values().any(is_owed) { chunk.lost().max(1) } else { 0 }
    }

    fn close(mut self, report: &mut ExportReport) -> Result<TopicEntry, StorageError> {
        let mut entry = TopicEntry {
            name: self.name.as_str().to_owned(),
            paused: self.state.is_paused,
            channels: Vec::new(),
        };
        report.topics += 1;
        finish(&mut self.own, self.state.is_paused, report)?;
        for (id, writer) in &mut self.channels {
            let Some(cursor) = self.state.cursors.get(id) else { continue };
            finish(writer, cursor.is_paused, report)?;
            entry.channels.push(ChannelEntry { name: cursor.name.clone(), paused: cursor.is_paused });
        }
        Ok(entry)
    }
}

/// What is wrong with a topic on disk, as a start of nsqd would say too.
fn damage(name: &TopicName, state: &State, recovered: &Recovered) -> Vec<String> {
    let mut notes = Vec::new();
    if state.damaged_frames > 0 {
        notes.push(format!(
            "{name}: its journal is damaged in {} place(s): finished messages may come again, channels be missing",
            state.damaged_frames
        ));
    }
    let (records, bytes) = (recovered.damaged_records, recovered.damaged_bytes);
    if bytes > 0 {
        notes.push(format!(
            "{name}: {records} records, {bytes} bytes, of its log cannot be read and were left out"
        ));
    }
    let (records, bytes) = (recovered.missing_records, recovered.missing_bytes);
    if bytes > 0 {
        notes.push(format!("{name}: up to {records} records, {bytes} bytes, of its log are gone"));
    }
    notes.extend(
        recovered.quarantined.iter().map(|path| {
            format!("{name}: {} holds nothing that can be read, and was left out", path.display())
        }),
    );
    notes
}

fn finish(writer: &mut QueueWriter, is_paused: bool, report: &mut ExportReport) -> Result<(), StorageError> {
    writer.close()?;
    let (messages, files) = (writer.messages, writer.files);
    report.queues.push(ExportedQueue { name: writer.name(), messages, files, is_paused });
    Ok(())
}

fn owes(cursor: &CursorState, seq: u64) -> bool {
    let is_skipped = || cursor.skipped.iter().any(|(from, to)| (from.seq..to.seq).contains(&seq));
    seq >= cursor.floor.0 && !cursor.finished.contains(seq) && !is_skipped()
}

/// How often the channel had delivered it.
fn attempts(cursor: &CursorState, seq: u64) -> u16 {
    match cursor.pending.get(&seq) {
        Some(pending) => pending.attempts,
        None => u16::from(seq < cursor.delivered && !cursor.untouched.contains(seq)),
    }
}
