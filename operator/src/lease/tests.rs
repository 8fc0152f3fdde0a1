//! Elections, step by step, and many candidates against one lease.

use super::*;

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn lease(version: u32, holder: &str, renewed: &str) -> Lease {
    let record = Record { holder: holder.into(), duration: at(15), transitions: 4, renewed: renewed.into() };
    Lease { version: version.to_string(), record }
}

fn claim(holder: &str, transitions: u32) -> Claim {
    Claim { holder: holder.into(), duration: at(15), transitions }
}

fn replace(version: &str, holder: &str, transitions: u32) -> Action {
    Action::Replace { version: version.into(), claim: claim(holder, transitions) }
}

/// Each step: seconds, what happened, what must follow, whether it leads then.
#[track_caller]
fn check(steps: Vec<(u64, Event, Action, bool)>) {
    let mut elector = Elector::new("a", Timing::default());
    for (index, (seconds, event, action, leads)) in steps.into_iter().enumerate() {
        assert_eq!(elector.step(at(seconds), event), action, "step {index}");
        assert_eq!(elector.leads(at(seconds)), leads, "step {index}");
    }
}

fn wait() -> Action {
    Action::Wait(at(2))
}

fn elected() -> Vec<(u64, Event, Action, bool)> {
    vec![
        (0, Event::Due, Action::Read, false),
        (0, Event::Read(None), Action::Create(claim("a", 0)), false),
        (1, Event::Written(lease(1, "a", "x")), wait(), true),
    ]
}

fn then(more: Vec<(u64, Event, Action, bool)>) -> Vec<(u64, Event, Action, bool)> {
    elected().into_iter().chain(more).collect()
}

#[test]
fn a_lease_that_nobody_made_is_created_and_renewed_without_reading() {
    check(then(vec![
        (3, Event::Due, replace("1", "a", 4), true),
        (3, Event::Written(lease(2, "a", "y")), wait(), true),
        (5, Event::Due, replace("2", "a", 4), true),
    ]));
}

#[test]
fn the_lease_of_another_is_taken_only_when_it_was_not_seen_to_change_for_its_duration() {
    let other = |renewed| Event::Read(Some(lease(7, "b", renewed)));
    check(vec![
        (100, other("x"), wait(), false),
        (114, other("x"), wait(), false),
        (115, other("y"), wait(), false),
        (129, other("y"), wait(), false),
        (130, other("y"), replace("7", "a", 5), false),
        (131, Event::Conflict, Action::Read, false),
        (131, other("z"), wait(), false),
    ]);
}

#[test]
fn a_lease_that_was_given_back_is_taken_at_once() {
    check(vec![(1, Event::Read(Some(lease(7, "", "x"))), replace("7", "a", 5), false)]);
}

#[test]
fn a_write_whose_answer_was_lost_is_found_and_confirmed_before_leading() {
    check(vec![
        (0, Event::Read(None), Action::Create(claim("a", 0)), false),
        (5, Event::Failed, wait(), false),
        (7, Event::Due, Action::Read, false),
        (7, Event::Read(Some(lease(1, "a", "x"))), replace("1", "a", 4), false),
        (8, Event::Written(lease(2, "a", "y")), wait(), true),
    ]);
}

#[test]
fn a_leader_that_cannot_renew_ends_before_its_lease_does() {
    check(then(vec![
        (3, Event::Due, replace("1", "a", 4), true),
        (9, Event::Failed, Action::Read, true),
        (10, Event::Failed, Action::Exit, false),
        (11, Event::Written(lease(2, "a", "y")), Action::Exit, false),
    ]));
}

#[test]
fn the_deadline_counts_from_when_the_renewal_was_sent() {
    let mut elector = Elector::new("a", Timing::default());
    elector.step(at(20), Event::Read(None));
    elector.step(at(24), Event::Written(lease(1, "a", "x")));
    assert_eq!(elector.deadline(), Some(at(30)));
}

#[test]
fn a_leader_that_finds_another_in_its_place_or_no_lease_ends() {
    let conflict = (3, Event::Conflict, Action::Read, true);
    check(then(vec![conflict.clone(), (3, Event::Read(Some(lease(9, "b", "z"))), Action::Exit, false)]));
    check(then(vec![conflict, (3, Event::Read(None), Action::Exit, false)]));
}

#[test]
fn a_leader_whose_lease_somebody_edited_renews_it() {
    let edited = Event::Read(Some(lease(9, "a", "x")));
    check(then(vec![(3, Event::Conflict, Action::Read, true), (3, edited, replace("9", "a", 4), true)]));
}

#[test]
fn a_leader_that_stops_gives_its_lease_back_and_ends_whatever_the_answer() {
    for answer in [Event::Written(lease(2, "", "y")), Event::Conflict, Event::Failed, Event::Stop] {
        check(then(vec![(3, Event::Stop, replace("1", "", 4), false), (4, answer, Action::Exit, false)]));
    }
}

#[test]
fn a_candidate_that_stops_leaves_the_lease_alone() {
    check(vec![
        (1, Event::Read(Some(lease(7, "b", "x"))), wait(), false),
        (2, Event::Stop, Action::Exit, false),
    ]);
}

/// Several candidates whose clocks differ, and one API server whose answers come late or get lost.
struct World {
    lease: Option<Lease>,
    writes: u32,
    chance: u64,
}

impl World {
    /// Below `limit`; the same run for the same seed.
    fn below(&mut self, limit: u64) -> u64 {
        self.chance =
            self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % limit
    }

    fn answer(&mut self, action: &Action) -> Event {
        let known = self.lease.as_ref().map(|lease| lease.version.clone());
        match action {
            Action::Read => Event::Read(self.lease.clone()),
            Action::Create(claim) if known.is_none() => self.store(claim),
            Action::Replace { version, claim } if known.as_ref() == Some(version) => self.store(claim),
            Action::Create(_) | Action::Replace { .. } => Event::Conflict,
            Action::Wait(_) | Action::Exit => Event::Due,
        }
    }

    fn store(&mut self, claim: &Claim) -> Event {
        self.writes += 1;
        let (holder, renewed) = (claim.holder.clone(), self.writes.to_string());
        let record = Record { holder, duration: claim.duration, transitions: claim.transitions, renewed };
        let lease = Lease { version: self.writes.to_string(), record };
        self.lease = Some(lease.clone());
        Event::Written(lease)
    }
}

struct Candidate {
    elector: Elector,
    ahead: u64,
    action: Action,
    arrives: u64,
    outcome: Option<(u64, Event)>,
}

impl Candidate {
    fn new(name: String, now: u64, ahead: u64) -> Self {
        let elector = Elector::new(name, Timing::default());
        Self { elector, ahead, action: Action::Wait(at(0)), arrives: now, outcome: None }
    }

    /// One second of its life; false once it has ended.
    fn tick(&mut self, now: u64, world: &mut World) -> bool {
        if self.outcome.is_none() && now >= self.arrives {
            let lost_on_the_way = !matches!(self.action, Action::Wait(_)) && world.below(8) == 0;
            let event = if lost_on_the_way { Event::Failed } else { world.answer(&self.action) };
            let answer_lost = event != Event::Due && world.below(8) == 0;
            self.outcome = Some((now + world.below(3), if answer_lost { Event::Failed } else { event }));
        }
        let late = self.elector.deadline().is_some_and(|deadline| at(now + self.ahead) >= deadline);
        let event = match self.outcome.take() {
            _ if late => Event::Failed,
            Some((due, event)) if now >= due => event,
            waiting => {
                self.outcome = waiting;
                return true;
            }
        };
        let event = if world.below(200) == 0 { Event::Stop } else { event };
        self.action = self.elector.step(at(now + self.ahead), event);
        let wait = if matches!(self.action, Action::Wait(_)) { 2 } else { world.below(3) };
        self.arrives = now + wait;
        self.action != Action::Exit
    }
}

#[test]
fn there_are_never_two_leaders_and_not_none_for_long() {
    for seed in 0..50 {
        let mut world = World { lease: None, writes: 0, chance: seed };
        let mut candidates: Vec<Candidate> =
            (0..3).map(|index| Candidate::new(format!("{index}"), 0, index * 1_000)).collect();
        let mut without = 0;
        for now in 0..2_000 {
            for (index, candidate) in candidates.iter_mut().enumerate() {
                if !candidate.tick(now, &mut world) {
                    *candidate = Candidate::new(format!("{index} since {now}"), now, world.below(5_000));
                }
            }
            let leaders = candidates.iter().filter(|one| one.elector.leads(at(now + one.ahead))).count();
            assert!(leaders <= 1, "{leaders} leaders, seed {seed}, second {now}");
            without = if leaders == 0 { without + 1 } else { 0 };
            assert!(without < 120, "no leader, seed {seed}, second {now}");
        }
    }
}
