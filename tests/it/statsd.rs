//! What nsqd pushes to a statsd daemon: a socket on loopback stands for it.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Duration;

use harness::{Nsqd, PATIENCE};

/// A statsd daemon that only listens.
struct Statsd {
    socket: UdpSocket,
}

impl Statsd {
    fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { socket }
    }

    fn flag(&self) -> String {
        format!("--statsd-address={}", self.socket.local_addr().unwrap())
    }

    fn packet(&self) -> String {
        let mut buffer = [0; 65_536];
        let length = self.socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    /// Lines by name until `last` has come, which ends each push.
    fn push(&self, last: &str) -> BTreeMap<String, String> {
        let mut lines = BTreeMap::new();
        while !lines.contains_key(last) {
            for line in self.packet().lines() {
                let (name, value) = line.split_once(':').unwrap();
                lines.insert(name.to_owned(), value.to_owned());
            }
        }
        lines
    }
}

#[test]
fn figures_are_pushed_by_the_names_of_stock() {
    let statsd = Statsd::start();
    let nsqd = Nsqd::with(&[
        &statsd.flag(),
        "--statsd-interval=300ms",
        "--e2e-processing-latency-percentile=0.999,0.5",
    ]);
    nsqd.create("t", &["ch"]);
    nsqd.peer().publish_all("t", &["a", "bb", "ccc"]);
    nsqd.eventually_channel("t", "ch", &[("depth", 3)]);
    let start = format!("nsq.127_0_0_1_{}", nsqd.http().port());
    let last = format!("{start}.mem.gc_runs");
    let mut messages = 0;
    let lines = loop {
        let lines = statsd.push(&last);
        let count = lines.get(&format!("{start}.topic.t.message_count"));
        messages += count.and_then(|count| count.strip_suffix("|c")?.parse::<u64>().ok()).unwrap_or(0);
        if lines.get(&format!("{start}.topic.t.channel.ch.depth")).is_some_and(|depth| depth == "3|g") {
            break lines;
        }
    };
    assert_eq!(messages, 3, "the pushes together");
    for name in [
        "topic.t.message_bytes",
        "topic.t.backend_depth",
        "topic.t.e2e_processing_latency_100",
        "topic.t.channel.ch.e2e_processing_latency_50",
        "topic.t.channel.ch.in_flight_count",
        "topic.t.channel.ch.deferred_count",
        "topic.t.channel.ch.requeue_count",
        "topic.t.channel.ch.timeout_count",
        "topic.t.channel.ch.clients",
        "mem.heap_in_use_bytes",
    ] {
        assert!(lines.contains_key(&format!("{start}.{name}")), "{name}: {lines:#?}");
    }
    let next = statsd.push(&last);
    assert_eq!(next[&format!("{start}.topic.t.message_count")], "0|c", "counters tell what was added");
}

#[test]
fn packets_are_no_longer_than_asked_and_end_with_a_whole_line() {
    let statsd = Statsd::start();
    // nsqd: an interval of a second is a panic.
    let nsqd = Nsqd::with(&[
        &statsd.flag(),
        "--statsd-interval=1s",
        "--statsd-udp-packet-size=120",
        "--statsd-prefix=p",
        "--statsd-mem-stats=false",
        "--statsd-exclude-ephemeral",
    ]);
    nsqd.create("t", &["one", "gone#ephemeral"]);
    nsqd.create("u", &["two"]);
    let mut seen = String::new();
    while !seen.contains("p.topic.u.channel.two.clients") {
        let packet = statsd.packet();
        assert!(packet.len() <= 120 && packet.ends_with('\n'), "{packet:?}");
        seen.push_str(&packet);
    }
    assert!(seen.contains("p.topic.t.channel.one.depth:0|g\n") && !seen.contains("ephemeral"), "{seen}");
    assert!(!seen.contains("mem."), "{seen}");
}

#[test]
fn nobody_at_the_address_is_told_once_and_harms_nothing() {
    let nsqd = Nsqd::with(&["--statsd-address=no-such-host.invalid:1", "--statsd-interval=20ms"]);
    let mut nsqd = nsqd;
    nsqd.process().wait_for_line("cannot push figures");
    nsqd.post("/pub?topic=t", "x").ok();
    let limit = std::time::Instant::now() + Duration::from_millis(300);
    while std::time::Instant::now() < limit {
        nsqd.get("/ping").ok();
    }
    assert_eq!(nsqd.process().log().matches("cannot push figures").count(), 1);
}
