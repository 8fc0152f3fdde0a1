//! Random events against a naive model of a channel: every delivery must be one the model allows, every number must
//! agree, and whatever happens, also crashes, each message is finished in the end or was thrown away on purpose.

mod naive;

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use crate::{
    Channel, ChannelRules, ConsumerId, Dispatched, Fetched, InFlightError, Now, Outlet, Position, Room,
    Saved, Subscription,
};
use naive::{Naive, RECORD};

const TIMEOUT_MAX: Duration = Duration::from_secs(12);
/// Deferrals last up to twenty seconds here, so many of them are parked.
const PARKED_AFTER: Duration = Duration::from_secs(2);

/// A kind of event and two numbers that it makes of what it needs.
type Event = (u8, u64, u64);

struct Pair {
    channel: Channel<u64>,
    naive: Naive,
    now: Now,
    cold: BTreeSet<u64>,
    next_id: u64,
}

/// Serves the channel from the model's log and holds every delivery against the model.
struct Judge<'a> {
    naive: &'a mut Naive,
    cold: &'a BTreeSet<u64>,
    now: Now,
    fetched: Option<u64>,
}

impl Outlet<u64> for Judge<'_> {
    fn fetch(&mut self, offset: u64) -> Fetched {
        self.fetched = Some(offset);
        if self.cold.contains(&offset) {
            return Fetched::Missing;
        }
        self.naive.fetch((offset / RECORD) as usize, self.now)
    }

    fn deliver(&mut self, to: &u64, seq: u64, attempts: u16) -> Room {
        let at = (self.fetched.take().expect("a fetch before each delivery") / RECORD) as usize;
        let is_warm = self.cold.is_empty();
        self.naive.deliver(*to, at, seq, attempts, self.now, is_warm);
        Room::Left
    }

    fn has_room(&mut self, _: &u64) -> bool {
        true
    }
}

fn rules() -> ChannelRules {
    ChannelRules {
        consumers_max: 0,
        msg_timeout_max: TIMEOUT_MAX,
        is_ephemeral: false,
        ephemeral_depth_max: 0,
    }
}

impl Pair {
    fn new() -> Self {
        let start = Position::default();
        let mut channel = Channel::new(rules(), start, start);
        channel.park_after(PARKED_AFTER);
        Self { channel, naive: Naive::default(), now: Now::default(), cold: BTreeSet::new(), next_id: 1 }
    }

    fn play(&mut self, (kind, one, two): Event) {
        match kind {
            0..=3 => self.publish(1 + one % 4, None),
            4 => self.publish(1, Some(Duration::from_secs(1 + one % 20))),
            5 | 6 => self.subscribe([3, 10][(one % 2) as usize]),
            7 => self.unsubscribe(one),
            8..=10 => self.set_ready(one, two % 5),
            11..=15 => self.finish_held(one),
            16 => self.finish_any(one, two),
            17 | 18 => self.requeue(one, Duration::from_secs((two % 15).saturating_sub(5))),
            19 => self.touch(one),
            20 | 21 => self.advance(Duration::from_millis(one % 4000)),
            22 => self.pause(one % 2 == 0),
            23 if one % 4 == 0 => self.empty(),
            24 => self.skip_hidden(1 + one % 3),
            25 => self.skip_unread(one, two),
            26 if one % 2 == 0 => self.truncate(two),
            27 => self.save(),
            28 if one % 3 == 0 => self.crash(two % 2 == 0),
            29 => self.naive.damage(one),
            30 | 33 => self.naive.next_seq += one % 300,
            31 => self.cold = (0..self.naive.entries.len() as u64).map(|at| at * RECORD).collect(),
            32 => self.close(one),
            34 => self.publish(1 + one % 4, Some(Duration::from_secs(3 + two % 17))),
            _ => {}
        }
        self.dispatch();
        self.compare();
    }

    fn publish(&mut self, count: u64, delay: Option<Duration>) {
        let due = delay.map(|delay| self.now.wall.after(delay));
        (0..count).for_each(|_| self.naive.append(due));
        self.naive.messages += count;
        self.naive.visible = self.naive.entries.len();
        self.channel.extend(self.naive.tail());
    }

    fn subscribe(&mut self, seconds: u64) {
        let msg_timeout = Duration::from_secs(seconds);
        let id = self.next_id;
        self.next_id += 1;
        self.channel
            .subscribe(
                ConsumerId(id),
                id,
                Subscription { msg_timeout, sample_rate: 0, locality: None, in_flight_bytes_max: u64::MAX },
            )
            .unwrap();
        self.naive.subscribe(id, msg_timeout);
    }

    fn unsubscribe(&mut self, pick: u64) {
        let Some(id) = self.naive.pick_consumer(pick) else { return };
        let left = self.channel.unsubscribe(ConsumerId(id)).unwrap();
        assert_eq!(left.requeued, self.naive.unsubscribe(id));
        assert_eq!(left.is_last, self.naive.consumers.is_empty());
    }

    fn set_ready(&mut self, pick: u64, count: u64) {
        let Some(id) = self.naive.pick_consumer(pick) else { return };
        self.channel.set_ready(ConsumerId(id), count);
        self.naive.set_ready(id, count);
    }

    fn close(&mut self, pick: u64) {
        let Some(id) = self.naive.pick_consumer(pick) else { return };
        self.channel.close(ConsumerId(id));
        self.naive.close(id);
    }

    fn finish_held(&mut self, pick: u64) {
        let Some((id, seq)) = self.naive.pick_in_flight(pick) else { return };
        assert_eq!(self.channel.finish(ConsumerId(id), seq), Ok(()));
        self.naive.finish(seq);
    }

    fn finish_any(&mut self, pick: u64, who: u64) {
        let (Some(id), Some(seq)) = (self.naive.pick_consumer(who), self.naive.pick_seq(pick)) else {
            return;
        };
        let answer = self.channel.finish(ConsumerId(id), seq);
        match self.naive.owner(seq) {
            None => assert_eq!(answer, Err(InFlightError::NotInFlight)),
            Some(owner) if owner != id => assert_eq!(answer, Err(InFlightError::NotOwner)),
            Some(_) => {
                assert_eq!(answer, Ok(()));
                self.naive.finish(seq);
            }
        }
    }

    fn requeue(&mut self, pick: u64, delay: Duration) {
        let Some((id, seq)) = self.naive.pick_in_flight(pick) else { return };
        assert_eq!(self.channel.requeue(ConsumerId(id), seq, delay, self.now), Ok(()));
        self.naive.requeue(seq, delay, self.now);
    }

    fn touch(&mut self, pick: u64) {
        let Some((id, seq)) = self.naive.pick_in_flight(pick) else { return };
        assert_eq!(self.channel.touch(ConsumerId(id), seq, self.now.instant), Ok(()));
        self.naive.touch(seq, self.now);
    }

    fn advance(&mut self, by: Duration) {
        self.now = Now { instant: self.now.instant.after(by), wall: self.now.wall.after(by) };
        let expired = self.channel.expire(self.now);
        let (timed_out, due) = self.naive.expire(self.now);
        assert_eq!(expired.timed_out, timed_out);
        // What is parked is only counted when it has been looked up.
        assert!(expired.due <= due, "{} of {due} are due", expired.due);
    }

    fn pause(&mut self, is_paused: bool) {
        if is_paused {
            self.channel.pause()
        } else {
            self.channel.unpause()
        }
        self.naive.is_paused = is_paused;
    }

    fn empty(&mut self) {
        self.channel.empty();
        self.naive.empty();
    }

    /// The topic was paused, got messages, was emptied.
    fn skip_hidden(&mut self, count: u64) {
        let from = self.naive.tail();
        (0..count).for_each(|_| self.naive.append(None));
        self.naive.dig(from.ordinal as usize, self.naive.entries.len());
        self.naive.visible = self.naive.entries.len();
        self.channel.skip(from, self.naive.tail());
    }

    fn skip_unread(&mut self, skip: u64, count: u64) {
        let from = self.naive.cursor + (skip % 4) as usize;
        let to = from + 1 + (count % 3) as usize;
        if self.naive.is_untouched(from, to) {
            self.naive.dig(from, to);
            self.channel.skip(self.naive.position(from), self.naive.position(to));
        }
    }

    fn truncate(&mut self, pick: u64) {
        let start = (pick % (self.naive.visible as u64 + 1)) as usize;
        self.naive.truncate(start);
        self.channel.truncate_front(self.naive.position(start));
    }

    fn save(&mut self) {
        if self.channel.has_progress() {
            self.naive.journal.merge(self.channel.progress());
        }
        assert!(!self.channel.has_progress());
    }

    fn crash(&mut self, saves: bool) {
        let before = saves.then(|| {
            self.save();
            self.naive.attempts()
        });
        let saved = self.naive.restart();
        if let Some(before) = before {
            self.naive.expect_attempts(&before);
        }
        self.restore(saved);
    }

    fn restore(&mut self, saved: Saved) {
        let visible = self.naive.position(self.naive.visible);
        let is_paused = self.naive.is_paused;
        self.channel = Channel::restore(rules(), Saved { is_paused, ..saved }, visible);
        self.channel.park_after(PARKED_AFTER);
        for (from, to) in self.naive.holes.clone() {
            self.channel.skip(self.naive.position(from), self.naive.position(to));
        }
    }

    /// As a shell does it: load what is missing and dispatch again.
    fn dispatch(&mut self) {
        loop {
            if self.channel.is_urgent() {
                self.save();
            }
            let mut judge = Judge { naive: &mut self.naive, cold: &self.cold, now: self.now, fetched: None };
            let end = self.channel.dispatch(self.now, &mut judge);
            self.naive.give_up_damaged(|seq| self.channel.owes(seq));
            match end {
                Dispatched::Missing { offset } => {
                    assert!(self.cold.remove(&offset), "missing although loaded")
                }
                Dispatched::Idle if self.cold.is_empty() => break,
                Dispatched::Idle => self.cold.clear(),
                Dispatched::Budget => panic!("so few messages cannot use up the budget"),
            }
        }
        self.naive.pass_undeliverable(self.now);
        self.naive.expect_nothing_left(self.now);
    }

    fn compare(&self) {
        let (channel, naive) = (&self.channel, &self.naive);
        assert_eq!(channel.depth(), naive.depth(), "depth");
        assert_eq!(channel.in_flight_count(), naive.in_flight(), "in flight");
        assert_eq!(channel.deferred_count(), naive.deferred(), "deferred");
        assert_eq!(channel.message_count(), naive.messages, "messages");
        assert_eq!(channel.requeue_count(), naive.requeued, "requeued");
        assert_eq!(channel.timeout_count(), naive.timed_out, "timed out");
        assert_eq!(channel.lost_count(), naive.lost, "lost");
        // Of parked messages whose log was cut off in front, no more is known than where it was cut.
        let floor = channel.floor().1;
        let is_cut = naive.start() > 0 && (naive.start() as u64 * RECORD..naive.floor()).contains(&floor);
        let is_floor = floor == naive.floor() || is_cut;
        assert!(is_floor, "floor {:?}, not {}", channel.floor(), naive.floor());
        let length = naive.entries.len() as u64 * RECORD;
        for (from, to) in [(0, length), (length / 3, length / 2)] {
            naive.expect_owed(from, to, &channel.owed_in(from, to).unwrap());
        }
        for (id, _, counts) in channel.consumers() {
            assert_eq!(counts.in_flight, naive.held_by(id.0), "in flight with {id:?}");
        }
        let (told, true_one) = (channel.next_deadline().in_flight, naive.next_timeout());
        assert!(true_one.is_none_or(|at| told.is_some_and(|told| told <= at)), "{told:?} after {true_one:?}");
        let (told, true_one) = (channel.next_deadline().deferred, naive.next_due());
        assert!(true_one.is_none_or(|at| told.is_some_and(|told| told <= at)), "{told:?} after {true_one:?}");
    }

    /// A willing consumer comes and finishes everything that is owed.
    fn drain(&mut self) {
        self.pause(false);
        self.subscribe(10);
        let id = self.next_id - 1;
        self.set_ready(self.naive.consumers.keys().position(|key| *key == id).unwrap() as u64, 1000);
        for _ in 0..60 {
            self.dispatch();
            while self.naive.in_flight() > 0 {
                self.finish_held(0);
                self.dispatch();
            }
            self.advance(Duration::from_secs(1));
        }
        self.compare();
        assert_eq!((self.channel.depth(), self.channel.deferred_count()), (0, 0));
        assert_eq!(self.channel.floor().1, self.naive.tail().offset);
        self.naive.expect_nobody_forgotten();
    }
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    prop::collection::vec((0u8..35, 0u64..1000, 0u64..1000), 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_channel_does_what_the_naive_model_allows(events in events()) {
        let mut pair = Pair::new();
        for event in events {
            pair.play(event);
        }
        pair.drain();
    }
}
