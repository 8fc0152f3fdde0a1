//! `nsq up` as people run it: the real binary, real children, a declaration in a temporary folder. What the
//! pure parts decide is tested beside them.

#[cfg(test)]
mod support;

use std::fs;

use rustix::process::Signal;

use support::{BARE, QUICKSTART, Up, World, eventually};

#[test]
fn quickstart_is_ready_and_its_publish_line_works() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    let ready = up.ready();
    assert_eq!(ready.rows("nsqlookupd").len(), 1, "{ready:?}");
    assert_eq!(ready.rows("nsqd").len(), 2, "{ready:?}");
    assert!(ready.line("topics").contains("orders (billing, shipping)"), "{ready:?}");
    assert!(ready.line("publish:").contains("/pub?topic=events'"), "{ready:?}");
    for broker in ready.http("nsqd") {
        assert_eq!(broker.topics(), ["events", "orders"]);
        assert_eq!(broker.channels("orders"), ["billing", "shipping"]);
        assert_eq!(broker.post("/pub?topic=orders", "hello"), (200, "OK".to_owned()));
    }
    let [lookupd] = ready.http("nsqlookupd").try_into().unwrap();
    assert_eq!(lookupd.json("/lookup?topic=orders")["producers"].as_array().unwrap().len(), 2);
}

#[test]
fn a_topic_added_to_the_file_appears_on_every_broker() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    let brokers = up.ready().http("nsqd");
    world.declare(&format!("{QUICKSTART}{}", topic("payments")));
    up.expect("topic payments created on nsqd 0, nsqd 1");
    for broker in brokers {
        assert!(broker.topics().contains(&"payments".to_owned()));
    }
}

#[test]
fn a_channel_is_paused_and_unpaused_live() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    let brokers = up.ready().http("nsqd");
    let billing = |paused: &str| {
        QUICKSTART.replace("name: billing\nspec: {", &format!("name: billing\nspec: {{{paused}, "))
    };
    assert_ne!(billing("paused: true"), QUICKSTART);
    world.declare(&billing("paused: true"));
    up.expect("channel orders/billing paused on nsqd 0, nsqd 1");
    assert!(brokers.iter().all(|broker| broker.is_paused("orders", "billing")));
    world.declare(QUICKSTART);
    up.expect("channel orders/billing: paused is no longer declared, so it stays as it is (paused)");
    assert!(brokers.iter().all(|broker| broker.is_paused("orders", "billing")));
    world.declare(&billing("paused: false"));
    up.expect("channel orders/billing unpaused on nsqd 0, nsqd 1");
    assert!(brokers.iter().all(|broker| !broker.is_paused("orders", "billing")));
}

#[test]
fn the_durability_of_a_topic_is_what_the_file_says() {
    let world = World::new();
    let up = world.up(&with_level("Fsync"));
    let ready = up.ready();
    assert!(ready.line("topics").contains("orders fsync (billing, shipping)"), "{ready:?}");
    let brokers = ready.http("nsqd");
    let levels = || brokers.iter().map(|broker| broker.durability("orders")).collect::<Vec<_>>();
    assert_eq!(levels(), ["fsync", "fsync"]);
    assert_eq!(brokers[0].durability("events"), "buffered", "what is not declared has the default");

    world.declare(&with_level("Memory"));
    up.expect("topic orders is now memory on nsqd 0, nsqd 1");
    assert_eq!(levels(), ["memory", "memory"]);
    world.declare(QUICKSTART);
    up.expect("topic orders: durability is no longer declared, so it stays as it is (memory)");
    assert_eq!(levels(), ["memory", "memory"]);
    world.declare(&with_level("Buffered"));
    up.expect("topic orders is now buffered on nsqd 0, nsqd 1");

    assert_eq!(brokers[1].post("/topic/create?topic=orders&durability=memory", "").0, 200);
    up.signal(Signal::HUP);
    up.expect("topic orders is now buffered on nsqd 1");
    assert_eq!(levels(), ["buffered", "buffered"]);
}

#[test]
fn a_topic_added_with_a_level_has_it_from_its_first_message() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    let brokers = up.ready().http("nsqd");
    let payments = topic("payments").replace("topicName", "settings: {durability: Fsync}, topicName");
    world.declare(&format!("{QUICKSTART}{payments}"));
    up.expect("topic payments created as fsync on nsqd 0, nsqd 1");
    assert!(brokers.iter().all(|broker| broker.durability("payments") == "fsync"));
}

#[test]
fn a_further_broker_starts_live_and_has_every_topic() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    let [lookupd] = up.ready().http("nsqlookupd").try_into().unwrap();
    world.declare(&QUICKSTART.replace("replicas: 2", "replicas: 3"));
    up.expect("nsqd 2 ");
    up.expect("topic events created on nsqd 2");
    up.expect("channel orders/shipping created on nsqd 2");
    eventually("the third broker is found by nsqlookupd", || {
        lookupd.json("/lookup?topic=orders")["producers"].as_array().is_some_and(|found| found.len() == 3)
    });
}

#[test]
fn what_is_removed_from_the_file_is_reported_and_kept() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    let [first, second] = up.ready().http("nsqd").try_into().unwrap();
    first.post("/pub?topic=orders", "kept");
    second.post("/pub?topic=orders", "kept");
    world.declare(BARE);
    let broker = up.expect("nsqd 1 is no longer declared");
    assert!(broker.contains("its messages: 2"), "a copy per channel: {broker}");
    let topic = up.expect("topic orders is no longer declared");
    assert!(topic.contains("its messages: 4"), "{topic}");
    for broker in [first, second] {
        assert_eq!(broker.channels("orders"), ["billing", "shipping"]);
    }
}

#[test]
fn data_of_a_removed_broker_are_mentioned_at_the_next_start() {
    let world = World::new();
    drop(world.up(QUICKSTART).ready_and_stopped());
    let up = world.up(&QUICKSTART.replace("replicas: 2", "replicas: 1"));
    let ready = up.ready();
    let [_, left] = ready.rows("nsqd").try_into().unwrap();
    assert!(left.contains("nsqd 1") && left.contains("not started, its data stay in"), "{left}");
}

#[test]
fn a_wrong_edit_changes_nothing_and_the_next_one_works() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    let brokers = up.ready().http("nsqd");
    world.declare(&QUICKSTART.replace("replicas: 2", "replcas: 2"));
    up.expect_trouble("replicas");
    up.expect_trouble("nothing was changed");
    world.declare("kind: [");
    up.expect_trouble("nothing was changed");
    assert!(brokers.iter().all(|broker| broker.get("/ping").0 == 200));
    world.declare(&format!("{QUICKSTART}{}", topic("payments")));
    up.expect("topic payments created on nsqd 0, nsqd 1");
}

#[test]
fn sighup_reads_the_file_again_and_mends_drift() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    let brokers = up.ready().http("nsqd");
    assert_eq!(brokers[1].post("/topic/delete?topic=events", "").0, 200);
    up.signal(Signal::HUP);
    up.expect("topic events created on nsqd 1");
    up.expect("channel events/archive created on nsqd 1");
    assert_eq!(brokers[1].topics(), ["events", "orders"]);
}

#[test]
fn a_killed_broker_comes_back_on_its_ports_with_its_messages() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    let [first, second] = up.ready().http("nsqd").try_into().unwrap();
    assert_eq!(second.post("/pub?topic=orders", "hello").0, 200);
    up.signal_child(second.port(), Signal::KILL);
    up.expect("nsqd 1 ended (killed by signal 9); it starts again in 0.1 s");
    up.expect("nsqd 1 serves again");
    assert_eq!(second.channels("orders"), ["billing", "shipping"]);
    assert_eq!(second.depth("orders", "billing"), 1);
    assert_eq!(first.get("/ping").0, 200);
}

#[test]
fn changed_settings_restart_the_brokers_one_after_the_other() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    let brokers = up.ready().http("nsqd");
    world.declare(&with_setting("maxMessageSize: 10"));
    for name in ["nsqd 0", "nsqd 1"] {
        up.expect(&format!("{name} restarts with changed settings"));
        up.expect(&format!("{name} serves again"));
    }
    assert!(brokers.iter().all(|broker| broker.post("/pub?topic=orders", "eleven byte").0 == 413));
}

#[test]
fn limits_and_the_default_durability_reach_the_brokers() {
    let world = World::new();
    let up = world.up(&with_setting("durability: Fsync, memoryLimit: 64Mi, minFree: 1M"));
    let [first, second] = up.ready().http("nsqd").try_into().unwrap();
    assert!([&first, &second].iter().all(|broker| broker.durability("orders") == "fsync"));

    // No disk has that much.
    world.declare(&with_setting("minFree: 8000000Gi"));
    up.expect("nsqd 0 restarts with changed settings");
    up.expect_trouble("nsqd 0 is not ready: NOK - the disk is full");
    let (status, answer) = first.post("/pub?topic=orders", "hello");
    assert!(status >= 500, "{status} {answer}");
    assert_eq!(second.post("/pub?topic=orders", "hello").0, 200, "a bad setting stops at the first broker");

    world.declare(&with_setting("durability: Memory"));
    up.expect("nsqd 0 serves again");
    up.expect("nsqd 1 serves again");
    assert!([first, second].iter().all(|broker| broker.durability("orders") == "memory"));
}

#[test]
fn a_setting_that_stops_a_broker_leaves_the_others_alone_until_it_is_mended() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    let [first, second] = up.ready().http("nsqd").try_into().unwrap();
    world.declare(&with_setting("extraFlags: {no-such-flag: \"1\"}"));
    up.expect("nsqd 0 restarts with changed settings");
    let ended = up.expect("nsqd 0 ended (exit code 1)");
    assert!(ended.contains("no-such-flag"), "{ended}");
    assert_eq!(second.get("/ping").0, 200);
    world.declare(&with_setting("maxMessageSize: 10"));
    up.expect("nsqd 0 serves again");
    up.expect("nsqd 1 serves again");
    assert!([first, second].iter().all(|broker| broker.post("/pub?topic=orders", "eleven byte").0 == 413));
}

#[test]
fn a_broker_that_does_not_start_stops_everything_and_is_quoted() {
    let world = World::new();
    let (code, trouble) = world.up(&with_setting("extraFlags: {no-such-flag: \"1\"}")).end();
    assert_eq!(code, Some(1));
    assert!(trouble.contains("did not start: exit code 1\nits last lines:\n"), "{trouble}");
    assert!(trouble.contains("no-such-flag") && trouble.contains("logs/nsqd-"), "{trouble}");
}

#[test]
fn ctrl_c_leaves_no_process_and_the_next_start_has_the_messages() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    let ready = up.ready();
    let [first, _] = ready.http("nsqd").try_into().unwrap();
    let [lookupd] = ready.http("nsqlookupd").try_into().unwrap();
    first.post("/pub?topic=orders", "hello");
    let children = up.children();
    assert_eq!(children.len(), 3);
    // Hung, so that only the order decides when nsqlookupd stops.
    up.signal_child(first.port(), Signal::STOP);
    up.ctrl_c();
    up.expect("stopping nsqd 0, nsqd 1, then nsqlookupd 0");
    eventually("the other broker stops", || {
        children.iter().filter(|child| support::is_alive(**child)).count() == 2
    });
    assert_eq!(lookupd.get("/ping").0, 200, "nsqlookupd outlives the brokers");
    up.signal_child(first.port(), Signal::CONT);
    let (code, _) = up.end();
    assert_eq!(code, Some(0));
    assert!(children.iter().all(|child| !support::is_alive(*child)));

    let up = world.up(QUICKSTART);
    let [first, _] = up.ready().http("nsqd").try_into().unwrap();
    assert_eq!(first.depth("orders", "billing"), 1);
    assert_eq!(first.depth("orders", "shipping"), 1);
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_a_broker_that_hangs() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    let [_, second] = up.ready().http("nsqd").try_into().unwrap();
    let children = up.children();
    up.signal_child(second.port(), Signal::STOP);
    up.signal(Signal::INT);
    up.expect("stopping nsqd 0, nsqd 1, then nsqlookupd 0");
    up.signal(Signal::INT);
    up.expect("asked again: killing what is left");
    assert_eq!(up.end().0, Some(1), "what had to be killed is no orderly stop");
    assert!(children.iter().all(|child| !support::is_alive(*child)));
}

#[test]
fn killing_nsq_itself_leaves_no_process() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    up.ready();
    let children = up.children();
    assert_eq!(children.len(), 3);
    up.signal(Signal::KILL);
    eventually("the children end with their parent", || {
        children.iter().all(|child| !support::is_alive(*child))
    });
    world.up(QUICKSTART).ready();
}

#[test]
fn a_second_start_on_the_same_data_says_who_has_them() {
    let world = World::new();
    let up = world.up(QUICKSTART);
    up.ready();
    let (code, trouble) = world.up(QUICKSTART).end();
    assert_eq!(code, Some(1));
    let holder = format!("another nsq up (process {}) already uses the data in", up.id());
    assert!(trouble.contains(&holder), "{trouble}");
    assert!(trouble.contains("nothing was started"), "{trouble}");
}

#[test]
fn data_held_by_another_broker_stop_the_start_with_its_own_words() {
    let world = World::new();
    world.up(QUICKSTART).ready_and_stopped();
    let stray = world.stray_broker(&world.data().join("quickstart/broker-1"));
    let (code, trouble) = world.up(QUICKSTART).end();
    assert_eq!(code, Some(1));
    assert!(trouble.contains("nsqd 1 did not start: exit code 1"), "{trouble}");
    assert!(trouble.contains("its last lines:") && trouble.contains("broker-1"), "{trouble}");
    drop(stray);
    world.up(QUICKSTART).ready();
}

#[test]
fn a_port_in_use_is_named_before_anything_starts() {
    let world = World::new();
    // The only test with fixed ports. If something else has this one already, that serves as well.
    let _held = std::net::TcpListener::bind("127.0.0.1:4150");
    world.declare(QUICKSTART);
    let (code, trouble) = Up::start(&world, &[]).end();
    assert_eq!(code, Some(1));
    assert!(trouble.contains("127.0.0.1:4150 (tcp of nsqd 0): address already in use"), "{trouble}");
    assert!(trouble.contains("--ports auto") && trouble.contains("nothing was started"), "{trouble}");
    assert!(!world.data().join("quickstart").exists());
}

#[test]
fn an_unknown_field_is_named_with_its_line_and_the_nearest_one() {
    let world = World::new();
    let wrong = QUICKSTART.replace("replicas: 2", "replcas: 2");
    let line = 1 + wrong.lines().position(|line| line.contains("replcas")).unwrap();
    let (code, trouble) = world.up(&wrong).end();
    assert_eq!(code, Some(1));
    assert!(trouble.contains(&format!("cluster.yaml:{line}: ")), "{trouble}");
    assert!(trouble.contains("replcas") && trouble.contains("\"replicas\""), "{trouble}");
    assert!(!world.data().exists(), "a refused file leaves no trace");
}

#[test]
fn wrong_declarations_are_refused_with_a_reason() {
    let check = |text: &str, expected: &[&str]| {
        let world = World::new();
        let (code, trouble) = world.up(text).end();
        assert_eq!(code, Some(1), "{text}");
        for expected in expected {
            assert!(trouble.contains(expected), "{expected:?} is not in: {trouble}");
        }
    };
    check(&format!("{QUICKSTART}{}", topic("a b")), &["cluster.yaml:", "a b"]);
    check(&format!("{QUICKSTART}{}", topic("orders")), &["cluster.yaml:", "orders"]);
    check(&topic("orders"), &["cluster.yaml:", "quickstart"]);
    check(&with_level("fsynk"), &["cluster.yaml:", "Memory, Buffered, Fsync", "did you mean \"Fsync\"?"]);
    check(&with_setting("extraFlags: {min-free: 1M}"), &["cluster.yaml:", "spec.brokers.config.minFree"]);
    check("", &["declare no NsqCluster"]);
    let second = BARE.replace("name: quickstart", "name: second");
    check(&format!("{QUICKSTART}---\n{second}"), &["declare 2 clusters", "second"]);
}

#[test]
fn missing_files_and_unusable_folders_are_named() {
    let world = World::new();
    let (code, trouble) = Up::start(&world, &["--ports=auto"]).end();
    assert_eq!(code, Some(1));
    assert!(trouble.contains("cannot read") && trouble.contains("no such file"), "{trouble}");

    world.declare(QUICKSTART);
    fs::write(world.data(), "a file, no folder").unwrap();
    let (code, trouble) = Up::start(&world, &["--ports=auto"]).end();
    assert_eq!(code, Some(1));
    assert!(trouble.contains("for data") && trouble.contains("--data-dir"), "{trouble}");
}

#[test]
fn a_cluster_without_nsqlookupd_is_ready_too() {
    let world = World::new();
    let up = world.up(&QUICKSTART.replace("lookupds: {replicas: 1}", "lookupds: {replicas: 0}"));
    let ready = up.ready();
    assert!(ready.rows("nsqlookupd").is_empty());
    assert_eq!(ready.http("nsqd").len(), 2);
}

fn with_setting(setting: &str) -> String {
    QUICKSTART.replace("replicas: 2", &format!("replicas: 2, config: {{{setting}}}"))
}

/// The quick start with a level for topic `orders`.
fn with_level(level: &str) -> String {
    let settings = format!("name: orders\nspec: {{settings: {{durability: {level}}}, clusterRef");
    QUICKSTART.replace("name: orders\nspec: {clusterRef", &settings)
}

fn topic(name: &str) -> String {
    format!(
        "---\napiVersion: nsqube.io/v1alpha1\nkind: NsqTopic\nmetadata:\n  name: extra\n\
         spec: {{clusterRef: {{name: quickstart}}, topicName: \"{name}\"}}\n"
    )
}
