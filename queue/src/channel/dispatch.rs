//! Who gets what, and when: turns, sharing out, the choice between new messages and those ready again.
//! Writing to sockets and reading the log are the outlet's.

use super::Channel;
use crate::consumer::{Consumer, Weight};
use crate::position::Position;
use crate::time::{Age, Instant, Now, WallTime};
use crate::window::{Slot, State};

/// Messages one dispatch looks at, so that the caller's lock is held for a short time.
const BUDGET: u32 = 4096;
/// Messages one consumer gets in a row at most.
const TURN_MAX: u64 = 64;

/// The shell's side of a dispatch.
pub trait Outlet<H> {
    /// What is stored at `offset`. Called right before the `deliver` of the same message.
    fn fetch(&mut self, offset: u64) -> Fetched;
    /// Hand the message last fetched to a consumer. It is delivered whatever the answer is; the answer is about the next.
    fn deliver(&mut self, to: &H, seq: u64, attempts: u16) -> Room;
    /// How long after its publish the message last delivered went out: FIN tells it, with the time since.
    fn waited(&self) -> Age {
        Age::default()
    }
    /// May this consumer be offered anything now? Its socket may be blocked.
    fn has_room(&mut self, to: &H) -> bool;
}

/// Whether a consumer's buffer takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It does.
    Left,
    /// Its buffer is full: it is offered nothing more in this dispatch.
    Full,
}

/// The record at an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// A message.
    Message {
        /// Its number; may be larger than expected.
        seq: u64,
        /// The offset behind it.
        next: u64,
        /// It was published deferred until then.
        due: Option<WallTime>,
    },
    /// Not in memory: load it and dispatch again.
    Missing,
    /// Nothing can be read here: damage, or a hole where nobody owed anything. What of it counts as lost is the
    /// channel's to say.
    Lost {
        /// The offset of the next good record, or of the end.
        next: u64,
        /// How many messages there were.
        messages: u64,
        /// The number of the next good record, if there is one: those that are gone have lower ones.
        next_seq: Option<u64>,
    },
}

/// Why a dispatch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dispatched {
    /// Nothing is left, or nobody can take it.
    Idle,
    /// Somebody waits for the record at `offset`: load it and dispatch again.
    Missing {
        /// Where it starts.
        offset: u64,
    },
    /// There may be more to do, but others wait for the lock: dispatch again soon.
    Budget,
}

/// One dispatch under way.
pub(super) struct Pass {
    pub(super) budget: u32,
    /// Messages each consumer gets in a turn.
    share: u64,
    /// The first record that was not in memory.
    pub(super) missing: Option<u64>,
    pub(super) recall_is_blocked: bool,
    again_is_blocked: bool,
    unread_is_blocked: bool,
}

/// A message that may be delivered now.
#[derive(Clone, Copy)]
struct Candidate {
    seq: u64,
    offset: u64,
    /// Deliveries so far.
    attempts: u16,
    weight: Weight,
    /// Where the next record starts, if this one was unread.
    next: Option<u64>,
    /// The journal may have an entry for it, which must not outlive what it says.
    is_journaled: bool,
    /// Never delivered, and its record says when it is due.
    is_untouched: bool,
}

enum Step {
    Found(Candidate),
    /// Something was dealt with, but it is not a message to deliver.
    Passed,
    /// This record is not in memory.
    Missing(u64),
}

impl<H> Channel<H> {
    /// Deliver what can be delivered. Consumers take turns; each gets its share of what there is, so that few messages
    /// are spread and many come in batches.
    pub fn dispatch(&mut self, now: Now, outlet: &mut impl Outlet<H>) -> Dispatched {
        let mut pass = Pass {
            budget: BUDGET,
            share: 0,
            missing: None,
            recall_is_blocked: false,
            again_is_blocked: false,
            unread_is_blocked: false,
        };
        self.recall(&mut pass, now.wall, outlet);
        if self.has_ready_consumer() {
            self.consumers.start_turns();
            let consumers = self.consumers.ready_count().max(1) as u64;
            pass.share = self.depth().div_ceil(consumers).clamp(1, TURN_MAX);
            while self.turn(&mut pass, now, outlet) {}
        }
        self.limit_depth(&pass);
        self.defer_unread(&mut pass, now.wall, outlet);
        self.tidy();
        match pass.missing {
            _ if pass.budget == 0 => Dispatched::Budget,
            Some(offset) => Dispatched::Missing { offset },
            None => Dispatched::Idle,
        }
    }

    /// Nobody takes more now: an ephemeral channel drops what is beyond its limit.
    fn limit_depth(&mut self, pass: &Pass) {
        let is_over = pass.budget > 0 && pass.missing.is_none();
        // Without any depth, a ready consumer that the outlet had no room for must not cost it its messages.
        if is_over && (self.rules.ephemeral_depth_max > 0 || !self.has_ready_consumer()) {
            self.backlog.enforce_limit();
        }
    }

    /// One consumer's turn. Says whether another may follow.
    fn turn(&mut self, pass: &mut Pass, now: Now, outlet: &mut impl Outlet<H>) -> bool {
        let Some(index) = self.consumers.next_turn() else { return false };
        let Some(consumer) = self.consumers.at(index) else { return false };
        if !outlet.has_room(&consumer.handle) {
            self.consumers.leave_turns(index);
            return true;
        }
        let class = consumer.class;
        let may_follow = self.serve(index, pass, now, outlet);
        self.timeouts.compact(class, self.tally.in_flight, &self.window);
        may_follow
    }

    /// Deliver a share to one consumer. Says whether there may be more for others.
    fn serve(&mut self, index: u32, pass: &mut Pass, now: Now, outlet: &mut impl Outlet<H>) -> bool {
        for _ in 0..pass.share {
            let Some(candidate) = self.next_candidate(pass, now.wall, outlet) else { return false };
            self.consumers.end_turn(index);
            let Some(consumer) = self.consumers.at(index) else { return false };
            if consumer.samples_out(candidate.seq) {
                self.drop_candidate(candidate);
                continue;
            }
            if self.deliver(index, candidate, now.instant, outlet) == Room::Full {
                self.consumers.leave_turns(index);
                return true;
            }
            if !self.consumers.at(index).is_some_and(Consumer::is_ready) {
                return true;
            }
        }
        true
    }

    /// New messages and those ready again alternate, so that neither starves the other.
    fn next_candidate(
        &mut self,
        pass: &mut Pass,
        now: WallTime,
        outlet: &mut impl Outlet<H>,
    ) -> Option<Candidate> {
        while pass.budget > 0 {
            if self.tally.again == 0 && self.recalls.is_waiting() {
                self.recall(pass, now, outlet);
            }
            let again = self.tally.again > 0 && !pass.again_is_blocked;
            let unread = self.backlog.has_unread() && !pass.unread_is_blocked;
            if !again && !unread {
                return None;
            }
            pass.budget -= 1;
            let is_again = again && (self.prefers_again || !unread);
            let step = if is_again { self.step_again(outlet) } else { self.step_unread(now, outlet) };
            match step {
                Step::Found(candidate) => {
                    self.prefers_again = !is_again;
                    return Some(candidate);
                }
                Step::Passed => {}
                Step::Missing(offset) => {
                    *(if is_again { &mut pass.again_is_blocked } else { &mut pass.unread_is_blocked }) = true;
                    pass.missing = pass.missing.or(Some(offset));
                }
            }
        }
        None
    }

    /// Look at the message that has been ready again for longest.
    fn step_again(&mut self, outlet: &mut impl Outlet<H>) -> Step {
        let Some(seq) = self.again.front().copied() else { return Step::Passed };
        let Some(slot) = self.window.slot(seq).copied().filter(|slot| slot.state == State::Ready) else {
            self.again.pop_front();
            return Step::Passed;
        };
        match outlet.fetch(slot.offset) {
            Fetched::Missing => Step::Missing(slot.offset),
            Fetched::Message { seq: stored, next, .. } if stored == seq => Step::Found(Candidate {
                seq,
                offset: slot.offset,
                attempts: slot.attempts,
                weight: Weight::of(next.saturating_sub(slot.offset)),
                next: None,
                is_journaled: true,
                is_untouched: false,
            }),
            Fetched::Message { .. } | Fetched::Lost { .. } => {
                self.again.pop_front();
                self.tally.again -= 1;
                self.tally.lost += 1;
                self.window.remove(seq);
                self.changes.finish(seq);
                Step::Passed
            }
        }
    }

    /// Look at the message at the cursor. The cursor passes it unless it is to be delivered.
    fn step_unread(&mut self, now: WallTime, outlet: &mut impl Outlet<H>) -> Step {
        if let Some(place) = self.backlog.leap() {
            return self.step_leap(place, outlet);
        }
        let cursor = self.backlog.cursor();
        if !self.backlog.has_unread() {
            return Step::Passed;
        }
        let (seq, next, due) = match outlet.fetch(cursor.offset) {
            Fetched::Message { seq, next, due } if next > cursor.offset && seq >= cursor.seq => {
                (seq, next, due)
            }
            // A record that cannot be the next one is as good as damaged.
            Fetched::Message { next, .. } if next > cursor.offset => return self.lose(next, 1, None),
            Fetched::Lost { next, messages, next_seq } if next > cursor.offset => {
                return self.lose(next, messages, next_seq);
            }
            Fetched::Message { .. } | Fetched::Lost { .. } | Fetched::Missing => {
                return Step::Missing(cursor.offset);
            }
        };
        // What a restart knew of damaged messages in front of this one is of no use any more.
        self.backlog.restored.forget_below(seq);
        if self.backlog.is_dropped() || self.backlog.restored.is_finished(seq) {
            self.backlog.pass(seq, next);
            return Step::Passed;
        }
        let (candidate, due) = self.candidate(seq, next, due);
        match due.filter(|due| *due > now) {
            None => {
                self.backlog.restored.wake_untouched(seq);
                self.follows_deferred = false;
                Step::Found(candidate)
            }
            Some(due) => {
                self.defer_candidate(candidate, due, now);
                self.follows_deferred = true;
                Step::Passed
            }
        }
    }

    /// The cursor may go to `place`, if what is there is what belongs there.
    fn step_leap(&mut self, place: Position, outlet: &mut impl Outlet<H>) -> Step {
        match outlet.fetch(place.offset) {
            Fetched::Missing => return Step::Missing(place.offset),
            Fetched::Message { seq, .. } if seq == place.seq => self.backlog.jump(place),
            Fetched::Message { .. } | Fetched::Lost { .. } => self.backlog.restored.mistrust(place),
        }
        Step::Passed
    }

    /// The message at the cursor with what is known of it from before a restart, and when it is due.
    #[inline]
    fn candidate(&self, seq: u64, next: u64, due: Option<WallTime>) -> (Candidate, Option<WallTime>) {
        let restored = &self.backlog.restored;
        let known = restored.known(seq);
        let was_untouched = known.is_none() && restored.is_untouched(seq);
        let attempts = match known {
            Some(known) => known.attempts,
            None => u16::from(seq < self.changes.delivered_below() && !was_untouched),
        };
        let candidate = Candidate {
            seq,
            offset: self.backlog.cursor().offset,
            attempts,
            weight: Weight::of(next.saturating_sub(self.backlog.cursor().offset)),
            next: Some(next),
            is_journaled: known.is_some() || was_untouched,
            is_untouched: known.is_none() && attempts == 0,
        };
        (candidate, known.map_or(due, |known| known.due))
    }

    fn lose(&mut self, next: u64, messages: u64, next_seq: Option<u64>) -> Step {
        self.tally.lost += self.backlog.lose(next, messages, next_seq);
        Step::Passed
    }

    fn deliver(&mut self, index: u32, chosen: Candidate, now: Instant, outlet: &mut impl Outlet<H>) -> Room {
        let Some(consumer) = self.consumers.at(index) else { return Room::Full };
        let attempts = chosen.attempts.saturating_add(1);
        let deadline = self.timeouts.arm(consumer.class, now, chosen.seq);
        let state = State::InFlight { owner: index, deadline, delivered_at: now };
        self.tally.delivered.count(consumer.subscription.locality);
        let room = outlet.deliver(&consumer.handle, chosen.seq, attempts);
        self.take_over(chosen, attempts, outlet.waited(), state);
        if attempts > 1 || chosen.is_journaled {
            self.changes.pend(chosen.seq);
        }
        self.changes.deliver(chosen.seq);
        self.tally.in_flight += 1;
        self.consumers.take_off(index, chosen.weight);
        room
    }

    /// Put the message into the window, or change it there.
    fn take_over(&mut self, chosen: Candidate, attempts: u16, waited: Age, state: State) {
        match chosen.next {
            Some(next) => {
                self.backlog.pass(chosen.seq, next);
                self.window.insert(
                    chosen.seq,
                    Slot { offset: chosen.offset, attempts, weight: chosen.weight, waited, state },
                );
            }
            None => {
                self.again.pop_front();
                self.tally.again -= 1;
                if let Some(slot) = self.window.slot_mut(chosen.seq) {
                    slot.attempts = attempts;
                    slot.waited = waited;
                    slot.weight = chosen.weight;
                    slot.state = state;
                }
            }
        }
    }

    /// Sampling: finished for the channel without having been delivered.
    // nsqd: such messages are gone and counted nowhere.
    fn drop_candidate(&mut self, chosen: Candidate) {
        match chosen.next {
            Some(next) => self.backlog.pass(chosen.seq, next),
            None => {
                self.again.pop_front();
                self.tally.again -= 1;
                self.window.remove(chosen.seq);
            }
        }
        self.changes.finish(chosen.seq);
    }

    /// The cursor came to a message whose time is in the future.
    fn defer_candidate(&mut self, chosen: Candidate, due: WallTime, now: WallTime) {
        // Without an entry a restart would take it for delivered, being below messages that were.
        if chosen.is_untouched && !chosen.is_journaled {
            self.changes.leave_untouched(chosen.seq);
        } else if !chosen.is_journaled {
            self.changes.pend(chosen.seq);
        }
        if let Some(next) = chosen.next
            && chosen.is_untouched
            && self.park(chosen.seq, chosen.offset, due, now)
        {
            self.backlog.pass(chosen.seq, next);
            return;
        }
        self.take_over(chosen, chosen.attempts, Age::default(), State::Ready);
        self.defer(chosen.seq, due);
    }

    /// Deferred messages at the cursor wait in the order of deferred ones, even if nobody could take a message now.
    /// Looks not beyond the first message that is due, and only at what is in memory; but what follows a deferred
    /// message, or was deferred before a restart, is asked for: most of it is deferred too, and is no depth.
    fn defer_unread(&mut self, pass: &mut Pass, now: WallTime, outlet: &mut impl Outlet<H>) {
        while pass.budget > 0
            && !pass.unread_is_blocked
            && self.backlog.has_unread()
            && self.peeked != Some(self.backlog.cursor().offset)
        {
            pass.budget -= 1;
            match self.step_unread(now, outlet) {
                Step::Passed => {}
                Step::Found(candidate) => self.peeked = Some(candidate.offset),
                Step::Missing(offset) => {
                    if self.follows_deferred || self.backlog.restored.has_untouched() {
                        pass.missing = pass.missing.or(Some(offset));
                    }
                    return;
                }
            }
        }
    }
}
