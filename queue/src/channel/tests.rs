//! Limits of a single call, and what scripts are too small to show.

mod locality;
mod scale;

use std::time::Duration;

use super::dispatch::{Dispatched, Fetched, Outlet, Room};
use super::*;
use crate::progress::Pending;

/// A log of plain messages, ten bytes each, that delivers into a list.
#[derive(Default)]
struct Plain {
    delivered: Vec<(u64, u16)>,
}

impl Outlet<()> for Plain {
    fn fetch(&mut self, offset: u64) -> Fetched {
        Fetched::Message { seq: offset / 10, next: offset + 10, due: None }
    }

    fn deliver(&mut self, (): &(), seq: u64, attempts: u16) -> Room {
        self.delivered.push((seq, attempts));
        Room::Left
    }

    fn has_room(&mut self, (): &()) -> bool {
        true
    }
}

const RULES: ChannelRules = ChannelRules {
    consumers_max: 0,
    msg_timeout_max: Duration::from_secs(900),
    is_ephemeral: false,
    ephemeral_depth_max: 0,
};
const ONLY: ConsumerId = ConsumerId(7);

fn at(count: u64) -> Position {
    Position { seq: count, offset: count * 10, ordinal: count }
}

fn backlog_of(count: u64, sample_rate: u8) -> Channel<()> {
    let mut channel = Channel::new(RULES, at(0), at(count));
    channel
        .subscribe(
            ONLY,
            (),
            Subscription {
                msg_timeout: Duration::from_secs(60),
                sample_rate,
                locality: None,
                in_flight_bytes_max: u64::MAX,
            },
        )
        .unwrap();
    channel.set_ready(ONLY, u64::MAX);
    channel
}

fn later(seconds: u64) -> Now {
    Now { instant: Instant(seconds * 1_000_000_000), wall: WallTime(0) }
}

#[test]
fn a_dispatch_ends_when_its_budget_is_used_up() {
    let (mut channel, mut outlet) = (backlog_of(10_000, 0), Plain::default());
    let mut dispatches = 1;
    while channel.dispatch(later(0), &mut outlet) == Dispatched::Budget {
        dispatches += 1;
    }
    assert_eq!((dispatches, outlet.delivered.len(), channel.depth()), (3, 10_000, 0));
    assert!(outlet.delivered.is_sorted());
}

#[test]
fn an_expire_ends_when_it_has_done_enough() {
    let mut channel = backlog_of(10_000, 0);
    while channel.dispatch(later(0), &mut Plain::default()) == Dispatched::Budget {}
    assert_eq!(channel.expire(later(59)).timed_out, 0);
    assert_eq!(channel.expire(later(60)).timed_out, EXPIRE_MAX);
    assert_eq!(channel.next_deadline().in_flight, Some(later(60).instant));
    assert_eq!(channel.expire(later(60)).timed_out, EXPIRE_MAX);
    assert_eq!(channel.expire(later(60)).timed_out, 10_000 - 2 * EXPIRE_MAX);
    assert_eq!((channel.depth(), channel.next_deadline().in_flight), (10_000, None));
}

#[test]
fn sampled_out_messages_hold_nothing_back() {
    let (mut channel, mut outlet) = (backlog_of(1000, 10), Plain::default());
    channel.dispatch(later(0), &mut outlet);
    assert!(outlet.delivered.len() < 200, "{} passed", outlet.delivered.len());
    let finished: u64 = channel.progress().finished.iter().map(|range| range.end - range.start).sum();
    for (seq, _) in &outlet.delivered {
        channel.finish(ONLY, *seq).unwrap();
    }
    assert_eq!(channel.floor(), (1000, 10_000));
    assert!(finished + outlet.delivered.len() as u64 <= 1000);
}

#[test]
fn a_consumer_is_subscribed_once() {
    let mut channel = backlog_of(0, 0);
    let subscription = Subscription {
        msg_timeout: Duration::from_secs(1),
        sample_rate: 0,
        locality: None,
        in_flight_bytes_max: u64::MAX,
    };
    assert_eq!(channel.subscribe(ONLY, (), subscription), Err(SubscribeError::Duplicate(ONLY)));
    assert_eq!(channel.unsubscribe(ONLY), Some(Left { requeued: 0, is_last: true }));
    assert_eq!(channel.unsubscribe(ONLY), None);
}

#[test]
fn attempts_stop_counting_at_their_largest_number() {
    let saved = Saved {
        pending: vec![Pending { seq: 0, offset: 0, attempts: u16::MAX, due: None }],
        ..Saved::default()
    };
    let mut channel = Channel::restore(RULES, saved, at(1));
    channel
        .subscribe(
            ONLY,
            (),
            Subscription {
                msg_timeout: Duration::from_secs(60),
                sample_rate: 0,
                locality: None,
                in_flight_bytes_max: u64::MAX,
            },
        )
        .unwrap();
    channel.set_ready(ONLY, 1);
    let mut outlet = Plain::default();
    channel.dispatch(later(0), &mut outlet);
    assert_eq!(outlet.delivered, [(0, u16::MAX)]);
}

/// Three messages of which the second is due in two hours, and nothing to read between 30 and 70.
struct Holed;

impl Outlet<()> for Holed {
    fn fetch(&mut self, offset: u64) -> Fetched {
        match offset {
            30 => Fetched::Lost { next: 50, messages: 2, next_seq: Some(5) },
            50 => Fetched::Lost { next: 70, messages: 2, next_seq: Some(7) },
            _ => {
                let due = (offset == 10).then_some(WallTime(7_200_000_000_000));
                Fetched::Message { seq: offset / 10, next: offset + 10, due }
            }
        }
    }

    fn deliver(&mut self, (): &(), seq: u64, _: u16) -> Room {
        assert_eq!(seq, 1, "only this one is due");
        Room::Left
    }

    fn has_room(&mut self, (): &()) -> bool {
        true
    }
}

#[test]
fn a_due_time_that_only_the_journal_knows_is_not_looked_for_in_the_record() {
    let due = Some(WallTime(10_800_000_000_000));
    let pending = [0, 2].map(|seq| Pending { seq, offset: seq * 10, attempts: 0, due });
    let saved = Saved { pending: pending.into(), ..Saved::default() };
    let mut channel = Channel::restore(RULES, saved, at(3));
    channel
        .subscribe(
            ONLY,
            (),
            Subscription {
                msg_timeout: Duration::from_secs(60),
                sample_rate: 0,
                locality: None,
                in_flight_bytes_max: u64::MAX,
            },
        )
        .unwrap();
    channel.set_ready(ONLY, 9);
    channel.dispatch(later(0), &mut Holed);
    let now = Now { wall: WallTime(7_200_000_000_000), ..later(7200) };
    channel.expire(now);
    channel.dispatch(now, &mut Holed);
    assert_eq!((channel.in_flight_count(), channel.deferred_count()), (1, 2));
}

#[test]
fn of_two_holes_each_is_judged_by_its_own_numbers() {
    let saved = Saved {
        floor: at(3),
        finished: vec![std::ops::Range { start: 3, end: 5 }],
        delivered: 7,
        ..Saved::default()
    };
    let mut channel: Channel<()> = Channel::restore(RULES, saved, at(7));
    channel.dispatch(later(0), &mut Holed);
    assert_eq!((channel.lost_count(), channel.cursor()), (2, at(7)));
}

#[test]
fn an_ephemeral_channel_with_a_long_backlog_jumps_instead_of_reading_it() {
    let rules = ChannelRules { is_ephemeral: true, ephemeral_depth_max: 100, ..RULES };
    let mut channel: Channel<()> = Channel::new(rules, at(0), at(0));
    for count in 1..=50_000 {
        channel.extend(at(count));
    }
    assert_eq!(channel.depth(), 100);
    assert!(channel.cursor().ordinal >= 50_000 - 110, "the cursor is at {:?}", channel.cursor());
    assert!(!channel.has_progress() || channel.progress().finished.is_empty());
}

#[test]
fn refusals_are_in_the_words_of_nsqd() {
    assert_eq!(InFlightError::NotInFlight.to_string(), "ID not in flight");
    assert_eq!(InFlightError::NotOwner.to_string(), "client does not own message");
    assert_eq!(
        SubscribeError::LimitReached(2).to_string(),
        "the channel has all the 2 consumers it may have"
    );
}

#[test]
fn a_consumer_with_too_many_bytes_in_flight_waits_until_it_has_finished_some() {
    let mut channel: Channel<()> = Channel::new(RULES, at(0), at(100));
    // Each message counts as 256 bytes.
    let asked = Subscription {
        msg_timeout: Duration::from_secs(60),
        sample_rate: 0,
        locality: None,
        in_flight_bytes_max: 1024,
    };
    channel.subscribe(ONLY, (), asked).unwrap();
    channel.set_ready(ONLY, 50);
    let mut outlet = Plain::default();
    channel.dispatch(later(0), &mut outlet);
    assert_eq!(outlet.delivered.len(), 4);
    channel.finish(ONLY, 0).unwrap();
    channel.requeue(ONLY, 1, Duration::ZERO, later(1)).unwrap();
    channel.dispatch(later(1), &mut outlet);
    assert_eq!(outlet.delivered.len(), 6);
    while channel.expire(later(61)).timed_out > 0 {}
    channel.dispatch(later(61), &mut outlet);
    assert_eq!((outlet.delivered.len(), channel.in_flight_count()), (10, 4));
    channel.empty();
    let counts = channel.consumers().next().unwrap().2;
    assert_eq!((counts.in_flight, counts.in_flight_bytes), (0, 0));
}

#[test]
fn a_consumer_with_nothing_in_flight_gets_a_message_of_any_size() {
    let mut channel: Channel<()> = Channel::new(RULES, at(0), at(3));
    let asked = Subscription {
        msg_timeout: Duration::from_secs(60),
        sample_rate: 0,
        locality: None,
        in_flight_bytes_max: 0,
    };
    channel.subscribe(ONLY, (), asked).unwrap();
    channel.set_ready(ONLY, 50);
    let mut outlet = Plain::default();
    for seq in 0..3 {
        channel.dispatch(later(0), &mut outlet);
        assert_eq!(outlet.delivered.len() as u64, seq + 1);
        channel.finish(ONLY, seq).unwrap();
    }
}
