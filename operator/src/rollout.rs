//! Which pod is restarted next so that all run what is wanted: one at a time, the next only when the last is ready,
//! registered and complete. The StatefulSets restart nothing by themselves (`OnDelete`), so that an operator that is
//! down, or new, leaves every pod alone.

/// An updated pod that is not there after so long holds the rollout up for good, until somebody mends it. In seconds.
pub const STUCK_AFTER_S: u64 = 600;

/// One pod of a StatefulSet, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// It was made from the template as it is now.
    pub is_updated: bool,
    /// Kubernetes says that it is ready.
    pub is_ready: bool,
    /// Ready for long enough, registered with every lookupd that is ready, and with every topic.
    pub is_settled: bool,
    /// It is on its way out of the cluster, and not ready because of that. Nobody waits for it or restarts it.
    pub is_leaving: bool,
    /// How long ago its pod was made, in seconds.
    pub age_s: u64,
}

/// What is to be done now. After it, look again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All run what is wanted.
    Done,
    /// Delete this pod: it comes back from the new template.
    Restart(u32),
    /// This one has to come up first.
    Wait(u32),
    /// This one does not come up; all others are left as they are.
    Stuck(u32),
}

/// What is to be done next; `None` in the place of a pod that is not there yet.
pub fn next(members: &[Option<Member>]) -> Step {
    let staying = || {
        let placed = (0..).zip(members);
        placed.filter(|(_, member)| member.is_none_or(|member| !member.is_leaving))
    };
    let outdated =
        || staying().filter_map(|(at, member)| Some((at, (*member)?))).filter(|(_, it)| !it.is_updated);
    if outdated().next().is_none() {
        return Step::Done;
    }
    let coming =
        staying().find(|(_, member)| member.is_none_or(|member| member.is_updated && !member.is_settled));
    if let Some((at, member)) = coming {
        let is_stuck = member.is_some_and(|member| member.age_s >= STUCK_AFTER_S);
        return if is_stuck { Step::Stuck(at) } else { Step::Wait(at) };
    }
    // One that does not serve loses nothing by a restart, and may need just that.
    let down = outdated().filter(|(_, member)| !member.is_ready).last();
    match down.or_else(|| outdated().last()) {
        Some((at, _)) => Step::Restart(at),
        None => Step::Done,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Member =
        Member { is_updated: false, is_ready: true, is_settled: true, is_leaving: false, age_s: 9000 };
    const NEW: Member = Member { is_updated: true, ..OLD };
    const DOWN: Member = Member { is_ready: false, is_settled: false, ..OLD };
    const COMING: Member = Member { is_settled: false, age_s: 3, ..NEW };

    #[track_caller]
    fn check(members: &[Option<Member>], expected: Step) {
        assert_eq!(next(members), expected);
    }

    #[test]
    fn pods_are_restarted_from_the_last_to_the_first() {
        check(&[Some(OLD), Some(OLD), Some(OLD)], Step::Restart(2));
        check(&[Some(OLD), Some(OLD), Some(NEW)], Step::Restart(1));
        check(&[Some(OLD), Some(NEW), Some(NEW)], Step::Restart(0));
        check(&[Some(NEW), Some(NEW), Some(NEW)], Step::Done);
        check(&[], Step::Done);
    }

    #[test]
    fn the_next_waits_until_the_last_is_back_ready_and_registered() {
        check(&[Some(OLD), Some(OLD), None], Step::Wait(2));
        check(&[Some(OLD), Some(OLD), Some(Member { is_ready: false, ..COMING })], Step::Wait(2));
        check(&[Some(OLD), Some(OLD), Some(COMING)], Step::Wait(2));
    }

    #[test]
    fn a_pod_that_does_not_come_up_holds_the_others_back_until_the_template_changes_again() {
        check(&[Some(OLD), Some(Member { age_s: STUCK_AFTER_S, ..COMING })], Step::Stuck(1));
        check(&[Some(OLD), Some(DOWN)], Step::Restart(1));
    }

    #[test]
    fn one_that_is_down_comes_first() {
        check(&[Some(DOWN), Some(OLD), Some(OLD)], Step::Restart(0));
        check(&[Some(DOWN), Some(OLD), Some(COMING)], Step::Wait(2));
    }

    #[test]
    fn one_that_leaves_the_cluster_is_neither_restarted_nor_waited_for() {
        let leaving = Member { is_leaving: true, ..DOWN };
        check(&[Some(OLD), Some(leaving)], Step::Restart(0));
        check(&[Some(NEW), Some(leaving)], Step::Done);
        check(&[Some(OLD), Some(Member { is_leaving: true, ..COMING })], Step::Restart(0));
    }

    #[test]
    fn pods_that_are_missing_are_no_rollout() {
        check(&[Some(NEW), None], Step::Done);
    }

    /// A StatefulSet that makes pods anew from its template, with pods that come up or not as chance has it.
    #[test]
    fn at_no_time_is_more_than_one_good_pod_taken_away() {
        for seed in 0..200u64 {
            let mut chance = seed;
            let mut roll = move |of: u64| {
                chance = chance.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (chance >> 33) % of
            };
            let mut members = vec![Some(OLD); 5];
            for _ in 0..200 {
                match next(&members) {
                    Step::Restart(at) => members[at as usize] = None,
                    Step::Done => break,
                    Step::Wait(_) | Step::Stuck(_) => {}
                }
                let away = members.iter().filter(|member| !member.is_some_and(|it| it.is_settled)).count();
                assert!(away <= 1, "seed {seed}: {members:?}");
                for member in &mut members {
                    *member = match *member {
                        None if roll(3) == 0 => Some(COMING),
                        Some(COMING) if roll(3) == 0 => Some(NEW),
                        same => same,
                    };
                }
            }
            assert_eq!(next(&members), Step::Done, "seed {seed}");
        }
    }
}
