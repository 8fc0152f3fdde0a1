//! What is said of clusters and topics, case by case.

use super::*;
use crate::drain::Target;
use crate::topology::ResourceId;

fn crew(wanted: u32, ready: u32) -> Crew {
    Crew { wanted, ready, ..Crew::default() }
}

fn well() -> Facts {
    Facts { brokers: crew(3, 3), lookupds: crew(2, 2), synced: 3, ..Facts::default() }
}

/// `Type=True/Reason`, in the order of the types.
#[track_caller]
fn check(facts: &Facts, expected: &[&str]) {
    let mut said = of_cluster(facts);
    said.sort_by_key(|said| said.about);
    let told: Vec<_> = said
        .iter()
        .map(|said| {
            let is = if said.is == Some(true) { "True" } else { "False" };
            format!("{}={is}/{}", said.about, said.reason)
        })
        .collect();
    assert_eq!(told, expected);
}

#[test]
fn a_cluster_that_is_well_says_no_more_than_that() {
    let expected = [
        "Ready=True/AllReady",
        "Available=True/Serving",
        "TopologySynced=True/AllBrokers",
        "StorageHealthy=True/VolumesBound",
    ];
    check(&well(), &expected);
}

#[test]
fn a_cluster_that_starts_is_not_available_and_waits_for_pods() {
    let facts = Facts { brokers: crew(3, 0), lookupds: crew(2, 1), synced: 0, ..Facts::default() };
    let expected = [
        "Ready=False/BrokersNotReady",
        "Available=False/NoBroker",
        "Reconciling=True/WaitingForPods",
        "TopologySynced=True/AllBrokers",
        "StorageHealthy=True/VolumesBound",
    ];
    check(&facts, &expected);
}

#[test]
fn what_kubernetes_says_of_a_pod_is_passed_on() {
    let trouble =
        Trouble { reason: Reason::ImageNotPulled, message: "ErrImagePull: nobody has it".to_owned() };
    let brokers = Crew { trouble: Some(("prod-broker-1".to_owned(), trouble)), ..crew(3, 2) };
    // Whether one waits for pods, or for one that was restarted with new settings.
    for rollout in [rollout::Step::Done, rollout::Step::Wait(1)] {
        let brokers = Crew { rollout, ..brokers.clone() };
        let said = of_cluster(&Facts { brokers, synced: 2, ..well() });
        let ready = said.iter().find(|said| said.about == Type::Ready).unwrap();
        assert_eq!(ready.reason, Reason::ImageNotPulled);
        assert_eq!(ready.message, "pod prod-broker-1: ErrImagePull: nobody has it");
    }
}

#[test]
fn a_wrong_spec_stalls_and_nothing_is_at_work() {
    let facts = Facts { problems: vec!["spec.x is wrong".to_owned()], ..well() };
    let expected = [
        "Ready=False/InvalidSpec",
        "Available=True/Serving",
        "Stalled=True/InvalidSpec",
        "TopologySynced=True/AllBrokers",
        "StorageHealthy=True/VolumesBound",
    ];
    check(&facts, &expected);
}

#[test]
fn a_broker_that_leaves_is_named_with_what_it_owes() {
    let facts = |step| Facts { drain: Some(step), leaving: Some(("prod-broker-3".to_owned(), 7)), ..well() };
    let target = Target { ordinal: 3, epoch: 1 };
    for (step, reason) in [
        (Step::Drain(target), Reason::Fencing),
        (Step::Wait, Reason::Draining),
        (Step::Certify(target), Reason::Draining),
        (Step::Retire(target), Reason::Certified),
    ] {
        let said = of_cluster(&facts(step));
        let scaling = said.iter().find(|said| said.about == Type::ScalingDown).unwrap();
        assert_eq!(scaling.reason, reason);
        assert!(scaling.message.contains("prod-broker-3"), "{}", scaling.message);
        assert!(said.iter().any(|said| said.about == Type::Reconciling));
    }
}

#[test]
fn a_drain_that_does_not_go_on_stalls_the_cluster_with_what_blocks_it() {
    let obstacle = Obstacle { ordinal: 3, why: Why::NoProgress(9) };
    let facts = Facts {
        drain: Some(Step::Blocked(obstacle)),
        leaving: Some(("prod-broker-3".to_owned(), 9)),
        ..well()
    };
    let expected = [
        "Ready=False/NoProgress",
        "Available=True/Serving",
        "Stalled=True/NoProgress",
        "TopologySynced=True/AllBrokers",
        "StorageHealthy=True/VolumesBound",
        "ScalingDown=True/NoProgress",
    ];
    check(&facts, &expected);
}

#[test]
fn a_rollout_that_is_stuck_says_which_pod_and_why() {
    let brokers = Crew { rollout: rollout::Step::Stuck(2), ..crew(3, 2) };
    let said = of_cluster(&Facts { brokers, synced: 2, ..well() });
    let stalled = said.iter().find(|said| said.about == Type::Stalled).unwrap();
    assert_eq!(stalled.reason, Reason::RolloutStuck);
    assert!(stalled.message.starts_with("nsqd 2 does not come up"), "{}", stalled.message);
}

#[test]
fn a_topology_that_is_not_everywhere_makes_a_cluster_not_ready() {
    check(
        &Facts { synced: 2, ..well() },
        &[
            "Ready=False/BrokersUnreachable",
            "Available=True/Serving",
            "TopologySynced=False/BrokersUnreachable",
            "StorageHealthy=True/VolumesBound",
        ],
    );
    let said =
        of_cluster(&Facts { synced: 2, out_of_sync: Some("prod-broker-1 lacks it".to_owned()), ..well() });
    assert_eq!(said.iter().find(|said| said.about == Type::Ready).unwrap().reason, Reason::BrokersOutOfSync);
}

#[track_caller]
fn check_topic(verdict: Option<Verdict>, presence: Presence, expected: &[(Type, Option<bool>, Reason)]) {
    let said = of_declared("topic", "msg/prod", verdict.as_ref(), &presence);
    let told: Vec<_> = said.iter().map(|said| (said.about, said.is, said.reason)).collect();
    assert_eq!(told, expected);
}

#[test]
fn a_topic_is_ready_when_every_broker_has_it() {
    let yes = Some(true);
    let all = Presence { present: 3, of: 3, ..Presence::default() };
    let synced = [(Type::Ready, yes, Reason::Declared), (Type::Synced, yes, Reason::AllBrokers)];
    check_topic(Some(Verdict::Declared), all.clone(), &synced);
    let some = Presence { present: 1, ..all.clone() };
    let declaring =
        [(Type::Ready, Some(false), Reason::Declaring), (Type::Reconciling, yes, Reason::Declaring)];
    check_topic(Some(Verdict::Declared), some, &declaring);
    let drifted = Presence { drift: Some("is paused".to_owned()), ..all };
    let drift = [(Type::Ready, yes, Reason::Declared), (Type::Synced, Some(false), Reason::Drifted)];
    check_topic(Some(Verdict::Declared), drifted, &drift);
}

#[test]
fn a_topic_that_is_not_declared_says_what_to_do() {
    let winner = ResourceId { namespace: "a".to_owned(), name: "b".to_owned() };
    for (verdict, reason) in [
        (None, Reason::ClusterNotFound),
        (Some(Verdict::NotAllowed), Reason::NamespaceNotAllowed),
        (Some(Verdict::Conflict(winner)), Reason::Conflict),
        (Some(Verdict::TopicNotFound), Reason::TopicNotFound),
        (Some(Verdict::TopicNotAccepted), Reason::TopicNotAccepted),
    ] {
        let expected = [(Type::Ready, Some(false), reason), (Type::Stalled, Some(true), reason)];
        check_topic(verdict, Presence::default(), &expected);
    }
}

#[test]
fn a_disk_that_is_full_makes_a_cluster_not_ready_while_it_still_serves() {
    let facts = Facts { disk_trouble: Some("prod-broker-1: no space".to_owned()), ..well() };
    let expected = [
        "Ready=False/DiskTrouble",
        "Available=True/Serving",
        "TopologySynced=True/AllBrokers",
        "StorageHealthy=False/DiskTrouble",
    ];
    check(&facts, &expected);
}
