//! What survives: kill -9 takes nothing that was acknowledged, SIGTERM not even order or counts, and a data folder is
//! never shared, guessed at or spoiled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use harness::{Frame, Message, Nsqd, Peer, Process, eventually};

/// Everything nsqd can owe a channel at once: read never, handed out, given back, deferred.
const WAITING: usize = 10_000;
const OTHERS: usize = 500;

#[test]
fn kill_loses_nothing_that_waits_is_in_flight_requeued_or_deferred() {
    let mut nsqd = Nsqd::start();
    let delay = Duration::from_secs(6);
    let mut publisher = nsqd.peer();
    let mut consumer = nsqd.consumer("t", "ch", 500);

    publisher.publish_all("t", &bodies("requeued", OTHERS));
    let requeued = consumer.expect_messages(OTHERS);
    let requeued_at = Instant::now();
    for message in &requeued {
        consumer.requeue(message, delay);
    }
    nsqd.eventually_channel("t", "ch", &[("deferred_count", 500), ("in_flight_count", 0)]);
    publisher.publish_all("t", &bodies("held", OTHERS));
    consumer.expect_messages(OTHERS);
    consumer.ready(0);
    for batch in bodies("waiting", WAITING).chunks(1000) {
        publisher.publish_all("t", batch);
    }
    let deferred_at = Instant::now();
    for body in bodies("deferred", OTHERS) {
        publisher.publish_deferred("t", delay, body);
    }
    let channel = nsqd.channel("t", "ch");
    let counts = ["depth", "in_flight_count", "deferred_count"].map(|field| channel[field].as_u64().unwrap());
    assert_eq!(counts.iter().sum::<u64>(), 11_500, "all four kinds at once: {counts:?}");
    assert!(counts[1] == 500 && counts[2] >= 500, "all four kinds at once: {counts:?}");
    nsqd.kill_and_restart();

    let mut consumer = nsqd.consumer("t", "ch", 2500);
    let mut seen: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for _ in 0..WAITING + 3 * OTHERS {
        let message = consumer.expect_message();
        let not_before = match kind(&message).as_str() {
            "requeued" => requeued_at + delay,
            "deferred" => deferred_at + delay,
            _ => requeued_at,
        };
        assert!(Instant::now() >= not_before, "{} is early", message.text());
        consumer.finish(&message);
        seen.entry(message.text()).or_default().push(message.attempts);
    }
    let late = deferred_at.elapsed().saturating_sub(delay);
    assert!(late < harness::PATIENCE, "{late:?} after the deferred ones were due");
    for (name, count, attempts) in
        [("waiting", WAITING, 1), ("held", OTHERS, 2), ("requeued", OTHERS, 2), ("deferred", OTHERS, 1)]
    {
        let wrong: Vec<_> =
            bodies(name, count).into_iter().filter(|body| seen.get(body) != Some(&vec![attempts])).collect();
        let example = wrong.first().map(|body| (body, seen.get(body)));
        assert!(wrong.is_empty(), "{} of {count} {name}: {example:?}", wrong.len());
    }
    consumer.close();
    nsqd.eventually_channel("t", "ch", &[("depth", 0), ("in_flight_count", 0), ("deferred_count", 0)]);
}

#[test]
fn a_backlog_is_finished_also_when_the_broker_has_another_node_id_now() {
    let mut nsqd = Nsqd::with(&["--node-id=1"]);
    nsqd.create("t", &["ch"]);
    nsqd.peer().publish("t", "a");
    nsqd.kill_and_restart_with(&["--node-id=2"]);
    let mut consumer = nsqd.consumer("t", "ch", 1);
    let message = consumer.expect_message();
    consumer.touch(&message);
    consumer.finish(&message);
    consumer.close();
    nsqd.kill_and_restart();
    nsqd.eventually_channel("t", "ch", &[("depth", 0), ("in_flight_count", 0)]);
}

#[test]
fn messages_of_a_topic_without_channels_survive_a_kill() {
    let mut nsqd = Nsqd::start();
    let mut publisher = nsqd.peer();
    for body in bodies("m", 300) {
        publisher.publish("t", body);
    }
    nsqd.kill_and_restart();
    assert_eq!(nsqd.topic("t")["depth"], 300);
    let seen: Vec<String> =
        nsqd.consumer("t", "ch", 500).expect_messages(300).iter().map(Message::text).collect();
    assert_eq!(seen, bodies("m", 300));
}

#[test]
fn each_channel_goes_on_where_it_was() {
    let mut nsqd = Nsqd::start();
    nsqd.create("t", &["ahead", "behind", "between"]);
    nsqd.peer().publish_all("t", &bodies("m", 100));
    for (channel, finished) in [("ahead", 100), ("between", 40)] {
        let mut consumer = nsqd.consumer("t", channel, 100);
        for message in consumer.expect_messages(100).iter().take(finished) {
            consumer.finish(message);
        }
        consumer.close();
    }
    nsqd.kill_and_restart();
    nsqd.eventually_channel("t", "ahead", &[("depth", 0)]);
    nsqd.eventually_channel("t", "behind", &[("depth", 100)]);
    nsqd.eventually_channel("t", "between", &[("depth", 60)]);
    let seen: Vec<String> =
        nsqd.consumer("t", "between", 100).expect_messages(60).iter().map(Message::text).collect();
    assert_eq!(seen, bodies("m", 100)[40..]);
}

#[test]
fn finished_messages_stay_finished_in_any_order() {
    let mut nsqd = Nsqd::start();
    nsqd.create("t", &["ch"]);
    nsqd.peer().publish_all("t", &bodies("m", 1000));
    let mut consumer = nsqd.consumer("t", "ch", 1000);
    let messages = consumer.expect_messages(1000);
    let (even, odd): (Vec<_>, Vec<_>) = messages.iter().enumerate().partition(|(index, _)| index % 2 == 0);
    for (_, message) in even.iter().rev() {
        consumer.finish(message);
    }
    // CLOSE_WAIT says that every FIN before it is safe.
    consumer.close();
    nsqd.kill_and_restart();
    let owed: BTreeSet<String> = odd.iter().map(|(_, message)| message.text()).collect();
    let mut consumer = nsqd.consumer("t", "ch", 1000);
    let again: BTreeSet<String> = consumer.expect_messages(500).iter().map(Message::text).collect();
    assert_eq!(again, owed);
    consumer.expect_nothing(Duration::from_millis(200));
}

#[test]
fn kill_under_load_loses_no_acknowledged_message_and_repeats_no_finished_one() {
    let mut nsqd = Nsqd::start();
    nsqd.create("t", &["ch"]);
    let mut books = Books::default();
    for round in 0..6 {
        let (sent, acknowledged) = publish_until_killed(&mut nsqd, round);
        assert!(acknowledged >= 500, "a run without load proves nothing");
        books.owed.extend(sent.iter().take(acknowledged).cloned());
        books.sent.extend(sent);
        consume_half(&nsqd, &mut books);
    }
    let mut consumer = nsqd.consumer("t", "ch", 2500);
    while !books.owed.is_empty() {
        let message = consumer.expect_message();
        books.check(&message);
        consumer.finish(&message);
        books.owed.remove(&message.text());
    }
}

/// What a publisher and a consumer know of their messages.
#[derive(Default)]
struct Books {
    /// Everything ever sent, answered or not.
    sent: BTreeSet<String>,
    /// Answered with OK and not finished yet.
    owed: BTreeSet<String>,
    /// Finished for certain: the close of that consumer was answered.
    finished: BTreeSet<String>,
}

impl Books {
    fn check(&self, message: &Message) {
        let text = message.text();
        assert!(self.sent.contains(&text), "{text} was never sent");
        assert!(!self.finished.contains(&text), "{text} was finished");
    }
}

/// Publishes without pause, kills nsqd at a moment the publisher does not know, and restarts it. Gives what was sent
/// and how many of it, from the front, were answered.
fn publish_until_killed(nsqd: &mut Nsqd, round: usize) -> (Vec<String>, usize) {
    let peer = nsqd.peer();
    let (at_work, is_at_work) = std::sync::mpsc::channel();
    let publisher = std::thread::spawn(move || publish_while_it_lasts(peer, round, &at_work));
    is_at_work.recv().unwrap();
    nsqd.kill_and_restart();
    publisher.join().unwrap()
}

fn publish_while_it_lasts(mut peer: Peer, round: usize, at_work: &Sender<()>) -> (Vec<String>, usize) {
    let mut sent = Vec::new();
    let mut acknowledged = 0;
    loop {
        for _ in 0..20 {
            let body = format!("{round}-{:06}", sent.len());
            if !peer.try_send(&[b"PUB t\n\x00\x00\x00\x08", body.as_bytes()].concat()) {
                // The answers that were on their way.
                while peer.receive() == Frame::Response("OK".to_owned()) {
                    acknowledged += 1;
                }
                return (sent, acknowledged);
            }
            sent.push(body);
        }
        while let Some(Frame::Response(_)) = peer.receive_within(Duration::from_micros(200)) {
            acknowledged += 1;
            if acknowledged == 500 {
                at_work.send(()).unwrap();
            }
        }
    }
}

/// Finishes about two thirds of what it takes, requeues the rest, and leaves in the middle.
fn consume_half(nsqd: &Nsqd, books: &mut Books) {
    let mut consumer = nsqd.consumer("t", "ch", 100);
    let mut done = Vec::new();
    for number in 0..books.owed.len() / 2 {
        let message = consumer.expect_message();
        books.check(&message);
        if number % 3 == 0 {
            consumer.requeue(&message, Duration::ZERO);
        } else {
            consumer.finish(&message);
            done.push(message.text());
        }
    }
    consumer.close();
    for text in done {
        books.owed.remove(&text);
        books.finished.insert(text);
    }
}

#[test]
fn a_batch_is_there_whole_or_not_at_all() {
    let mut nsqd = Nsqd::start();
    nsqd.create("t", &["ch"]);
    let mut peer = nsqd.peer();
    // 200 batches of 50, sent without waiting for any answer.
    let mut bytes = Vec::new();
    for batch in 0..200_u32 {
        bytes.extend_from_slice(b"MPUB t\n");
        bytes.extend_from_slice(&(4 + 50 * 8_u32).to_be_bytes());
        bytes.extend_from_slice(&50_u32.to_be_bytes());
        for _ in 0..50 {
            bytes.extend_from_slice(b"\x00\x00\x00\x04");
            bytes.extend_from_slice(&batch.to_be_bytes());
        }
    }
    peer.send(&bytes);
    let acknowledged = acknowledged_before_kill(&mut nsqd, &mut peer, 20);
    let total = usize::try_from(nsqd.channel("t", "ch")["depth"].as_u64().unwrap()).unwrap();
    let mut counts: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
    let mut consumer = nsqd.consumer("t", "ch", 2500);
    for _ in 0..total {
        let message = consumer.expect_message();
        consumer.finish(&message);
        *counts.entry(message.body).or_default() += 1;
    }
    assert!(counts.values().all(|&count| count == 50), "{counts:?}");
    assert!(counts.len() >= acknowledged, "{} batches of {acknowledged} acknowledged", counts.len());
}

/// Kills after `enough` answers; gives how many there were in all.
fn acknowledged_before_kill(nsqd: &mut Nsqd, peer: &mut Peer, enough: usize) -> usize {
    for _ in 0..enough {
        peer.expect_response("OK");
    }
    nsqd.kill_and_restart();
    let mut acknowledged = enough;
    while peer.receive() == Frame::Response("OK".to_owned()) {
        acknowledged += 1;
    }
    acknowledged
}

#[test]
fn termination_keeps_messages_order_attempts_and_deferrals() {
    let mut nsqd = Nsqd::start();
    let mut publisher = nsqd.peer();
    publisher.publish_all("t", &bodies("held", 10));
    let mut consumer = nsqd.consumer("t", "ch", 10);
    let held = consumer.expect_messages(10);
    consumer.ready(0);
    consumer.finish(&held[0]);
    let delay = Duration::from_secs(3);
    let start = Instant::now();
    consumer.requeue(&held[1], delay);
    publisher.publish_deferred("t", delay, "deferred");
    publisher.publish_all("t", &bodies("waiting", 100));
    nsqd.eventually_channel("t", "ch", &[("deferred_count", 2)]);

    let began = Instant::now();
    assert!(nsqd.terminate_and_restart().success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());

    let mut consumer = nsqd.consumer("t", "ch", 500);
    let now: Vec<(String, u16)> =
        consumer.expect_messages(108).iter().map(|message| (message.text(), message.attempts)).collect();
    let wanted_held = bodies("held", 10).into_iter().skip(2).map(|body| (body, 2));
    let wanted: Vec<(String, u16)> =
        wanted_held.chain(bodies("waiting", 100).into_iter().map(|body| (body, 1))).collect();
    assert_eq!(now, wanted);
    let mut later: Vec<(String, u16)> =
        consumer.expect_messages(2).iter().map(|message| (message.text(), message.attempts)).collect();
    assert!(start.elapsed() >= delay, "{:?}", start.elapsed());
    later.sort();
    assert_eq!(later, [("deferred".to_owned(), 1), (held[1].text(), 2)]);
}

#[test]
fn created_topics_and_channels_are_there_after_a_kill_and_deleted_ones_are_not() {
    let mut nsqd = Nsqd::start();
    nsqd.create("kept", &["a", "b"]);
    nsqd.create("gone", &["a"]);
    nsqd.peer().publish("gone", "x");
    nsqd.peer().subscribe("kept", "by-sub");
    nsqd.post("/channel/delete?topic=kept&channel=a", "").ok();
    nsqd.post("/topic/delete?topic=gone", "").ok();
    nsqd.kill_and_restart();
    assert!(nsqd.topic("gone").is_null());
    assert!(nsqd.channel("kept", "a").is_null());
    assert_eq!(nsqd.channel("kept", "b")["channel_name"], "b");
    assert_eq!(nsqd.channel("kept", "by-sub")["channel_name"], "by-sub");
    nsqd.create("gone", &["a"]);
    nsqd.consumer("gone", "a", 1).expect_nothing(Duration::from_millis(200));
}

#[test]
fn emptied_messages_do_not_come_back() {
    let mut nsqd = Nsqd::start();
    nsqd.create("t", &["emptied", "full"]);
    nsqd.peer().publish_all("t", &bodies("m", 50));
    nsqd.post("/channel/empty?topic=t&channel=emptied", "").ok();
    nsqd.peer().publish_all("u", &bodies("m", 50));
    nsqd.post("/topic/empty?topic=u", "").ok();
    nsqd.kill_and_restart();
    nsqd.eventually_channel("t", "emptied", &[("depth", 0)]);
    nsqd.eventually_channel("t", "full", &[("depth", 50)]);
    assert_eq!(nsqd.topic("u")["depth"], 0);
    nsqd.peer().publish("u", "new");
    assert_eq!(nsqd.consumer("u", "ch", 10).expect_message().text(), "new");
}

#[test]
fn ids_and_times_survive_and_ids_are_never_used_again() {
    let mut nsqd = Nsqd::start();
    nsqd.create("t", &["ch"]);
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut before: Vec<Message> = Vec::new();
    for round in 0..4 {
        nsqd.peer().publish_all("t", &bodies("m", 100));
        let mut consumer = nsqd.consumer("t", "ch", 1000);
        let now = consumer.expect_messages(100 * (round + 1));
        for old in &before {
            let again = now.iter().find(|message| message.id == old.id).unwrap();
            assert_eq!((&again.body, again.timestamp), (&old.body, old.timestamp));
        }
        let is_old = |message: &&Message| before.iter().any(|old| old.id == message.id);
        let new: Vec<&Message> = now.iter().filter(|message| !is_old(message)).collect();
        assert_eq!(new.len(), 100);
        assert!(new.iter().all(|message| seen.insert(message.id.clone())), "an id was used twice");
        before = now;
        nsqd.kill_and_restart();
    }
}

#[test]
fn two_nsqds_never_share_a_data_folder() {
    let mut nsqd = Nsqd::start();
    nsqd.peer().publish("t", "x");
    let path = nsqd.data_path().display().to_string();
    let (status, log) = refused_start(&path);
    assert!(!status, "{log}");
    assert!(log.contains(&path), "the folder is named: {log}");
    nsqd.kill_and_restart();
    assert_eq!(nsqd.consumer("t", "ch", 1).expect_message().text(), "x");
}

#[test]
fn a_stock_data_folder_whose_list_of_topics_is_broken_is_refused_untouched() {
    let folder = tempfile::TempDir::new().unwrap();
    let content = r#"{"topics":[{"name":"a","paused":fal"#;
    std::fs::write(folder.path().join("nsqd.dat"), content).unwrap();
    let (status, log) = refused_start(&folder.path().display().to_string());
    assert!(!status, "{log}");
    assert!(log.contains("nsqd.dat") && log.contains("restore it"), "{log}");
    let names: Vec<_> =
        std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["nsqd.dat"]);
    assert_eq!(std::fs::read_to_string(folder.path().join("nsqd.dat")).unwrap(), content);
}

/// Starts an nsqd that should not start; gives whether it succeeded and what it said.
fn refused_start(data_path: &str) -> (bool, String) {
    let args =
        ["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", &format!("--data-path={data_path}")];
    let mut process = Process::start(&harness::nsqd_binary(), &args.map(str::to_owned));
    let status = process.ended();
    let mut log = String::new();
    eventually("its log is read", || {
        log = process.log();
        !log.is_empty()
    });
    (status.success(), log)
}

fn bodies(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{name} {number:05}")).collect()
}

fn kind(message: &Message) -> String {
    message.text().split(' ').next().unwrap_or_default().to_owned()
}
