//! Whose topics and channels a cluster's brokers must have, case by case.

use super::*;

fn id(text: &str) -> ResourceId {
    let (namespace, name) = text.split_once('/').unwrap();
    ResourceId { namespace: namespace.to_owned(), name: name.to_owned() }
}

fn cluster() -> ClusterId {
    ClusterId { namespace: "msg".to_owned(), name: "prod".to_owned() }
}

/// As a topic of `msg/prod` that was made at `age`.
fn topic(text: &str, age: i64, topic: &str) -> TopicClaim {
    TopicClaim {
        id: id(text),
        age: (age, text.to_owned()),
        cluster: cluster(),
        topic: topic.to_owned(),
        paused: None,
        durability: None,
        enforce: true,
        fate: Fate::Stays,
        is_going: false,
    }
}

fn channel(text: &str, age: i64, of: &str, channel: &str) -> ChannelClaim {
    ChannelClaim {
        id: id(text),
        age: (age, text.to_owned()),
        of: ChannelOf::Resource(of.to_owned()),
        channel: channel.to_owned(),
        paused: None,
        enforce: true,
        fate: Fate::Stays,
        is_going: false,
    }
}

fn found(topics: Vec<TopicClaim>, channels: Vec<ChannelClaim>) -> Resolved {
    let admits = |namespace: &str| namespace == "shop";
    let cluster = Grantor { id: cluster(), admits: &admits, enforce: true };
    resolve(&cluster, &Claims::new(topics, channels))
}

/// `topic(channel channel)`, as declared.
fn declared(found: &Resolved) -> Vec<String> {
    let told = |topic: &DeclaredTopic| {
        let channels: Vec<_> = topic.channels.iter().map(|channel| channel.name.as_str()).collect();
        format!("{}({})", topic.name, channels.join(" "))
    };
    found.topics.iter().map(told).collect()
}

#[test]
fn topics_are_sorted_and_have_their_channels() {
    let topics = vec![topic("msg/b", 1, "beta"), topic("msg/a", 2, "alpha")];
    let channels = vec![channel("msg/x", 3, "a", "two"), channel("msg/y", 4, "a", "one")];
    assert_eq!(declared(&found(topics, channels)), ["alpha(one two)", "beta()"]);
}

#[test]
fn the_oldest_has_the_name_and_the_others_are_told_who() {
    let young = TopicClaim { paused: Some(true), ..topic("msg/young", 9, "t") };
    let found = found(vec![young, topic("shop/old", 3, "t")], Vec::new());
    assert_eq!(found.topics[0].paused, None);
    assert_eq!(found.of_topics[&id("msg/young")], Verdict::Conflict(id("shop/old")));
    assert_eq!(found.of_topics[&id("shop/old")], Verdict::Declared);
}

#[test]
fn of_two_that_are_as_old_the_lower_uid_has_the_name() {
    let found = found(vec![topic("msg/b", 1, "t"), topic("msg/a", 1, "t")], Vec::new());
    assert_eq!(found.of_topics[&id("msg/b")], Verdict::Conflict(id("msg/a")));
}

#[test]
fn another_namespace_needs_the_clusters_leave() {
    let topics = vec![topic("evil/a", 1, "t"), topic("shop/a", 2, "t")];
    let mut channels = vec![channel("evil/x", 1, "a", "c")];
    channels.push(ChannelClaim {
        of: ChannelOf::Topic(cluster(), "t".to_owned()),
        ..channel("evil/y", 1, "", "d")
    });
    let found = found(topics, channels);
    assert_eq!(declared(&found), ["t()"]);
    assert_eq!(found.of_topics[&id("evil/a")], Verdict::NotAllowed);
    assert_eq!(found.of_topics[&id("shop/a")], Verdict::Declared, "who may not have it does not hold it");
    assert_eq!(found.of_channels[&id("evil/x")], Verdict::NotAllowed);
    assert_eq!(found.of_channels[&id("evil/y")], Verdict::NotAllowed);
}

#[test]
fn a_channel_may_name_a_topic_that_nobody_declares() {
    let of = ChannelOf::Topic(cluster(), "free".to_owned());
    let channels = vec![ChannelClaim { of, ..channel("msg/x", 1, "", "c") }];
    let found = found(Vec::new(), channels);
    assert_eq!(declared(&found), ["free(c)"]);
    assert_eq!((found.topics[0].paused, &found.topics[0].durability), (None, &None));
}

#[test]
fn a_channel_by_reference_and_one_by_name_are_of_one_topic() {
    let of = ChannelOf::Topic(cluster(), "t".to_owned());
    let channels = vec![channel("msg/x", 2, "a", "c"), ChannelClaim { of, ..channel("shop/y", 1, "", "c") }];
    let found = found(vec![topic("msg/a", 5, "t")], channels);
    assert_eq!(declared(&found), ["t(c)"]);
    assert_eq!(found.of_channels[&id("msg/x")], Verdict::Conflict(id("shop/y")));
}

#[test]
fn a_channel_without_its_topic_is_of_no_cluster() {
    let claims = Claims::new(Vec::new(), vec![channel("msg/x", 1, "nowhere", "c")]);
    assert_eq!(claims.cluster_of(&claims.channels()[0]), None);
}

#[test]
fn a_channel_of_a_topic_that_lost_its_name_is_not_declared() {
    let topics = vec![topic("msg/old", 1, "t"), topic("msg/young", 2, "t")];
    let found = found(topics, vec![channel("msg/x", 3, "young", "c")]);
    assert_eq!(declared(&found), ["t()"]);
    assert_eq!(found.of_channels[&id("msg/x")], Verdict::TopicNotAccepted);
}

#[test]
fn what_is_going_is_declared_no_longer_and_deleted_as_its_resource_says() {
    let going = |fate, claim: TopicClaim| TopicClaim { fate, is_going: true, ..claim };
    let topics = vec![
        going(Fate::Stays, topic("msg/a", 1, "a")),
        going(Fate::GoesIfEmpty, topic("msg/b", 1, "b")),
        going(Fate::Goes, topic("msg/c", 1, "c")),
        going(Fate::Goes, topic("evil/d", 1, "d")),
    ];
    let found = found(topics, Vec::new());
    assert_eq!(declared(&found), [""; 0]);
    let told: Vec<_> =
        found.deletions.iter().map(|it| (it.topic.as_str(), it.only_if_empty, it.still_declared)).collect();
    assert_eq!(told, [("b", true, false), ("c", false, false)]);
}

#[test]
fn a_deletion_does_not_touch_what_another_resource_declares() {
    let going = TopicClaim { fate: Fate::Goes, is_going: true, ..topic("msg/a", 1, "t") };
    let gone = ChannelClaim { fate: Fate::Goes, is_going: true, ..channel("msg/x", 1, "b", "c") };
    let channels = vec![gone, channel("msg/y", 2, "b", "c")];
    let found = found(vec![going, topic("msg/b", 2, "t")], channels);
    assert_eq!(declared(&found), ["t(c)"]);
    assert!(found.deletions.len() == 2 && found.deletions.iter().all(|it| it.still_declared));
}

#[test]
fn channels_go_before_their_topics() {
    let going = TopicClaim { fate: Fate::Goes, is_going: true, ..topic("msg/a", 1, "t") };
    let gone = ChannelClaim { fate: Fate::GoesIfEmpty, is_going: true, ..channel("msg/x", 1, "a", "c") };
    let found = found(vec![going], vec![gone]);
    let channels: Vec<_> = found.deletions.iter().map(|it| it.channel.as_deref()).collect();
    assert_eq!(channels, [Some("c"), None]);
}

#[test]
fn other_clusters_are_left_alone() {
    let other = ClusterId { namespace: "msg".to_owned(), name: "other".to_owned() };
    let found = found(vec![TopicClaim { cluster: other, ..topic("msg/a", 1, "t") }], Vec::new());
    assert_eq!(found, Resolved::default());
}
