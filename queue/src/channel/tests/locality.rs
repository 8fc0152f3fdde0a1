//! Who is served first when consumers say where they are.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::locality::{Locality, LocalityCounts};

/// Delivers plain messages into a list of consumers; those in `full` take nothing.
#[derive(Default)]
struct Near {
    delivered: Vec<u64>,
    full: Vec<u64>,
}

impl Outlet<u64> for Near {
    fn fetch(&mut self, offset: u64) -> Fetched {
        Fetched::Message { seq: offset / 10, next: offset + 10, due: None }
    }

    fn deliver(&mut self, to: &u64, _seq: u64, _attempts: u16) -> Room {
        self.delivered.push(*to);
        Room::Left
    }

    fn has_room(&mut self, to: &u64) -> bool {
        !self.full.contains(to)
    }
}

const ZONE: Option<Locality> = Some(Locality::Zone);
const REGION: Option<Locality> = Some(Locality::Region);
const ELSEWHERE: Option<Locality> = Some(Locality::Elsewhere);

/// Messages, and consumers by where they are and their RDY; consumer n is the n-th.
fn channel(messages: u64, consumers: &[(Option<Locality>, u64)]) -> Channel<u64> {
    let mut channel = Channel::new(RULES, at(0), at(messages));
    for (number, (locality, ready)) in (0..).zip(consumers) {
        let asked = Subscription {
            msg_timeout: Duration::from_secs(60),
            sample_rate: 0,
            locality: *locality,
            in_flight_bytes_max: u64::MAX,
        };
        channel.subscribe(ConsumerId(number), number, asked).unwrap();
        channel.set_ready(ConsumerId(number), *ready);
    }
    channel
}

/// How many messages each consumer got, and the counts.
fn served(channel: &mut Channel<u64>, outlet: &mut Near, consumers: u64) -> (Vec<usize>, (u64, u64, u64)) {
    outlet.delivered.clear();
    while channel.dispatch(later(0), outlet) == Dispatched::Budget {}
    let got = |number| outlet.delivered.iter().filter(|to| **to == number).count();
    let LocalityCounts { zone, region, global } = channel.delivered_counts();
    ((0..consumers).map(got).collect(), (zone, region, global))
}

#[test]
fn the_nearest_are_served_first_and_what_they_cannot_take_goes_on() {
    let consumers = [(ELSEWHERE, 5), (REGION, 3), (ZONE, 2), (ZONE, 2)];
    for (messages, expected, counts) in [
        (3, [0, 0, 2, 1], (3, 0, 0)),
        (6, [0, 2, 2, 2], (4, 2, 0)),
        (9, [2, 3, 2, 2], (4, 3, 2)),
        (99, [5, 3, 2, 2], (4, 3, 5)),
    ] {
        let mut channel = channel(messages, &consumers);
        assert_eq!(served(&mut channel, &mut Near::default(), 4), (expected.to_vec(), counts), "{messages}");
    }
}

#[test]
fn a_near_consumer_that_is_full_or_gone_keeps_nothing_from_others() {
    let mut channel = channel(10, &[(ZONE, 10), (ELSEWHERE, 4), (REGION, 0)]);
    let mut outlet = Near { full: vec![0], ..Near::default() };
    assert_eq!(served(&mut channel, &mut outlet, 3).0, [0, 4, 0]);
    channel.set_ready(ConsumerId(2), 1);
    assert_eq!(served(&mut channel, &mut outlet, 3).0, [0, 0, 1]);
    channel.unsubscribe(ConsumerId(0));
    outlet.full.clear();
    channel.set_ready(ConsumerId(1), 100);
    assert_eq!(served(&mut channel, &mut outlet, 3), (vec![0, 5, 0], (0, 1, 9)));
}

#[test]
fn whoever_says_nothing_takes_turns_as_ever_and_counts_as_global() {
    let mut channel = channel(9, &[(None, 99), (None, 99), (None, 99)]);
    assert_eq!(served(&mut channel, &mut Near::default(), 3), (vec![3, 3, 3], (0, 0, 9)));
}

proptest! {
    #[test]
    fn a_message_goes_farther_only_if_nobody_nearer_can_take_it(
        messages in 0..60_u64,
        consumers in vec((0..3_usize, 0..8_u64), 1..9),
    ) {
        let places = [ZONE, REGION, ELSEWHERE];
        let consumers: Vec<_> = consumers.into_iter().map(|(place, ready)| (places[place], ready)).collect();
        let mut channel = channel(messages, &consumers);
        let (got, counts) = served(&mut channel, &mut Near::default(), consumers.len() as u64);
        let mut left = messages;
        let mut expected = Vec::new();
        for place in places {
            let room: u64 = consumers.iter().filter(|(near, _)| *near == place).map(|(_, ready)| ready).sum();
            expected.push(room.min(left));
            left -= room.min(left);
        }
        prop_assert_eq!(vec![counts.0, counts.1, counts.2], expected);
        prop_assert!(got.iter().zip(&consumers).all(|(got, (_, ready))| *got as u64 <= *ready));
    }
}
