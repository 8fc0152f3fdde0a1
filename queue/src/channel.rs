//! The rules of a channel: unread -> in flight -> finished, or ready again, or deferred.
//! Who gets what, and in which order, is in channel/dispatch.rs; bytes are the shell's.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use crate::backlog::Backlog;
use crate::consumer::{Consumer, ConsumerCounts, ConsumerId, Consumers, Subscription, Weight};
use crate::deferred::Deferred;
use crate::in_flight::Timeouts;
use crate::locality::LocalityCounts;
use crate::position::Position;
use crate::progress::{Changes, Progress, Saved};
use crate::restored::Restored;
use crate::time::{Age, Instant, Now, WallTime};
use crate::window::{Slot, State, Window};
use outcome::{Deadlines, Expired, InFlightError, Left, SubscribeError};
use parking::{Parking, Recalls};

mod counts;
pub(crate) mod dispatch;
pub(crate) mod outcome;
mod parking;
#[cfg(test)]
mod tests;

/// Timeouts, and due messages, that one `expire` handles at most, so that the caller's lock is held for a short time.
const EXPIRE_MAX: u64 = 4096;

/// More stretches than this are not worth telling one from another.
const OWED_MAX: usize = 4096;

/// A channel: a cursor over its topic's log and a window of what is past the cursor and not finished. `H` is the
/// shell's handle of a consumer, handed back at delivery.
///
/// ```text
///                  dispatch               finish
///   unread ---------------> in flight ---------------> (finished)
///      |                     |  ^   |
///      | due in the future   |  |   | requeue with a delay
///      |            timeout, |  |   v
///      +--> deferred --------|--|- deferred
///               |    requeue |  | dispatch
///               |            v  |
///               +--------> ready again
/// ```
///
/// Messages deferred until far away, as most that are published deferred, are parked: they cost a bit each, and their
/// records are read again when their time comes.
pub struct Channel<H> {
    rules: ChannelRules,
    is_paused: bool,
    backlog: Backlog,
    window: Window,
    /// Messages to deliver again. One that was forgotten meanwhile is recognised by its slot.
    again: VecDeque<u64>,
    timeouts: Timeouts,
    deferred: Deferred,
    parking: Parking,
    recalls: Recalls,
    consumers: Consumers<H>,
    changes: Changes,
    tally: Tally,
    /// Whether the next delivery is taken from `again` if there is a choice.
    prefers_again: bool,
    /// Offset of an unread message known to be due, so that looking for deferred ones reads it only once.
    peeked: Option<u64>,
    /// The message before the cursor is deferred.
    follows_deferred: bool,
    /// Where the log was cut off in front; zero as long as it was not.
    log_start: Position,
}

/// The options that bear on one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelRules {
    /// Most consumers at once; 0 = no limit.
    pub consumers_max: usize,
    /// TOUCH prolongs up to this long after the delivery.
    pub msg_timeout_max: Duration,
    /// Not journaled, and limited in depth.
    pub is_ephemeral: bool,
    /// Unread messages an ephemeral channel keeps while nobody takes them; 0 = only those that are taken at once.
    pub ephemeral_depth_max: u64,
}

/// Messages by state, and events since the channel was made.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    again: u64,
    in_flight: u64,
    deferred: u64,
    messages: u64,
    requeued: u64,
    timed_out: u64,
    lost: u64,
    delivered: LocalityCounts,
    emptied: u64,
    /// With the front of the log. What a limit dropped is counted by the backlog.
    dropped: u64,
}

impl<H> Channel<H> {
    /// A channel that begins at `start` and may deliver up to `visible`.
    #[must_use]
    pub fn new(rules: ChannelRules, start: Position, visible: Position) -> Self {
        let backlog = Backlog::new(start, visible, Restored::default());
        let mut channel = Self::with(rules, backlog, start.seq);
        channel.tally.messages = channel.backlog.unread();
        channel
    }

    /// A channel as it was before a restart. The cursor goes back to the floor; as it passes, finished messages are
    /// skipped, pending ones keep their attempts and due times, and others that had been delivered count one attempt.
    /// Over long stretches of finished ones it leaps, as far as landmarks are known.
    /// Counters begin at zero, as with Go nsqd.
    #[must_use]
    pub fn restore(rules: ChannelRules, saved: Saved, visible: Position) -> Self {
        let restored = Restored::new(&saved);
        let mut deferred = Deferred::default();
        for (due, seq) in restored.due_times() {
            deferred.push(due, seq);
        }
        let backlog = Backlog::new(saved.floor, visible, restored);
        let mut channel = Self::with(rules, backlog, saved.delivered.max(saved.floor.seq));
        channel.deferred = deferred;
        channel.is_paused = saved.is_paused;
        channel
    }

    fn with(rules: ChannelRules, backlog: Backlog, delivered: u64) -> Self {
        let backlog = if rules.is_ephemeral { backlog.limited(rules.ephemeral_depth_max) } else { backlog };
        let start = backlog.cursor();
        Self {
            rules,
            is_paused: false,
            backlog,
            window: Window::default(),
            again: VecDeque::new(),
            timeouts: Timeouts::default(),
            deferred: Deferred::default(),
            parking: Parking::default(),
            recalls: Recalls::default(),
            consumers: Consumers::new(),
            changes: Changes::new(!rules.is_ephemeral, (start.seq, start.offset), delivered),
            tally: Tally::default(),
            prefers_again: false,
            peeked: None,
            follows_deferred: false,
            log_start: Position::default(),
        }
    }

    /// More of the log may be delivered. A position that is not ahead is ignored.
    pub fn extend(&mut self, visible: Position) {
        // nsqd: a deferred message counts when it arrives at the channel, not when its time comes.
        self.tally.messages += self.backlog.extend(visible);
        if !self.has_ready_consumer() {
            self.backlog.enforce_limit();
        }
    }

    /// The messages from `from` up to `to` are gone since the topic was emptied: they are never delivered and in no
    /// count.
    pub fn skip(&mut self, from: Position, to: Position) {
        self.backlog.skip(from, to);
        self.peeked = None;
    }

    /// The log begins at `start` now, since a log in memory dropped its oldest messages. They are forgotten, whatever
    /// their state.
    pub fn truncate_front(&mut self, start: Position) {
        let owed = self.owed_count();
        self.log_start = self.log_start.max(start);
        self.tally.deferred -= self.window.forget_parked_below(start.seq, start.offset);
        self.recalls.begin_anew();
        while let Some(seq) = self.window.first().map(|(seq, _)| seq).filter(|seq| *seq < start.seq) {
            self.forget(seq);
        }
        if self.tally.again == 0 {
            self.again.clear();
        }
        self.backlog.jump(start);
        self.tally.dropped += owed.saturating_sub(self.owed_count());
    }

    /// A session becomes a consumer, with ready count 0.
    ///
    /// # Errors
    /// The channel has all the consumers it may have, or has this one already.
    pub fn subscribe(
        &mut self,
        id: ConsumerId,
        handle: H,
        subscription: Subscription,
    ) -> Result<(), SubscribeError> {
        let limit = self.rules.consumers_max;
        if limit > 0 && self.consumers.len() >= limit {
            return Err(SubscribeError::LimitReached(limit));
        }
        if self.consumers.index_of(id).is_some() {
            return Err(SubscribeError::Duplicate(id));
        }
        let class = self.timeouts.join(subscription.msg_timeout);
        self.consumers.insert(Consumer {
            id,
            handle,
            subscription,
            class,
            counts: ConsumerCounts::default(),
        });
        Ok(())
    }

    /// A consumer's session ended: what it had in flight is ready again at once, ahead of everything and in order.
    /// This is neither a requeue nor a timeout in the counts, but their attempts are journaled before they are
    /// delivered again, as with these. Nothing if the id is unknown.
    // nsqd: such messages wait for their timeout.
    pub fn unsubscribe(&mut self, id: ConsumerId) -> Option<Left> {
        let index = self.consumers.index_of(id)?;
        let consumer = self.consumers.remove(id)?;
        let held = usize::try_from(consumer.counts.in_flight).unwrap_or(usize::MAX);
        // From the end: what is in flight is near the cursor, what is deferred may reach far back.
        let is_its = |(_, slot): &(u64, &Slot)| slot.owner() == Some(index);
        let seqs: Vec<u64> = self.window.iter().rev().filter(is_its).map(|(seq, _)| seq).take(held).collect();
        for seq in seqs {
            if let Some(slot) = self.window.slot_mut(seq) {
                slot.state = State::Ready;
                self.again.push_front(seq);
                self.tally.in_flight -= 1;
                self.tally.again += 1;
                self.changes.pend(seq);
                self.changes.hurry();
            }
        }
        self.timeouts.leave(consumer.class);
        Some(Left { requeued: consumer.counts.in_flight, is_last: self.consumers.len() == 0 })
    }

    /// RDY: it may have up to `count` messages in flight. A ceiling, not a credit: it does not go down as messages are
    /// delivered. Ignored after `close`.
    pub fn set_ready(&mut self, id: ConsumerId, count: u64) {
        if let Some(index) = self.consumers.index_of(id) {
            self.consumers.change(index, |counts| {
                if !counts.is_closing {
                    counts.ready = count;
                }
            });
        }
    }

    /// CLS: nothing more is delivered to it, but it may still finish, requeue and touch what it has.
    pub fn close(&mut self, id: ConsumerId) {
        if let Some(index) = self.consumers.index_of(id) {
            self.consumers.change(index, |counts| {
                counts.ready = 0;
                counts.is_closing = true;
            });
        }
    }

    /// FIN: the message is done with.
    ///
    /// # Errors
    /// It is not in flight, or not with this consumer.
    pub fn finish(&mut self, id: ConsumerId, seq: u64) -> Result<(), InFlightError> {
        self.finish_at(id, seq, Instant::default()).map(drop)
    }

    /// FIN, telling how long after the message's publish it came, as far as the outlet knows.
    ///
    /// # Errors
    /// It is not in flight, or not with this consumer.
    #[inline]
    pub fn finish_at(&mut self, id: ConsumerId, seq: u64, now: Instant) -> Result<Duration, InFlightError> {
        let held = self.held_by(id, seq)?;
        let waited = self.window.remove(seq).map_or(Age::default(), |slot| slot.waited);
        self.changes.finish(seq);
        self.land(held, seq, |counts| counts.finished += 1);
        let in_flight = now.0.saturating_sub(held.delivered_at.0);
        Ok(Duration::from_nanos(waited.ns().saturating_add(in_flight)))
    }

    /// REQ: deliver it again, at once (behind what else is ready again) or after `delay`. Attempts stay.
    ///
    /// # Errors
    /// It is not in flight, or not with this consumer.
    pub fn requeue(
        &mut self,
        id: ConsumerId,
        seq: u64,
        delay: Duration,
        now: Now,
    ) -> Result<(), InFlightError> {
        let held = self.held_by(id, seq)?;
        if delay.is_zero() {
            self.make_ready(seq);
        } else {
            let due = now.wall.after(delay);
            self.defer(seq, due);
        }
        self.tally.requeued += 1;
        self.changes.pend(seq);
        self.changes.hurry();
        self.land(held, seq, |counts| counts.requeued += 1);
        Ok(())
    }

    /// TOUCH: the timeout begins anew, but ends `msg_timeout_max` after the delivery at the latest.
    ///
    /// # Errors
    /// It is not in flight, or not with this consumer.
    pub fn touch(&mut self, id: ConsumerId, seq: u64, now: Instant) -> Result<(), InFlightError> {
        let held = self.held_by(id, seq)?;
        let latest = held.delivered_at.after(self.rules.msg_timeout_max);
        let deadline = if now.after(held.timeout) <= latest {
            self.timeouts.arm(held.class, now, seq)
        } else {
            self.timeouts.arm_at(latest, seq);
            latest
        };
        if let Some(slot) = self.window.slot_mut(seq) {
            slot.state = State::InFlight { owner: held.owner, deadline, delivered_at: held.delivered_at };
        }
        self.timeouts.settle(held.class, seq, &self.window);
        self.timeouts.compact(held.class, self.tally.in_flight, &self.window);
        Ok(())
    }

    /// Delivery stops. What is in flight can still be finished, requeued and touched, and times out.
    pub fn pause(&mut self) {
        self.is_paused = true;
    }

    /// Delivery goes on.
    pub fn unpause(&mut self) {
        self.is_paused = false;
    }

    /// Whether delivery is stopped.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Everything visible is gone: unread, ready again, deferred and in flight. A late FIN fails.
    pub fn empty(&mut self) {
        self.tally.emptied += self.owed_count();
        self.window.clear();
        self.again.clear();
        self.timeouts.clear();
        self.deferred.clear();
        self.recalls.clear();
        self.consumers.change_all(|counts| {
            counts.in_flight = 0;
            counts.in_flight_bytes = 0;
        });
        self.backlog.jump(self.backlog.visible());
        self.changes.forget();
        self.tally = Tally { again: 0, in_flight: 0, deferred: 0, ..self.tally };
    }

    /// Messages in flight for too long become ready again, and so do deferred ones whose time has come. Handles a
    /// limited number of each at once; if there are more, `next_deadline` is in the past afterwards.
    pub fn expire(&mut self, now: Now) -> Expired {
        let mut expired = Expired::default();
        while expired.timed_out < EXPIRE_MAX
            && let Some(seq) = self.timeouts.pop_due(now.instant, &self.window)
        {
            self.time_out(seq);
            expired.timed_out += 1;
        }
        while expired.due < EXPIRE_MAX
            && let Some((due, seq)) = self.deferred.pop_due(now.wall)
        {
            expired.due += u64::from(self.wake(seq, due));
        }
        expired
    }

    /// When something expires next.
    #[must_use]
    pub fn next_deadline(&self) -> Deadlines {
        Deadlines { in_flight: self.timeouts.earliest(), deferred: self.deferred.earliest() }
    }

    /// What changed since the last call and must be journaled. Allocates nothing if nothing did.
    pub fn progress(&mut self) -> Progress {
        self.changes.take(self.floor(), self.backlog.cursor(), &self.window)
    }

    /// Whether `progress` has anything new to tell.
    #[must_use]
    pub fn has_progress(&self) -> bool {
        self.changes.is_any(self.floor())
    }

    /// A requeue or a timeout is not reported yet: `progress` should be journaled before the next dispatch.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        self.changes.is_urgent()
    }

    /// Number and offset below which everything is finished here: the log may forget it.
    #[must_use]
    pub fn floor(&self) -> (u64, u64) {
        let cursor = self.backlog.cursor();
        match self.window.first() {
            // Of what is parked there no more is known than that it is not before the log's beginning.
            Some((seq, offset)) if offset == self.log_start.offset => {
                (seq.min(self.log_start.seq), offset).max(self.changes.reported_floor())
            }
            Some(first) => first,
            None => (cursor.seq, cursor.offset),
        }
    }

    /// Stretches of the log, in order, with the records below the cursor that start in `from..to` (offsets) and are
    /// still owed: where the first and the last record of each start, often the same. One that reaches over an end of
    /// the range is told up to there: it begins at `from`, or ends at `to` - 1. Whatever else is there below the cursor
    /// will never be asked for, except by a restart that reads its way. `None` if there are thousands.
    #[must_use]
    pub fn owed_in(&self, from: u64, to: u64) -> Option<Vec<(u64, u64)>> {
        self.window.owed_in(from, to, OWED_MAX)
    }

    /// Messages that could be delivered now: unread and ready again, not those deferred or in flight.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.backlog.unread() + self.tally.again
    }

    /// Where the next unread message starts: what lies behind it in the log has never been delivered.
    #[must_use]
    pub fn cursor(&self) -> Position {
        self.backlog.cursor()
    }

    /// How far the log may be delivered.
    #[must_use]
    pub fn visible(&self) -> Position {
        self.backlog.visible()
    }

    /// Messages delivered and not yet finished, requeued or timed out.
    #[must_use]
    pub fn in_flight_count(&self) -> u64 {
        self.tally.in_flight
    }

    /// Messages waiting for their time. Those far behind the cursor in an unread backlog are counted in `depth`; those
    /// that are due but have not been looked up yet, since thousands are ready before them, are counted here.
    #[must_use]
    pub fn deferred_count(&self) -> u64 {
        self.tally.deferred + self.backlog.restored.deferred_count()
    }

    /// How many sessions are subscribed.
    #[must_use]
    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// The consumers in order of their ids.
    pub fn consumers(&self) -> impl Iterator<Item = (&ConsumerId, &H, ConsumerCounts)> {
        self.consumers.iter().map(|consumer| (&consumer.id, &consumer.handle, consumer.counts))
    }

    /// Whether somebody could take a message now, as far as ready counts tell.
    #[must_use]
    pub fn has_ready_consumer(&self) -> bool {
        !self.is_paused && self.consumers.ready_count() > 0
    }

    /// Messages that are not finished, in whatever state.
    fn owed_count(&self) -> u64 {
        self.depth() + self.in_flight_count() + self.deferred_count()
    }

    /// Is it with a consumer now?
    #[must_use]
    pub fn is_in_flight(&self, seq: u64) -> bool {
        self.window.slot(seq).is_some_and(|slot| matches!(slot.state, State::InFlight { .. }))
    }

    fn held_by(&self, id: ConsumerId, seq: u64) -> Result<Held, InFlightError> {
        let slot = self.window.slot(seq).ok_or(InFlightError::NotInFlight)?;
        let State::InFlight { owner, delivered_at, .. } = slot.state else {
            return Err(InFlightError::NotInFlight);
        };
        match self.consumers.at(owner) {
            Some(consumer) if consumer.id == id => Ok(Held {
                owner,
                class: consumer.class,
                timeout: consumer.subscription.msg_timeout,
                weight: slot.weight,
                delivered_at,
            }),
            _ => Err(InFlightError::NotOwner),
        }
    }

    /// The message has left flight; its slot says so already.
    fn land(&mut self, held: Held, seq: u64, count: impl FnOnce(&mut ConsumerCounts)) {
        self.tally.in_flight -= 1;
        self.timeouts.settle(held.class, seq, &self.window);
        self.consumers.land(held.owner, held.weight, count);
    }

    fn make_ready(&mut self, seq: u64) {
        if let Some(slot) = self.window.slot_mut(seq) {
            slot.state = State::Ready;
            self.again.push_back(seq);
            self.tally.again += 1;
        }
    }

    fn defer(&mut self, seq: u64, due: WallTime) {
        if let Some(slot) = self.window.slot_mut(seq) {
            slot.state = State::Deferred { due };
            self.deferred.push(due, seq);
            self.tally.deferred += 1;
        }
    }

    fn time_out(&mut self, seq: u64) {
        let Some(slot) = self.window.slot(seq) else { return };
        let (weight, Some(owner)) = (slot.weight, slot.owner()) else { return };
        self.make_ready(seq);
        self.tally.in_flight -= 1;
        self.tally.timed_out += 1;
        self.changes.pend(seq);
        self.changes.hurry();
        self.consumers.land(owner, weight, |_| {});
    }

    /// Says whether the message was still waiting for this very time.
    fn wake(&mut self, seq: u64, due: WallTime) -> bool {
        if self.window.slot(seq).is_some_and(|slot| slot.state == (State::Deferred { due })) {
            self.tally.deferred -= 1;
            self.make_ready(seq);
            return true;
        }
        if self.recall_later(seq, due) {
            return false;
        }
        self.backlog.restored.wake(seq, due)
    }

    /// Owe it no longer, in whatever state it is.
    fn forget(&mut self, seq: u64) {
        let Some(slot) = self.window.remove(seq) else { return };
        match slot.state {
            State::Ready => self.tally.again -= 1,
            State::Deferred { .. } => self.tally.deferred -= 1,
            State::InFlight { owner, .. } => {
                self.tally.in_flight -= 1;
                self.consumers.land(owner, slot.weight, |_| {});
            }
        }
    }
}

/// A message in flight, as FIN, REQ and TOUCH need to know it.
#[derive(Clone, Copy)]
struct Held {
    owner: u32,
    class: usize,
    timeout: Duration,
    weight: Weight,
    delivered_at: Instant,
}

impl<H> fmt::Debug for Channel<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel")
            .field("depth", &self.depth())
            .field("tally", &self.tally)
            .field("floor", &self.floor())
            .field("cursor", &self.cursor())
            .field("visible", &self.visible())
            .field("consumers", &self.consumers.len())
            .finish_non_exhaustive()
    }
}
