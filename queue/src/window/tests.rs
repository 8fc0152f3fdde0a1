//! The window against a plain map, and the shapes that a map does not have: gaps, reuse, squeezing.

use std::collections::BTreeMap;

use super::*;
use proptest::prelude::*;

fn slot(offset: u64) -> Slot {
    Slot { offset, attempts: 1, state: State::Ready }
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
    assert_eq!(window.first(), Some((5, &slot(50))));
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
    assert_eq!((window.words.len(), window.dead, window.first()), (1, 0, Some((5000, &slot(0)))));
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_window_is_a_map_in_order(events in prop::collection::vec((0u8..4, 0u64..3000), 1..400)) {
        let (mut window, mut map, mut next) = (Window::default(), BTreeMap::new(), 0);
        for (kind, number) in events {
            if kind < 2 {
                next += 1 + number.saturating_sub(2000);
                window.insert(next, slot(number));
                map.insert(next, slot(number));
            } else {
                let seq = map.range(number..).next().map_or(number, |(seq, _)| *seq);
                prop_assert_eq!(window.remove(seq), map.remove(&seq));
            }
            prop_assert_eq!(window.first().map(|(seq, slot)| (seq, *slot)), map.first_key_value().map(|(k, v)| (*k, *v)));
        }
        let all: Vec<_> = window.iter().map(|(seq, slot)| (seq, *slot)).collect();
        prop_assert_eq!(all, map.into_iter().collect::<Vec<_>>());
    }
}
