//! A topic on a disk that fails on command: what a publisher was promised is there after a crash at any call,
//! and what was refused is not half there. What each durability level survives is in `tests/levels.rs`.

mod levels;
mod stragglers;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use daemon::shutdown::Shutdown;
use protocol::{ChannelName, Frame, TopicName, decode_frame};
use queue::{ConsumerId, Subscription};
use storage::{Disk, FakeDisk, Fault, LogOptions};

use super::Topic;
use crate::channel::Channel;
use crate::clock::Clock;
use crate::context::{Context, Health, Rules};
use crate::durability::Durability;
use crate::figures::Figures;
use crate::memory::Memory;
use crate::outbox::Outbox;
use crate::receipt::PublishError;
use crate::record::{self, Node};
use crate::space::Space;
use crate::timers::Timers;

const DIR: &str = "/data/topics/t";

/// A message as a consumer got it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Got {
    body: String,
    attempts: u16,
    seq: u64,
}

/// Segments are small, so that short scripts roll and remove them.
const SEGMENT_BYTES: u64 = 512;

fn context(durability: Durability, segment_bytes: u64) -> Arc<Context> {
    let (unsaved, _) = tokio::sync::mpsc::unbounded_channel();
    let (unserved, _) = tokio::sync::mpsc::unbounded_channel();
    let (unsynced, _) = tokio::sync::mpsc::unbounded_channel();
    Arc::new(Context {
        clock: Clock::start(),
        node: Node::new(1),
        rules: Rules {
            channel_consumers_max: 0,
            msg_timeout: Duration::from_secs(60),
            msg_timeout_max: Duration::from_secs(900),
            ephemeral_depth_max: 10,
            channels_max: 0,
            mem_queue_size: 10,
            durability,
            e2e: None,
        },
        log: LogOptions { segment_bytes, cache_bytes: 256, record_bytes_max: 4096 },
        timers: Timers::default(),
        fence: crate::fence::Fence::default(),
        health: Health::default(),
        space: Space::default(),
        memory: Memory::new(1 << 20),
        figures: Figures::default(),
        traces: crate::traces::Traces::default(),
        shutdown: Shutdown::new(),
        has_failed: false.into(),
        control: None,
        unsaved,
        unserved,
        unsynced,
    })
}

fn open(disk: &FakeDisk) -> Result<Arc<Topic>, storage::StorageError> {
    open_at(Durability::Buffered, disk)
}

/// Open the topic with longer segments.
fn open_large(disk: &FakeDisk, segment_bytes: u64) -> Arc<Topic> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    disk.create_dir(Path::new(DIR)).unwrap();
    let context = context(Durability::Buffered, segment_bytes);
    Topic::open(TopicName::new("t").unwrap(), context, disk, Path::new(DIR)).unwrap()
}

/// Open the topic in a broker with this default.
fn open_at(level: Durability, disk: &FakeDisk) -> Result<Arc<Topic>, storage::StorageError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    disk.create_dir(Path::new(DIR))?;
    Topic::open(TopicName::new("t").unwrap(), context(level, SEGMENT_BYTES), disk, Path::new(DIR))
}

fn publish(topic: &Arc<Topic>, bodies: &[&str]) -> Result<(), PublishError> {
    let now = topic.context.clock.now();
    let receipt = topic.append(bodies.iter().map(|body| body.as_bytes()), None, now, None)?;
    topic.commit(now);
    receipt.outcome().cloned().unwrap()
}

fn channel(topic: &Arc<Topic>, name: &str) -> Arc<Channel> {
    topic.create_channel(&ChannelName::new(name).unwrap()).unwrap()
}

/// Subscribe as consumer number `id` and take up to `ready` messages.
fn consume(topic: &Arc<Topic>, channel: &Arc<Channel>, id: u64, ready: u64) -> Vec<Got> {
    let outbox = Outbox::new(ConsumerId(id), crate::socket::Peer::Unix, 0, Arc::default());
    let asked = Subscription {
        msg_timeout: Duration::from_secs(60),
        sample_rate: 0,
        locality: None,
        in_flight_bytes_max: u64::MAX,
    };
    channel.subscribe(&outbox, asked).unwrap();
    channel.ready(ConsumerId(id), ready);
    while channel.dispatch(topic.context.clock.now()) {}
    let (bytes, _) = outbox.take(Vec::new());
    messages(&bytes)
}

fn messages(mut bytes: &[u8]) -> Vec<Got> {
    let mut all = Vec::new();
    while let Some((Frame::Message { head, body }, used)) = decode_frame(bytes, 4096).unwrap() {
        all.push(Got {
            body: String::from_utf8(body.to_vec()).unwrap(),
            attempts: head.attempts,
            seq: record::seq_of(&head.id).unwrap(),
        });
        bytes = &bytes[used..];
    }
    all
}

fn bodies(got: &[Got]) -> Vec<&str> {
    got.iter().map(|got| got.body.as_str()).collect()
}

#[test]
fn a_full_disk_refuses_a_publish_and_takes_the_next_one_when_there_is_space() {
    let disk = FakeDisk::default();
    let topic = open(&disk).unwrap();
    let jobs = channel(&topic, "jobs");
    publish(&topic, &["before"]).unwrap();
    disk.fail_at(disk.calls() + 1, Fault::full().lasting());
    assert!(matches!(publish(&topic, &["refused"]), Err(PublishError::Refused(_))));
    assert!(topic.context.health.error().is_some());
    assert!(!topic.context.shutdown.is_triggered(), "a full disk does not end the process");
    assert!(topic.save_progress(), "there is nothing to write");
    assert!(
        topic.context.health.error().is_some(),
        "only a write that succeeds makes the disk healthy again"
    );
    disk.heal();
    publish(&topic, &["after"]).unwrap();
    assert_eq!(topic.context.health.error(), None);
    assert_eq!(bodies(&consume(&topic, &jobs, 1, 10)), ["before", "after"]);
}

#[test]
fn a_failing_device_ends_the_process_with_a_reason() {
    let disk = FakeDisk::default();
    let topic = open(&disk).unwrap();
    publish(&topic, &["before"]).unwrap();
    disk.fail_at(disk.calls() + 1, Fault::io().lasting());
    assert!(matches!(publish(&topic, &["refused"]), Err(PublishError::Refused(_))));
    assert!(topic.context.shutdown.failure().is_some());
}

#[test]
fn what_was_in_flight_at_a_crash_comes_again_with_its_attempts_and_what_was_finished_does_not() {
    let disk = FakeDisk::default();
    let topic = open(&disk).unwrap();
    let jobs = channel(&topic, "jobs");
    publish(&topic, &["a", "b", "c", "d"]).unwrap();
    let got = consume(&topic, &jobs, 1, 3);
    assert_eq!(bodies(&got), ["a", "b", "c"]);
    jobs.lock().finish(ConsumerId(1), got[1].seq, queue::Instant::default()).unwrap();
    topic.save_progress();

    let topic = open(&disk.crash()).unwrap();
    let jobs = topic.channel(&ChannelName::new("jobs").unwrap()).unwrap();
    let again = consume(&topic, &jobs, 2, 10);
    assert_eq!(bodies(&again), ["a", "c", "d"]);
    assert_eq!(again.iter().map(|got| got.attempts).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(again[0].seq, got[0].seq, "ids survive a restart");
}

#[test]
fn after_a_clean_stop_of_an_idle_topic_new_messages_are_new() {
    let disk = FakeDisk::default();
    for round in 0..3 {
        let topic = open(&disk).unwrap();
        let jobs = channel(&topic, "jobs");
        if round == 2 {
            publish(&topic, &["a"]).unwrap();
            let got = consume(&topic, &jobs, 1, 10);
            assert_eq!((bodies(&got), got[0].attempts), (vec!["a"], 1));
        }
        topic.close().unwrap();
    }
}

#[test]
fn the_first_channel_takes_the_backlog_also_after_a_crash() {
    let disk = FakeDisk::default();
    publish(&open(&disk).unwrap(), &["a", "b"]).unwrap();
    let disk = disk.crash();
    let topic = open(&disk).unwrap();
    assert_eq!(topic.counts().depth, 2);
    let (first, second) = (channel(&topic, "first"), channel(&topic, "second"));
    publish(&topic, &["c"]).unwrap();
    assert_eq!(bodies(&consume(&topic, &first, 1, 10)), ["a", "b", "c"]);
    assert_eq!(bodies(&consume(&topic, &second, 2, 10)), ["c"]);
}

#[test]
fn pausing_and_emptying_hold_after_a_crash() {
    let disk = FakeDisk::default();
    let topic = open(&disk).unwrap();
    channel(&topic, "jobs");
    topic.set_paused(true).unwrap();
    publish(&topic, &["gone", "too"]).unwrap();
    topic.empty().unwrap();
    publish(&topic, &["kept"]).unwrap();

    let topic = open(&disk.crash()).unwrap();
    let jobs = topic.channel(&ChannelName::new("jobs").unwrap()).unwrap();
    assert!(topic.counts().is_paused);
    assert_eq!(topic.counts().depth, 1);
    assert_eq!(bodies(&consume(&topic, &jobs, 1, 10)), [] as [&str; 0]);
    jobs.unsubscribe(ConsumerId(1));
    topic.set_paused(false).unwrap();
    assert_eq!(bodies(&consume(&topic, &jobs, 2, 10)), ["kept"]);
}

#[test]
fn segments_that_every_channel_has_passed_are_removed() {
    let disk = FakeDisk::default();
    let topic = open(&disk).unwrap();
    let jobs = channel(&topic, "jobs");
    let body = "x".repeat(100);
    for _ in 0..20 {
        publish(&topic, &[&body]).unwrap();
    }
    let segments =
        || disk.files().iter().filter(|path| path.extension().is_some_and(|end| end == "log")).count();
    let before = segments();
    for got in consume(&topic, &jobs, 1, 100) {
        jobs.lock().finish(ConsumerId(1), got.seq, queue::Instant::default()).unwrap();
    }
    topic.save_progress();
    assert!(before > 3 && segments() == 1, "{before} segments before, {} after", segments());
}

#[test]
fn a_channel_that_a_full_disk_refused_does_not_haunt_the_topic() {
    let disk = FakeDisk::default();
    let topic = open(&disk).unwrap();
    disk.fail_at(disk.calls() + 1, Fault::full().lasting());
    for _ in 0..3 {
        topic.create_channel(&ChannelName::new("jobs").unwrap()).unwrap_err();
    }
    disk.heal();
    channel(&topic, "jobs");
    topic.delete_channel(&ChannelName::new("jobs").unwrap()).unwrap();
    let topic = open(&disk.crash()).unwrap();
    assert!(topic.channels().is_empty());
}

#[test]
fn a_topic_opens_on_a_full_disk_for_its_consumers_and_takes_publishes_when_there_is_space() {
    let disk = FakeDisk::default();
    let topic = open(&disk).unwrap();
    channel(&topic, "jobs");
    publish(&topic, &["a"]).unwrap();
    topic.close().unwrap();

    let disk = disk.crash();
    disk.fail_at(disk.calls() + 1, Fault::full().lasting());
    let topic = open(&disk).unwrap();
    let jobs = topic.channel(&ChannelName::new("jobs").unwrap()).unwrap();
    assert!(matches!(publish(&topic, &["refused"]), Err(PublishError::Refused(_))));
    assert_eq!(bodies(&consume(&topic, &jobs, 1, 10)), ["a"]);
    disk.heal();
    publish(&topic, &["b"]).unwrap();
    jobs.unsubscribe(ConsumerId(1));
    assert_eq!(bodies(&consume(&topic, &jobs, 2, 10)), ["a", "b"]);
}

#[test]
fn what_an_ephemeral_channel_consumed_does_not_come_back_for_the_next_channel() {
    for delete_it in [false, true] {
        let disk = FakeDisk::default();
        let topic = open(&disk).unwrap();
        let name = ChannelName::new("watch#ephemeral").unwrap();
        let watch = topic.create_channel(&name).unwrap();
        publish(&topic, &["a", "b"]).unwrap();
        for got in consume(&topic, &watch, 1, 10) {
            watch.lock().finish(ConsumerId(1), got.seq, queue::Instant::default()).unwrap();
        }
        if delete_it {
            topic.delete_channel(&name).unwrap();
        }
        topic.close().unwrap();
        let topic = open(&disk.crash()).unwrap();
        assert_eq!(topic.counts().depth, 0, "deleted: {delete_it}");
    }
}

#[test]
fn a_requeue_is_in_the_journal_before_the_message_goes_out_again() {
    let disk = FakeDisk::default();
    let topic = open(&disk).unwrap();
    let jobs = channel(&topic, "jobs");
    publish(&topic, &["a"]).unwrap();
    let mut attempts = Vec::new();
    for id in 1..=4 {
        let got = consume(&topic, &jobs, id, 1);
        attempts.push(got[0].attempts);
        jobs.requeue(ConsumerId(id), got[0].seq, Duration::ZERO, topic.context.clock.now()).unwrap();
        jobs.unsubscribe(ConsumerId(id));
    }
    assert_eq!(attempts, [1, 2, 3, 4]);
    // Killed before anything else was saved: what the last delivery wrote down still counts.
    let topic = open(&disk.crash()).unwrap();
    let jobs = topic.channel(&ChannelName::new("jobs").unwrap()).unwrap();
    let attempts = consume(&topic, &jobs, 9, 1)[0].attempts;
    assert!(attempts >= 4, "{attempts}");
}

#[test]
fn alarms_do_not_multiply_with_earlier_deadlines() {
    let topic = open(&FakeDisk::default()).unwrap();
    let jobs = channel(&topic, "jobs");
    let names: Vec<_> = (0..50).map(|n| n.to_string()).collect();
    publish(&topic, &names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let got = consume(&topic, &jobs, 1, 50);
    for (n, got) in got.iter().enumerate() {
        // Each is due before the one before it.
        let delay = Duration::from_secs(3600 - n as u64);
        jobs.requeue(ConsumerId(1), got.seq, delay, topic.context.clock.now()).unwrap();
        jobs.dispatch(topic.context.clock.now());
    }
    let set = topic.context.timers.count();
    for at in topic.context.timers.drain() {
        jobs.ring(at);
    }
    let set_again = topic.context.timers.count();
    assert!(set >= 1 && set_again <= 1, "{set} alarms were set, {set_again} after all of them rang");
}

#[test]
fn what_was_synced_survives_a_power_cut() {
    let disk = FakeDisk::default();
    let topic = open(&disk).unwrap();
    channel(&topic, "jobs");
    let all: Vec<_> = (0..30).map(|n| format!("{n}-{}", "x".repeat(40))).collect();
    for body in &all {
        publish(&topic, &[body]).unwrap();
    }
    topic.sync().unwrap();
    publish(&topic, &["may be lost"]).unwrap();
    for seed in 0..50 {
        let topic = open(&disk.power_cut(seed)).unwrap();
        let jobs = channel(&topic, "jobs");
        let got = consume(&topic, &jobs, 1, 100);
        assert_eq!(bodies(&got)[..30], all, "seed {seed}");
    }
}

#[test]
fn a_sync_that_fails_is_told() {
    let disk = FakeDisk::default();
    let topic = open(&disk).unwrap();
    publish(&topic, &["a"]).unwrap();
    disk.fail_at(disk.calls() + 1, Fault::io());
    topic.sync().unwrap_err();
}

/// Publish, consume, finish and requeue; what was acknowledged and what was finished for good.
fn script(disk: &FakeDisk, acked: &mut BTreeSet<String>, attempted: &mut BTreeSet<String>) -> Result<(), ()> {
    let topic = open(disk).map_err(drop)?;
    let jobs = topic.create_channel(&ChannelName::new("jobs").unwrap()).map_err(drop)?;
    for round in 0..6 {
        let batch: Vec<_> = (0..4).map(|n| format!("{round}-{n}-{}", "x".repeat(60))).collect();
        let parts: Vec<_> = batch.iter().map(String::as_str).collect();
        publish(&topic, &parts).map_err(drop)?;
        acked.extend(batch.iter().cloned());
        let got = consume(&topic, &jobs, round + 1, 3);
        for (n, got) in got.iter().enumerate() {
            // From here on the message may be gone for good, whether or not the journal got that far.
            attempted.insert(got.body.clone());
            let id = ConsumerId(round + 1);
            if n == 0 {
                jobs.requeue(id, got.seq, Duration::ZERO, topic.context.clock.now()).map_err(drop)?;
                attempted.remove(&got.body);
            } else {
                jobs.lock().finish(id, got.seq, queue::Instant::default()).map_err(drop)?;
            }
        }
        jobs.unsubscribe(ConsumerId(round + 1));
        topic.save_progress();
        if topic.context.shutdown.is_triggered() {
            return Err(());
        }
    }
    Ok(())
}

#[test]
fn a_crash_at_any_call_to_the_disk_loses_no_acknowledged_message() {
    let calls = {
        let disk = FakeDisk::default();
        script(&disk, &mut BTreeSet::new(), &mut BTreeSet::new()).unwrap();
        disk.calls()
    };
    assert!(calls > 30, "the script makes {calls} calls");
    for call in 1..=calls {
        for fault in [Fault::io().lasting(), Fault::io().keeping(50).lasting()] {
            let disk = FakeDisk::default();
            disk.fail_at(call, fault);
            let (mut acked, mut finished) = (BTreeSet::new(), BTreeSet::new());
            let _killed_on_the_way = script(&disk, &mut acked, &mut finished);
            let topic = open(&disk.crash()).unwrap_or_else(|error| panic!("call {call}: {error}"));
            let jobs = channel(&topic, "jobs");
            let again: BTreeSet<_> =
                consume(&topic, &jobs, 99, 1000).into_iter().map(|got| got.body).collect();
            let lost: Vec<_> = acked.difference(&finished).filter(|body| !again.contains(*body)).collect();
            assert!(lost.is_empty(), "killed at call {call} of {calls}: lost {lost:?}");
        }
    }
}
