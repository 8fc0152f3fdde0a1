//! When what a topic has written survives a power cut: at once and before the OK at `fsync`, a little behind at
//! `buffered`, never at `memory`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use storage::{Bug, Entry, Journal, JournalSync, StorageError, WholeDisk, is_planted};

use super::{Topic, Unsettled};
use crate::channel::Channel;
use crate::durability::Durability;
use crate::receipt::{Batch, PublishError, Receipt};

/// Files of a topic at `memory` that wait for a sync nobody asked for.
const UNSYNCED_FILES_MAX: usize = 4;

/// What one sync of a topic makes durable, and whom it lets go on.
struct Round<'a> {
    _alone: MutexGuard<'a, ()>,
    log: Option<storage::Unsynced>,
    journal: Option<JournalSync>,
    unsettled: Vec<Unsettled>,
    held: Vec<(Arc<Channel>, u64)>,
    waiting: Vec<Arc<Batch>>,
    reached: storage::Position,
}

impl Topic {
    /// Its level: its own, or the broker's default. Ephemeral topics are never on disk.
    pub(crate) fn durability(&self) -> Durability {
        if self.name.is_ephemeral() {
            return Durability::Memory;
        }
        Durability::from_byte(self.level.load(Ordering::Acquire)).unwrap_or(self.context.rules.durability)
    }

    /// Something is with the kernel only: have it synced when its level says so.
    pub(crate) fn sync_as_promised(self: &Arc<Self>) {
        match self.durability() {
            // Nothing is promised, but files nobody has synced are held open, so there must not be many.
            Durability::Memory => {
                if self.lock_log().log.unsynced_files() > UNSYNCED_FILES_MAX {
                    self.sync_soon();
                }
            }
            Durability::Buffered => {
                if !self.is_written.swap(true, Ordering::AcqRel) {
                    let _stopping = self.context.unsynced.send(Arc::clone(self));
                }
            }
            Durability::Fsync => self.sync_soon(),
        }
    }

    /// Settled when all that the journal has been told so far is as durable as the topic's level demands.
    pub(crate) fn barrier(self: &Arc<Self>) -> Receipt {
        if self.durability() != Durability::Fsync {
            return Receipt::kept();
        }
        let receipt = {
            let mut barrier = self.barrier.lock().unwrap_or_else(PoisonError::into_inner);
            barrier.get_or_insert_default().receipt()
        };
        self.sync_soon();
        receipt
    }

    /// Make what is with the kernel survive a power cut, and settle what waits for it. A sync that fails ends the
    /// process, and does so before anybody else can sync: the kernel may have dropped the pages, and would call the next
    /// sync a success.
    pub(crate) fn sync(&self) -> Result<(), StorageError> {
        let Some(round) = self.begin_sync() else { return Ok(()) };
        self.sync_one(round)
    }

    /// The same for many topics with one call for all of them, who share a file system. Should that fail, each topic
    /// asks for its own files: the failed write may have been somebody else's.
    pub(crate) fn sync_together(topics: &[Arc<Self>], whole: &dyn WholeDisk) {
        let rounds: Vec<_> = topics.iter().filter_map(|topic| Some((topic, topic.begin_sync()?))).collect();
        let Some((first, _)) = rounds.first() else { return };
        let (clock, figures) = (&first.context.clock, &first.context.figures);
        let began = clock.uptime();
        let synced = whole.sync();
        figures.syncs.record(clock.uptime().saturating_sub(began));
        if let Err(error) = &synced {
            tracing::warn!(%error, "cannot sync all topics at once; each is synced by itself");
        }
        for (topic, round) in rounds {
            // What fails is told and dealt with where it fails.
            let _told = match &synced {
                Ok(()) => {
                    round.journal.iter().for_each(JournalSync::was_synced);
                    topic.end_sync(round, Ok(()))
                }
                Err(_) => topic.sync_one(round),
            };
        }
    }

    /// Take what is to be synced. `None`: nothing is promised any more, and who waits was told so.
    fn begin_sync(&self) -> Option<Round<'_>> {
        let alone = self.syncing.lock().unwrap_or_else(PoisonError::into_inner);
        // Whatever is written from here on asks again.
        self.is_written.store(false, Ordering::Release);
        self.is_sync_asked.store(false, Ordering::Release);
        let barrier = self.barrier.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (log, unsettled, reached) = {
            let mut log = self.lock_log();
            (log.log.take_unsynced(), std::mem::take(&mut log.unsettled), log.log.syncable())
        };
        let waiting: Vec<_> = unsettled.iter().map(|one| Arc::clone(&one.batch)).chain(barrier).collect();
        let (journal, held) = self.journal_target();
        // A batch that was written before another file's sync failed must not be promised by a second try.
        if self.context.has_failed() {
            settle(&waiting, Some(&self.context.health.text()));
            return None;
        }
        Some(Round { _alone: alone, log, journal, unsettled, held, waiting, reached })
    }

    fn sync_one(&self, mut round: Round<'_>) -> Result<(), StorageError> {
        let began = self.context.clock.uptime();
        let log = round.log.take().map_or(Ok(()), storage::Unsynced::sync);
        let synced = log.and_then(|()| round.journal.as_ref().map_or(Ok(()), JournalSync::sync_data));
        self.context.figures.syncs.record(self.context.clock.uptime().saturating_sub(began));
        self.end_sync(round, if is_planted(Bug::RetrySync) { Ok(()) } else { synced })
    }

    /// Show what was synced, and tell who waits.
    fn end_sync(&self, round: Round<'_>, synced: Result<(), StorageError>) -> Result<(), StorageError> {
        if let Err(error) = synced {
            return self.sync_failed(&round.waiting, error);
        }
        // Who was told OK finds the message there.
        let touched = self.show(&round.unsettled, &round.held);
        settle(&round.waiting, None);
        if !self.is_deleted() {
            self.note_synced(round.reached);
        }
        let now = self.context.clock.now();
        touched.iter().for_each(|channel| channel.dispatch_once(now));
        Ok(())
    }

    fn sync_failed(&self, waiting: &[Arc<Batch>], error: StorageError) -> Result<(), StorageError> {
        // A topic that is deleted meanwhile takes its folder with it, and nothing of it need survive.
        let is_over = self.is_deleted();
        if !is_over {
            tracing::error!(topic = %self.name, %error, "cannot sync");
            self.context.fail_stop(&error);
        }
        settle(waiting, Some(&error.to_string()));
        if is_over { Ok(()) } else { Err(error) }
    }

    /// What to sync of the journal, and how far that releases the channels whose news are in it: they hold the journal's
    /// lock from when they give their news until it is written. News that a full disk refused are not in it.
    fn journal_target(&self) -> (Option<JournalSync>, Vec<(Arc<Channel>, u64)>) {
        let journal = self.lock_journal();
        let is_written = journal.as_ref().is_some_and(|journal| !journal.has_pending());
        let channels = self.channels();
        let held = channels.iter().filter(|channel| is_written && channel.is_held());
        let held = held.map(|channel| (Arc::clone(channel), channel.held())).collect();
        (journal.as_ref().and_then(Journal::sync_target), held)
    }

    /// What was waiting for the sync may be delivered, by the channels that are given back.
    fn show(&self, unsettled: &[Unsettled], held: &[(Arc<Channel>, u64)]) -> Vec<Arc<Channel>> {
        held.iter().for_each(|(channel, seen)| channel.release(*seen));
        let (visible, channels) = {
            let mut log = self.lock_log();
            let shown = unsettled.iter().filter_map(|one| log.rules.publish(one.tail, one.bytes)).last();
            (shown, Arc::clone(&log.channels))
        };
        match visible {
            Some(visible) => {
                channels.iter().for_each(|channel| channel.extend(visible));
                channels.to_vec()
            }
            None => held.iter().map(|(channel, _)| Arc::clone(channel)).collect(),
        }
    }

    /// Tell the next start how far it need not look for torn writes. Not synced itself: what it says is true.
    fn note_synced(&self, at: storage::Position) {
        let mut journal = self.lock_journal();
        let Some(journal) = journal.as_mut() else { return };
        if self.is_deleted() || journal.state().synced == Some(at) {
            return;
        }
        journal.note(Entry::Synced { at });
        // A refusal is met again, and told, by the next write that matters.
        let _told_later = journal.flush();
    }

    /// Have it synced, away from this thread. One sync is under way and one waits at most.
    pub(crate) fn sync_soon(self: &Arc<Self>) {
        if self.is_sync_asked.swap(true, Ordering::AcqRel) {
            return;
        }
        let topic = Arc::clone(self);
        match &self.context.control {
            // A sync blocks for as long as the device takes; what is appended meanwhile shares the next.
            Some(control) => drop(control.spawn_blocking(move || topic.sync())),
            // It has been told and dealt with where it failed.
            None => drop(topic.sync()),
        }
    }
}

fn settle(waiting: &[Arc<Batch>], failure: Option<&String>) {
    for batch in waiting {
        batch.settle(failure.map_or(Ok(()), |why| Err(PublishError::Refused(why.clone()))));
    }
}
