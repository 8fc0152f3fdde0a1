//! Floods of strangers: connections, half-sent bodies, drips, bombs and commands. Memory stays bounded and a client
//! that behaves is served; its times are printed, not judged.

use std::time::{Duration, Instant};

use harness::{Frame, Nsqd, Peer, eventually};
use serde_json::json;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

/// The test's own sockets need files too.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

/// How long publishes of a client that behaves take: the middle one and the 99th of a hundred.
fn healthy(nsqd: &Nsqd) -> (Duration, Duration) {
    let mut peer = nsqd.peer();
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let start = Instant::now();
            peer.publish("healthy", "x");
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    (times[100], times[198])
}

fn grown(nsqd: &mut Nsqd, before: u64) -> u64 {
    nsqd.process().resident_bytes().saturating_sub(before)
}

#[test]
fn connections_that_say_nothing_cost_little_and_end() {
    raise_file_limit();
    let mut nsqd = Nsqd::start();
    nsqd.peer().publish("healthy", "x");
    let before = nsqd.process().resident_bytes();
    let files = nsqd.process().open_files();
    let mut peers: Vec<Peer> = (0..2000).map(|_| Peer::connect(nsqd.tcp())).collect();
    eventually("all are served", || nsqd.process().open_files() >= files + 1900);
    let each = grown(&mut nsqd, before) / 2000;
    println!(
        "2000 silent connections: {each} bytes of memory each; healthy p50 and p99 {:?}",
        healthy(&nsqd)
    );
    assert!(each <= 16 * KIB, "{each} bytes each");
    let first = &mut peers[0];
    assert_eq!(
        first.receive_within(Duration::from_secs(20)),
        Some(Frame::Closed),
        "no first command in 10 s"
    );
    eventually("all of them end", || nsqd.process().open_files() < files + 20);
}

#[test]
fn half_sent_bodies_of_a_thousand_connections_are_bounded() {
    raise_file_limit();
    let mut nsqd = Nsqd::with(&["--memory-limit=64MiB"]);
    nsqd.peer().publish("healthy", "x");
    let before = nsqd.process().resident_bytes();
    let mut command = b"MPUB t\n\x00\x50\x00\x00\x00\x00\x00\x06\x00\x0f\x00\x00".to_vec();
    command.resize(100 * 1024, b'x');
    let mut peak = 0;
    let peers: Vec<Peer> = (0..1000)
        .map(|number| {
            let mut peer = Peer::connect(nsqd.tcp());
            peer.try_send_within(&command, Duration::from_millis(200));
            if number % 100 == 0 {
                peak = peak.max(grown(&mut nsqd, before));
            }
            peer
        })
        .collect();
    let times = healthy(&nsqd);
    peak = peak.max(grown(&mut nsqd, before));
    println!("1000 half-sent bodies of 5 MiB: {} MiB more; healthy p50 and p99 {times:?}", peak / MIB);
    assert!(peak < 64 * MIB, "{} MiB", peak / MIB);
    drop(peers);
}

#[test]
fn who_drips_is_cut_and_who_is_slow_but_goes_on_is_not() {
    let nsqd = Nsqd::start();
    let mut dripping = nsqd.peer();
    let mut slow = nsqd.peer();
    for peer in [&mut dripping, &mut slow] {
        peer.line("NOP");
        peer.send(b"PUB t\n\x00\x01\x00\x00");
    }
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_secs(25) && sent < 65_536 {
        dripping.try_send(b"x");
        let piece = (65_536 - sent).min(3000);
        slow.send(&vec![b'y'; piece]);
        sent += piece;
        // The pace of the client is what is tested.
        let answer = slow.receive_within(Duration::from_secs(1));
        assert_eq!(answer, (sent == 65_536).then(|| Frame::Response("OK".into())));
    }
    assert_eq!(sent, 65_536);
    assert_eq!(dripping.receive_within(Duration::from_secs(5)), Some(Frame::Closed));
    slow.publish("t", "z");
    println!("a byte a second was cut, 3000 a second were taken");
}

#[test]
fn bombs_do_not_fill_memory() {
    for layer in ["snappy", "deflate"] {
        let mut nsqd = Nsqd::start();
        nsqd.peer().publish("healthy", "x");
        let before = nsqd.process().resident_bytes();
        // A line without an end: 1 GiB of zeros, as far as nsqd wants to know.
        let mut peer = nsqd.peer();
        peer.upgrade(json!({ layer: true }), None);
        let zeros = vec![0; 16 << 20];
        let sent = (0..64).take_while(|_| peer.try_send_within(&zeros, Duration::from_secs(2))).count();
        assert!(sent < 64, "{layer}: closed at the limit of a line");
        let at_once = grown(&mut nsqd, before);
        // Commands that cost nothing to send: 32 MiB of NOP, all of which are read.
        let mut peer = nsqd.peer();
        peer.upgrade(json!({ layer: true }), None);
        let nops = b"NOP\n".repeat(1 << 19);
        let mut peak = 0;
        for _ in 0..16 {
            peer.send(&nops);
            peak = peak.max(grown(&mut nsqd, before));
        }
        let times = healthy(&nsqd);
        peer.line_and_body("PUB t", b"still here");
        peer.expect_response("OK");
        println!(
            "{layer}: 1 GiB of zeros {} KiB more; 32 MiB of NOP at most {} KiB more, healthy p50 and p99 {times:?}",
            at_once / KIB,
            peak / KIB
        );
        assert!(at_once < 16 * MIB && peak < 16 * MIB, "{layer}: {at_once}, {peak}");
    }
}

#[test]
fn a_flood_of_commands_does_not_starve_others() {
    let nsqd = Nsqd::start();
    nsqd.create("t", &["ch"]);
    let quiet = healthy(&nsqd);
    let mut flooding = nsqd.consumer("t", "ch", 1);
    let flood = b"RDY 1\n".repeat(20_000);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let flooder = std::thread::spawn(move || {
        let mut sent = 0_u64;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) && flooding.try_send(&flood) {
            sent += 20_000;
        }
        sent
    });
    let start = Instant::now();
    let busy = healthy(&nsqd);
    let took = start.elapsed();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let sent = flooder.join().unwrap();
    println!("healthy p50 and p99: {quiet:?} alone, {busy:?} beside {sent} RDY in {took:?}");
    assert!(sent > 0);
}

#[test]
fn connections_beyond_the_limits_are_closed_at_once() {
    for flag in ["--max-connections=2", "--max-connections-per-ip=2"] {
        let mut nsqd = Nsqd::with(&[flag]);
        let mut first = nsqd.peer();
        first.publish("t", "x");
        let mut second = nsqd.peer();
        second.publish("t", "x");
        let mut third = Peer::connect_silent(nsqd.tcp());
        assert_eq!(third.receive_within(Duration::from_secs(5)), Some(Frame::Closed), "{flag}");
        nsqd.process().wait_for_line("connections are refused");
        drop(first);
        eventually("the place is free", || {
            let mut peer = Peer::connect_silent(nsqd.tcp());
            peer.try_send(b"  V2PUB t\n\x00\x00\x00\x01x");
            peer.receive_within(Duration::from_secs(2)) == Some(Frame::Response("OK".into()))
        });
        second.publish("t", "x");
    }
}

#[test]
fn bytes_in_flight_are_limited_by_connection_and_one_message_always_goes() {
    let nsqd = Nsqd::with(&["--max-in-flight-bytes=256KiB"]);
    nsqd.create("t", &["ch"]);
    let mut publisher = nsqd.peer();
    publisher.publish("t", vec![b'x'; 1 << 20]);
    (0..10).for_each(|_| publisher.publish("t", vec![b'y'; 100 * 1024]));
    let mut consumer = nsqd.consumer("t", "ch", 100);
    let large = consumer.expect_message();
    assert_eq!(large.body.len(), 1 << 20);
    consumer.expect_nothing(Duration::from_millis(300));
    consumer.finish(&large);
    let three = consumer.expect_messages(3);
    consumer.expect_nothing(Duration::from_millis(300));
    consumer.finish(&three[0]);
    consumer.expect_messages(1);
    nsqd.eventually_channel("t", "ch", &[("in_flight_count", 3), ("depth", 6)]);
}
