//! Memory has a budget: what clients half send or do not read is bounded, and those who behave are served.

use std::io::Write as _;
use std::net::TcpStream;

use harness::{Nsqd, Peer, eventually, request};

const MIB: u64 = 1 << 20;

/// The first `bytes` of an MPUB of 4 MiB.
fn half_sent(nsqd: &Nsqd, bytes: usize) -> Peer {
    let mut peer = nsqd.peer();
    let mut command = b"MPUB t\n".to_vec();
    command.extend_from_slice(&(4 * MIB as u32).to_be_bytes());
    command.extend_from_slice(&4_u32.to_be_bytes());
    command.extend_from_slice(&(MIB as u32 - 5).to_be_bytes());
    command.resize(bytes, b'x');
    peer.try_send(&command);
    peer
}

#[test]
fn bodies_that_are_half_sent_take_a_bounded_part_of_memory() {
    let mut nsqd = Nsqd::with(&["--memory-limit=32MiB"]);
    nsqd.create("t", &["ch"]);
    let before = nsqd.process().resident_bytes();
    let mut stalled: Vec<Peer> = (0..64).map(|_| half_sent(&nsqd, MIB as usize)).collect();
    // Small publishes are not kept waiting by them.
    let mut publisher = nsqd.peer();
    publisher.publish("t", "small");
    let grown = nsqd.process().resident_bytes().saturating_sub(before);
    assert!(grown < 32 * MIB, "{} MiB more for 64 MiB of half-sent bodies", grown / MIB);
    // When those in front give up, the next one's turn comes.
    let last = stalled.pop();
    drop(stalled);
    drop(last);
    let body = vec![b'y'; MIB as usize];
    publisher.publish_all("t", &[&body, &body, &body]);
    assert_eq!(nsqd.channel("t", "ch")["depth"], 4);
}

#[test]
fn bodies_over_http_that_never_come_keep_nothing_from_others() {
    let nsqd = Nsqd::with(&["--memory-limit=32MiB"]);
    nsqd.create("t", &["ch"]);
    let head = "POST /mpub?topic=t HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    let _stalled: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = TcpStream::connect(nsqd.http()).unwrap();
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let body = vec![b'y'; MIB as usize];
    nsqd.peer().publish_all("t", &[&body, &body, &body]);
    assert_eq!(request(nsqd.http(), "POST", "/pub?topic=t", &body[1..]).text(), "OK");
    assert_eq!(nsqd.channel("t", "ch")["depth"], 4);
}

#[test]
fn a_backlog_much_larger_than_the_budget_is_taken_and_given_back() {
    let mut nsqd = Nsqd::with(&["--memory-limit=16MiB"]);
    nsqd.create("t", &["ch"]);
    let before = nsqd.process().resident_bytes();
    let mut publisher = nsqd.peer();
    let body = vec![b'x'; 256 * 1024];
    for _ in 0..32 {
        publisher.publish_all("t", &[&body, &body, &body, &body, &body, &body, &body, &body]);
    }
    let grown = || nsqd.channel("t", "ch")["depth"].as_u64();
    assert_eq!(grown(), Some(256), "64 MiB");
    let mut consumer = nsqd.consumer("t", "ch", 4);
    for _ in 0..256 {
        let message = consumer.expect_message();
        assert_eq!(message.body.len(), body.len());
        consumer.finish(&message);
    }
    eventually("memory to come down", || nsqd.process().resident_bytes().saturating_sub(before) < 24 * MIB);
}
