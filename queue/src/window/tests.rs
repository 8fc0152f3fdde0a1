//! The window against a plain map, and the shapes that a map does not have: gaps, reuse, squeezing.

use std::collections::BTreeMap;

use super::*;
use crate::consumer::Weight;
use crate::time::Age;
use proptest::prelude::*;

fn slot(offset: u64) -> Slot {
    Slot { offset, attempts: 1, weight: Weight::default(), waited: Age::default(), state: State::Ready }
}

fn filled(seqs: impl IntoIterator<Item = u64>) -> Window {
    let mut window = Window::default();
    for seq in seqs {
        window.insert(seq, slot(seq * 10));
    }
    window
}

#[test]
fn numbers_may_jump() {
    let window = filled([5, 6, 1 << 40, 1 << 60]);
    assert_eq!(window.words.len(), 3);
    assert_eq!(window.slot(1 << 40), Some(&slot(10 << 40)));
    assert_eq!(window.slot(1 << 39), None);
    assert_eq!(window.first(), Some((5, 50)));
}

#[test]
fn what_was_removed_is_not_found() {
    let mut window = filled(0..200);
    assert_eq!(window.remove(70), Some(slot(700)));
    assert_eq!(window.remove(70), None);
    assert_eq!(window.slot_mut(70), None);
    assert_eq!(window.iter().count(), 199);
}

#[test]
fn removing_in_order_keeps_only_the_last_word() {
    let mut window = filled(0..1000);
    for seq in 0..999 {
        window.remove(seq);
    }
    assert_eq!((window.words.len(), window.pool.len()), (1, POOL_MAX));
    window.remove(999);
    assert_eq!((window.words.len(), window.dead, window.first()), (1, 1, None));
    window.insert(5000, slot(0));
    assert_eq!((window.words.len(), window.dead, window.first()), (1, 0, Some((5000, 0))));
}

#[test]
fn a_straggler_does_not_hold_the_memory_of_what_follows() {
    let mut window = filled([0]);
    for seq in 1..100_000 {
        window.insert(seq, slot(seq));
        window.remove(seq);
    }
    assert!(window.words.len() <= 2 * DEAD_MIN + 2, "{} words", window.words.len());
    assert!(window.dead < window.words.len(), "{} of them dead", window.dead);
    assert_eq!(window.first().map(|(seq, _)| seq), Some(0));
}

#[test]
fn a_parked_word_is_forty_bytes() {
    assert_eq!(size_of::<Word>(), 40);
    let mut window = Window::default();
    for seq in 0..64_000 {
        assert!(window.can_park(seq, seq * 100));
        assert_eq!(window.park(seq, seq * 100, WallTime(7)), seq % WORD == 0);
    }
    assert_eq!((window.words.len(), window.parked_count(), window.first()), (1000, 64_000, Some((0, 0))));
    assert!(window.bytes() <= 1000 * 40 * 9 / 8 + 1000, "{} bytes", window.bytes());
}

#[test]
fn parked_records_of_a_word_lie_close_together() {
    let mut window = Window::default();
    window.park(1, 1000, WallTime(7));
    assert!(window.can_park(2, 1000 + (1 << 20)));
    assert!(!window.can_park(2, 1001 + (1 << 20)));
    assert!(window.can_park(64, 1001 + (1 << 20)));
}

#[test]
fn a_lone_straggler_of_a_word_costs_little_after_a_while() {
    let mut window = Window::default();
    for seq in 0..64_000 {
        window.insert(seq, slot(seq));
        if seq % WORD != 3 {
            window.remove(seq);
        }
        window.age();
    }
    assert_eq!(window.iter().count(), 1000);
    assert!(window.bytes() < 1000 * 200 + 2 * YOUNG_MAX * size_of::<Full>(), "{} bytes", window.bytes());
    assert_eq!(window.slot(64 * 500 + 3), Some(&slot(64 * 500 + 3)));
}

#[test]
fn a_word_that_is_parked_in_part_keeps_both() {
    let mut window = Window::default();
    for seq in 0..128 {
        if seq % 2 == 0 {
            window.park(seq, seq * 10, WallTime(100 - seq as i64));
        } else {
            window.insert(seq, slot(seq * 10));
        }
    }
    assert_eq!(
        window.parked_with(5),
        Parked { numbers: 0x5555_5555_5555_5555, offset: 0, due: WallTime(38), bytes: 620 }
    );
    assert!(window.slot(2).is_none() && window.slot_mut(4).is_none() && window.remove(6).is_none());
    (0..128).for_each(|seq| assert_eq!(window.remove(seq).is_some(), seq % 2 == 1));
    assert_eq!((window.first(), window.dead, window.parked_count()), (Some((0, 0)), 0, 64));
    assert_eq!(window.owed_in(0, 2000, 10), Some(vec![(0, 620), (640, 1260)]));
    assert_eq!(window.owed_in(500, 700, 10), Some(vec![(500, 620), (640, 699)]));
    assert_eq!(window.owed_in(621, 640, 10), Some(vec![]));
    assert_eq!(window.owed_in(0, 2000, 1), None);
}

/// A window, and a map of what it must hold: a slot, or a due time.
#[derive(Default)]
struct Mirror {
    window: Window,
    map: BTreeMap<u64, Result<Slot, WallTime>>,
    next: u64,
}

impl Mirror {
    fn play(&mut self, kind: u8, number: u64) {
        match kind {
            0 | 1 => {
                self.next += 1 + number.saturating_sub(2900);
                self.window.insert(self.next, slot(self.next * 10));
                self.map.insert(self.next, Ok(slot(self.next * 10)));
            }
            2 => {
                self.next += 1 + number.saturating_sub(2900);
                self.window.park(self.next, self.next * 10, WallTime(number as i64));
                self.map.insert(self.next, Err(WallTime(number as i64)));
            }
            3 | 4 => {
                let owed = self.map.range(number % (self.next + 1)..).next();
                let seq = owed.map_or(number, |(seq, _)| *seq);
                let expected = self.map.get(&seq).and_then(|owed| owed.ok());
                assert_eq!(self.window.remove(seq), expected);
                if expected.is_some() {
                    self.map.remove(&seq);
                }
            }
            5 => self.unpark(base_of(number % (self.next + 1)), number),
            6 => self.window.age(),
            _ if number.is_multiple_of(8) => self.truncate(number % (self.next + 1)),
            _ => {}
        }
    }

    /// Of what is parked in a word some stay parked, some get slots, some are lost.
    fn unpark(&mut self, base: u64, pick: u64) {
        let parked = self.window.parked_with(base);
        let (mut left, mut slots) = (Parked::default(), Vec::new());
        for seq in bits_of(base, parked.numbers) {
            let Some(Err(due)) = self.map.remove(&seq) else { panic!("{seq} is not parked") };
            match (seq ^ pick) % 3 {
                0 => {
                    left.add(seq, seq * 10, due);
                    self.map.insert(seq, Err(due));
                }
                1 => {
                    slots.push((seq, slot(seq * 10)));
                    self.map.insert(seq, Ok(slot(seq * 10)));
                }
                _ => {}
            }
        }
        self.window.unpark(base, left, &slots);
    }

    fn truncate(&mut self, seq: u64) {
        let parked =
            |map: &BTreeMap<_, Result<Slot, _>>| map.values().filter(|owed| owed.is_err()).count() as u64;
        let before = parked(&self.map);
        self.map.retain(|number, owed| *number >= seq || owed.is_ok());
        assert_eq!(self.window.forget_parked_below(seq, seq * 10), before - parked(&self.map));
    }

    fn compare(&self) {
        let (window, map) = (&self.window, &self.map);
        assert_eq!(window.first().map(|(seq, _)| seq), map.first_key_value().map(|(seq, _)| *seq));
        let slots: Vec<_> = window.iter().map(|(seq, slot)| (seq, *slot)).collect();
        assert_eq!(
            slots,
            map.iter().filter_map(|(seq, owed)| Some((*seq, (*owed).ok()?))).collect::<Vec<_>>()
        );
        assert_eq!(window.parked_count(), (map.len() - slots.len()) as u64);
        assert_eq!(window.dead, window.words.iter().filter(|word| word.owed() == 0).count());
        for (from, to) in [(0, self.next * 10 + 1), (self.next * 3, self.next * 4 + 1)] {
            let stretches = window.owed_in(from, to, usize::MAX).unwrap();
            let is_in = |offset| stretches.iter().any(|(first, last)| (*first..=*last).contains(&offset));
            assert!(map.keys().filter(|seq| (from..to).contains(&(*seq * 10))).all(|seq| is_in(seq * 10)));
        }
        for (seq, owed) in map {
            let parked = window.parked_with(*seq);
            assert_eq!(parked.contains(*seq), owed.is_err());
            assert!(owed.is_ok() || parked.due <= owed.unwrap_err(), "{seq} would be late");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_window_is_a_map_in_order(events in prop::collection::vec((0u8..8, 0u64..3000), 1..1000)) {
        let mut mirror = Mirror::default();
        for (at, (kind, number)) in events.into_iter().enumerate() {
            mirror.play(kind, number);
            if at % 10 == 0 {
                mirror.compare();
            }
        }
        mirror.compare();
    }
}
