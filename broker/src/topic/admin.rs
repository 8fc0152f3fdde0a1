//! What people do to a topic and its channels: create, delete, pause, empty. Each change is in the journal
//! before it is confirmed. The journal's lock is held from start to end, so that changes come one by one.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use protocol::ChannelName;
use queue::Position;
use storage::StorageError;
use storage::{Bug, Entry, Journal, is_planted};

use super::{Topic, TopicLog, to_storage};
use crate::channel::Channel;
use crate::creation::TooMany;
use crate::durability::Durability;
use crate::figures::ChannelFigures;

/// Why a change was not made.
#[derive(Debug)]
pub(crate) enum ChangeError {
    /// The topic is being deleted.
    Exiting,
    /// There is no such channel.
    NoChannel,
    /// The topic has as many channels as it may have.
    TooMany(TooMany),
    /// The journal could not be written.
    Storage(StorageError),
}

impl std::fmt::Display for ChangeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exiting => f.write_str("exiting"),
            Self::NoChannel => f.write_str("no such channel"),
            Self::TooMany(limit) => limit.fmt(f),
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ChangeError {}

impl Topic {
    /// The channel of that name, made if it is missing. The first channel of a topic takes its backlog.
    pub(crate) fn create_channel(self: &Arc<Self>, name: &ChannelName) -> Result<Arc<Channel>, ChangeError> {
        self.make_channel(name, self.context.rules.channels_max)
    }

    /// The same for one that was declared, which no limit refuses.
    pub(crate) fn declare_channel(self: &Arc<Self>, name: &ChannelName) -> Result<Arc<Channel>, ChangeError> {
        self.make_channel(name, 0)
    }

    /// `max` channels at most; 0 means any number.
    fn make_channel(self: &Arc<Self>, name: &ChannelName, max: usize) -> Result<Arc<Channel>, ChangeError> {
        // One that is on its way out is waited for: its end holds the journal's lock.
        if let Some(channel) = self.channel(name).filter(|channel| !channel.is_deleted()) {
            return Ok(channel);
        }
        let mut journal = self.lock_for_change()?;
        if let Some(channel) = self.channel(name) {
            return Ok(channel);
        }
        if max > 0 && self.channels().len() >= max {
            return Err(ChangeError::TooMany(TooMany::Channels(max)));
        }
        let start = self.lock_log().rules.visible();
        let cursor = self.journal_channel(journal.as_mut(), name, start)?;
        let channel = {
            let mut log = self.lock_log();
            // Publishes may have moved on meanwhile; only messages from here on are owed to the channel.
            let start = log.rules.add_channel(name.as_str(), name.is_ephemeral());
            let rules = self.channel_rules(name);
            let queue = queue::Channel::new(rules, start, log.rules.visible());
            let channel =
                Channel::new(name.clone(), cursor, Arc::downgrade(self), queue, self.channel_figures());
            log.add(Arc::clone(&channel));
            channel
        };
        tracing::info!(topic = %self.name, channel = %name, "new channel");
        Ok(channel)
    }

    /// The channels a new topic begins with: all of them take its backlog, because it has none yet.
    pub(crate) fn create_channels(self: &Arc<Self>, names: &[ChannelName]) -> Result<(), ChangeError> {
        for name in names {
            match self.create_channel(name) {
                Ok(_) => {}
                // A publish must not fail because others have many channels.
                Err(ChangeError::TooMany(limit)) => {
                    tracing::warn!(topic = %self.name, "channels known to nsqlookupd are not made: {limit}");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Forget a channel and close its consumers' connections. True: the topic was ephemeral, has lost its
    /// last channel, and must go too.
    pub(crate) fn delete_channel(self: &Arc<Self>, name: &ChannelName) -> Result<bool, ChangeError> {
        let mut journal = self.lock_for_change()?;
        let channel = self.channel(name).ok_or(ChangeError::NoChannel)?;
        let (removed, visible) = {
            let mut log = self.lock_log();
            log.remove(name);
            (log.rules.remove_channel(name.as_str()), log.rules.visible())
        };
        channel.delete();
        if let Some(journal) = journal.as_mut() {
            if !self.channels().iter().any(|channel| channel.cursor.is_some()) {
                journal.note(Entry::Visible { at: to_storage(visible) });
            }
            channel.cursor.into_iter().for_each(|id| journal.note(Entry::CursorClosed { id }));
            self.flush_durable(journal)?;
        }
        tracing::info!(topic = %self.name, channel = %name, "deleted channel");
        Ok(removed.delete_topic)
    }

    /// Give the topic a level of its own. What waits for a stronger promise gets it.
    pub(crate) fn set_durability(self: &Arc<Self>, level: Durability) -> Result<(), ChangeError> {
        let byte = level.to_byte();
        let mut journal = self.lock_for_change()?;
        if let Some(journal) = journal.as_mut()
            // What was refused before may wait in the buffer, and is not done.
            && (journal.state().durability != Some(byte) || journal.has_pending())
        {
            journal.note(Entry::Durability { level: byte });
            self.flush_durable(journal)?;
            tracing::info!(topic = %self.name, level = level.name(), "durability changed");
        }
        drop(journal);
        self.level.store(byte, Ordering::Release);
        // What waits for a sync under the old level has one, whatever the new one says.
        self.sync_soon();
        Ok(())
    }

    /// Have the topic itself survive a power cut before somebody is told that it was made.
    pub(crate) fn make_durable(&self) -> Result<(), StorageError> {
        let mut journal = self.lock_journal();
        journal.as_mut().map_or(Ok(()), |journal| crate::blocking::wait(|| journal.flush_durable()))
    }

    /// Stop or resume the copying of messages to the channels.
    pub(crate) fn set_paused(self: &Arc<Self>, is_paused: bool) -> Result<(), ChangeError> {
        let mut journal = self.lock_for_change()?;
        let visible = {
            let mut log = self.lock_log();
            if is_paused {
                log.rules.pause();
            } else {
                log.rules.unpause();
            }
            log.rules.visible()
        };
        let outcome = journal.as_mut().map_or(Ok(()), |journal| {
            if is_paused {
                journal.note(Entry::Visible { at: to_storage(visible) });
            }
            journal.note(Entry::Paused { is_paused });
            self.flush_durable(journal)
        });
        drop(journal);
        if !is_paused {
            let now = self.context.clock.now();
            for channel in self.channels().iter() {
                channel.extend(visible);
                channel.dispatch_once(now);
            }
        }
        outcome
    }

    /// Stop or resume the deliveries of one channel.
    pub(crate) fn set_channel_paused(
        self: &Arc<Self>,
        name: &ChannelName,
        is_paused: bool,
    ) -> Result<(), ChangeError> {
        let mut journal = self.lock_for_change()?;
        let channel = self.channel(name).ok_or(ChangeError::NoChannel)?;
        channel.set_paused(is_paused);
        let outcome = match (journal.as_mut(), channel.cursor) {
            (Some(journal), Some(id)) => {
                journal.note(Entry::CursorPaused { id, is_paused });
                self.flush_durable(journal)
            }
            _ => Ok(()),
        };
        drop(journal);
        if !is_paused {
            channel.dispatch_once(self.context.clock.now());
        }
        outcome
    }

    /// Throw away what no channel has been shown yet; channels keep what they have.
    pub(crate) fn empty(self: &Arc<Self>) -> Result<(), ChangeError> {
        let mut journal = self.lock_for_change()?;
        let channels = self.channels();
        // What is being appended right now is either committed first and thrown away, or kept.
        let Some((from, to)) = self.lock_log().rules.empty() else { return Ok(()) };
        for channel in channels.iter() {
            channel.skip(from, to);
        }
        let Some(journal) = journal.as_mut() else { return Ok(()) };
        for id in channels.iter().filter_map(|channel| channel.cursor) {
            journal.note(Entry::Skipped { id, from: to_storage(from), to: to_storage(to) });
        }
        journal.note(Entry::Visible { at: to_storage(to) });
        self.flush_durable(journal)
    }

    /// Throw away everything a channel holds, in flight and deferred messages too.
    pub(crate) fn empty_channel(self: &Arc<Self>, name: &ChannelName) -> Result<(), ChangeError> {
        let mut journal = self.lock_for_change()?;
        let channel = self.channel(name).ok_or(ChangeError::NoChannel)?;
        let at = {
            let mut state = channel.lock();
            state.empty();
            state.queue.visible()
        };
        let (Some(journal), Some(id)) = (journal.as_mut(), channel.cursor) else { return Ok(()) };
        // What was finished before belongs before the jump.
        super::note_channel(journal, &channel);
        journal.note(Entry::Emptied { id, at: to_storage(at) });
        self.flush_durable(journal)
    }

    /// Refuse everything from now on, if nothing would be lost by it: the first half of `delete`. Channels are looked at
    /// while nothing can be published.
    pub(crate) fn close_if_empty(&self) -> bool {
        let is_empty = || {
            self.counts().depth == 0 && self.channels().iter().all(|channel| channel.lock().owes_nothing())
        };
        // Who is not empty at a glance is not kept from anything.
        if !is_empty() {
            return false;
        }
        let _changes_wait = self.lock_journal();
        {
            let log = self.lock_log();
            if self.is_deleted() || log.batch.is_some() || !log.unsettled.is_empty() {
                return false;
            }
            self.is_deleted.store(true, Ordering::Release);
        }
        let is_empty = is_empty();
        self.is_deleted.store(is_empty, Ordering::Release);
        is_empty
    }

    /// Refuse everything from now on and close all consumers' connections.
    pub(crate) fn delete(&self) {
        let _changes_wait = self.lock_journal();
        let channels = {
            let mut log = self.lock_log();
            self.is_deleted.store(true, Ordering::Release);
            // Publishers that wait for a commit must hear that it will not come.
            if let Some(batch) = log.batch.take() {
                batch.settle(Err(crate::receipt::PublishError::Exiting));
            }
            log.log.discard();
            Arc::clone(&log.channels)
        };
        for channel in channels.iter() {
            channel.delete();
        }
    }

    /// The broker stops: commit what is left, and note that the end was a clean one.
    pub(crate) fn close(self: &Arc<Self>) -> Result<(), StorageError> {
        self.commit(self.context.clock.now());
        self.save_progress();
        self.sync()?;
        let mut journal = self.lock_journal();
        // After a failure the next start must look at everything: this end is not a clean one.
        let Some(journal) = journal.as_mut().filter(|_| !self.context.has_failed()) else { return Ok(()) };
        journal.note(Entry::Closed);
        journal.flush_durable()
    }

    fn journal_channel(
        self: &Arc<Self>,
        journal: Option<&mut Journal>,
        name: &ChannelName,
        start: Position,
    ) -> Result<Option<u32>, ChangeError> {
        let Some(journal) = journal else { return Ok(None) };
        if name.is_ephemeral() {
            return Ok(None);
        }
        let id = journal.state().next_cursor;
        journal.note(Entry::CursorOpened { id, name: name.as_str(), at: to_storage(start) });
        if is_planted(Bug::ForgetChannel) {
            return Ok(Some(id));
        }
        self.flush_durable(journal).inspect_err(|_| journal.note(Entry::CursorClosed { id }))?;
        Ok(Some(id))
    }

    /// The lock of all changes, unless the topic is on its way out: its folder may be another's by then.
    fn lock_for_change(&self) -> Result<MutexGuard<'_, Option<Journal>>, ChangeError> {
        // Another change may hold it for as long as a sync takes.
        let journal = crate::blocking::wait(|| self.lock_journal());
        if self.is_deleted() { Err(ChangeError::Exiting) } else { Ok(journal) }
    }

    /// Hand the journal's news to the kernel.
    pub(super) fn flush(&self, journal: &mut Journal) -> Result<(), ChangeError> {
        let flushed = journal.flush();
        self.tell(flushed)
    }

    /// Have what people did survive a power cut, whatever the topic's level, before they are told that it is done.
    fn flush_durable(&self, journal: &mut Journal) -> Result<(), ChangeError> {
        let flushed = crate::blocking::wait(|| journal.flush_durable());
        self.tell(flushed)
    }

    fn tell(&self, flushed: Result<(), StorageError>) -> Result<(), ChangeError> {
        match flushed {
            Ok(()) => {
                self.context.health.journaled();
                Ok(())
            }
            Err(error) => {
                self.refused(&error);
                Err(ChangeError::Storage(error))
            }
        }
    }

    pub(super) fn channel_figures(&self) -> ChannelFigures {
        let window = self.context.rules.e2e.as_ref().map(|quantiles| quantiles.window);
        ChannelFigures::new(window, self.context.clock.now().instant)
    }

    pub(super) fn channel_rules(&self, name: &ChannelName) -> queue::ChannelRules {
        let rules = &self.context.rules;
        queue::ChannelRules {
            consumers_max: rules.channel_consumers_max,
            msg_timeout_max: rules.msg_timeout_max,
            // Stock spills the channel to disk; here it lives in the topic's memory, which must stay bounded.
            is_ephemeral: name.is_ephemeral() || self.name.is_ephemeral(),
            ephemeral_depth_max: rules.ephemeral_depth_max,
        }
    }
}

impl TopicLog {
    /// Keep a channel, in order of names.
    pub(super) fn add(&mut self, channel: Arc<Channel>) {
        let mut channels: Vec<_> = self.channels.iter().cloned().chain([channel]).collect();
        channels.sort_by(|a, b| a.name.cmp(&b.name));
        self.channels = channels.into();
    }

    fn remove(&mut self, name: &ChannelName) {
        self.channels = self.channels.iter().filter(|channel| channel.name != *name).cloned().collect();
    }
}
