//! How a topic comes to be: new, in memory, or from what an earlier run left on disk.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use protocol::{ChannelName, TopicName};
use queue::{Pending, Saved, SavedTopic, WallTime};
use storage::Disk;
use storage::StorageError;
use storage::{CursorState, Entry, Journal, State};
use storage::{Log, LogStart, Recovered};

use super::{Topic, TopicLog, from_storage, seeded};
use crate::channel::Channel;
use crate::context::Context;
use crate::figures::Counter;

impl Topic {
    /// An ephemeral topic: it lives in memory only.
    pub(crate) fn in_memory(name: TopicName, context: Arc<Context>) -> Arc<Self> {
        let log = Log::in_memory(context.log, context.clock.first_seq());
        let start = from_storage(log.committed());
        Self::assemble(name, context, log, None, queue::Topic::new(true, start))
    }

    /// Open a topic's directory, or begin one there.
    pub(crate) fn open(
        name: TopicName,
        context: Arc<Context>,
        disk: Arc<dyn Disk>,
        dir: &Path,
    ) -> Result<Arc<Self>, StorageError> {
        let (mut journal, state) = Journal::open(Arc::clone(&disk), dir)?;
        // Ids that clients have seen may belong to records that are gone: do not use them again. Also after a clean
        // end: a power cut may take the journal's word that this run began, and the next would go on from here.
        let known = LogStart::from(&state);
        let start = LogStart { seq_min: known.seq_min.max(context.clock.first_seq()), ..known };
        let start = seeded::renumbered(start);
        let (log, recovered) = Log::open(disk, dir, context.log, start)?;
        tell_recovered(&name, &recovered, &state);
        context.figures.corrupt.add(recovered.damaged_records + recovered.missing_records);
        context.figures.recovered.add(log.committed().ordinal.saturating_sub(log.start().ordinal));
        let rules = restored_rules(&state, &log);
        journal.note(Entry::Opened);
        let topic = Self::assemble(name, context, log, Some(journal), rules);
        topic.restore_channels(&state);
        topic.mark_open()?;
        Ok(topic)
    }

    fn note_closed(&self, id: u32) {
        if let Some(journal) = self.lock_journal().as_mut() {
            journal.note(Entry::CursorClosed { id });
        }
    }

    fn assemble(
        name: TopicName,
        context: Arc<Context>,
        log: Log,
        journal: Option<Journal>,
        rules: queue::Topic,
    ) -> Arc<Self> {
        let is_marked_open = journal.is_none();
        let level = journal.as_ref().and_then(|journal| journal.state().durability).unwrap_or(0);
        let log = TopicLog {
            rules,
            log,
            batch: None,
            batch_bytes: 0,
            unsettled: Vec::new(),
            channels: Arc::from([]),
        };
        Arc::new(Self {
            name,
            context,
            log: Mutex::new(log),
            journal: Mutex::new(journal),
            level: AtomicU8::new(level),
            has_progress: AtomicBool::new(false),
            is_marked_open: AtomicBool::new(is_marked_open),
            is_written: AtomicBool::new(false),
            is_sync_asked: AtomicBool::new(false),
            saves_again: AtomicBool::new(false),
            barrier: Mutex::default(),
            syncing: Mutex::default(),
            freed: Mutex::default(),
            is_deleted: AtomicBool::new(false),
            discarded: Counter::default(),
            traced: Arc::default(),
        })
    }

    /// On a full disk a topic opens all the same: its consumers can drain it. Publishes wait for the mark.
    fn mark_open(&self) -> Result<(), StorageError> {
        let mut journal = self.lock_journal();
        match journal.as_mut().map(Journal::flush) {
            None | Some(Ok(())) => self.is_marked_open.store(true, Ordering::Release),
            Some(Err(error)) if error.is_passing() => self.refused(&error),
            Some(Err(error)) => return Err(error),
        }
        Ok(())
    }

    fn restore_channels(self: &Arc<Self>, state: &State) {
        for (&id, cursor) in &state.cursors {
            let name = match ChannelName::new(&cursor.name) {
                Ok(name) => name,
                Err(error) => {
                    tracing::error!(topic = %self.name, channel = cursor.name, %error, "a channel was left out");
                    continue;
                }
            };
            if self.channel(&name).is_some() {
                // A create that a full disk refused may have got through more than once.
                self.note_closed(id);
                continue;
            }
            let mut log = self.lock_log();
            let queue = queue::Channel::restore(
                self.channel_rules(&name),
                saved(cursor, &log.log),
                log.rules.visible(),
            );
            let channel = Channel::new(name, Some(id), Arc::downgrade(self), queue, self.channel_figures());
            for (from, to) in &cursor.skipped {
                let placed = |at: &storage::Position| from_storage(log.log.locate(at.seq, at.offset));
                channel.skip(placed(from), placed(to));
            }
            log.add(channel);
        }
    }
}

/// What a clean end leaves nothing to say about.
fn tell_recovered(name: &TopicName, recovered: &Recovered, state: &State) {
    if !state.is_clean && recovered.torn_bytes > 0 {
        tracing::warn!(topic = %name, bytes = recovered.torn_bytes, "a write that was never acknowledged was cut off");
    }
    if recovered.damaged_records > 0 || state.damaged_frames > 0 {
        let (records, frames) = (recovered.damaged_records, state.damaged_frames);
        tracing::error!(topic = %name, records, frames, "damage was found on disk and left out");
    }
    for file in &recovered.quarantined {
        tracing::error!(topic = %name, file = %file.display(), "a file of the log cannot be read and was moved aside");
    }
    if recovered.missing_records > 0 {
        let (records, bytes) = (recovered.missing_records, recovered.missing_bytes);
        tracing::error!(topic = %name, records, bytes, "the log's beginning is missing: at most so many messages are lost");
    }
}

/// While the fan-out stands still its place was noted; otherwise the channels have been shown everything.
fn restored_rules(state: &State, log: &Log) -> queue::Topic {
    let visible = state.visible.unwrap_or(log.start());
    queue::Topic::restore(SavedTopic {
        tail: from_storage(log.committed()),
        visible: from_storage(log.locate(visible.seq, visible.offset)),
        is_paused: state.is_paused,
        is_ephemeral: false,
        channels: state.cursors.values().map(|cursor| (cursor.name.clone(), false)).collect(),
    })
}

/// A cursor as the rules want it. Where the log no longer, or not yet, reaches, its ends hold.
fn saved(cursor: &CursorState, log: &Log) -> Saved {
    let (seq, offset) = cursor.floor;
    let mut saved = Saved {
        floor: from_storage(log.locate(seq, offset)),
        finished: cursor.finished.iter().collect(),
        untouched: cursor.untouched.iter().collect(),
        delivered: cursor.delivered,
        pending: cursor
            .pending
            .iter()
            .map(|(&seq, pending)| Pending {
                seq,
                offset: pending.offset,
                attempts: pending.attempts,
                due: pending.due_ns.map(WallTime),
            })
            .collect(),
        landmarks: landmarks(cursor, log),
        is_paused: cursor.is_paused,
    };
    seeded::spoil(&mut saved);
    saved
}

/// Places whose ordinals are known: over what is finished a channel leaps from one to another.
fn landmarks(cursor: &CursorState, log: &Log) -> Vec<queue::Position> {
    let reader = cursor.cursor.map(|(seq, offset)| log.locate(seq, offset));
    log.segment_starts().chain([log.committed()]).chain(reader).map(from_storage).collect()
}
