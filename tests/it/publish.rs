//! PUB and MPUB: what goes in comes out, bit for bit, once per channel.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

use harness::{Message, Nsqd, Peer};

#[test]
fn published_bytes_are_delivered_unchanged() {
    let nsqd = Nsqd::start();
    let bodies: Vec<Vec<u8>> = vec![
        b"plain".to_vec(),
        b"\x00".to_vec(),
        b"line\nFIN 0123456789abcdef\r\n".to_vec(),
        (0..=255).collect(),
        vec![0xff; 1024 * 1024],
    ];
    let mut publisher = nsqd.peer();
    for body in &bodies {
        publisher.publish("t", body);
    }
    let mut consumer = nsqd.consumer("t", "ch", 10);
    let mut seen: Vec<Vec<u8>> = consumer.expect_messages(bodies.len()).into_iter().map(|m| m.body).collect();
    seen.sort();
    let mut wanted = bodies;
    wanted.sort();
    assert!(seen == wanted, "lengths {:?}", seen.iter().map(Vec::len).collect::<Vec<_>>());
}

#[test]
fn a_message_carries_its_id_its_time_and_its_first_attempt() {
    let nsqd = Nsqd::start();
    let before = epoch_ns();
    nsqd.peer().publish("t", "x");
    let message = nsqd.consumer("t", "ch", 1).expect_message();
    assert_eq!(message.attempts, 1);
    assert!(before <= message.timestamp && message.timestamp <= epoch_ns(), "{message:?}");
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    assert!(message.id.len() == 16 && message.id.chars().all(is_hex), "{message:?}");
}

#[test]
fn every_channel_gets_every_message_with_the_same_id() {
    let nsqd = Nsqd::start();
    nsqd.create("t", &["a", "b", "c"]);
    nsqd.peer().publish_all("t", &["1", "2", "3"]);
    let mut copies = ["a", "b", "c"].map(|channel| {
        let mut messages = nsqd.consumer("t", channel, 10).expect_messages(3);
        messages.sort_by(|x, y| x.id.cmp(&y.id));
        messages
    });
    let [first, second, third] = &mut copies;
    assert_eq!(first, second);
    assert_eq!(first, third);
    let ids: BTreeSet<&str> = first.iter().map(|m| m.id.as_str()).collect();
    assert_eq!(ids.len(), 3, "ids are unique in a topic");
}

#[test]
fn the_first_channel_takes_the_backlog_and_the_second_starts_empty() {
    let nsqd = Nsqd::start();
    let mut publisher = nsqd.peer();
    publisher.publish("t", "early");
    assert_eq!(nsqd.topic("t")["depth"], 1);
    let mut first = nsqd.consumer("t", "first", 10);
    assert_eq!(first.expect_message().text(), "early");
    let mut second = nsqd.consumer("t", "second", 10);
    publisher.publish("t", "late");
    assert_eq!(second.expect_message().text(), "late");
    assert_eq!(first.expect_message().text(), "late");
    assert_eq!(nsqd.topic("t")["depth"], 0);
}

#[test]
fn one_publisher_and_one_consumer_keep_the_order() {
    let nsqd = Nsqd::start();
    nsqd.create("t", &["ch"]);
    let mut publisher = nsqd.peer();
    let singles: Vec<String> = (0..200).map(|n| format!("{n:04}")).collect();
    let batch: Vec<String> = (200..400).map(|n| format!("{n:04}")).collect();
    for body in &singles {
        publisher.publish("t", body);
    }
    publisher.publish_all("t", &batch);
    let mut consumer = nsqd.consumer("t", "ch", 500);
    let seen: Vec<String> = consumer.expect_messages(400).iter().map(Message::text).collect();
    assert_eq!(seen, [singles, batch].concat());
}

#[test]
fn pipelined_commands_are_answered_in_their_order() {
    let nsqd = Nsqd::start();
    let mut peer = nsqd.peer();
    let mut bytes = Vec::new();
    for number in 0..1000_u32 {
        bytes.extend_from_slice(b"PUB t\n\x00\x00\x00\x04");
        bytes.extend_from_slice(&number.to_be_bytes());
    }
    // The last one is refused: its error comes after every OK, and the connection ends after it.
    bytes.extend_from_slice(b"PUB $\n\x00\x00\x00\x01x");
    peer.send(&bytes);
    for _ in 0..1000 {
        peer.expect_response("OK");
    }
    peer.expect_error(r#"E_BAD_TOPIC PUB topic name "$" is not valid"#);
    peer.expect_closed();
    assert_eq!(nsqd.topic("t")["message_count"], 1000);
}

#[test]
fn commands_may_arrive_in_pieces_of_one_byte() {
    let nsqd = Nsqd::start();
    let mut peer = Peer::connect_silent(nsqd.tcp());
    let script = b"  V2PUB t\n\x00\x00\x00\x02abMPUB t\n\x00\x00\x00\x0e\x00\x00\x00\x02\x00\x00\x00\x01c\x00\x00\x00\x01dNOP\n";
    for byte in script {
        peer.send(&[*byte]);
    }
    peer.expect_response("OK");
    peer.expect_response("OK");
    let mut seen: Vec<String> =
        nsqd.consumer("t", "ch", 9).expect_messages(3).iter().map(Message::text).collect();
    seen.sort();
    assert_eq!(seen, ["ab", "c", "d"]);
}

#[test]
fn a_carriage_return_and_parameters_too_many_are_ignored() {
    let nsqd = Nsqd::start();
    let mut peer = nsqd.peer();
    peer.line_and_body("PUB t x y", b"1");
    peer.expect_response("OK");
    peer.line_and_body("PUB t\r", b"2");
    peer.expect_response("OK");
    peer.line_and_body("MPUB t x", b"\x00\x00\x00\x01\x00\x00\x00\x013");
    peer.expect_response("OK");
    peer.line("NOP x");
    peer.line("SUB t ch x\r");
    peer.expect_response("OK");
    peer.line("RDY 9 x");
    let mut seen: Vec<String> = peer.expect_messages(3).iter().map(Message::text).collect();
    seen.sort();
    assert_eq!(seen, ["1", "2", "3"]);
}

#[test]
fn the_size_before_a_batch_need_not_match_it() {
    // nsqd: only the range of this size is checked; the count drives the reading.
    let nsqd = Nsqd::start();
    let mut peer = nsqd.peer();
    peer.send(b"MPUB t\n\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x02ab\x00\x00\x00\x02cd");
    peer.expect_response("OK");
    peer.publish("t", "ef");
    assert_eq!(nsqd.topic("t")["message_count"], 3);
}

#[test]
fn one_connection_may_publish_and_subscribe() {
    let nsqd = Nsqd::start();
    let mut peer = nsqd.peer();
    peer.subscribe("t", "ch");
    peer.ready(1);
    peer.publish("other", "x");
    // The message and the OK to its own publication may come in either order.
    peer.line_and_body("PUB t", b"mine");
    let frames = [peer.receive(), peer.receive()];
    assert!(frames.contains(&harness::Frame::Response("OK".to_owned())), "{frames:?}");
    let message = frames.iter().find_map(|frame| match frame {
        harness::Frame::Message(message) => Some(message.text()),
        _ => None,
    });
    assert_eq!(message.as_deref(), Some("mine"));
}

#[test]
fn topics_do_not_mix() {
    let nsqd = Nsqd::start();
    let names: Vec<String> = (0..20).map(|n| format!("topic.{n}_-X")).collect();
    let mut publisher = nsqd.peer();
    for name in &names {
        publisher.publish(name, name);
    }
    for name in &names {
        let mut consumer = nsqd.consumer(name, "ch", 5);
        assert_eq!(&consumer.expect_message().text(), name);
        assert_eq!(nsqd.topic(name)["message_count"], 1);
    }
}

fn epoch_ns() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(now.as_nanos()).unwrap()
}
