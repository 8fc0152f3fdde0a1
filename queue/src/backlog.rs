//! What a channel has not read yet: from its cursor to the end of what is visible to it, minus what it must skip.

use std::collections::VecDeque;

use crate::position::Position;
use crate::restored::Restored;

/// The cursor only moves forward. Offsets decide what lies before what; ordinals are for counting.
#[derive(Debug)]
pub(crate) struct Backlog {
    cursor: Position,
    visible: Position,
    /// Messages that are gone, in order; none of them is wholly below the cursor.
    holes: VecDeque<(Position, Position)>,
    limit: Option<Limit>,
    pub(crate) restored: Restored,
}

/// An ephemeral channel keeps at most so many unread messages.
#[derive(Debug)]
struct Limit {
    depth_max: u64,
    /// Messages of a lower ordinal are dropped when the cursor comes to them.
    keep_from: u64,
    /// How many were, since the start.
    dropped: u64,
    /// Ends of what was visible at some time: places the cursor may jump to without reading its way.
    marks: VecDeque<Position>,
}

impl Backlog {
    pub(crate) fn new(cursor: Position, visible: Position, restored: Restored) -> Self {
        let visible = if is_ahead(visible, cursor) { visible } else { cursor };
        let mut backlog = Self { cursor, visible, holes: VecDeque::new(), limit: None, restored };
        backlog.settle();
        backlog
    }

    /// Keep at most `depth_max` unread messages, the newest.
    pub(crate) fn limited(mut self, depth_max: u64) -> Self {
        self.limit = Some(Limit { depth_max, keep_from: 0, dropped: 0, marks: VecDeque::new() });
        self
    }

    #[inline]
    pub(crate) fn cursor(&self) -> Position {
        self.cursor
    }

    pub(crate) fn visible(&self) -> Position {
        self.visible
    }

    /// Whether there is a record to read at the cursor.
    #[inline]
    pub(crate) fn has_unread(&self) -> bool {
        self.cursor.offset < self.visible.offset
    }

    /// Whether the message at the cursor was dropped by the limit.
    #[inline]
    pub(crate) fn is_dropped(&self) -> bool {
        self.limit.as_ref().is_some_and(|limit| self.cursor.ordinal < limit.keep_from)
    }

    /// How many messages the limit dropped.
    pub(crate) fn dropped_count(&self) -> u64 {
        self.limit.as_ref().map_or(0, |limit| limit.dropped)
    }

    /// How many messages will still be read and are due.
    #[inline]
    pub(crate) fn unread(&self) -> u64 {
        if !self.has_unread() {
            return 0;
        }
        let keep_from = self.limit.as_ref().map_or(0, |limit| limit.keep_from);
        let from = self.cursor.ordinal.max(keep_from);
        let gone = self.holes_between(from, self.visible.ordinal);
        let settled = self.restored.finished_count() + self.restored.deferred_count();
        self.visible.ordinal.saturating_sub(from).saturating_sub(gone).saturating_sub(settled)
    }

    /// More may be read. Gives how many messages that is.
    pub(crate) fn extend(&mut self, visible: Position) -> u64 {
        if !is_ahead(visible, self.visible) {
            return 0;
        }
        let before = self.visible;
        self.visible = visible;
        if let Some(limit) = &mut self.limit {
            limit.mark(before);
        }
        self.settle();
        let gone = self.holes_between(before.ordinal, visible.ordinal);
        visible.ordinal.saturating_sub(before.ordinal).saturating_sub(gone)
    }

    /// The messages in this range are gone.
    pub(crate) fn skip(&mut self, from: Position, to: Position) {
        if to.offset <= self.cursor.offset || to.offset <= from.offset {
            return;
        }
        let at = self.holes.partition_point(|(start, _)| start.offset <= from.offset);
        self.holes.insert(at, (from, to));
        // A hole that begins where sight ends is nothing to wait for: the next message visible is behind it.
        if from.offset <= self.visible.offset && is_ahead(to, self.visible) {
            self.visible = to;
        }
        self.settle();
    }

    /// Go on at `to` at the earliest: what lies before is finished or gone.
    pub(crate) fn jump(&mut self, to: Position) {
        if is_ahead(to, self.cursor) {
            self.cursor = to;
            self.restored.forget_below(to.seq);
        }
        if is_ahead(self.cursor, self.visible) {
            self.visible = self.cursor;
        }
        self.settle();
    }

    /// The message `seq` at the cursor has been taken over; the next record starts at `next`.
    #[inline]
    pub(crate) fn pass(&mut self, seq: u64, next: u64) {
        let seq = seq.saturating_add(1);
        self.cursor = Position { seq, offset: next, ordinal: self.cursor.ordinal.saturating_add(1) };
        self.restored.forget_below(seq);
        self.settle();
    }

    /// `messages` at the cursor cannot be read. If the number behind them is unknown, the cursor's stays a lower bound.
    /// Gives how many of them were still to be delivered: what is finished is no loss.
    pub(crate) fn lose(&mut self, next: u64, messages: u64, next_seq: Option<u64>) -> u64 {
        let from = self.cursor.seq;
        let next_seq = next_seq.or((next >= self.visible.offset).then_some(self.visible.seq));
        let numbers = from..next_seq.unwrap_or(from.saturating_add(messages));
        let lost = messages.saturating_sub(self.restored.finished_in(&numbers));
        self.cursor.offset = next;
        self.cursor.ordinal = self.cursor.ordinal.saturating_add(messages);
        if let Some(seq) = next_seq.filter(|seq| *seq > from) {
            self.cursor.seq = seq;
            self.restored.forget_below(seq);
        }
        self.settle();
        lost
    }

    /// A place ahead that is to be tried next, since everything before it is finished. None once the end is reached.
    #[inline]
    pub(crate) fn leap(&mut self) -> Option<Position> {
        let place = self.restored.leap(self.cursor, self.visible.offset)?;
        if place.offset < self.visible.offset {
            return Some(place);
        }
        self.jump(place);
        None
    }

    /// Drop the oldest unread messages beyond the limit.
    #[inline]
    pub(crate) fn enforce_limit(&mut self) {
        let Some(depth_max) = self.limit.as_ref().map(|limit| limit.depth_max) else { return };
        let unread = self.unread();
        if unread <= depth_max {
            return;
        }
        let Some(limit) = &mut self.limit else { return };
        limit.dropped += unread - depth_max;
        limit.keep_from = self.visible.ordinal.saturating_sub(depth_max);
        if let Some(mark) = limit.take_mark()
            && is_ahead(mark, self.cursor)
        {
            self.jump(mark);
        }
    }

    /// Step over holes at the cursor; at the end, agree with the log about number and ordinal.
    #[inline]
    fn settle(&mut self) {
        while let Some((from, to)) =
            self.holes.front().copied().filter(|(from, _)| from.offset <= self.cursor.offset)
        {
            debug_assert!(from.offset < to.offset, "skip refuses empty holes");
            self.holes.pop_front();
            if is_ahead(to, self.cursor) {
                self.cursor = to;
                self.restored.forget_below(to.seq);
            }
        }
        if self.cursor.offset == self.visible.offset {
            self.cursor.seq = self.cursor.seq.max(self.visible.seq);
            self.cursor.ordinal = self.visible.ordinal;
            self.restored.forget_below(self.cursor.seq);
        }
    }

    #[inline]
    fn holes_between(&self, from: u64, to: u64) -> u64 {
        let inside =
            |(start, end): &(Position, Position)| end.ordinal.min(to).saturating_sub(start.ordinal.max(from));
        self.holes.iter().map(inside).sum()
    }
}

impl Limit {
    /// Remember a place to jump to, at most some sixteen for a full channel.
    fn mark(&mut self, at: Position) {
        let last = self.marks.back().map_or(0, |mark| mark.ordinal);
        if at.ordinal.saturating_sub(last) > self.depth_max / 16 {
            self.marks.push_back(at);
        }
    }

    /// The last place at which nothing but dropped messages lies before.
    fn take_mark(&mut self) -> Option<Position> {
        let mut place = None;
        while self.marks.front().is_some_and(|mark| mark.ordinal <= self.keep_from) {
            place = self.marks.pop_front();
        }
        place
    }
}

/// Offsets decide; at the same place, the larger number is the later news.
#[inline]
fn is_ahead(one: Position, other: Position) -> bool {
    (one.offset, one.seq) > (other.offset, other.seq)
}
