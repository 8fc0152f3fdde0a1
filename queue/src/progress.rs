//! What of a channel must be journaled so that a restart loses nothing, and what a restart begins with.

use std::ops::Range;

use crate::position::Position;
use crate::time::WallTime;
use crate::window::{State, Window};

/// Lists are tidied up when they reach this length, later when tidying did not help.
const TIDY_AT: usize = 4096;

/// One owed message with a past, or with a due time that its record does not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The message's number.
    pub seq: u64,
    /// Where its record starts, so that a restart need not read its way there.
    pub offset: u64,
    /// Deliveries so far.
    pub attempts: u16,
    /// Deferred until then.
    pub due: Option<WallTime>,
}

/// What changed since the last call of [`crate::Channel::progress`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Number and offset below which everything is finished.
    pub floor: (u64, u64),
    /// Messages finished at or above the floor. Coalesced; a range never spans numbers that no message has.
    pub finished: Vec<Range<u64>>,
    /// Every message with a lower number that is not finished was delivered at least once, unless `pending` entries
    /// say otherwise.
    pub delivered: u64,
    /// Owed messages whose attempts or due time changed.
    pub pending: Vec<Pending>,
    /// Messages that were passed as deferred and never delivered: when they are due is in their records. To be
    /// journaled before `pending` and `finished`, which may tell more of some of them. Ranges as in `finished`.
    pub untouched: Vec<Range<u64>>,
    /// Where the next unread message starts: a place from which a restart can read.
    pub cursor: Position,
    /// A requeue or a timeout is among the changes: worth writing soon.
    pub is_urgent: bool,
}

/// What the journal knows of a channel at a restart. Every [`Progress`] merged into one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Everything below is finished. The shell finds the ordinal in its log.
    pub floor: Position,
    /// Finished messages above the floor, in any order.
    pub finished: Vec<Range<u64>>,
    /// Deferred messages that were never delivered, in any order. What is finished or pending is not among them, even
    /// if a range says so.
    pub untouched: Vec<Range<u64>>,
    /// Messages below this number count as delivered once if nothing else is known.
    pub delivered: u64,
    /// The newest entry of each owed message.
    pub pending: Vec<Pending>,
    /// Places in the log with exact ordinals: where its segments begin, where it ends, the newest
    /// [`Progress::cursor`]. Numbers must be dense from each to the next beginning of a segment. Over what is finished
    /// the channel leaps from one to another; without them it reads its way.
    pub landmarks: Vec<Position>,
    /// Delivery stands still until somebody unpauses the channel.
    pub is_paused: bool,
}

/// Collects changes between two calls of `progress`. Nothing is collected for channels that are not journaled.
#[derive(Debug)]
pub(crate) struct Changes {
    is_kept: bool,
    finished: Vec<Range<u64>>,
    untouched: Vec<Range<u64>>,
    pending: Vec<u64>,
    delivered: u64,
    is_urgent: bool,
    reported_floor: (u64, u64),
    reported_delivered: u64,
    tidy_finished_at: usize,
    tidy_pending_at: usize,
}

impl Changes {
    pub(crate) fn new(is_kept: bool, floor: (u64, u64), delivered: u64) -> Self {
        Self {
            is_kept,
            finished: Vec::new(),
            untouched: Vec::new(),
            pending: Vec::new(),
            delivered,
            is_urgent: false,
            reported_floor: floor,
            reported_delivered: delivered,
            tidy_finished_at: TIDY_AT,
            tidy_pending_at: TIDY_AT,
        }
    }

    /// What the last `take` told.
    pub(crate) fn reported_floor(&self) -> (u64, u64) {
        self.reported_floor
    }

    /// Messages below this were delivered at least once, or so it was before the restart.
    #[inline]
    pub(crate) fn delivered_below(&self) -> u64 {
        self.delivered
    }

    #[inline]
    pub(crate) fn deliver(&mut self, seq: u64) {
        self.delivered = self.delivered.max(seq.saturating_add(1));
    }

    #[inline]
    pub(crate) fn finish(&mut self, seq: u64) {
        if !self.is_kept {
            return;
        }
        add(&mut self.finished, seq);
        if self.finished.len() >= self.tidy_finished_at {
            coalesce(&mut self.finished);
            self.tidy_finished_at = (self.finished.len() * 2).max(TIDY_AT);
        }
    }

    /// The cursor passes it, deferred as its record says. The cursor only rises, so ranges join by themselves.
    pub(crate) fn leave_untouched(&mut self, seq: u64) {
        if self.is_kept {
            add(&mut self.untouched, seq);
        }
    }

    #[inline]
    pub(crate) fn pend(&mut self, seq: u64) {
        if !self.is_kept {
            return;
        }
        self.pending.push(seq);
        if self.pending.len() >= self.tidy_pending_at {
            self.pending.sort_unstable();
            self.pending.dedup();
            self.tidy_pending_at = (self.pending.len() * 2).max(TIDY_AT);
        }
    }

    pub(crate) fn hurry(&mut self) {
        self.is_urgent = self.is_kept;
    }

    pub(crate) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// The channel was emptied: single messages no longer matter, the floor tells all.
    pub(crate) fn forget(&mut self) {
        self.finished.clear();
        self.untouched.clear();
        self.pending.clear();
        self.is_urgent = false;
    }

    #[inline]
    pub(crate) fn is_any(&self, floor: (u64, u64)) -> bool {
        floor != self.reported_floor
            || self.delivered != self.reported_delivered
            || !self.finished.is_empty()
            || !self.untouched.is_empty()
            || !self.pending.is_empty()
    }

    pub(crate) fn take(&mut self, floor: (u64, u64), cursor: Position, window: &Window) -> Progress {
        let mut finished = std::mem::take(&mut self.finished);
        coalesce(&mut finished);
        let mut untouched = std::mem::take(&mut self.untouched);
        for ranges in [&mut finished, &mut untouched] {
            ranges.retain_mut(|range| {
                range.start = range.start.max(floor.0);
                !range.is_empty()
            });
        }
        let mut seqs = std::mem::take(&mut self.pending);
        seqs.sort_unstable();
        seqs.dedup();
        let pending = seqs.into_iter().filter_map(|seq| pending(seq, window)).collect();
        self.reported_floor = floor;
        self.reported_delivered = self.delivered;
        self.tidy_finished_at = TIDY_AT;
        self.tidy_pending_at = TIDY_AT;
        let is_urgent = std::mem::take(&mut self.is_urgent);
        Progress { floor, finished, delivered: self.delivered, pending, untouched, cursor, is_urgent }
    }
}

fn pending(seq: u64, window: &Window) -> Option<Pending> {
    let slot = window.slot(seq)?;
    let due = match slot.state {
        State::Deferred { due } => Some(due),
        State::Ready | State::InFlight { .. } => None,
    };
    Some(Pending { seq, offset: slot.offset, attempts: slot.attempts, due })
}

#[inline]
fn add(ranges: &mut Vec<Range<u64>>, seq: u64) {
    match ranges.last_mut() {
        Some(last) if last.end == seq => last.end = seq.saturating_add(1),
        Some(last) if last.start == seq.saturating_add(1) => last.start = seq,
        _ => ranges.push(seq..seq.saturating_add(1)),
    }
}

/// Sort and join what touches. A number that no message has is in no range, so ranges count messages.
fn coalesce(ranges: &mut Vec<Range<u64>>) {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, kept| {
        let touches = next.start <= kept.end;
        if touches {
            kept.end = kept.end.max(next.end);
        }
        touches
    });
}
