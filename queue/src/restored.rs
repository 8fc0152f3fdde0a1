//! What is known from before a restart about messages the cursor has yet to pass again, and the places in the log that
//! it may go to without reading its way.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use crate::position::Position;
use crate::progress::{Pending, Saved};
use crate::time::WallTime;

/// Used up from the front as the cursor passes; empty for a channel that was never restored.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    finished: VecDeque<Range<u64>>,
    /// Deferred and never delivered; when they are due is in their records.
    untouched: VecDeque<Range<u64>>,
    pending: BTreeMap<u64, Known>,
    places: VecDeque<Place>,
    finished_count: u64,
    deferred_count: u64,
}

/// A message's past as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) attempts: u16,
    pub(crate) due: Option<WallTime>,
}

/// A place in the log where a record starts, or the end.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: Position,
    /// No message between the place before and this one has this number or a higher one.
    reach: u64,
}

impl Restored {
    /// What `saved` tells of messages at and above its floor.
    pub(crate) fn new(saved: &Saved) -> Self {
        let floor = saved.floor.seq;
        let mut restored = Self {
            finished: tidied(&saved.finished, floor),
            places: places(saved.floor, &saved.landmarks, &saved.pending),
            ..Self::default()
        };
        for entry in saved.pending.iter().filter(|entry| entry.seq >= floor) {
            restored.pending.insert(entry.seq, Known { attempts: entry.attempts, due: entry.due });
        }
        restored.untouched = restored.without_others(tidied(&saved.untouched, floor));
        restored.finished_count = count(&restored.finished);
        let deferred = restored.pending.values().filter(|known| known.due.is_some());
        restored.deferred_count = count(&restored.untouched) + deferred.fold(0, |count, _| count + 1);
        restored
    }

    /// Finished messages still ahead of the cursor.
    pub(crate) fn finished_count(&self) -> u64 {
        self.finished_count
    }

    /// Deferred messages still ahead of the cursor.
    pub(crate) fn deferred_count(&self) -> u64 {
        self.deferred_count
    }

    /// Whether `seq`, the next message, is finished. Ranges below it must have been forgotten.
    #[inline]
    pub(crate) fn is_finished(&self, seq: u64) -> bool {
        self.finished.front().is_some_and(|range| range.contains(&seq))
    }

    /// Whether `seq`, the next message, was deferred and never delivered. Ranges below it must have been forgotten.
    #[inline]
    pub(crate) fn is_untouched(&self, seq: u64) -> bool {
        self.untouched.front().is_some_and(|range| range.contains(&seq))
    }

    /// Whether there are deferred messages ahead whose due times only their records know.
    pub(crate) fn has_untouched(&self) -> bool {
        !self.untouched.is_empty()
    }

    /// How many of these numbers are those of finished messages.
    pub(crate) fn finished_in(&self, numbers: &Range<u64>) -> u64 {
        let near = self.finished.iter().take_while(|range| range.start < numbers.end);
        near.map(|range| range.end.min(numbers.end).saturating_sub(range.start.max(numbers.start))).sum()
    }

    #[inline]
    pub(crate) fn known(&self, seq: u64) -> Option<Known> {
        self.pending.get(&seq).copied()
    }

    /// The due times, for the channel's order of deferred messages.
    pub(crate) fn due_times(&self) -> impl Iterator<Item = (WallTime, u64)> {
        self.pending.iter().filter_map(|(seq, known)| Some((known.due?, *seq)))
    }

    /// Its time has come before the cursor came to it: from now on it is an unread message like others.
    pub(crate) fn wake(&mut self, seq: u64, due: WallTime) -> bool {
        let Some(known) = self.pending.get_mut(&seq).filter(|known| known.due == Some(due)) else {
            return false;
        };
        known.due = None;
        self.deferred_count -= 1;
        true
    }

    /// `seq`, the next message, is due: it is no longer deferred, though still never delivered.
    pub(crate) fn wake_untouched(&mut self, seq: u64) {
        if self.is_untouched(seq) {
            self.deferred_count -= cut(&mut self.untouched, seq.saturating_add(1));
            self.pending.insert(seq, Known { attempts: 0, due: None });
        }
    }

    /// The cursor is at or behind `seq` now: what is known of lower ones has been used.
    #[inline]
    pub(crate) fn forget_below(&mut self, seq: u64) {
        if !self.finished.is_empty() || !self.pending.is_empty() || !self.untouched.is_empty() {
            self.use_up(seq);
        }
    }

    /// The farthest place, not behind `end`, that the cursor may go to because everything before it is finished.
    #[inline]
    pub(crate) fn leap(&mut self, cursor: Position, end: u64) -> Option<Position> {
        if self.places.is_empty() {
            return None;
        }
        self.find_leap(cursor, end)
    }

    /// There is something else at this place than was expected: never go there again.
    pub(crate) fn mistrust(&mut self, place: Position) {
        self.places.retain(|other| other.at != place);
    }

    fn find_leap(&mut self, cursor: Position, end: u64) -> Option<Position> {
        let finished = self.finished.front()?;
        if !finished.contains(&cursor.seq) {
            return None;
        }
        while self.places.front().is_some_and(|place| place.at.offset <= cursor.offset) {
            self.places.pop_front();
        }
        let within = |place: &&Place| place.at.offset <= end && place.reach <= finished.end;
        self.places.iter().take_while(within).last().map(|place| place.at)
    }

    fn use_up(&mut self, seq: u64) {
        self.finished_count -= cut(&mut self.finished, seq);
        self.deferred_count -= cut(&mut self.untouched, seq);
        while let Some(entry) = self.pending.first_entry().filter(|entry| *entry.key() < seq) {
            self.deferred_count -= u64::from(entry.remove().due.is_some());
        }
        if self.finished.is_empty() {
            self.places = VecDeque::new();
        }
    }

    /// Each message is counted once: what is finished, or has a past, is not untouched.
    fn without_others(&self, untouched: VecDeque<Range<u64>>) -> VecDeque<Range<u64>> {
        let mut left = VecDeque::new();
        let mut finished = self.finished.iter().peekable();
        for mut range in untouched {
            while let Some(other) = finished.next_if(|other| other.end <= range.start) {
                debug_assert!(other.end <= range.start, "finished ranges are in order");
            }
            while let Some(other) = finished.peek().filter(|other| other.start < range.end) {
                self.push_without_pending(&mut left, range.start..other.start);
                range.start = other.end.min(range.end).max(range.start);
                if other.end > range.end {
                    break;
                }
                finished.next();
            }
            self.push_without_pending(&mut left, range);
        }
        left
    }

    fn push_without_pending(&self, left: &mut VecDeque<Range<u64>>, range: Range<u64>) {
        let mut start = range.start;
        if start >= range.end {
            return;
        }
        for (seq, _) in self.pending.range(range.clone()) {
            left.extend((start < *seq).then_some(start..*seq));
            start = seq.saturating_add(1);
        }
        left.extend((start < range.end).then_some(start..range.end));
    }
}

/// In order, without overlaps, not below `floor`, and joined where they touch.
fn tidied(ranges: &[Range<u64>], floor: u64) -> VecDeque<Range<u64>> {
    let mut sorted = ranges.to_vec();
    sorted.sort_unstable_by_key(|range| range.start);
    let mut tidied: VecDeque<Range<u64>> = VecDeque::with_capacity(sorted.len());
    for range in sorted {
        let range = range.start.max(floor)..range.end;
        match tidied.back_mut() {
            _ if range.is_empty() => {}
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => tidied.push_back(range),
        }
    }
    tidied
}

fn count(ranges: &VecDeque<Range<u64>>) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// Take out what is below `seq`; gives how much that was.
fn cut(ranges: &mut VecDeque<Range<u64>>, seq: u64) -> u64 {
    let mut gone = 0;
    while let Some(range) = ranges.front_mut().filter(|range| range.start < seq) {
        let passed = range.end.min(seq);
        gone += passed - range.start;
        range.start = passed;
        if !range.is_empty() {
            break;
        }
        ranges.pop_front();
    }
    gone
}

/// Landmarks have exact ordinals; numbers are dense from each to the next segment, so the ordinals of pending messages
/// between them follow. Whatever does not fit in between is from a log that is no more.
fn places(floor: Position, landmarks: &[Position], pending: &[Pending]) -> VecDeque<Place> {
    let mut landmarks = landmarks.to_vec();
    landmarks.sort_unstable();
    landmarks.dedup();
    let Some(mut last) = landmarks.first().copied() else { return VecDeque::new() };
    let mut pending: Vec<(u64, u64)> = pending.iter().map(|entry| (entry.seq, entry.offset)).collect();
    pending.sort_unstable();
    let mut pending = pending.into_iter().peekable();
    let mut places = VecDeque::new();
    for landmark in landmarks.into_iter().map(Some).chain([None]) {
        let reach = landmark.map_or(last.seq, |next| reach_of(last, next));
        while let Some((seq, offset)) =
            pending.next_if(|(seq, _)| landmark.is_none_or(|next| *seq < next.seq))
        {
            let is_between = seq > last.seq && seq < reach && offset > last.offset;
            if is_between && landmark.is_some_and(|next| offset < next.offset) {
                last = Position { seq, offset, ordinal: last.ordinal + (seq - last.seq) };
                places.push_back(Place { at: last, reach: seq });
            }
        }
        let Some(next) = landmark else { break };
        if next.offset >= last.offset && next.ordinal >= last.ordinal {
            places.push_back(Place { at: next, reach: reach_of(last, next) });
            last = next;
        }
    }
    places.retain(|place| place.at.offset > floor.offset);
    places
}

/// The number behind the last message between two places, of which only the second may be a segment's beginning.
fn reach_of(last: Position, next: Position) -> u64 {
    last.seq.saturating_add(next.ordinal.saturating_sub(last.ordinal)).min(next.seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64, ordinal: u64) -> Position {
        Position { seq, offset: ordinal * 10, ordinal }
    }

    /// Two segments of a hundred messages; the numbers of the second begin at a thousand.
    fn two_segments(finished: Vec<Range<u64>>) -> Restored {
        let landmarks = vec![at(0, 0), at(1000, 100), at(1100, 200)];
        Restored::new(&Saved { finished, landmarks, ..Saved::default() })
    }

    #[test]
    fn a_leap_goes_over_the_end_of_a_segment_that_is_all_finished() {
        let mut restored = two_segments(vec![5..100, 1000..1050]);
        assert_eq!(restored.leap(at(4, 4), 2000), None);
        assert_eq!(restored.leap(at(5, 5), 2000), Some(at(1000, 100)));
        let mut restored = two_segments(vec![Range { start: 5, end: 99 }]);
        assert_eq!(restored.leap(at(5, 5), 2000), None);
    }

    #[test]
    fn a_leap_does_not_go_beyond_what_is_visible() {
        let mut restored = two_segments(vec![Range { start: 5, end: 100 }]);
        assert_eq!(restored.leap(at(5, 5), 999), None);
        assert_eq!(restored.leap(at(5, 5), 1000), Some(at(1000, 100)));
    }

    #[test]
    fn places_of_a_log_that_is_no_more_are_left_out() {
        let entry = |seq, offset| Pending { seq, offset, attempts: 1, due: None };
        let landmarks = vec![at(0, 0), at(1000, 100), at(1100, 200)];
        let pending = [entry(50, 500), entry(60, 1500), entry(500, 900), entry(1010, 900), entry(1020, 1200)];
        let places = places(Position::default(), &landmarks, &pending);
        let kept: Vec<Position> = places.iter().map(|place| place.at).collect();
        assert_eq!(kept, [at(50, 50), at(1000, 100), at(1020, 120), at(1100, 200)]);
    }

    #[test]
    fn what_is_finished_or_pending_is_not_untouched() {
        let saved = Saved {
            finished: vec![3..5, 8..9, 20..30],
            untouched: vec![10..25, 0..9],
            pending: vec![Pending { seq: 1, offset: 0, attempts: 1, due: None }],
            ..Saved::default()
        };
        let restored = Restored::new(&saved);
        assert_eq!(restored.untouched, [0..1, 2..3, 5..8, 10..20]);
        assert_eq!((restored.deferred_count(), restored.finished_count()), (15, 13));
    }
}
