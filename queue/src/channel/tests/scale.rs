//! What millions of messages cost: bytes of each deferred one, records read by a restart.

use std::ops::Range;

use super::*;

const HOUR: i64 = 3600 * 1_000_000_000;

/// A log of records of a hundred bytes whose numbers are `step` apart, all due at times that `due` gives.
struct Dues {
    step: u64,
    due: fn(u64) -> Option<WallTime>,
    fetched: u64,
    delivered: Vec<(u64, u16)>,
}

impl Outlet<()> for Dues {
    fn fetch(&mut self, offset: u64) -> Fetched {
        self.fetched += 1;
        let number = offset / 100;
        Fetched::Message { seq: number * self.step, next: offset + 100, due: (self.due)(number) }
    }

    fn deliver(&mut self, (): &(), seq: u64, attempts: u16) -> Room {
        self.delivered.push((seq, attempts));
        Room::Left
    }

    fn has_room(&mut self, (): &()) -> bool {
        true
    }
}

impl Dues {
    fn new(step: u64, due: fn(u64) -> Option<WallTime>) -> Self {
        Self { step, due, fetched: 0, delivered: Vec::new() }
    }

    fn at(&self, number: u64) -> Position {
        Position { seq: number * self.step, offset: number * 100, ordinal: number }
    }

    fn channel(&self, count: u64) -> Channel<()> {
        let mut channel = Channel::new(RULES, self.at(0), self.at(count));
        join(&mut channel);
        channel
    }
}

fn join(channel: &mut Channel<()>) {
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
    channel.set_ready(ONLY, u64::MAX);
}

fn wall(ns: i64) -> Now {
    Now { instant: Instant(0), wall: WallTime(ns) }
}

fn in_an_hour(number: u64) -> Option<WallTime> {
    Some(WallTime(HOUR + number as i64))
}

/// Spread over ten hours without any order.
fn some_time(number: u64) -> Option<WallTime> {
    Some(WallTime(HOUR + (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as i64 % (10 * HOUR)))
}

fn dispatch_all(channel: &mut Channel<()>, now: Now, outlet: &mut Dues) {
    while channel.dispatch(now, outlet) == Dispatched::Budget {}
}

/// Bytes for each of a million messages deferred for an hour or more, a thousandth counted as one.
fn millibytes_each(step: u64, due: fn(u64) -> Option<WallTime>) -> usize {
    let mut outlet = Dues::new(step, due);
    let mut channel = outlet.channel(1_000_000);
    dispatch_all(&mut channel, wall(0), &mut outlet);
    assert_eq!((channel.deferred_count(), channel.depth()), (1_000_000, 0));
    channel.progress();
    channel.bytes() / 1000
}

#[test]
fn a_million_deferred_in_a_row_cost_less_than_a_byte_each() {
    let cost = millibytes_each(1, in_an_hour);
    assert!(cost < 1000, "{cost} thousandths of a byte");
}

#[test]
fn a_million_deferred_without_any_order_of_time_cost_two_bytes_each() {
    let cost = millibytes_each(1, some_time);
    assert!(cost < 2000, "{cost} thousandths of a byte");
}

#[test]
fn a_million_deferred_far_from_one_another_cost_sixty_bytes_each() {
    let cost = millibytes_each(64, some_time);
    assert!(cost < 64_000, "{cost} thousandths of a byte");
}

#[test]
fn a_million_due_at_the_same_moment_all_come_and_take_little_memory_meanwhile() {
    let mut outlet = Dues::new(1, |_| Some(WallTime(HOUR)));
    let mut channel = outlet.channel(1_000_000);
    dispatch_all(&mut channel, wall(0), &mut outlet);
    channel.set_ready(ONLY, 100);
    channel.expire(wall(HOUR - 1));
    assert_eq!(channel.dispatch(wall(HOUR - 1), &mut outlet), Dispatched::Idle);
    assert_eq!(outlet.delivered, []);
    let (mut delivered, mut most) = (0, 0);
    while channel.next_deadline().deferred.is_some_and(|due| due <= WallTime(HOUR)) || channel.depth() > 0 {
        channel.expire(wall(HOUR));
        dispatch_all(&mut channel, wall(HOUR), &mut outlet);
        most = most.max(channel.bytes());
        for (seq, attempts) in outlet.delivered.drain(..) {
            assert_eq!(attempts, 1);
            channel.finish(ONLY, seq).unwrap();
            delivered += 1;
        }
    }
    assert_eq!((delivered, channel.deferred_count(), channel.floor().0), (1_000_000, 0, 1_000_000));
    assert!(most < 2_000_000, "{most} bytes at most");
    assert!(channel.bytes() < 100_000, "{} bytes in the end", channel.bytes());
}

#[test]
fn squeezing_out_stale_alarms_keeps_the_others() {
    let mut outlet = Dues::new(1, some_time);
    let mut channel = outlet.channel(50_000);
    dispatch_all(&mut channel, wall(0), &mut outlet);
    let minute = HOUR / 60;
    for now in (0..=12 * HOUR).step_by(10 * minute as usize).map(wall) {
        channel.expire(now);
        dispatch_all(&mut channel, now, &mut outlet);
        for (seq, _) in outlet.delivered.drain(..) {
            let due = some_time(seq).unwrap();
            let is_in_time = due <= now.wall && due.after(Duration::from_secs(600)) > now.wall;
            assert!(is_in_time, "{seq} is due at {due:?} and came at {now:?}");
            channel.finish(ONLY, seq).unwrap();
        }
    }
    assert_eq!((channel.deferred_count(), channel.floor().0), (0, 50_000));
}

#[test]
fn requeued_messages_far_from_one_another_cost_two_hundred_bytes_each() {
    let mut outlet = Dues::new(1, |_| None);
    let mut channel = outlet.channel(6_400);
    dispatch_all(&mut channel, wall(0), &mut outlet);
    for (seq, _) in std::mem::take(&mut outlet.delivered) {
        match seq % 64 {
            7 => channel.requeue(ONLY, seq, Duration::from_secs(3600), wall(0)).unwrap(),
            _ => channel.finish(ONLY, seq).unwrap(),
        }
    }
    for _ in 0..2000 {
        dispatch_all(&mut channel, wall(0), &mut outlet);
    }
    let young = 8 * 2700;
    assert!(channel.bytes() < 100 * 200 + young, "{} bytes", channel.bytes());
    channel.expire(wall(HOUR));
    dispatch_all(&mut channel, wall(HOUR), &mut outlet);
    assert_eq!(outlet.delivered.len(), 100);
}

/// A million messages above a deferred one were finished, but for those in `pending`.
fn million_finished(pending: &[u64], segments: u64) -> (Saved, Dues) {
    let outlet = Dues::new(1, |number| (number == 0).then_some(WallTime(10 * HOUR)));
    let ends = pending.iter().copied().chain([1_000_000]);
    let begins = [1].into_iter().chain(pending.iter().map(|seq| seq + 1));
    let pending = pending.iter().map(|seq| Pending { seq: *seq, offset: seq * 100, attempts: 3, due: None });
    let length = 1_200_000;
    let saved = Saved {
        finished: begins.zip(ends).map(|(begin, end)| begin..end).collect(),
        untouched: vec![Range { start: 0, end: 1 }],
        delivered: 1_000_000,
        pending: pending.collect(),
        landmarks: (0..=segments).map(|segment| outlet.at(segment * length / segments)).collect(),
        ..Saved::default()
    };
    (saved, outlet)
}

#[test]
fn a_restart_does_not_read_what_is_finished() {
    let pending = [10, 500_000, 500_001, 999_990];
    let (mut saved, mut outlet) = million_finished(&pending, 12);
    saved.landmarks.push(outlet.at(1_000_000));
    let mut channel = Channel::restore(RULES, saved, outlet.at(1_000_100));
    join(&mut channel);
    assert_eq!((channel.depth(), channel.deferred_count()), (104, 1));
    assert_eq!(channel.dispatch(wall(0), &mut outlet), Dispatched::Idle);
    let redelivered = pending.map(|seq| (seq, 4));
    assert_eq!(outlet.delivered[..4], redelivered);
    assert_eq!((outlet.delivered[4], outlet.delivered.len()), ((1_000_000, 1), 104));
    // One more for each leap, to see that the place is the right one.
    assert!(outlet.fetched <= 1 + 104 + 5, "{} records read", outlet.fetched);
    assert_eq!((channel.deferred_count(), channel.cursor()), (1, outlet.at(1_000_100)));
}

#[test]
fn without_the_cursors_place_a_restart_reads_less_than_a_segment() {
    let (saved, mut outlet) = million_finished(&[], 100);
    let mut channel = Channel::restore(RULES, saved, outlet.at(1_000_100));
    join(&mut channel);
    dispatch_all(&mut channel, wall(0), &mut outlet);
    assert_eq!(outlet.delivered.len(), 100);
    assert!(outlet.fetched <= 12_000 + 102 + 2, "{} records read", outlet.fetched);
}

#[test]
fn a_place_that_is_not_what_it_should_be_is_not_used() {
    let (mut saved, mut outlet) = million_finished(&[1000], 120);
    saved.pending[0].offset += 300;
    saved.landmarks.push(Position { offset: 100_000_200, ..outlet.at(1_000_000) });
    let mut channel = Channel::restore(RULES, saved, outlet.at(1_000_100));
    join(&mut channel);
    dispatch_all(&mut channel, wall(0), &mut outlet);
    assert_eq!((outlet.delivered[0], outlet.delivered.len()), ((1000, 4), 101));
    assert_eq!((channel.lost_count(), channel.cursor()), (0, outlet.at(1_000_100)));
}

#[test]
fn a_million_untouched_over_a_restart_are_read_once_and_parked_again() {
    let mut outlet = Dues::new(1, in_an_hour);
    let saved = Saved {
        untouched: vec![Range { start: 0, end: 1_000_000 }],
        delivered: 1_000_001,
        ..Saved::default()
    };
    let mut channel: Channel<()> = Channel::restore(RULES, saved, outlet.at(1_000_000));
    assert_eq!((channel.deferred_count(), channel.depth()), (1_000_000, 0));
    dispatch_all(&mut channel, wall(0), &mut outlet);
    assert_eq!((channel.deferred_count(), outlet.fetched), (1_000_000, 1_000_000));
    assert_eq!(channel.next_deadline().deferred, Some(WallTime(HOUR)));
    assert!(channel.bytes() < 1_000_000, "{} bytes", channel.bytes());
    assert_eq!(channel.progress().untouched, []);
}
