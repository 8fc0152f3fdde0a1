//! Order: a channel with one consumer hands out first deliveries in each publishing connection's order. Which
//! deliveries count as first is decided by the judge; deferred and requeued messages never do.

use std::collections::HashMap;

/// A first delivery on a channel with one consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct First {
    /// The consumer's connection.
    pub(super) conn: u32,
    pub(super) at: u64,
    /// The publisher's connection.
    pub(super) publisher: u32,
    /// When that sent it.
    pub(super) published: u64,
    pub(super) key: u64,
}

/// Pairs that came the wrong way round: the one that came too late, and one that came before it.
pub(super) fn inversions(firsts: &mut [First]) -> Vec<(First, First)> {
    firsts.sort_unstable();
    let mut newest: HashMap<(u32, u32), First> = HashMap::new();
    let mut wrong = Vec::new();
    for first in firsts.iter() {
        let newest = newest.entry((first.conn, first.publisher)).or_insert(*first);
        if (first.published, first.key) < (newest.published, newest.key) {
            wrong.push((*first, *newest));
        } else {
            *newest = *first;
        }
    }
    wrong
}
