//! How long to wait before a child that ended is started again. A value: the clock is elsewhere.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);
/// A child that served this long was healthy: its next end is a new story.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// So many failures in a row are told one by one; then one line says that the rest is silent.
const TOLD_MAX: u32 = 6;

/// Counts the ends of one child.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

/// What to say about an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    Tell,
    /// Tell it, and that the following ones are not told.
    TellLast,
    Silent,
}

impl Backoff {
    /// The child ended after serving for `served` (None: it never served). How long to wait and what to say.
    pub(crate) fn ended(&mut self, served: Option<Duration>) -> (Duration, Telling) {
        if served.is_some_and(|served| served >= HEALTHY_AFTER) {
            self.failures = 0;
        }
        let wait = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let telling = match self.failures {
            1..TOLD_MAX => Telling::Tell,
            TOLD_MAX => Telling::TellLast,
            _ => Telling::Silent,
        };
        (wait, telling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(backoff: &mut Backoff, ends: usize) -> Vec<u64> {
        (0..ends).map(|_| u64::try_from(backoff.ended(None).0.as_millis()).unwrap()).collect()
    }

    #[test]
    fn waits_double_from_a_tenth_of_a_second_to_five_seconds() {
        assert_eq!(waits(&mut Backoff::default(), 8), [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert_eq!(waits(&mut Backoff::default(), 100).last(), Some(&5000));
    }

    #[test]
    fn only_a_child_that_served_for_a_while_starts_afresh() {
        let mut backoff = Backoff::default();
        waits(&mut backoff, 5);
        assert_eq!(backoff.ended(Some(Duration::from_secs(1))).0, Duration::from_millis(3200));
        assert_eq!(backoff.ended(Some(Duration::from_secs(11))), (FIRST, Telling::Tell));
    }

    #[test]
    fn a_child_that_never_comes_back_does_not_fill_the_screen() {
        let mut backoff = Backoff::default();
        let told: Vec<Telling> = (0..8).map(|_| backoff.ended(None).1).collect();
        assert_eq!(told.iter().filter(|telling| **telling == Telling::Tell).count(), 5);
        assert_eq!(told[5..], [Telling::TellLast, Telling::Silent, Telling::Silent]);
    }
}
