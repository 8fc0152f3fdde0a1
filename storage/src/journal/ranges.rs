//! A set of numbers kept as ranges: what a cursor finished out of order. Ten thousand in a row cost as much as one.

use std::collections::BTreeMap;
use std::ops::Range;

/// Numbers, as disjoint ranges that do not touch each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RangeSet {
    /// Start to end.
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    /// Add a range, joining it with those it overlaps or touches.
    pub fn insert(&mut self, range: Range<u64>) {
        let Range { mut start, mut end } = range;
        if start >= end {
            return;
        }
        // Those that begin at or before the end can be joined, from the last one backwards.
        while let Some((&from, &to)) = self.ranges.range(..=end).next_back() {
            if to < start {
                break;
            }
            self.ranges.remove(&from);
            start = start.min(from);
            end = end.max(to);
        }
        self.ranges.insert(start, end);
    }

    /// Take out everything below `bound`.
    pub fn remove_below(&mut self, bound: u64) {
        while let Some((start, end)) = self.ranges.first_key_value().map(|(start, end)| (*start, *end)) {
            if start >= bound {
                break;
            }
            self.ranges.remove(&start);
            if end > bound {
                self.ranges.insert(bound, end);
            }
        }
    }

    /// Whether `number` is in it.
    pub fn contains(&self, number: u64) -> bool {
        self.ranges.range(..=number).next_back().is_some_and(|(_, end)| number < *end)
    }

    /// The ranges, rising.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Range<u64>> {
        self.ranges.iter().map(|(start, end)| *start..*end)
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Take everything out.
    pub fn clear(&mut self) {
        self.ranges.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_hold_what_a_plain_set_holds(
            steps in prop::collection::vec((0u64..60, 0u64..12, prop::bool::weighted(0.2)), 1..60)
        ) {
            let (mut ranges, mut plain) = (RangeSet::default(), BTreeSet::new());
            for (start, length, is_removal) in steps {
                if is_removal {
                    ranges.remove_below(start);
                    plain.retain(|number| *number >= start);
                } else {
                    ranges.insert(start..start + length);
                    plain.extend(start..start + length);
                }
                let flat: Vec<u64> = ranges.iter().flatten().collect();
                prop_assert_eq!(&flat, &plain.iter().copied().collect::<Vec<_>>());
                let all: Vec<_> = ranges.iter().collect();
                prop_assert!(all.windows(2).all(|pair| pair[0].end < pair[1].start), "not joined: {:?}", all);
                prop_assert_eq!(ranges.contains(start), plain.contains(&start));
            }
        }
    }
}
