//! One message that waits for long must not keep the rest of the log on disk, nor make a restart read it.

use super::*;

const SEGMENT: u64 = 64 * 1024;

/// Two channels: what one finishes at once, the other may still want.
fn filled(disk: &FakeDisk) -> (Arc<Topic>, Arc<Channel>) {
    let topic = open_large(disk, SEGMENT);
    let jobs = channel(&topic, "jobs");
    for round in 0..40 {
        let batch: Vec<_> = (0..100).map(|n| format!("{round}-{n}-{}", "x".repeat(60))).collect();
        publish(&topic, &batch.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }
    (topic, jobs)
}

/// Finish everything but the messages of these bodies, which are requeued for a day.
fn finish_all_but(topic: &Arc<Topic>, channel: &Arc<Channel>, consumer: u64, kept: &[&str]) {
    let id = ConsumerId(consumer);
    let mut got = consume(topic, channel, consumer, 5000);
    while !got.is_empty() {
        for message in &got {
            if kept.iter().any(|kept| message.body.starts_with(kept)) {
                let day = Duration::from_secs(86400);
                channel.requeue(id, message.seq, day, topic.context.clock.now()).unwrap();
            } else {
                channel.lock().finish(id, message.seq, queue::Instant::default()).unwrap();
            }
        }
        channel.unsubscribe(id);
        got = consume(topic, channel, consumer, 5000);
    }
    channel.unsubscribe(id);
    topic.save_progress();
    // As the task of syncs does a little later.
    topic.sync().unwrap();
}

#[test]
fn a_long_deferral_keeps_its_own_blocks_and_nothing_else() {
    let disk = FakeDisk::default();
    let (topic, jobs) = filled(&disk);
    finish_all_but(&topic, &jobs, 1, &["3-7-", "20-50-"]);
    let freed = topic.free_space().unwrap();
    assert!(freed > 5 * SEGMENT / 2, "{freed} bytes");
    assert_eq!(topic.free_space().unwrap(), 0, "once is enough");
    let counts = {
        let state = jobs.lock();
        (state.queue.depth(), state.queue.deferred_count())
    };
    assert_eq!(counts, (0, 2));

    for seed in 0..10 {
        let disk = if seed == 0 { disk.crash() } else { disk.power_cut(seed) };
        let topic = open_large(&disk, SEGMENT);
        let jobs = channel(&topic, "jobs");
        let state = jobs.lock();
        assert_eq!((state.queue.deferred_count(), state.queue.lost_count()), (2, 0), "seed {seed}");
    }
}

#[test]
fn a_sync_that_fails_before_space_is_given_back_ends_the_process() {
    let disk = FakeDisk::default();
    let (topic, jobs) = filled(&disk);
    finish_all_but(&topic, &jobs, 1, &["3-7-"]);
    publish(&topic, &["unsynced"]).unwrap();
    disk.fail_at(disk.calls() + 1, Fault::io());
    topic.free_space().unwrap_err();
    assert!(topic.context.shutdown.failure().is_some());
    assert!(publish(&topic, &["later"]).is_err());
}

#[test]
fn what_another_channel_still_wants_is_not_given_back() {
    let disk = FakeDisk::default();
    let (topic, jobs) = filled(&disk);
    let audit = channel(&topic, "audit");
    publish(&topic, &["for both"]).unwrap();
    finish_all_but(&topic, &jobs, 1, &["0-0-"]);
    // The second channel began behind all of that, and holds nothing of it.
    let freed = topic.free_space().unwrap();
    assert!(freed > SEGMENT, "{freed}");
    assert_eq!(bodies(&consume(&topic, &audit, 2, 10)), ["for both"]);

    let disk = FakeDisk::default();
    let (topic, jobs) = filled(&disk);
    finish_all_but(&topic, &jobs, 1, &[]);
    let lazy = channel(&topic, "lazy");
    let first: Vec<_> = (0..3000).map(|n| format!("again-{n}-{}", "y".repeat(60))).collect();
    for batch in first.chunks(100) {
        publish(&topic, &batch.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    }
    finish_all_but(&topic, &jobs, 3, &[]);
    topic.free_space().unwrap();
    let topic = open_large(&disk.crash(), SEGMENT);
    let reread = channel(&topic, lazy.name.as_str());
    let mut got = Vec::new();
    for consumer in 10..20 {
        let more = consume(&topic, &reread, consumer, 2500);
        for message in &more {
            reread.lock().finish(ConsumerId(consumer), message.seq, queue::Instant::default()).unwrap();
        }
        got.extend(more.into_iter().map(|got| got.body));
        reread.unsubscribe(ConsumerId(consumer));
    }
    assert_eq!(got, first);
}
