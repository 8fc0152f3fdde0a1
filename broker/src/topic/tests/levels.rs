//! Durability levels: what each survives, when its OK is given, and what happens when a sync fails. Without a control
//! runtime a sync is waited for by whoever asks for it, so every outcome is there when the call returns.

use super::*;

/// Bodies that are owed to a channel after the power was cut, for many ways to cut it.
fn after_power_cuts(disk: &FakeDisk) -> Vec<Vec<String>> {
    (0..50)
        .map(|seed| {
            let topic = open(&disk.power_cut(seed)).unwrap();
            let jobs = channel(&topic, "jobs");
            consume(&topic, &jobs, 1, 100).into_iter().map(|got| got.body).collect()
        })
        .collect()
}

fn made_topic(level: Durability, disk: &FakeDisk) -> Arc<Topic> {
    let topic = open_at(level, disk).unwrap();
    topic.make_durable().unwrap();
    // The folder itself, which the data directory syncs when it makes one.
    let disk: &dyn Disk = disk;
    for folder in ["/data/topics", "/data", "/"] {
        disk.sync_dir(Path::new(folder)).unwrap();
    }
    topic
}

#[test]
fn an_ok_at_fsync_survives_every_power_cut() {
    let disk = FakeDisk::default();
    let topic = made_topic(Durability::Fsync, &disk);
    channel(&topic, "jobs");
    let all: Vec<_> = (0..12).map(|n| format!("{n}-{}", "x".repeat(90))).collect();
    for (count, body) in all.iter().enumerate() {
        publish(&topic, &[body]).unwrap();
        for got in after_power_cuts(&disk) {
            assert_eq!(got, all[..=count], "after {count}");
        }
    }
}

#[test]
fn a_topic_of_its_own_level_keeps_it_after_a_restart() {
    let disk = FakeDisk::default();
    let topic = open(&disk).unwrap();
    assert_eq!(topic.durability(), Durability::Buffered);
    topic.set_durability(Durability::Fsync).unwrap();
    let topic = open(&disk.crash()).unwrap();
    assert_eq!(topic.durability(), Durability::Fsync);
    topic.set_durability(Durability::Memory).unwrap();
    assert_eq!(open(&disk.crash()).unwrap().durability(), Durability::Fsync, "another run's disk");
}

#[test]
fn a_sync_that_fails_breaks_the_promise_and_is_never_tried_again() {
    let disk = FakeDisk::default();
    let topic = made_topic(Durability::Fsync, &disk);
    channel(&topic, "jobs");
    publish(&topic, &["kept"]).unwrap();
    let now = topic.context.clock.now();
    let receipt = topic.append([&b"uncovered"[..]].into_iter(), None, now, None).unwrap();
    // The write works, the sync behind it does not.
    disk.fail_at(disk.calls() + 2, Fault::io());
    topic.commit(now);
    assert!(matches!(receipt.outcome(), Some(Err(PublishError::Refused(_)))));
    assert!(topic.context.shutdown.failure().is_some(), "the process ends");
    assert_eq!(topic.channels()[0].lock().queue.depth(), 1, "nobody was shown what may vanish");
    assert!(publish(&topic, &["later"]).is_err(), "nothing is promised any more");
    topic.close().unwrap();
    let calls = disk.calls();
    topic.sync().unwrap();
    assert_eq!(disk.calls(), calls, "a second sync would be called a success");
    for got in after_power_cuts(&disk) {
        assert_eq!(got.first().map(String::as_str), Some("kept"));
    }
}

#[test]
fn what_was_finished_before_a_barrier_stays_finished_at_the_topics_level() {
    for (level, survives_power_cut) in [(Durability::Buffered, false), (Durability::Fsync, true)] {
        let disk = FakeDisk::default();
        let topic = made_topic(level, &disk);
        let jobs = channel(&topic, "jobs");
        publish(&topic, &["a", "b"]).unwrap();
        topic.sync().unwrap();
        let got = consume(&topic, &jobs, 1, 1);
        jobs.lock().finish(ConsumerId(1), got[0].seq, queue::Instant::default()).unwrap();
        topic.save_progress();
        assert_eq!(topic.barrier().outcome(), Some(&Ok(())), "{level:?}");
        if survives_power_cut {
            assert!(after_power_cuts(&disk).iter().all(|got| got == &["b"]), "{level:?}");
        }
        let topic = open(&disk.crash()).unwrap();
        assert_eq!(bodies(&consume(&topic, &channel(&topic, "jobs"), 2, 9)), ["b"], "{level:?}");
    }
}

#[test]
fn at_fsync_what_goes_out_again_is_known_to_have_gone_out_before_also_after_a_power_cut() {
    let disk = FakeDisk::default();
    let topic = made_topic(Durability::Fsync, &disk);
    let jobs = channel(&topic, "jobs");
    publish(&topic, &["a"]).unwrap();
    for id in 1..=4 {
        let got = consume(&topic, &jobs, id, 1);
        assert_eq!(got[0].attempts, u16::try_from(id).unwrap());
        for seed in 0..20 {
            let topic = open_at(Durability::Fsync, &disk.power_cut(seed)).unwrap();
            let attempts = consume(&topic, &channel(&topic, "jobs"), 9, 1)[0].attempts;
            assert!(u64::from(attempts) >= id, "{attempts} after {id}, seed {seed}");
        }
        jobs.requeue(ConsumerId(id), got[0].seq, Duration::ZERO, topic.context.clock.now()).unwrap();
        jobs.unsubscribe(ConsumerId(id));
    }
}

#[test]
fn memory_is_answered_without_any_sync() {
    let disk = FakeDisk::default();
    let topic = made_topic(Durability::Memory, &disk);
    publish(&topic, &["a"]).unwrap();
    assert!(after_power_cuts(&disk).iter().any(Vec::is_empty), "nothing was synced");
    topic.close().unwrap();
    assert!(after_power_cuts(&disk).iter().all(|got| got == &["a"]), "an orderly end keeps everything");
}

#[test]
fn a_drained_topic_at_memory_holds_no_files_open() {
    let disk = FakeDisk::default();
    let topic = made_topic(Durability::Memory, &disk);
    let jobs = channel(&topic, "jobs");
    let body = "x".repeat(100);
    for round in 0..100 {
        publish(&topic, &[&body]).unwrap();
        for got in consume(&topic, &jobs, round, 10) {
            jobs.lock().finish(ConsumerId(round), got.seq, queue::Instant::default()).unwrap();
        }
        jobs.unsubscribe(ConsumerId(round));
        topic.save_progress();
        assert!(topic.lock_log().log.unsynced_files() <= 5, "round {round}");
    }
}

#[test]
fn a_requeue_that_a_full_disk_keeps_from_the_journal_goes_out_again_all_the_same() {
    let disk = FakeDisk::default();
    let topic = made_topic(Durability::Fsync, &disk);
    let jobs = channel(&topic, "jobs");
    publish(&topic, &["a"]).unwrap();
    let got = consume(&topic, &jobs, 1, 1);
    disk.fail_at(disk.calls() + 1, Fault::full().lasting());
    jobs.requeue(ConsumerId(1), got[0].seq, Duration::ZERO, topic.context.clock.now()).unwrap();
    jobs.unsubscribe(ConsumerId(1));
    assert_eq!(bodies(&consume(&topic, &jobs, 2, 1)), ["a"]);
}

#[test]
fn a_level_that_a_full_disk_refused_is_not_taken_for_written_the_next_time() {
    let disk = FakeDisk::default();
    let topic = open(&disk).unwrap();
    publish(&topic, &["a"]).unwrap();
    disk.fail_at(disk.calls() + 1, Fault::full().lasting());
    topic.set_durability(Durability::Fsync).unwrap_err();
    topic.set_durability(Durability::Fsync).unwrap_err();
    disk.heal();
    topic.set_durability(Durability::Fsync).unwrap();
    assert_eq!(open(&disk.crash()).unwrap().durability(), Durability::Fsync);
}

#[test]
fn publishes_are_refused_before_the_disk_is_full_and_consumers_go_on() {
    let disk = FakeDisk::default();
    let topic = open(&disk).unwrap();
    let jobs = channel(&topic, "jobs");
    publish(&topic, &["a"]).unwrap();
    topic.context.space.take(i64::MAX as u64);
    let calls = disk.calls();
    assert!(matches!(publish(&topic, &["b"]), Err(PublishError::Refused(_))));
    assert_eq!(disk.calls(), calls, "what is left is for the journals");
    let got = consume(&topic, &jobs, 1, 10);
    jobs.lock().finish(ConsumerId(1), got[0].seq, queue::Instant::default()).unwrap();
    assert!(topic.save_progress());
    assert_eq!(topic.channels()[0].lock().queue.depth(), 0);
}

/// Topics of these names on one disk, made and durable, each with a channel and a message that nobody has synced.
fn written_topics(disk: &FakeDisk, level: Durability) -> Vec<Arc<Topic>> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let context = context(level, SEGMENT_BYTES);
    let topics = ["a", "b", "c"].map(|name| {
        let dir = Path::new(DIR).with_file_name(name);
        shared.create_dir(&dir).unwrap();
        let topic =
            Topic::open(TopicName::new(name).unwrap(), Arc::clone(&context), Arc::clone(&shared), &dir)
                .unwrap();
        channel(&topic, "jobs");
        topic
    });
    disk.sync_all();
    topics.iter().for_each(|topic| publish(topic, &[&format!("of {}", topic.name)]).unwrap());
    topics.to_vec()
}

/// What each of them holds after a power cut that takes all that was not synced.
fn left_of_each(disk: &FakeDisk) -> Vec<String> {
    let disk = disk.power_cut_losing_all();
    let shared: Arc<dyn Disk> = Arc::new(disk);
    let left = ["a", "b", "c"].map(|name| {
        let dir = Path::new(DIR).with_file_name(name);
        let context = context(Durability::Buffered, SEGMENT_BYTES);
        let topic = Topic::open(TopicName::new(name).unwrap(), context, Arc::clone(&shared), &dir).unwrap();
        let jobs = channel(&topic, "jobs");
        bodies(&consume(&topic, &jobs, 1, 9)).join(",")
    });
    left.to_vec()
}

#[test]
fn topics_that_are_synced_together_all_survive_and_ask_for_nothing_more() {
    let disk = FakeDisk::default();
    let topics = written_topics(&disk, Durability::Buffered);
    assert_eq!(left_of_each(&disk), ["", "", ""]);
    let calls = disk.calls();
    Topic::sync_together(&topics, &disk);
    assert_eq!(left_of_each(&disk), ["of a", "of b", "of c"]);
    assert_eq!(disk.calls() - calls, 1 + 3, "one sync, and a note in each journal");
    // The notes are not synced: only true.
    disk.sync_all();
    let calls = disk.calls();
    Topic::sync_together(&topics, &disk);
    assert_eq!(disk.calls() - calls, 1);
}

#[test]
fn when_topics_cannot_be_synced_together_each_is_synced_by_itself() {
    let disk = FakeDisk::default();
    let topics = written_topics(&disk, Durability::Buffered);
    disk.fail_at(disk.calls() + 1, Fault::io());
    Topic::sync_together(&topics, &disk);
    assert_eq!(left_of_each(&disk), ["of a", "of b", "of c"]);
    assert!(!topics[0].context.shutdown.is_triggered(), "it was somebody else's write that failed");
}

#[test]
fn a_disk_that_fails_for_all_and_for_each_ends_the_process() {
    let disk = FakeDisk::default();
    let topics = written_topics(&disk, Durability::Buffered);
    disk.fail_at(disk.calls() + 1, Fault::io().lasting());
    Topic::sync_together(&topics, &disk);
    assert!(topics[0].context.shutdown.failure().is_some());
}
