//! Which object is looked at when: asked for by a watch, by a reconcile that wants to look again, or after a failure.
//! One object is never looked at twice at once, many wishes become one look, and failures are spaced out. Time is an
//! argument; who waits and who works is in `run`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Wishes that come within this are one: a topic is created with its channels, a pod changes five times while it starts.
const GATHER: Duration = Duration::from_millis(200);
/// After a first failure; doubled by each further one.
const FAILED_FIRST: Duration = Duration::from_secs(1);
/// Never longer apart, so that what was mended outside is seen soon.
const FAILED_MAX: Duration = Duration::from_secs(60);

/// The looks that are due, under way, and planned. Times are counted from any fixed moment by a clock that never goes
/// back.
#[derive(Debug)]
pub struct Agenda<K> {
    planned: BTreeMap<K, Duration>,
    under_way: BTreeSet<K>,
    failures: BTreeMap<K, u32>,
}

/// How a look ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Look again after this, unless something happens before.
    Again(Duration),
    /// The object is gone: nothing is to be looked at until a watch asks for it.
    Gone,
    /// It failed for a reason that may pass.
    Failed,
}

impl<K: Ord + Clone> Agenda<K> {
    /// Nothing to do yet.
    pub fn new() -> Self {
        Self { planned: BTreeMap::new(), under_way: BTreeSet::new(), failures: BTreeMap::new() }
    }

    /// Somebody changed what `key` is to be: failures of what it was count no more.
    pub fn urge(&mut self, key: K, now: Duration) {
        if self.failures.remove(&key).is_some() {
            self.planned.remove(&key);
        }
        self.plan(key, now + GATHER);
    }

    /// Something happened around `key` at `now`. After failures it waits for its turn all the same: what a failing look
    /// changes must not make the next look come at once.
    pub fn ask(&mut self, key: K, now: Duration) {
        if self.failures.contains_key(&key) && self.planned.contains_key(&key) {
            return;
        }
        self.plan(key, now + GATHER);
    }

    /// The moment of the next look; `None` if there is none to come.
    pub fn next(&self) -> Option<Duration> {
        let free = self.planned.iter().filter(|(key, _)| !self.under_way.contains(*key));
        free.map(|(_, at)| *at).min()
    }

    /// The object whose turn it is at `now`; from here on it is under way.
    pub fn begin(&mut self, now: Duration) -> Option<K> {
        let free = self.planned.iter().filter(|(key, at)| **at <= now && !self.under_way.contains(*key));
        let key = free.min_by_key(|(_, at)| **at)?.0.clone();
        self.planned.remove(&key);
        self.under_way.insert(key.clone());
        Some(key)
    }

    /// The look at `key` ended at `now`. `chance` in 0..1 spreads failures and resyncs of many objects.
    pub fn end(&mut self, key: K, now: Duration, outcome: Outcome, chance: f64) {
        self.under_way.remove(&key);
        match outcome {
            Outcome::Gone => {
                self.failures.remove(&key);
            }
            Outcome::Again(after) => {
                self.failures.remove(&key);
                self.plan(key, now + spread(after, chance));
            }
            Outcome::Failed => {
                let failures = self.failures.entry(key.clone()).or_default();
                let after = FAILED_FIRST.saturating_mul(1 << (*failures).min(10)).min(FAILED_MAX);
                *failures += 1;
                // Also what was asked for meanwhile waits.
                self.planned.insert(key, now + spread(after, chance));
            }
        }
    }

    /// How many are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    fn plan(&mut self, key: K, at: Duration) {
        let planned = self.planned.entry(key).or_insert(at);
        *planned = (*planned).min(at);
    }
}

impl<K: Ord + Clone> Default for Agenda<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// Up to a fifth longer.
fn spread(length: Duration, chance: f64) -> Duration {
    length + length.mul_f64(0.2 * chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn many_wishes_within_a_moment_are_one_look() {
        let mut agenda = Agenda::new();
        (0..5).for_each(|at| agenda.ask("a", at * MS));
        assert_eq!(agenda.next(), Some(GATHER));
        assert_eq!(agenda.begin(GATHER - MS), None);
        assert_eq!(agenda.begin(GATHER), Some("a"));
        assert_eq!(agenda.begin(GATHER), None);
    }

    #[test]
    fn an_object_under_way_is_looked_at_again_only_when_that_look_has_ended() {
        let mut agenda = Agenda::new();
        agenda.ask("a", Duration::ZERO);
        assert_eq!(agenda.begin(GATHER), Some("a"));
        agenda.ask("a", GATHER);
        assert_eq!((agenda.begin(10 * GATHER), agenda.next()), (None, None));
        agenda.end("a", 10 * GATHER, Outcome::Again(Duration::from_secs(60)), 0.0);
        assert_eq!(agenda.begin(10 * GATHER), Some("a"), "what happened meanwhile is not forgotten");
    }

    #[test]
    fn failures_are_spaced_out_and_a_watch_does_not_shorten_that() {
        let mut agenda = Agenda::new();
        agenda.ask("a", Duration::ZERO);
        let mut now = GATHER;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert_eq!(agenda.begin(now), Some("a"));
            agenda.ask("a", now);
            agenda.end("a", now, Outcome::Failed, 0.0);
            agenda.ask("a", now);
            let next = agenda.next().unwrap();
            pauses.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn a_change_of_what_is_wanted_is_looked_at_at_once_also_after_failures() {
        let mut agenda = Agenda::new();
        agenda.ask("a", Duration::ZERO);
        for _ in 0..9 {
            let now = agenda.next().unwrap();
            agenda.begin(now).unwrap();
            agenda.end("a", now, Outcome::Failed, 0.0);
        }
        let now = Duration::from_secs(1000);
        agenda.urge("a", now);
        assert_eq!(agenda.next(), Some(now + GATHER));
    }

    #[test]
    fn after_a_success_failures_are_forgotten() {
        let mut agenda = Agenda::new();
        agenda.ask("a", Duration::ZERO);
        for outcome in [Outcome::Failed, Outcome::Failed, Outcome::Again(Duration::from_secs(9))] {
            let now = agenda.next().unwrap();
            agenda.begin(now).unwrap();
            agenda.end("a", now, outcome, 0.0);
        }
        let now = agenda.next().unwrap();
        agenda.begin(now).unwrap();
        agenda.end("a", now, Outcome::Failed, 0.0);
        assert_eq!(agenda.next(), Some(now + FAILED_FIRST));
    }

    #[test]
    fn what_is_gone_is_not_looked_at_again() {
        let mut agenda = Agenda::new();
        agenda.ask("a", Duration::ZERO);
        agenda.begin(GATHER).unwrap();
        agenda.end("a", GATHER, Outcome::Gone, 0.0);
        assert_eq!((agenda.next(), agenda.under_way()), (None, 0));
    }

    #[test]
    fn the_one_that_waits_longest_comes_first() {
        let mut agenda = Agenda::new();
        agenda.ask("b", Duration::ZERO);
        agenda.ask("a", MS);
        assert_eq!((agenda.begin(GATHER * 2), agenda.begin(GATHER * 2)), (Some("b"), Some("a")));
    }
}
