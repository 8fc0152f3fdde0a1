//! One topic from the queues of stock into a log and a journal of ours: what the channels hold is merged, what the
//! topic had not shown them follows behind it.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::BytesMut;
use protocol::TopicName;
use stock::{Message, QueueName};
use storage::{Disk, Entry, Journal, Log, LogOptions, Position, StorageError};

use super::Settings;
use super::error::StockError;
use super::found::{FoundQueue, FoundTopic};
use super::merge::{Merge, Messages, Window};
use super::report::{ImportReport, QueueReport};
use super::stream::Stream;
use crate::record;

/// Memory for looking ahead, shared by the channels of a topic.
const WINDOW_BYTES: usize = 32 << 20;
/// The most messages to look ahead: as many as stock's memory queue puts at the end of a file, and some.
const WINDOW_MESSAGES: usize = 16_384;
/// Memory for reading files, shared by the channels of a topic.
const READ_BYTES: usize = 16 << 20;
/// Appended bytes that are written together.
const COMMIT_BYTES: usize = 1 << 20;
/// Written bytes that are synced together, so that the last sync is not one of everything.
const SYNC_BYTES: usize = 64 << 20;
/// How much longer than its body a record is on disk, for counting without writing.
const STORED_OVERHEAD: usize = 20 + record::PLAIN_OVERHEAD;
/// Ranges that a channel does not own, noted together.
const RANGES_MAX: usize = 512;

/// Import one topic into the folder `to`; without one, only count.
pub(super) fn transfer(
    disk: &Arc<dyn Disk>,
    from: &Path,
    to: Option<&Path>,
    name: &TopicName,
    topic: &FoundTopic,
    settings: &Settings,
    report: &mut ImportReport,
) -> Result<(), StockError> {
    let mut target = Target::open(disk, to, settings)?;
    let lanes = topic.channels.len().max(1);
    let window = Window { messages: WINDOW_MESSAGES, bytes: WINDOW_BYTES / lanes };
    let read_bytes = (READ_BYTES / lanes).clamp(16 << 10, 256 << 10);
    let open = |channel: Option<&str>, queue: &FoundQueue| {
        let name = QueueName { topic: name.as_str().to_owned(), channel: channel.map(str::to_owned) };
        let plan = queue.files.plan(settings.with_bad);
        let report = QueueReport {
            name: name.to_string(),
            notes: plan.notes,
            bad: if settings.with_bad { (0, 0) } else { left_out(queue) },
            is_paused: queue.is_paused,
            is_listed: queue.is_listed,
            ..QueueReport::default()
        };
        (Stream::new(disk, from, name, plan.parts, read_bytes), report)
    };

    let (streams, mut reports): (Vec<_>, Vec<_>) =
        topic.channels.iter().map(|(name, queue)| open(Some(name.as_str()), queue)).unzip();
    let mut channels: Vec<Owner<'_>> = topic.channels.keys().map(|name| Owner::new(name.as_str())).collect();
    let mut merge = Merge::new(streams, window);
    while let Some(merged) = merge.read_next()? {
        let at = target.append(&merged.message, settings)?;
        for (number, attempts) in merged.owners {
            if let Some(channel) = channels.get_mut(number) {
                channel.own(number, at, attempts, &mut target);
            }
        }
    }
    let shown_to = target.at;
    for (number, channel) in channels.iter_mut().enumerate() {
        channel.end(number, shown_to, &mut target);
    }
    for (stream, report) in merge.into_sources().iter().zip(&mut reports) {
        report.tally = stream.tally();
    }

    let (mut stream, mut own_report) = open(None, &topic.queue);
    while let Some(message) = stream.read_next()? {
        target.append(&message, settings)?;
    }
    own_report.tally = stream.tally();
    target.close(shown_to, topic)?;
    report.topics += 1;
    report.stored += target.records;
    report.stored_bytes += target.at.offset;
    report.queues.push(own_report);
    report.queues.append(&mut reports);
    Ok(())
}

fn left_out(queue: &FoundQueue) -> (u64, u64) {
    (queue.files.bad.len() as u64, queue.files.bad.values().sum())
}

/// A channel, and what of the log it owns.
#[derive(Debug)]
struct Owner<'a> {
    name: &'a str,
    /// Behind the last message it owns; `None` before the first.
    owned_to: Option<u64>,
    /// What it does not own, not noted yet.
    others: Vec<Range<u64>>,
}

impl<'a> Owner<'a> {
    fn new(name: &'a str) -> Self {
        Self { name, owned_to: None, others: Vec::new() }
    }

    /// The message at `at` is owed to this channel.
    fn own(&mut self, number: usize, at: Position, attempts: u16, target: &mut Target) {
        let id = cursor(number);
        match self.owned_to {
            // The channel begins here: what is before was finished, or never its own.
            None => target.note(Entry::CursorOpened { id, name: self.name, at }),
            Some(owned_to) => self.pass(id, owned_to..at.seq, target),
        }
        if attempts > 0 {
            target.note(Entry::Pending { id, seq: at.seq, offset: at.offset, attempts, due_ns: None });
        }
        self.owned_to = Some(at.seq + 1);
    }

    /// The channels' messages end at `at`.
    fn end(&mut self, number: usize, at: Position, target: &mut Target) {
        let id = cursor(number);
        match self.owned_to {
            None => target.note(Entry::CursorOpened { id, name: self.name, at }),
            Some(owned_to) => self.pass(id, owned_to..at.seq, target),
        }
        target.note(Entry::Finished { id, ranges: &self.others });
        self.others.clear();
    }

    fn pass(&mut self, id: u32, range: Range<u64>, target: &mut Target) {
        if range.is_empty() {
            return;
        }
        self.others.push(range);
        if self.others.len() >= RANGES_MAX {
            target.note(Entry::Finished { id, ranges: &self.others });
            self.others.clear();
        }
    }
}

fn cursor(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What is written to, or only counted.
#[derive(Debug)]
struct Target {
    files: Option<(Log, Journal)>,
    /// Where the next message goes.
    at: Position,
    records: u64,
    uncommitted: usize,
    unsynced: usize,
}

impl Target {
    fn open(disk: &Arc<dyn Disk>, to: Option<&Path>, settings: &Settings) -> Result<Self, StorageError> {
        let mut target = Self {
            files: None,
            at: Position { seq: settings.first_seq, ..Position::default() },
            records: 0,
            uncommitted: 0,
            unsynced: 0,
        };
        if let Some(to) = to {
            let options = LogOptions { cache_bytes: 0, ..settings.log };
            let (log, _new) = Log::open(Arc::clone(disk), to, options, settings.first_seq)?;
            let (journal, _new) = Journal::open(Arc::clone(disk), to)?;
            target.at = log.tail();
            target.files = Some((log, journal));
        }
        Ok(target)
    }

    /// Add a message; where it stands.
    fn append(&mut self, message: &Message, settings: &Settings) -> Result<Position, StockError> {
        let at = self.at;
        let bytes = message.body.len() + record::RECORD_OVERHEAD;
        self.records += 1;
        match &mut self.files {
            None => {
                self.at = Position {
                    seq: at.seq + 1,
                    offset: at.offset + (STORED_OVERHEAD + message.body.len()) as u64,
                    ordinal: at.ordinal + 1,
                };
            }
            Some((log, _)) => {
                let write = |_, out: &mut BytesMut| {
                    record::write(out, settings.node, message.timestamp_ns, None, &message.body);
                };
                log.append(0, write);
                self.at = log.tail();
            }
        }
        self.uncommitted += bytes;
        if self.uncommitted >= COMMIT_BYTES {
            self.commit()?;
            if settings.stop.is_triggered() {
                return Err(StockError::Stopped);
            }
        }
        Ok(at)
    }

    fn note(&mut self, entry: Entry<'_>) {
        if let Some((_, journal)) = &mut self.files {
            journal.note(entry);
        }
    }

    fn commit(&mut self) -> Result<(), StorageError> {
        self.unsynced += std::mem::take(&mut self.uncommitted);
        let Some((log, journal)) = &mut self.files else { return Ok(()) };
        log.commit()?;
        journal.flush()?;
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            log.take_unsynced().map_or(Ok(()), storage::Unsynced::sync)?;
        }
        Ok(())
    }

    /// Note what the topic is like, and have all of it survive a power cut.
    fn close(&mut self, shown_to: Position, topic: &FoundTopic) -> Result<(), StorageError> {
        self.commit()?;
        let Some((log, journal)) = &mut self.files else { return Ok(()) };
        log.take_unsynced().map_or(Ok(()), storage::Unsynced::sync)?;
        for (number, channel) in topic.channels.values().enumerate() {
            if channel.is_paused {
                journal.note(Entry::CursorPaused { id: cursor(number), is_paused: true });
            }
        }
        journal.note(Entry::Visible { at: shown_to });
        if topic.queue.is_paused {
            journal.note(Entry::Paused { is_paused: true });
        }
        journal.note(Entry::Synced { at: log.committed() });
        journal.note(Entry::Closed);
        journal.flush_durable()
    }
}
