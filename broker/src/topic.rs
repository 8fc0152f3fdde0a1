//! A topic at work: messages are appended to its log, committed in batches, and then shown to its channels.
//! Opening, creating and changing it lives in `topic/open.rs` and `topic/admin.rs`, syncing in `topic/sync.rs`.

pub(crate) mod admin;
mod free;
pub(crate) mod open;
mod seeded;
pub(crate) mod sync;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use daemon::traces::Span;
use protocol::{ChannelName, TopicName};
use queue::{Now, Position, WallTime};
use storage::{Bug, Entry, Journal, is_planted};
use storage::{Chunk, Log, SegmentReader};

use crate::channel::Channel;
use crate::context::Context;
use crate::durability::Durability;
use crate::fence::DRAINING;
use crate::figures::Counter;
use crate::receipt::{Batch, PublishError, Receipt};
use crate::record;
use crate::traces::{Published, Traced};

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    /// Its name.
    pub name: TopicName,
    /// What all topics share.
    pub context: Arc<Context>,
    log: Mutex<TopicLog>,
    /// What its channels have finished; none for an ephemeral topic, which is not kept.
    journal: Mutex<Option<Journal>>,
    /// Its own durability level as the journal stores it; 0 for the broker's default.
    level: AtomicU8,
    has_progress: AtomicBool,
    is_marked_open: AtomicBool,
    is_written: AtomicBool,
    is_sync_asked: AtomicBool,
    saves_again: AtomicBool,
    /// What waits for the next sync of the journal.
    barrier: Mutex<Option<Arc<Batch>>>,
    /// What was given back of which segment.
    freed: Mutex<free::Freed>,
    /// Held during a sync: what is appended meanwhile shares the next one.
    syncing: Mutex<()>,
    is_deleted: AtomicBool,
    /// Messages that were dropped because it is ephemeral and full.
    pub discarded: Counter,
    /// Its messages that are part of a trace.
    pub traced: Arc<Traced>,
}

/// What the log's lock guards.
#[derive(Debug)]
pub(crate) struct TopicLog {
    rules: queue::Topic,
    log: Log,
    /// The publishes that wait for the next commit.
    batch: Option<Arc<Batch>>,
    batch_bytes: u64,
    /// What is with the kernel and waits for the next sync.
    unsettled: Vec<Unsettled>,
    channels: Arc<[Arc<Channel>]>,
}

/// A commit at `fsync`: it is answered, and shown to the channels, when it is synced.
#[derive(Debug)]
struct Unsettled {
    batch: Arc<Batch>,
    tail: Position,
    bytes: u64,
}

/// Counts of a topic for statistics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TopicCounts {
    /// Messages no channel has been shown yet.
    pub depth: u64,
    /// Messages published since the start.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Is the fan-out stopped?
    pub is_paused: bool,
    /// Where the first message lies that no channel has been shown.
    pub next_offset: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// In how many files.
    pub segments: usize,
}

impl Topic {
    /// Append messages to the log; the receipt tells when they are committed. All or none become part of
    /// the log. Deliveries of what is part of a trace, which `span` then is, become part of it too.
    pub(crate) fn append<'a>(
        &self,
        bodies: impl ExactSizeIterator<Item = &'a [u8]>,
        due: Option<WallTime>,
        now: Now,
        span: Option<&mut Span>,
    ) -> Result<Receipt, PublishError> {
        if !self.name.is_ephemeral()
            && let Some(why) = self.context.space.refusal()
        {
            return Err(PublishError::Refused(why));
        }
        let mut log = self.lock_log();
        if self.is_deleted() {
            return Err(PublishError::Exiting);
        }
        // Under the lock: once the fence is up and the lock was had, nothing more can come.
        if self.context.fence.is_up() {
            return Err(PublishError::Refused(DRAINING.to_owned()));
        }
        // nsqd: an ephemeral topic that is full drops the message, and the publish is still OK.
        let is_full = || log.rules.depth() >= self.context.rules.ephemeral_depth_max.max(1);
        if self.name.is_ephemeral() && (self.context.memory.is_crowded() || is_full()) {
            self.discarded.add(bodies.len() as u64);
            return Ok(Receipt::kept());
        }
        let (count, bytes_before) = (bodies.len(), log.batch_bytes);
        let (mut left, mut last) = (u32::try_from(count).unwrap_or(u32::MAX), 0);
        for body in bodies {
            left = left.saturating_sub(1);
            log.batch_bytes += body.len() as u64;
            last =
                log.log.append(left, |_, out| record::write(out, self.context.node, now.wall.0, due, body));
        }
        // Before anybody can deliver them.
        if let Some(span) = span.filter(|span| span.is_sampled()) {
            let stored = Published { last, count: count as u64, bytes: log.batch_bytes - bytes_before };
            self.traced.keep(&self.context, span, stored, now.instant);
        }
        Ok(log.batch.get_or_insert_default().receipt())
    }

    /// Hand what was appended to the kernel and show it to the channels. A failed write breaks the
    /// promise of every publish in the batch and leaves the log as it was.
    pub(crate) fn commit(self: &Arc<Self>, now: Now) {
        if self.context.has_failed() || !self.is_marked_open() {
            return self.refuse_batch();
        }
        let committed = self.commit_log();
        self.sync_as_promised();
        let Some((visible, channels)) = committed else { return };
        for channel in channels.iter() {
            channel.extend(visible);
            channel.dispatch_once(now);
        }
    }

    /// A change of a channel waits to be written to the journal.
    pub(crate) fn note_progress(self: &Arc<Self>) {
        if !self.has_progress.swap(true, Ordering::AcqRel) {
            let _stopping = self.context.unsaved.send(Arc::clone(self));
        }
    }

    /// Write what the channels have finished, requeued and timed out to the journal, and let go of the part
    /// of the log that nobody needs any more. False: the disk refused, and it must be tried again.
    pub(crate) fn save_progress(self: &Arc<Self>) -> bool {
        self.has_progress.store(false, Ordering::Release);
        let mut guard = self.lock_journal();
        // The folder of a deleted topic may be gone, or be another's already.
        if self.is_deleted() {
            return true;
        }
        let channels = self.channels();
        let mut is_written = false;
        match guard.as_mut() {
            Some(journal) => {
                for channel in channels.iter() {
                    note_channel(journal, channel);
                }
                self.note_visible(journal, &channels);
                // What cannot be written stays in the journal's buffer.
                is_written = journal.has_pending();
                if is_written && self.flush(journal).is_err() {
                    // On a full disk delivering must go on, as it does at the lower levels.
                    channels.iter().for_each(|channel| channel.release(channel.held()));
                    drop(guard);
                    self.save_again_later();
                    return false;
                }
            }
            None => channels.iter().for_each(|channel| drop(channel.progress())),
        }
        let moved = self.trim(&channels);
        drop(guard);
        if is_written {
            self.sync_as_promised();
        }
        let now = self.context.clock.now();
        moved.iter().for_each(|channel| channel.dispatch_once(now));
        true
    }

    /// The disk was full: try again, whoever asked.
    fn save_again_later(self: &Arc<Self>) {
        let Some(control) = &self.context.control else { return };
        if self.saves_again.swap(true, Ordering::AcqRel) {
            return;
        }
        control.spawn(crate::journals::save_later(Arc::clone(self)));
    }

    /// It is time to try again.
    pub(crate) fn save_again(self: &Arc<Self>) {
        self.saves_again.store(false, Ordering::Release);
        // Not noted if it is on the list already: then it is tried from there.
        self.note_progress();
    }

    /// Channels, sorted by name.
    pub(crate) fn channels(&self) -> Arc<[Arc<Channel>]> {
        Arc::clone(&self.lock_log().channels)
    }

    /// The channel of that name.
    pub(crate) fn channel(&self, name: &ChannelName) -> Option<Arc<Channel>> {
        self.lock_log().channels.iter().find(|channel| channel.name == *name).cloned()
    }

    /// Bytes around `offset`, if they are in memory.
    pub(crate) fn cached(&self, offset: u64) -> Option<Chunk> {
        self.lock_log().log.cached(offset)
    }

    /// Reads from disk around `offset`.
    pub(crate) fn disk_reader(&self, offset: u64) -> Option<SegmentReader> {
        self.lock_log().log.reader(offset)
    }

    /// What it and its channels hold of the log in memory, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let loaded = self.channels().iter().map(|channel| channel.loaded_bytes()).sum::<usize>();
        self.lock_log().log.memory_bytes() + loaded
    }

    /// Come down to about `bytes` of memory: the rest is read from disk when it is wanted.
    pub(crate) fn shrink(&self, bytes: usize) {
        self.channels().iter().for_each(|channel| channel.unload());
        self.lock_log().log.trim_cache(bytes);
    }

    /// Counts for statistics.
    pub(crate) fn counts(&self) -> TopicCounts {
        let log = self.lock_log();
        TopicCounts {
            depth: log.rules.depth(),
            messages: log.rules.message_count(),
            bytes: log.rules.message_bytes(),
            is_paused: log.rules.is_paused(),
            next_offset: log.rules.visible().offset,
            log_bytes: log.log.bytes(),
            segments: log.log.segment_count(),
        }
    }

    /// Is everything that was appended answered and shown to the channels?
    pub(crate) fn is_settled(&self) -> bool {
        let log = self.lock_log();
        log.batch.is_none() && log.unsettled.is_empty()
    }

    /// Everything durable is on disk here; dashboards subtract this from the depth to see what stock would hold in
    /// memory, so it begins where stock's memory queue would be full.
    pub(crate) fn backend_depth(&self, depth: u64) -> u64 {
        if self.name.is_ephemeral() { 0 } else { depth.saturating_sub(self.context.rules.mem_queue_size) }
    }

    /// Is it being deleted?
    pub(crate) fn is_deleted(&self) -> bool {
        self.is_deleted.load(Ordering::Acquire)
    }

    fn commit_log(&self) -> Option<(Position, Arc<[Arc<Channel>]>)> {
        let mut log = self.lock_log();
        let batch = log.batch.take()?;
        let bytes = std::mem::take(&mut log.batch_bytes);
        let before = log.log.committed().offset;
        let began = self.context.clock.uptime();
        let written = log.log.commit();
        self.context.figures.writes.record(self.context.clock.uptime().saturating_sub(began));
        match written {
            Ok(tail) => {
                if !self.name.is_ephemeral() {
                    self.context.space.take(tail.offset - before);
                }
                self.context.health.recovered();
                let tail = from_storage(tail);
                if self.durability() == Durability::Fsync && !is_planted(Bug::AckBeforeSync) {
                    log.unsettled.push(Unsettled { batch, tail, bytes });
                    return None;
                }
                let visible = log.rules.publish(tail, bytes);
                batch.settle(Ok(()));
                Some((visible?, Arc::clone(&log.channels)))
            }
            Err(error) => {
                batch.settle(Err(PublishError::Refused(error.to_string())));
                self.refused(&error);
                None
            }
        }
    }

    fn refused(&self, error: &storage::StorageError) {
        // A disk that stays full is told once, by the health it changes.
        if !error.is_full() {
            tracing::error!(topic = %self.name, %error, "the disk refused a write");
        }
        self.context.refused(error);
    }

    /// Does the journal on disk say that this run has begun? Were it still to end in a clean stop, a kill would
    /// look like one. On a full disk a topic opens without, and is read only until the mark is written.
    fn is_marked_open(&self) -> bool {
        if self.is_marked_open.load(Ordering::Acquire) {
            return true;
        }
        let mut journal = self.lock_journal();
        let is_marked = match journal.as_mut().map(Journal::flush) {
            None | Some(Ok(())) => true,
            Some(Err(error)) => {
                self.refused(&error);
                false
            }
        };
        self.is_marked_open.store(is_marked, Ordering::Release);
        is_marked
    }

    fn refuse_batch(&self) {
        let mut log = self.lock_log();
        if let Some(batch) = log.batch.take() {
            log.batch_bytes = 0;
            log.log.discard();
            let why = self.context.health.text();
            batch.settle(Err(PublishError::Refused(why)));
        }
    }

    /// Without a durable channel nothing else tells a restart how far the fan-out had come.
    fn note_visible(&self, journal: &mut Journal, channels: &[Arc<Channel>]) {
        if channels.is_empty() || channels.iter().any(|channel| channel.cursor.is_some()) {
            return;
        }
        let visible = to_storage(self.lock_log().rules.visible());
        if journal.state().visible != Some(visible) {
            journal.note(Entry::Visible { at: visible });
        }
    }

    /// Drop segments below what every kept channel, and the fan-out itself, has passed. The channels that do not
    /// hold the log are moved along, and given back.
    fn trim(&self, channels: &[Arc<Channel>]) -> Vec<Arc<Channel>> {
        let floors =
            channels.iter().filter(|channel| self.holds_log(channel)).map(|channel| channel.floor_offset());
        let lowest = floors.min();
        let mut log = self.lock_log();
        let visible = log.rules.visible().offset;
        let keep_from = lowest.unwrap_or(visible).min(visible);
        match log.log.drop_below(keep_from) {
            Ok(0) => return Vec::new(),
            Ok(_) => {}
            Err(error) => {
                // Space is not given back, nothing is lost: the next trim tries again.
                tracing::warn!(topic = %self.name, %error, "cannot remove a finished segment");
                return Vec::new();
            }
        }
        let start = from_storage(log.log.start());
        drop(log);
        let moved: Vec<_> = channels.iter().filter(|channel| !self.holds_log(channel)).cloned().collect();
        moved.iter().for_each(|channel| channel.lock().queue.truncate_front(start));
        moved
    }

    /// An ephemeral channel never keeps a durable topic's segments.
    fn holds_log(&self, channel: &Channel) -> bool {
        channel.cursor.is_some() || self.name.is_ephemeral()
    }

    fn lock_log(&self) -> MutexGuard<'_, TopicLog> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_journal(&self) -> MutexGuard<'_, Option<Journal>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Put one channel's news into the journal's buffer.
fn note_channel(journal: &mut Journal, channel: &Channel) {
    let Some(id) = channel.cursor else { return };
    let Some(progress) = channel.progress() else { return };
    // Before what may tell more of some of them.
    if !progress.untouched.is_empty() {
        journal.note(Entry::Untouched { id, ranges: &progress.untouched });
    }
    for pending in &progress.pending {
        journal.note(Entry::Pending {
            id,
            seq: pending.seq,
            offset: pending.offset,
            attempts: pending.attempts,
            due_ns: pending.due.map(|due| due.0),
        });
    }
    if !progress.finished.is_empty() {
        journal.note(Entry::Finished { id, ranges: &seeded::finished(&progress.finished) });
    }
    journal.note(Entry::Delivered { id, seq: progress.delivered });
    journal.note(Entry::Cursor { id, seq: progress.cursor.seq, offset: progress.cursor.offset });
    journal.note(Entry::Floor { id, seq: progress.floor.0, offset: progress.floor.1 });
}

/// Crate `storage` and crate `queue` each have their own position; they mean the same.
pub(crate) fn from_storage(at: storage::Position) -> Position {
    Position { seq: at.seq, offset: at.offset, ordinal: at.ordinal }
}

/// The other way round.
pub(crate) fn to_storage(at: Position) -> storage::Position {
    storage::Position { seq: at.seq, offset: at.offset, ordinal: at.ordinal }
}
