//! How nsqd keeps to its nsqlookupds: several of them, slow and dead ones, ones with a token, ones that are elsewhere
//! than they say.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use harness::{Lookupd, Nsqd, eventually, request, request_bearing};
use serde_json::json;
use tempfile::TempDir;

fn flag(address: impl std::fmt::Display) -> String {
    format!("--lookupd-tcp-address={address}")
}

#[test]
fn a_new_topic_is_known_when_its_publisher_hears_ok() {
    let lookupd = Lookupd::start();
    let nsqd = Nsqd::with(&[&flag(lookupd.tcp())]);
    eventually("it is registered", || !lookupd.get("/nodes").json()["producers"][0].is_null());
    let mut peer = nsqd.peer();
    let mut known = 0;
    for number in 0..20 {
        peer.publish(&format!("t{number}"), "x");
        known += usize::from(lookupd.ports(&format!("t{number}")) == [nsqd.tcp().port()]);
    }
    // A publisher waits for 20 ms at most, which a busy machine may exceed; most are known all the same.
    assert!(known >= 10, "{known} of 20");
    eventually("all are known", || lookupd.names("/topics", "topics").len() == 20);
}

#[test]
fn a_lookupd_that_never_answers_delays_nobody() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let real = Lookupd::at([127, 0, 0, 2], &[]);
    let dead = "127.0.0.3:9";
    let nsqd = Nsqd::with(&[
        &flag(silent.local_addr().unwrap()),
        &flag(dead),
        &flag("no-such-host.invalid:4160"),
        &flag(real.tcp()),
    ]);
    eventually("it is registered", || !real.get("/nodes").json()["producers"][0].is_null());
    let begun = Instant::now();
    let mut peer = nsqd.peer();
    for number in 0..10 {
        peer.publish(&format!("t{number}"), "x");
    }
    let taken = begun.elapsed();
    assert!(taken < Duration::from_secs(3), "10 new topics took {taken:?}");
    eventually("all are known", || real.names("/topics", "topics").len() == 10);
}

#[test]
fn each_of_two_lookupds_knows_everything_whichever_restarts() {
    let mut lookupds = [Lookupd::start(), Lookupd::at([127, 0, 0, 2], &[])];
    let nsqd = Nsqd::with(&[&flag(lookupds[0].tcp()), &flag(lookupds[1].tcp())]);
    nsqd.create("t", &["ch"]);
    let knows = |lookupd: &Lookupd| {
        lookupd.names("/channels?topic=t", "channels") == ["ch"] && !lookupd.ports("t").is_empty()
    };
    eventually("both know", || lookupds.iter().all(knows));
    for index in [0, 1] {
        lookupds[index].kill_and_restart();
        assert!(knows(&lookupds[1 - index]));
        // Nothing happens on nsqd: it comes back by itself.
        eventually("both know again", || lookupds.iter().all(knows));
    }
}

#[test]
fn a_host_with_two_addresses_is_told_once() {
    let lookupd = Lookupd::start();
    let nsqd = Nsqd::with(&[&flag(format!("localhost:{}", lookupd.tcp().port()))]);
    nsqd.create("t", &[]);
    eventually("it is found", || lookupd.ports("t") == [nsqd.tcp().port()]);
    assert_eq!(lookupd.get("/nodes").json()["producers"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_new_topic_gets_its_channels_also_if_its_lookupd_is_not_where_it_says() {
    let lookupd = Lookupd::with(&["--broadcast-address=no-such-host.invalid"]);
    let [first, second] = [(); 2].map(|()| Nsqd::with(&[&flag(lookupd.tcp())]));
    first.create("t", &["archive"]);
    first.create("u", &["billing"]);
    eventually("they are known", || lookupd.names("/channels?topic=u", "channels") == ["billing"]);
    eventually("both are registered", || {
        lookupd.get("/nodes").json()["producers"].as_array().map(Vec::len) == Some(2)
    });
    second.peer().publish("t", "x");
    second.peer().publish("u", "y");
    assert_eq!(second.consumer("t", "archive", 1).expect_message().text(), "x");
    assert_eq!(second.consumer("u", "billing", 1).expect_message().text(), "y");
}

#[test]
fn with_a_token_only_its_bearers_are_registered() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "canary-one\n").unwrap();
    let token = path.display();
    let lookupd = Lookupd::with(&[&format!("--admin-token-file={token}")]);
    let mut stranger = Nsqd::with(&[&flag(lookupd.tcp())]);
    let mut trusted = Nsqd::with(&[&flag(lookupd.tcp()), &format!("--lookupd-token-file={token}")]);
    stranger.create("t", &[]);
    trusted.create("t", &[]);
    eventually("the one with the token is found", || lookupd.ports("t") == [trusted.tcp().port()]);
    stranger.process().wait_for_line("E_UNAUTHORIZED IDENTIFY failed");
    assert_eq!(lookupd.ports("t"), [trusted.tcp().port()]);
    for log in [stranger.process().log(), trusted.process().log()] {
        assert!(!log.contains("canary"), "{log}");
    }
}

#[test]
fn a_new_topic_gets_its_channels_from_a_lookupd_that_asks_readers_for_the_token() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "canary-one\n").unwrap();
    let token = path.display();
    let lookupd = Lookupd::with(&[&format!("--admin-token-file={token}"), "--http-auth=all"]);
    let flags = [flag(lookupd.tcp()), format!("--lookupd-token-file={token}")];
    let [first, mut second] = [(); 2].map(|()| Nsqd::with(&[&flags[0], &flags[1]]));
    first.create("t", &["archive"]);
    let read = |target: &str| request_bearing(lookupd.http(), "canary-one", "GET", target, b"").json();
    eventually("both are registered", || read("/nodes")["producers"].as_array().map(Vec::len) == Some(2));
    eventually("the channel is known", || read("/channels?topic=t")["channels"] == json!(["archive"]));
    assert_eq!(lookupd.get("/channels?topic=t").status, 401);
    second.peer().publish("t", "x");
    assert_eq!(second.channel("t", "archive")["depth"], 1);
    assert!(!second.process().log().contains("canary"));
}

#[test]
fn what_a_lookupd_has_no_room_for_does_not_cost_the_rest() {
    let lookupd = Lookupd::with(&["--max-registrations-per-connection=2"]);
    let mut nsqd = Nsqd::with(&[&flag(lookupd.tcp())]);
    for topic in ["a", "b", "c"] {
        nsqd.create(topic, &[]);
    }
    nsqd.process().wait_for_line("takes no more registrations");
    assert_eq!(lookupd.names("/topics", "topics"), ["a", "b"]);
    nsqd.post("/topic/delete?topic=a", "").ok();
    nsqd.create("d", &[]);
    eventually("there is room again", || lookupd.ports("d") == [nsqd.tcp().port()]);
}

#[test]
fn an_nsqd_without_http_is_found_by_consumers() {
    let lookupd = Lookupd::start();
    let data = TempDir::new().unwrap();
    let broadcast = "--broadcast-address=127.0.0.1".to_owned();
    let args = [
        flag(lookupd.tcp()),
        broadcast,
        format!("--data-path={}", data.path().display()),
        "--tcp-address=127.0.0.1:0".to_owned(),
        "--http-address=".to_owned(),
    ];
    let process = harness::Process::start(&harness::nsqd_binary(), &args);
    let mut peer = harness::Peer::connect(process.address("TCP"));
    peer.publish("t", "x");
    eventually("it is found", || lookupd.ports("t") == [process.address("TCP").port()]);
    assert_eq!(lookupd.get("/lookup?topic=t").json()["producers"][0]["http_port"], 0);
}

#[test]
fn lookupds_that_are_taken_away_are_left_at_once_and_those_that_are_new_joined() {
    let (first, second) = (Lookupd::start(), Lookupd::at([127, 0, 0, 2], &[]));
    let nsqd = Nsqd::with(&[]);
    nsqd.create("t", &["ch"]);
    let follow = |addresses: &[String]| {
        let body = json!(addresses).to_string();
        let reply = request(nsqd.http(), "PUT", "/config/nsqlookupd_tcp_addresses", body.as_bytes());
        assert_eq!(reply.ok().json(), json!(addresses));
    };
    let (one, two) = (first.tcp().to_string(), second.tcp().to_string());
    for (addresses, at_first, at_second) in [
        (vec![one.clone()], true, false),
        (vec![one, two.clone()], true, true),
        (vec![two], false, true),
        (vec![], false, false),
    ] {
        follow(&addresses);
        eventually(&format!("with {addresses:?}"), || {
            first.ports("t").is_empty() != at_first && second.ports("t").is_empty() != at_second
        });
    }
}
