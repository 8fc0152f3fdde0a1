//! Tables: what is declared, what a broker has, which requests follow.

use operator::plan::ChannelPlan;

use super::*;

const SEEN: &str = r#"{"topics":[
    {"topic_name":"orders","depth":2,"paused":false,"channels":[
        {"channel_name":"billing","depth":3,"in_flight_count":1,"deferred_count":1,"paused":true},
        {"channel_name":"other","depth":-99,"paused":false}]},
    {"topic_name":"held","paused":true,"channels":null},
    {"topic_name":"safe","paused":false,"durability":"fsync","channels":[]}]}"#;

/// `topic` or `topic channel channel`; `+` after a name: paused, `-`: not paused, neither: not declared. A topic
/// may have a level: `topic@fsync`.
fn wanted(lines: &[&str]) -> Vec<TopicPlan> {
    let name = |word: &str| match word.chars().last() {
        Some('+') => (word[..word.len() - 1].to_owned(), Some(true)),
        Some('-') => (word[..word.len() - 1].to_owned(), Some(false)),
        _ => (word.to_owned(), None),
    };
    let topic = |line: &&str| {
        let mut names = line.split(' ').map(name);
        let (topic, is_paused) = names.next().unwrap();
        let (topic, level) = topic.split_once('@').unwrap_or((&topic, ""));
        let durability = Durability::ALL.into_iter().find(|known| known.name() == level);
        let channels = names.map(|(name, is_paused)| ChannelPlan { name, is_paused }).collect();
        TopicPlan { name: topic.to_owned(), is_paused, durability, channels }
    };
    lines.iter().map(topic).collect()
}

fn check(lines: &[&str], expected: &[&str]) {
    let seen: Stats = serde_json::from_str(SEEN).unwrap();
    let steps: Vec<String> = steps(&wanted(lines), &seen).iter().map(Step::to_string).collect();
    assert_eq!(steps, expected, "{lines:?}");
}

#[test]
fn a_broker_that_has_everything_is_asked_for_nothing() {
    check(&[], &[]);
    check(&["orders billing other"], &[]);
    check(&["orders- billing+ other-", "held+"], &[]);
}

#[test]
fn missing_topics_and_channels_are_created_in_order() {
    check(&["new"], &["topic new created"]);
    check(
        &["new a b+", "orders billing c"],
        &[
            "topic new created",
            "channel new/a created",
            "channel new/b created",
            "channel new/b paused",
            "channel orders/c created",
        ],
    );
    check(&["held x-"], &["channel held/x created"]);
}

#[test]
fn pauses_follow_the_declaration_and_only_where_it_speaks() {
    check(&["orders+ billing-"], &["topic orders paused", "channel orders/billing unpaused"]);
    check(&["held-"], &["topic held unpaused"]);
    check(&["held", "orders billing"], &[]);
    check(&["fresh+"], &["topic fresh created", "topic fresh paused"]);
}

#[test]
fn levels_follow_the_declaration_and_only_where_it_speaks() {
    check(&["safe@fsync"], &[]);
    check(&["safe"], &[]);
    check(&["safe@memory"], &["topic safe is now memory"]);
    check(
        &["safe@buffered+ x"],
        &["topic safe is now buffered", "topic safe paused", "channel safe/x created"],
    );
    check(&["new@fsync+ x"], &["topic new created as fsync", "topic new paused", "channel new/x created"]);
}

#[test]
fn a_broker_that_knows_no_levels_is_not_asked_for_one() {
    check(&["orders@fsync", "held@memory+"], &[]);
}

#[test]
fn nothing_is_removed() {
    check(&["orders"], &[]);
}

#[test]
fn ephemeral_names_survive_the_query() {
    let step =
        Step { verb: Verb::Pause, topic: "a#ephemeral".to_owned(), channel: Some("b#ephemeral".to_owned()) };
    assert_eq!(step.path(), "/channel/pause?topic=a%23ephemeral&channel=b%23ephemeral");
    let of_orders = |verb| Step { verb, topic: "orders".to_owned(), channel: None }.path();
    assert_eq!(of_orders(Verb::Create(None)), "/topic/create?topic=orders");
}

#[test]
fn a_level_is_asked_for_as_nsqd_spells_it() {
    let of_orders = |verb| Step { verb, topic: "orders".to_owned(), channel: None }.path();
    let created = of_orders(Verb::Create(Some(Durability::Fsync)));
    assert_eq!(created, "/topic/create?topic=orders&durability=fsync");
    let changed = of_orders(Verb::SetDurability(Durability::Memory));
    assert_eq!(changed, "/topic/create?topic=orders&durability=memory");
}

#[test]
fn waiting_messages_are_counted_wherever_they_wait() {
    let seen: Stats = serde_json::from_str(SEEN).unwrap();
    assert_eq!(seen.messages(None), 7);
    assert_eq!(seen.messages(Some("orders")), 7);
    assert_eq!(seen.messages(Some("held")), 0);
    assert_eq!(seen.messages(Some("unknown")), 0);
    assert_eq!(seen.channel_messages("orders", "billing"), 5);
    assert_eq!(seen.channel_messages("orders", "other"), 0);
    let empty: Stats = serde_json::from_str(r#"{"topics":null}"#).unwrap();
    assert_eq!(empty.messages(None), 0);
}
