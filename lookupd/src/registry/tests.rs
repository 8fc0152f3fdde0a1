//! The registry's rules, one per test; time is a number of seconds.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const RULES: Rules = Rules {
    inactive_after: Duration::from_secs(300),
    tombstone: Duration::from_secs(45),
    registrations_max: 1000,
    broker_registrations_max: 1000,
};
const START: Duration = Duration::ZERO;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("a topic name")
}

fn channel(name: &str) -> ChannelName {
    ChannelName::new(name).expect("a channel name")
}

fn broker(n: u16) -> BrokerId {
    SocketAddr::from(([10, 0, 0, 1], n))
}

/// A registry with brokers 1 and 2, called b1:4151 and b2:4151, identified at the start.
fn registry() -> Registry {
    let mut registry = Registry::new(RULES);
    for n in [1, 2] {
        registry.identify(broker(n), info(n), START);
    }
    registry
}

fn info(n: u16) -> PeerInfo {
    PeerInfo {
        version: "1.3.0".to_owned(),
        tcp_port: 4150,
        http_port: 4151,
        hostname: format!("h{n}"),
        broadcast_address: format!("b{n}"),
        ..PeerInfo::default()
    }
}

impl Registry {
    /// `topic` or `topic/channel`, as REGISTER and UNREGISTER name it.
    fn put(&mut self, n: u16, what: &str) {
        let (name, of) = names(what);
        self.register(broker(n), name, of, START).expect("room");
    }

    fn take(&mut self, n: u16, what: &str) {
        let (name, of) = names(what);
        self.unregister(broker(n), &name, of.as_ref());
    }

    /// Whether the counts are those of a count from scratch.
    fn is_counted(&self) -> bool {
        let held = |id: &BrokerId| self.topics.values().map(|topic| topic.held_by(*id)).sum::<usize>();
        self.size == self.topics.values().map(Topic::size).sum::<usize>()
            && self.brokers.iter().all(|(id, broker)| broker.held == held(id))
            && self.topics.values().all(Topic::is_used)
    }

    /// The brokers a consumer is sent to.
    fn found(&self, topic: &str, now: Duration) -> Vec<String> {
        let answer = self.lookup(topic, now).expect("the topic is known");
        answer.producers.into_iter().map(|producer| producer.broadcast_address).collect()
    }

    /// The brokers of a channel, by `/debug`.
    fn on_channel(&self, key: &str) -> usize {
        self.debug(START).get(&format!("channel:{key}")).map_or(0, Vec::len)
    }
}

fn names(what: &str) -> (TopicName, Option<ChannelName>) {
    match what.split_once('/') {
        Some((name, of)) => (topic(name), Some(channel(of))),
        None => (topic(what), None),
    }
}

#[test]
fn registered_topic_is_found_with_its_channels() {
    let mut registry = registry();
    registry.put(1, "t/c");
    registry.put(2, "t");
    registry.put(2, "t/d");
    assert_eq!(registry.topics().topics, ["t"]);
    assert_eq!(registry.channels("t").channels, ["c", "d"]);
    let answer = registry.lookup("t", START).expect("known");
    assert_eq!(answer.channels, ["c", "d"]);
    assert_eq!(registry.found("t", START), ["b1", "b2"]);
    assert_eq!((registry.on_channel("t:c"), registry.on_channel("t:d")), (1, 1));
}

#[test]
fn unknown_topic_has_no_answer_and_no_channels() {
    let registry = registry();
    assert_eq!(registry.lookup("t", START), None);
    assert_eq!(registry.channels("t").channels, Vec::<String>::new());
    assert_eq!(registry.topics().topics, Vec::<String>::new());
}

#[test]
fn unregistering_a_channel_keeps_its_name_and_topic() {
    let mut registry = registry();
    registry.put(1, "t/c");
    registry.take(1, "t/c");
    assert_eq!(registry.channels("t").channels, ["c"]);
    assert_eq!(registry.on_channel("t:c"), 0);
    assert_eq!(registry.found("t", START), ["b1"]);
}

#[test]
fn unregistering_a_topic_leaves_its_channels_too() {
    let mut registry = registry();
    registry.put(1, "t/c");
    registry.put(2, "t/c");
    registry.take(1, "t");
    assert_eq!(registry.found("t", START), ["b2"]);
    assert_eq!(registry.on_channel("t:c"), 1);
    registry.take(2, "t");
    assert_eq!(registry.found("t", START), Vec::<String>::new());
    assert_eq!(registry.channels("t").channels, ["c"]);
}

#[test]
fn unregistering_what_was_never_registered_changes_nothing() {
    let mut registry = registry();
    registry.put(1, "t#ephemeral/c#ephemeral");
    registry.take(2, "t#ephemeral/c#ephemeral");
    registry.take(2, "t#ephemeral/d");
    registry.take(2, "t#ephemeral");
    registry.take(2, "unknown/c");
    registry.take(2, "unknown");
    assert_eq!(registry.channels("t#ephemeral").channels, ["c#ephemeral"]);
    assert_eq!(registry.topics().topics, ["t#ephemeral"]);
}

#[test]
fn ephemeral_channel_goes_with_its_last_broker() {
    let mut registry = registry();
    registry.put(1, "t/c#ephemeral");
    registry.put(2, "t/c#ephemeral");
    registry.take(1, "t/c#ephemeral");
    assert_eq!(registry.channels("t").channels, ["c#ephemeral"]);
    registry.take(2, "t/c#ephemeral");
    assert_eq!(registry.channels("t").channels, Vec::<String>::new());
}

#[test]
fn ephemeral_topic_goes_with_its_last_broker() {
    let mut registry = registry();
    registry.put(1, "t#ephemeral/c");
    registry.put(2, "t#ephemeral");
    registry.take(1, "t#ephemeral");
    assert_eq!(registry.topics().topics, ["t#ephemeral"]);
    registry.take(2, "t#ephemeral");
    assert_eq!(registry.topics().topics, Vec::<String>::new());
}

/// nsqlookupd: only the names that UNREGISTER names go, and only then.
#[test]
fn ephemeral_channels_outlive_their_topic_and_their_brokers_connection() {
    let mut registry = registry();
    for what in ["t/c#ephemeral", "t#ephemeral/c", "u#ephemeral/c#ephemeral"] {
        registry.put(1, what);
    }
    registry.take(1, "t");
    assert_eq!(registry.channels("t").channels, ["c#ephemeral"]);
    registry.take(1, "t#ephemeral");
    assert_eq!(registry.topics().topics, ["t", "u#ephemeral"]);
    assert_eq!(registry.lookup("t#ephemeral", START), None);
    assert_eq!(registry.channels("t#ephemeral").channels, ["c"]);
    registry.disconnect(broker(1));
    assert_eq!(registry.topics().topics, ["t", "u#ephemeral"]);
    assert_eq!(registry.channels("u#ephemeral").channels, ["c#ephemeral"]);
    registry.take(2, "t/c#ephemeral");
    assert_eq!(registry.channels("t").channels, Vec::<String>::new());
    assert!(registry.delete_channel("t#ephemeral", "c"));
    assert!(registry.is_counted());
}

#[test]
fn disconnect_forgets_the_broker_but_not_the_names() {
    let mut registry = registry();
    registry.put(1, "t/c");
    registry.put(1, "e#ephemeral/c");
    registry.put(2, "t");
    registry.disconnect(broker(1));
    assert_eq!(registry.found("t", START), ["b2"]);
    assert_eq!(registry.found("e#ephemeral", START), Vec::<String>::new());
    assert_eq!(registry.topics().topics, ["e#ephemeral", "t"]);
    assert_eq!(registry.channels("t").channels, ["c"]);
    assert_eq!(registry.nodes(START).producers.len(), 1);
    registry.disconnect(broker(1));
    assert_eq!(registry.nodes(START).producers.len(), 1);
}

#[test]
fn broker_registers_no_more_than_it_may() {
    let mut registry = Registry::new(Rules { broker_registrations_max: 3, ..RULES });
    registry.identify(broker(1), info(1), START);
    registry.identify(broker(2), info(2), START);
    registry.put(1, "t/c");
    let mut put = |n, what| {
        let (name, of) = names(what);
        registry.register(broker(n), name, of, START)
    };
    assert_eq!(put(1, "u/d"), Err(Full::Broker(3)));
    assert_eq!(put(1, "u"), Ok(true));
    assert_eq!(put(1, "u/d"), Err(Full::Broker(3)));
    assert_eq!(put(1, "t/c"), Ok(false));
    assert_eq!(put(2, "u/d"), Ok(true));
    registry.take(1, "t/c");
    registry.put(1, "u/d");
    assert!(registry.is_counted());
}

#[test]
fn names_nobody_has_make_room_for_others_once_in_a_while() {
    let mut registry = Registry::new(Rules { registrations_max: 4, ..RULES });
    registry.identify(broker(1), info(1), START);
    registry.put(1, "t/c#ephemeral");
    let create = |registry: &mut Registry, name, at| registry.create_topic(topic(name), secs(at));
    assert_eq!(create(&mut registry, "u", 0), Err(Full::All(4)));
    assert_eq!(create(&mut registry, "t", 0), Ok(false));
    registry.disconnect(broker(1));
    assert_eq!(create(&mut registry, "u", 1), Ok(true));
    assert_eq!(create(&mut registry, "v", 1), Ok(true));
    assert_eq!(registry.create_channel(topic("w"), channel("c"), secs(9)), Err(Full::All(4)));
    assert_eq!(registry.create_channel(topic("w"), channel("c"), secs(10)), Err(Full::All(4)));
    assert_eq!(registry.channels("t").channels, Vec::<String>::new());
    assert_eq!(create(&mut registry, "w", 10), Ok(true));
    assert!(registry.is_counted());
}

proptest! {
    #[test]
    fn whatever_happens_the_counts_are_right(steps in vec((0..9_u8, 1..4_u16, 0..6_usize), 0..80)) {
        const NAMES: [&str; 6] = ["t", "t/c", "t/c#ephemeral", "e#ephemeral", "e#ephemeral/c", "e#ephemeral/c#ephemeral"];
        let mut registry = Registry::new(Rules { registrations_max: 9, broker_registrations_max: 4, ..RULES });
        for (at, (step, n, what)) in steps.into_iter().enumerate() {
            let (name, of) = names(NAMES[what]);
            let now = secs(at as u64);
            match step {
                0 | 1 if !registry.brokers.contains_key(&broker(n)) => registry.identify(broker(n), info(n), now),
                0..=3 => { let _full = registry.register(broker(n), name, of, now); }
                4 => { registry.unregister(broker(n), &name, of.as_ref()); }
                5 => registry.disconnect(broker(n)),
                6 => registry.delete_topic(name.as_str()),
                7 => { registry.delete_channel(name.as_str(), of.as_ref().map_or("c", ChannelName::as_str)); }
                _ => match of {
                    Some(of) => { let _full = registry.create_channel(name, of, now); }
                    None => { let _full = registry.create_topic(name, now); }
                },
            }
            prop_assert!(registry.is_counted());
            prop_assert!(registry.size <= 9);
            let nodes = registry.nodes(now).producers;
            prop_assert!(nodes.iter().all(|node| node.tombstones.len() == node.topics.len()));
            for node in &nodes {
                for topic in &node.topics {
                    prop_assert!(registry.found(topic, now).contains(&node.producer.broadcast_address));
                }
            }
        }
    }
}

#[test]
fn silent_broker_is_left_out_until_it_pings() {
    let mut registry = registry();
    registry.put(1, "t");
    registry.put(2, "t");
    registry.ping(broker(2), secs(200));
    assert_eq!(registry.found("t", secs(300)), ["b1", "b2"], "300 s of silence is still active");
    assert_eq!(registry.found("t", secs(301)), ["b2"]);
    assert_eq!(registry.nodes(secs(301)).producers.len(), 1);
    registry.put(1, "t");
    assert_eq!(registry.found("t", secs(301)), ["b2"], "REGISTER is no sign of life");
    registry.ping(broker(1), secs(301));
    assert_eq!(registry.found("t", secs(301)), ["b1", "b2"]);
}

#[test]
fn ping_of_a_stranger_makes_no_broker() {
    let mut registry = registry();
    registry.ping(broker(9), START);
    assert_eq!(registry.nodes(START).producers.len(), 2);
}

#[test]
fn tombstone_hides_one_broker_from_one_topic_for_its_lifetime() {
    let mut registry = registry();
    for what in ["t", "u"] {
        registry.put(1, what);
        registry.put(2, what);
    }
    registry.tombstone("t", "b1:4151", secs(10));
    assert_eq!(registry.found("t", secs(10)), ["b2"]);
    assert_eq!(registry.found("u", secs(10)), ["b1", "b2"]);
    assert_eq!(registry.found("t", secs(54)), ["b2"]);
    assert_eq!(registry.found("t", secs(55)), ["b1", "b2"]);
}

#[test]
fn tombstone_outlives_register_but_not_unregister() {
    let mut registry = registry();
    registry.put(1, "t");
    registry.tombstone("t", "b1:4151", START);
    registry.put(1, "t/c");
    assert_eq!(registry.found("t", START), Vec::<String>::new());
    registry.take(1, "t");
    registry.put(1, "t");
    assert_eq!(registry.found("t", START), ["b1"]);
}

#[test]
fn tombstone_for_another_address_hides_nobody() {
    let mut registry = registry();
    registry.put(1, "t");
    for node in ["b1:4150", "b1", "h1:4151", "", "B1:4151"] {
        registry.tombstone("t", node, START);
    }
    registry.tombstone("unknown", "b1:4151", START);
    assert_eq!(registry.found("t", START), ["b1"]);
}

#[test]
fn nodes_show_topics_and_tombstones_side_by_side() {
    let mut registry = registry();
    for what in ["a", "b", "c"] {
        registry.put(1, what);
    }
    registry.tombstone("b", "b1:4151", START);
    let nodes = registry.nodes(secs(44)).producers;
    let one = nodes.first().expect("broker 1");
    assert_eq!((one.topics.join(""), &one.tombstones[..]), ("abc".to_owned(), &[false, true, false][..]));
    let two = nodes.last().expect("broker 2");
    assert_eq!((two.topics.len(), two.tombstones.len()), (0, 0));
    let later = registry.nodes(secs(45)).producers;
    assert_eq!(later.first().map(|node| node.tombstones.clone()), Some(vec![false; 3]));
}

#[test]
fn created_names_are_known_without_a_broker() {
    let mut registry = registry();
    assert_eq!(registry.create_topic(topic("t"), START), Ok(true));
    assert_eq!(registry.create_channel(topic("u"), channel("c"), START), Ok(()));
    assert_eq!(registry.topics().topics, ["t", "u"]);
    assert_eq!(registry.channels("u").channels, ["c"]);
    assert_eq!(registry.found("t", START), Vec::<String>::new());
}

#[test]
fn creating_again_keeps_what_is_there() {
    let mut registry = registry();
    registry.put(1, "t/c");
    assert_eq!(registry.create_topic(topic("t"), START), Ok(false));
    assert_eq!(registry.create_channel(topic("t"), channel("c"), START), Ok(()));
    assert_eq!(registry.found("t", START), ["b1"]);
    assert_eq!(registry.on_channel("t:c"), 1);
}

#[test]
fn deleted_names_come_back_with_the_next_register() {
    let mut registry = registry();
    registry.put(1, "t/c");
    assert!(!registry.delete_channel("t", "d"));
    assert!(!registry.delete_channel("u", "c"));
    assert!(registry.delete_channel("t", "c"));
    assert!(!registry.delete_channel("t", "c"));
    assert_eq!(registry.channels("t").channels, Vec::<String>::new());
    registry.delete_topic("t");
    registry.delete_topic("t");
    assert_eq!(registry.lookup("t", START), None);
    registry.put(1, "t/c");
    assert_eq!(registry.found("t", START), ["b1"]);
}

#[test]
fn debug_shows_what_answers_hide() {
    let mut registry = registry();
    registry.put(1, "t/c");
    registry.create_topic(topic("empty"), START).expect("room");
    registry.tombstone("t", "b1:4151", secs(2));
    registry.ping(broker(1), secs(1));
    let debug = registry.debug(secs(1_000));
    assert_eq!(debug.keys().collect::<Vec<_>>(), ["channel:t:c", "client::", "topic:t:"]);
    let shown = |key: &str| debug[key].first().map(|p| (p.last_update, p.tombstoned, p.tombstoned_at));
    let unset = -6_795_364_578_871_345_152;
    assert_eq!(shown("topic:t:"), Some((1_001_000_000_000, true, 1_002_000_000_000)));
    assert_eq!(shown("channel:t:c"), Some((1_001_000_000_000, false, unset)));
    assert_eq!(debug["client::"].len(), 2);
}

#[test]
fn answers_have_the_names_clients_read() {
    let mut registry = registry();
    registry.put(1, "t/c");
    registry.disconnect(broker(2));
    let about = r#""remote_address":"10.0.0.1:1","hostname":"h1","broadcast_address":"b1","tcp_port":4150,"http_port":4151,"version":"1.3.0","topology_zone":"","topology_region":"""#;
    assert_eq!(
        text(&registry.lookup("t", START).expect("known")),
        format!(r#"{{"channels":["c"],"producers":[{{{about}}}]}}"#)
    );
    assert_eq!(
        text(&registry.nodes(START)),
        format!(r#"{{"producers":[{{{about},"tombstones":[false],"topics":["t"]}}]}}"#)
    );
    assert_eq!(text(&registry.topics()), r#"{"topics":["t"]}"#);
    assert_eq!(text(&registry.channels("t")), r#"{"channels":["c"]}"#);
}

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("JSON")
}
