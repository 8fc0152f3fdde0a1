//! Clients that do not read: what they leave unread costs little, ends with their deadline, and holds up nobody.

use std::time::Duration;

use harness::{Frame, Nsqd, Peer, eventually, request};
use serde_json::json;

const MIB: u64 = 1 << 20;

/// The shortest heartbeat a client may ask for; twice as long without a sign ends the connection.
fn impatient(nsqd: &Nsqd) -> Peer {
    let mut peer = nsqd.peer();
    peer.identify(json!({ "heartbeat_interval": 1000 }));
    peer
}

#[test]
fn a_consumer_that_stopped_reading_leaves_no_descriptor_behind() {
    let mut nsqd = Nsqd::start();
    nsqd.create("t", &["ch"]);
    // The first message and the first connections make files and sockets that stay.
    let mut first = nsqd.consumer("t", "ch", 1);
    nsqd.peer().publish("t", "warm");
    let message = first.expect_message();
    first.finish(&message);
    nsqd.eventually_channel("t", "ch", &[("depth", 0), ("in_flight_count", 0)]);
    drop(first);
    nsqd.eventually_channel("t", "ch", &[("client_count", 0)]);
    let before = nsqd.process().open_files();
    for _ in 0..40 {
        assert_eq!(request(nsqd.http(), "POST", "/pub?topic=t", &vec![b'x'; MIB as usize]).status, 200);
    }
    let mut stuck = Vec::new();
    for _ in 0..5 {
        let mut peer = impatient(&nsqd);
        peer.subscribe("t", "ch");
        peer.ready(8);
        stuck.push(peer);
    }
    nsqd.eventually_channel("t", "ch", &[("client_count", 5)]);
    nsqd.eventually_channel("t", "ch", &[("client_count", 0), ("in_flight_count", 0)]);
    eventually("their sockets are closed", || nsqd.process().open_files() <= before);
    drop(stuck);
}

#[test]
fn replies_nobody_reads_are_bounded() {
    let mut nsqd = Nsqd::start();
    nsqd.peer().publish("t", "warm");
    let before = nsqd.process().resident_bytes();
    let mut peer = nsqd.peer();
    peer.identify(json!({ "heartbeat_interval": -1 }));
    let command =
        [&b"PUB t\n\x00\x00\x00\x01x"[..], b"IDENTIFY\n\x00\x00\x00\x1c{\"feature_negotiation\":true}"]
            .concat();
    let burst = command.repeat(2000);
    // Until the broker stops reading, and with it the kernel taking bytes.
    let sent = (0..2000).take_while(|_| peer.try_send_within(&burst, Duration::from_millis(500))).count();
    let grown = nsqd.process().resident_bytes().saturating_sub(before);
    assert!(sent < 2000, "the broker read on without end");
    assert!(grown < 32 * MIB, "{} MiB of replies nobody reads", grown / MIB);
}

#[test]
fn a_consumer_of_large_messages_is_read_while_others_publish() {
    let nsqd = Nsqd::start();
    nsqd.create("t", &["ch"]);
    let mut consumers: Vec<_> = (0..4).map(|_| nsqd.consumer("t", "ch", 2)).collect();
    let http = nsqd.http();
    let publishers: Vec<_> = (0..2)
        .map(|_| {
            std::thread::spawn(move || {
                let body = vec![b'x'; MIB as usize];
                for _ in 0..40 {
                    assert_eq!(request(http, "POST", "/pub?topic=t", &body).status, 200);
                }
            })
        })
        .collect();
    let mut finished = 0;
    while finished < 80 {
        for consumer in &mut consumers {
            while let Some(Frame::Message(message)) = consumer.receive_within(Duration::from_millis(20)) {
                consumer.finish(&message);
                finished += 1;
            }
        }
    }
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    nsqd.eventually_channel("t", "ch", &[("depth", 0), ("in_flight_count", 0)]);
}
