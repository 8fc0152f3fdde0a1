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

    /// Take out a range.
    pub fn remove(&mut self, range: Range<u64>) {
        let Range { start, end } = range;
        if start >= end {
            return;
        }
        while let Some((&from, &to)) = self.ranges.range(..end).next_back() {
            if to <= start {
                break;
            }
            self.ranges.remove(&from);
            if from < start {
                self.ranges.insert(from, start);
            }
            if to > end {
                self.ranges.insert(end, to);
            }
        }
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

    /// Those that share numbers with `range`, rising; they may reach beyond it.
    pub fn overlapping(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let first = self.ranges.range(..range.start).next_back().filter(|(_, end)| **end > range.start);
        let from = first.map_or(range.start, |(start, _)| *start);
        if from >= range.end {
            return Vec::new();
        }
        self.ranges.range(from..range.end).map(|(start, end)| *start..*end).collect()
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
            steps in prop::collection::vec((0u64..60, 0u64..12, 0u8..8), 1..60)
        ) {
            let (mut ranges, mut plain) = (RangeSet::default(), BTreeSet::new());
            for (start, length, kind) in steps {
                let range = start..start + length;
                match kind {
                    0 => {
                        ranges.remove_below(start);
                        plain.retain(|number| *number >= start);
                    }
                    1 | 2 => {
                        ranges.remove(range.clone());
                        plain.retain(|number| !range.contains(number));
                    }
                    _ => {
                        ranges.insert(range.clone());
                        plain.extend(range);
                    }
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
