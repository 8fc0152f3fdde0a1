//! Chance from a seed: the same seed gives the same schedule, choices and bodies. Not for secrets.

/// A stream of numbers that look random (SplitMix64).
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The stream of one of many parts of a run, such as a thread; parts do not resemble each other.
    pub fn of_part(seed: u64, part: u64) -> Self {
        Self(Self(seed ^ part.wrapping_mul(0xd6e8_feb8_6659_fd93)).next())
    }

    /// Any number.
    #[allow(
        clippy::should_implement_trait,
        reason = "an iterator that never ends would invite loops that do not"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// From `low` on and below `high`; `low` if that is empty.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next().checked_rem(high.saturating_sub(low)).unwrap_or(0)
    }

    /// True in `of_thousand` of a thousand cases.
    pub fn happens(&mut self, of_thousand: u64) -> bool {
        self.between(0, 1000) < of_thousand
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_its_stream_again_and_another_gives_another() {
        let stream = |seed| {
            let mut chance = Chance::of_part(seed, 3);
            [chance.next(), chance.next(), chance.between(5, 9)]
        };
        assert_eq!(stream(1), stream(1));
        assert_ne!(stream(1), stream(2));
    }

    #[test]
    fn numbers_keep_to_their_range() {
        let mut chance = Chance::new(7);
        assert!((0..1000).all(|_| (3..6).contains(&chance.between(3, 6))));
        assert_eq!(chance.between(3, 3), 3);
    }
}
