//! Every text as it is read.

use operator::plan::{BrokerPlan, ChannelPlan, ClusterId};
use operator::resources::Durability;

use super::*;

fn plan(topics: Vec<TopicPlan>) -> ClusterPlan {
    ClusterPlan {
        name: "quickstart".to_owned(),
        namespace: "default".to_owned(),
        brokers: vec![BrokerPlan { ordinal: 0, node_id: 0, flags: vec![] }],
        lookupds: vec![],
        topics,
    }
}

fn topic_plan(name: &str, is_paused: Option<bool>, channels: &[(&str, Option<bool>)]) -> TopicPlan {
    let channels = channels
        .iter()
        .map(|(name, is_paused)| ChannelPlan { name: (*name).to_owned(), is_paused: *is_paused });
    TopicPlan { name: name.to_owned(), is_paused, durability: None, channels: channels.collect() }
}

fn http() -> Option<SocketAddr> {
    Some("127.0.0.1:4151".parse().unwrap())
}

#[test]
fn the_table_lines_up() {
    let addresses = |tcp: u16| Addresses {
        tcp: SocketAddr::from(([127, 0, 0, 1], tcp)),
        http: SocketAddr::from(([127, 0, 0, 1], tcp + 1)),
    };
    assert_eq!(
        row(Name::nsqlookupd(0), addresses(4160), None),
        "nsqlookupd 0   tcp 127.0.0.1:4160   http 127.0.0.1:4161"
    );
    assert_eq!(
        row(Name::nsqd(0), addresses(4150), Some(Path::new("./nsqube-data/quickstart/broker-0"))),
        "nsqd 0         tcp 127.0.0.1:4150   http 127.0.0.1:4151   data ./nsqube-data/quickstart/broker-0"
    );
}

#[test]
fn topics_are_listed_with_their_channels_and_pauses() {
    let list = [
        topic_plan("events", Some(true), &[]),
        topic_plan("orders", None, &[("billing", Some(true)), ("shipping", Some(false))]),
    ];
    assert_eq!(topics(&list), "topics         events paused, orders (billing paused, shipping)");
    let level = |topic: &TopicPlan| TopicPlan { durability: Some(Durability::Fsync), ..topic.clone() };
    let list: Vec<TopicPlan> = list.iter().map(level).collect();
    assert_eq!(topics(&list), "topics         events fsync paused, orders fsync (billing paused, shipping)");
    assert!(topics(&[]).contains("none declared"));
    let many: Vec<TopicPlan> = (0..100).map(|i| topic_plan(&format!("t{i}"), None, &[])).collect();
    assert!(topics(&many).ends_with("t11, and 88 more"));
}

#[test]
fn the_publish_line_can_be_copied() {
    let plan = plan(vec![topic_plan("a", Some(true), &[]), topic_plan("b#ephemeral", None, &[])]);
    assert_eq!(
        hints(&plan, http(), Path::new("./nsqube-data"), "a.yaml"),
        "publish:  curl -d 'hello' 'http://127.0.0.1:4151/pub?topic=b%23ephemeral'\n\
         look:     curl 'http://127.0.0.1:4151/stats'\n\
         change:   edit a.yaml and save\n\
         stop:     Ctrl-C (data stay in ./nsqube-data)"
    );
    assert!(hints(&plan, None, Path::new("d"), "f").starts_with("publish:  no broker is declared"));
}

#[test]
fn what_is_removed_from_the_file_is_reported_as_kept() {
    let cluster = ClusterId { namespace: "default".to_owned(), name: "quickstart".to_owned() };
    let stats = r#"{"topics":[{"topic_name":"orders","depth":1,"paused":false,"channels":[
        {"channel_name":"billing","depth":2,"paused":false}]}]}"#;
    let stats = || serde_json::from_str::<Stats>(stats).unwrap();
    let seen = BTreeMap::from([(Name::nsqd(0), stats()), (Name::nsqd(1), stats())]);
    let check = |change: Change, expected: Option<&str>| {
        assert_eq!(changes(&[change], &seen, http()), expected.into_iter().collect::<Vec<_>>());
    };
    let (topic, channel) = ("orders".to_owned(), "billing".to_owned());
    check(
        Change::TopicRemoved { cluster: cluster.clone(), topic: topic.clone() },
        Some(
            "topic orders is no longer declared: it is kept, with all it has; its messages: 6; \
             to delete it, on each broker: curl -X POST 'http://127.0.0.1:4151/topic/delete?topic=orders'",
        ),
    );
    check(
        Change::ChannelRemoved { cluster: cluster.clone(), topic: topic.clone(), channel },
        Some(
            "channel orders/billing is no longer declared: it is kept, with all it has; its messages: 4; \
             to delete it, on each broker: \
             curl -X POST 'http://127.0.0.1:4151/channel/delete?topic=orders&channel=billing'",
        ),
    );
    check(
        Change::BrokerRemoved { cluster: cluster.clone(), ordinal: 1 },
        Some(
            "nsqd 1 is no longer declared: it keeps running until you stop nsq up; \
             its data stay in its folder; its messages: 3",
        ),
    );
    check(
        Change::CreateTopic { cluster: cluster.clone(), topic },
        Some("topic orders is declared now and was there already"),
    );
    check(Change::CreateTopic { cluster, topic: "new".to_owned() }, None);
}

#[test]
fn a_pause_that_is_no_longer_declared_is_said_to_stay() {
    let old = plan(vec![topic_plan("orders", None, &[("billing", Some(true)), ("shipping", Some(true))])]);
    let new = plan(vec![topic_plan("orders", None, &[("billing", None), ("shipping", Some(false))])]);
    assert_eq!(
        forgotten(&old, &new),
        ["channel orders/billing: paused is no longer declared, so it stays as it is (paused)"]
    );
    assert!(forgotten(&new, &new).is_empty());
}

#[test]
fn a_level_that_is_no_longer_declared_is_said_to_stay() {
    let orders = |durability| plan(vec![TopicPlan { durability, ..topic_plan("orders", None, &[]) }]);
    let check = |old, new, expected: &[&str]| assert_eq!(forgotten(&orders(old), &orders(new)), expected);
    let fsync = Some(Durability::Fsync);
    check(fsync, None, &["topic orders: durability is no longer declared, so it stays as it is (fsync)"]);
    check(fsync, Some(Durability::Memory), &[]);
    check(None, fsync, &[]);
    check(None, None, &[]);
}

#[test]
fn many_steps_become_one_line() {
    let step = |i: usize| {
        let step = Step { verb: Verb::Create(None), topic: format!("t{i}"), channel: None };
        (step, vec![Name::nsqd(0), Name::nsqd(1)])
    };
    assert_eq!(steps(&[step(0)]), ["topic t0 created on nsqd 0, nsqd 1"]);
    let many: Vec<_> = (0..100).map(step).collect();
    let expected =
        "topics and channels: 100 created, 0 with another durability, 0 paused, 0 unpaused on nsqd 0, nsqd 1";
    assert_eq!(steps(&many), [expected]);
    assert_eq!(names(&(0..5).map(Name::nsqd).collect::<Vec<_>>()), "5 brokers");
}

#[test]
fn an_end_is_told_with_its_last_line_until_it_has_been_told_enough() {
    let end = |telling| Ended {
        name: Name::nsqd(1),
        how: "exit code 1".to_owned(),
        last_lines: vec!["first".to_owned(), "cannot listen".to_owned()],
        retry_in: Duration::from_millis(100),
        telling,
    };
    assert_eq!(
        ended(&end(Telling::Tell), Path::new("l")).unwrap(),
        "nsqd 1 ended (exit code 1); it starts again in 0.1 s; its last line: cannot listen"
    );
    assert!(ended(&end(Telling::TellLast), Path::new("l")).unwrap().contains("see l"));
    assert_eq!(ended(&end(Telling::Silent), Path::new("l")), None);
    let mut killed = end(Telling::Tell);
    killed.last_lines.push("[nsqd] 2026/11/22 08:59:54.739271 INFO: connected".to_owned());
    assert!(!ended(&killed, Path::new("l")).unwrap().contains("its last line"));
}

#[test]
fn stopping_names_brokers_first() {
    let lookupds = |count: u32| (0..count).map(Name::nsqlookupd);
    let check = |brokers: u32, count: u32, expected: &str| {
        assert_eq!(stopping(lookupds(count).chain((0..brokers).map(Name::nsqd))), expected);
    };
    check(2, 1, "stopping nsqd 0, nsqd 1, then nsqlookupd 0");
    check(1, 0, "stopping nsqd 0");
    check(50, 16, "stopping 50 brokers, then 16 nsqlookupds");
}

#[test]
fn short_times_are_not_rounded_to_nothing() {
    assert_eq!(seconds(Duration::from_millis(27)), "27 ms");
    assert_eq!(seconds(Duration::from_millis(420)), "0.4 s");
    assert_eq!(seconds(Duration::from_secs(12)), "12.0 s");
}
