//! Where a message stands in its topic's log. The log itself is not known here.

/// A place in a topic's log: in front of a message, or behind the last one. Ordered by `seq` first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The message's number: strictly increasing, may jump after an unclean restart. At the tail: a number no larger
    /// than the next message's.
    pub seq: u64,
    /// Where its record starts in the log.
    pub offset: u64,
    /// How many messages lie before it. Dense, so that a depth is a difference of ordinals.
    pub ordinal: u64,
}
