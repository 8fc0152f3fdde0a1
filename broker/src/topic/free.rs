//! Space that only stragglers hold: of a segment in which few messages are still owed, a deferral of a week for
//! example, the rest is given back to the file system.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use storage::StorageError;

use super::Topic;
use crate::channel::Channel;

/// Segments at the end of the log that are left alone: consumers are about to finish with them.
const RECENT_SEGMENTS: usize = 2;

/// What was owed in each segment when its space was last given back.
pub(super) type Freed = HashMap<u64, usize>;

/// A segment of which something can be given back.
#[derive(Debug)]
struct Sparse {
    offset: u64,
    /// Where the first and the last record of each stretch begin.
    owed: Vec<(u64, u64)>,
}

impl Topic {
    /// Give back what nobody needs in the middle of the log. Tells how many bytes that were.
    pub(crate) fn free_space(self: &Arc<Self>) -> Result<u64, StorageError> {
        let sparse = self.sparse_segments();
        // What is freed is gone: the journal must say durably, and first, that nobody will ask for it.
        if sparse.is_empty() || !self.save_progress() {
            return Ok(0);
        }
        // What the journal says before the sync is durable after it.
        let synced = self.lock_journal().as_ref().and_then(|journal| journal.state().synced);
        self.sync()?;
        let Some(synced) = synced.filter(|_| !self.context.has_failed()) else { return Ok(0) };
        let mut freed = 0;
        for Sparse { offset, owed } in sparse {
            let punch = self.lock_log().log.punch(offset, &owed, synced);
            let Some(punch) = punch.filter(|_| !self.is_deleted()) else { continue };
            freed += punch.run()?;
            self.lock_freed().insert(offset, owed.len());
        }
        Ok(freed)
    }

    /// Full segments that every channel has read, and in which much less is owed than when they were looked at last.
    fn sparse_segments(&self) -> Vec<Sparse> {
        let channels = self.channels();
        let (begins, visible) = {
            let log = self.lock_log();
            (log.log.segment_offsets().collect::<Vec<_>>(), log.rules.visible().offset)
        };
        let read = channels.iter().map(|channel| channel.lock().queue.cursor().offset).min();
        let read = read.unwrap_or(0).min(visible);
        let mut freed = self.lock_freed();
        freed.retain(|offset, _| begins.contains(offset));
        let full = begins.len().saturating_sub(RECENT_SEGMENTS);
        let spans = begins.iter().copied().zip(begins.iter().skip(1).copied());
        let spans = spans.take(full).take_while(|(_, end)| *end <= read);
        spans
            .filter_map(|(offset, end)| Some(Sparse { offset, owed: owed_in(&channels, offset, end)? }))
            .filter(|sparse| freed.get(&sparse.offset).is_none_or(|before| sparse.owed.len() * 2 <= *before))
            .filter(|sparse| freed.get(&sparse.offset) != Some(&sparse.owed.len()))
            .collect()
    }

    fn lock_freed(&self) -> std::sync::MutexGuard<'_, Freed> {
        self.freed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What any channel still owes there; none if that is much.
fn owed_in(channels: &[Arc<Channel>], from: u64, to: u64) -> Option<Vec<(u64, u64)>> {
    let mut all = Vec::new();
    for channel in channels {
        all.extend(channel.lock().queue.owed_in(from, to)?);
    }
    all.sort_unstable();
    // Stretches of several channels may overlap.
    all.dedup_by(|next, kept| {
        let overlaps = next.0 <= kept.1;
        if overlaps {
            kept.1 = kept.1.max(next.1);
        }
        overlaps
    });
    Some(all)
}
