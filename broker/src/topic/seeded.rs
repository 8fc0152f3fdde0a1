//! Where the planted bugs of a restart are: see `storage::Bug`. In an ordinary build nothing here does anything.

use std::borrow::Cow;
use std::ops::Range;

use queue::Saved;
use storage::{Bug, LogStart, is_planted};

/// What a restart knows of a channel.
pub(super) fn spoil(saved: &mut Saved) {
    if is_planted(Bug::DropInFlight) {
        saved.finished.push(saved.floor.seq..saved.delivered);
    }
    if is_planted(Bug::LoseDeferral) {
        saved.pending.iter_mut().for_each(|pending| pending.due = None);
    }
    if is_planted(Bug::ResetAttempts) {
        saved.pending.iter_mut().for_each(|pending| pending.attempts = 0);
        saved.delivered = saved.floor.seq;
    }
}

/// Where a restart goes on numbering.
pub(super) fn renumbered(start: LogStart) -> LogStart {
    if is_planted(Bug::ReuseNumbers) { LogStart { seq_min: 0, ..start } } else { start }
}

/// What the journal is told of finished messages.
pub(super) fn finished(ranges: &[Range<u64>]) -> Cow<'_, [Range<u64>]> {
    if is_planted(Bug::FinishTwo) {
        return ranges.iter().map(|range| range.start..range.end.saturating_add(1)).collect();
    }
    Cow::Borrowed(ranges)
}
