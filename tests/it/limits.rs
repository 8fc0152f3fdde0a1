//! What a careless or hostile peer can cost: size fields promise memory and get none, slow and silent connections hold
//! up nobody.

use std::time::Duration;

use harness::{Frame, Lookupd, Nsqd, Peer};
use serde_json::json;

const MIB: u64 = 1 << 20;

#[test]
fn a_size_field_costs_no_memory() {
    let mut nsqd = Nsqd::start();
    nsqd.peer().publish("t", "warm");
    let before = nsqd.process().resident_bytes();
    let mut refused = Vec::new();
    for script in [
        &b"PUB t\n\xff\xff\xff\xff"[..],
        b"PUB t\n\x7f\xff\xff\xff",
        b"DPUB t 1\n\x7f\xff\xff\xff",
        b"MPUB t\n\x7f\xff\xff\xff",
        b"MPUB t\n\x00\x00\x00\x08\x7f\xff\xff\xff",
        b"MPUB t\n\x00\x00\x00\x08\x00\x00\x00\x01\x7f\xff\xff\xff",
        b"IDENTIFY\n\x7f\xff\xff\xff",
        b"AUTH\n\x7f\xff\xff\xff",
    ] {
        let mut peer = nsqd.peer();
        peer.send(script);
        assert!(matches!(peer.receive(), Frame::Error(_)), "{}", script.escape_ascii());
        peer.expect_closed();
        refused.push(peer);
    }
    // Legal sizes that are promised and never sent: 100 x 1 MiB and 100 x 5 MiB.
    let mut waiting = Vec::new();
    for script in
        [&b"PUB t\n\x00\x10\x00\x00x"[..], b"MPUB t\n\x00\x50\x00\x00\x00\x0f\xff\xff\x00\x00\x00\x01x"]
    {
        for _ in 0..100 {
            let mut peer = nsqd.peer();
            peer.send(script);
            waiting.push(peer);
        }
    }
    // Answered in turn after all of them were read.
    nsqd.peer().publish("t", "after");
    let grown = nsqd.process().resident_bytes().saturating_sub(before);
    assert!(grown < 40 * MIB, "{} MiB for 208 connections that sent next to nothing", grown / MIB);
}

#[test]
fn lookupd_survives_negative_and_huge_lengths() {
    // nsqlookupd: a negative length ends the process, a huge one is allocated.
    let lookupd = Lookupd::start();
    for length in [-1_i32, i32::MIN, i32::MAX, 1 << 30] {
        let mut peer = Peer::connect_silent(lookupd.tcp());
        peer.send(b"  V1IDENTIFY\n");
        peer.send(&length.to_be_bytes());
    }
    assert_eq!(lookupd.get("/ping").ok().text(), "OK");
    let nsqd = Nsqd::with(&[&format!("--lookupd-tcp-address={}", lookupd.tcp())]);
    nsqd.create("t", &[]);
    harness::eventually("it still registers", || !lookupd.ports("t").is_empty());
}

#[test]
fn a_line_that_never_ends_is_cut_off_without_a_word() {
    let nsqd = Nsqd::start();
    let mut peer = nsqd.peer();
    peer.try_send(&[b'x'; 17 * 1024]);
    peer.expect_closed();
    let mut peer = nsqd.peer();
    peer.line_and_body(&format!("PUB t {}", "x".repeat(15 * 1024)), b"within the limit");
    peer.expect_response("OK");
}

#[test]
fn slow_senders_hold_up_nobody() {
    let nsqd = Nsqd::start();
    let mut consumer = nsqd.consumer("t", "ch", 10);
    let mut slow: Vec<Peer> = (0..100).map(|_| nsqd.peer()).collect();
    for peer in &mut slow {
        peer.send(b"PUB t\n\x00\x00\x00\x05sl");
    }
    let mut publisher = nsqd.peer();
    for _ in 0..20 {
        publisher.publish("t", "quick");
        let message = consumer.expect_message();
        assert_eq!(message.text(), "quick");
        consumer.finish(&message);
    }
    for peer in &mut slow {
        peer.send(b"owx");
        peer.send(b"NOP\n");
        peer.expect_response("OK");
    }
}

#[test]
fn a_consumer_that_does_not_read_costs_little_and_holds_up_nobody() {
    let mut nsqd = Nsqd::start();
    nsqd.create("t", &["stuck", "working"]);
    let mut publisher = nsqd.peer();
    publisher.publish("t", "warm");
    nsqd.consumer("t", "working", 1).expect_message();
    let before = nsqd.process().resident_bytes();
    let mut stuck = nsqd.peer();
    stuck.identify(json!({"heartbeat_interval": 60_000}));
    stuck.subscribe("t", "stuck");
    stuck.ready(2500);
    let mut working = nsqd.consumer("t", "working", 2500);
    let body = vec![b'x'; 512 * 1024];
    let mut received = 0;
    for _ in 0..300 {
        publisher.publish("t", &body);
        let message = working.expect_message();
        working.finish(&message);
        received += usize::from(message.body.len() == body.len());
    }
    assert!(received >= 299, "{received}");
    let grown = nsqd.process().resident_bytes().saturating_sub(before);
    assert!(
        grown < 100 * MIB,
        "{} MiB while 150 MiB were published and one consumer read nothing",
        grown / MIB
    );
    // It gets everything once it reads and finishes: no more than --max-in-flight-bytes is on its way at a time.
    for _ in 0..301 {
        let message = stuck.expect_message();
        stuck.finish(&message);
    }
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    // nsqd: stays open for ever.
    let nsqd = Nsqd::start();
    let mut silent = Peer::connect_silent(nsqd.tcp());
    let mut hesitant = Peer::connect_silent(nsqd.tcp());
    hesitant.send(b"  V");
    for peer in [&mut silent, &mut hesitant] {
        assert!(matches!(peer.receive(), Frame::Closed | Frame::Error(_)));
    }
}

#[test]
fn a_thousand_connections_are_served() {
    let nsqd = Nsqd::start();
    let mut peers: Vec<Peer> = (0..1000).map(|_| nsqd.peer()).collect();
    for peer in &mut peers {
        peer.line_and_body("PUB t", b"x");
    }
    for peer in &mut peers {
        peer.expect_response("OK");
    }
    assert_eq!(nsqd.topic("t")["message_count"], 1000);
}

#[test]
fn random_bytes_end_a_connection_and_nothing_else() {
    let nsqd = Nsqd::start();
    // A small generator of its own, so that a failure can be repeated.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..200 {
        let mut peer = nsqd.peer();
        let mut bytes = Vec::new();
        for _ in 0..64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        peer.try_send(&bytes);
        peer.send_nothing_more();
        while !matches!(peer.receive_within(Duration::from_secs(10)), Some(Frame::Closed)) {}
    }
    nsqd.peer().publish("t", "x");
    assert_eq!(nsqd.get("/ping").ok().text(), "OK");
}
