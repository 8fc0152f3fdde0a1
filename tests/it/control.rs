//! The control API: what is declared is there before the first message and stays so; who leaves is fenced, emptied by its
//! consumers, certified and retired, and nothing of that is forgotten by a kill.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use harness::{Frame, Lookupd, Nsqd, Reply, eventually, request, request_bearing};
use serde_json::{Value, json};
use tempfile::TempDir;

const ON: &str = "--control-address=127.0.0.1:0";

fn control(nsqd: &mut Nsqd) -> SocketAddr {
    nsqd.process().address("CONTROL")
}

fn ask(nsqd: &mut Nsqd, method: &str, target: &str, body: &Value) -> Reply {
    request(control(nsqd), method, target, body.to_string().as_bytes())
}

fn post(nsqd: &mut Nsqd, target: &str, body: &Value) -> Reply {
    ask(nsqd, "POST", target, body)
}

fn report(nsqd: &mut Nsqd, of: &str) -> Value {
    ask(nsqd, "GET", of, &Value::Null).ok().json()
}

/// Asserts a refusal with this status and words.
#[track_caller]
fn refused(reply: &Reply, status: u16, words: &str) {
    let message = reply.json()["message"].as_str().unwrap().to_owned();
    assert!(reply.status == status && message.contains(words), "{} {message}", reply.status);
}

fn topology(epoch: u64, topics: &Value) -> Value {
    json!({ "version": 1, "epoch": epoch, "hash": format!("h{epoch}"), "topics": topics })
}

/// A file as `--topology-file` takes it, and the flag for it.
fn file_with(folder: &TempDir, content: &str) -> (PathBuf, String) {
    let path = folder.path().join("topology.json");
    replace(&path, content);
    (path.clone(), format!("--topology-file={}", path.display()))
}

/// As a mounted ConfigMap is changed: at once.
fn replace(path: &Path, content: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, content).unwrap();
    std::fs::rename(next, path).unwrap();
}

#[test]
fn what_the_file_declares_is_there_before_the_first_message() {
    let folder = tempfile::tempdir().unwrap();
    let topics = json!([
        { "name": "a", "durability": "fsync", "channels": [{ "name": "one" }, { "name": "two", "paused": true }] },
        { "name": "b", "paused": true },
    ]);
    file_with(&folder, &topology(3, &topics).to_string());
    // The folder, as a ConfigMap is mounted; and limits that count for those who are not declared.
    let flag = format!("--topology-file={}", folder.path().display());
    let mut nsqd = Nsqd::with(&[&flag, ON, "--max-topics=1", "--max-channels=1"]);
    nsqd.peer().publish("a", "first");
    for channel in ["one", "two"] {
        assert_eq!(nsqd.channel("a", channel)["depth"], 1, "{channel}");
    }
    assert_eq!(nsqd.topic("a")["durability"], "fsync");
    assert_eq!(nsqd.channel("a", "two")["paused"], true);
    assert_eq!(nsqd.topic("b")["paused"], true);
    let report = report(&mut nsqd, "/control/topology");
    let expected = json!({ "epoch": 3, "hash": "h3", "in_sync": true, "topics": 2, "channels": 2, "unmanaged": 0, "drift": [] });
    assert_eq!(report, expected);
    assert_eq!(nsqd.get("/readyz").status, 200);
    assert_eq!(nsqd.post("/topic/create?topic=c", "").status, 503, "the limit counts for others");
}

#[test]
fn a_topology_that_is_too_large_for_a_configmap_comes_packed() {
    let folder = tempfile::tempdir().unwrap();
    let content = topology(3, &json!([{ "name": "a" }])).to_string();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(content.as_bytes()).unwrap();
    std::fs::write(folder.path().join("topology.json.gz"), gzip.finish().unwrap()).unwrap();
    let flag = format!("--topology-file={}", folder.path().display());
    let nsqd = Nsqd::with(&[&flag, ON]);
    assert!(nsqd.topic("a").is_object());
}

#[test]
fn without_its_file_a_broker_comes_up_with_the_last_topology_and_a_new_one_is_not_ready() {
    let folder = tempfile::tempdir().unwrap();
    let (path, flag) = file_with(&folder, &topology(1, &json!([{ "name": "a" }])).to_string());
    let mut nsqd = Nsqd::with(&[&flag, ON]);
    for content in [None, Some("{\"version\":1,\"epo"), Some("{\"version\":7,\"epoch\":9}")] {
        match content {
            None => std::fs::remove_file(&path).unwrap(),
            Some(content) => replace(&path, content),
        }
        nsqd.kill_and_restart();
        nsqd.process().wait_for_line("the topology of the last run is used");
        assert_eq!(report(&mut nsqd, "/control/topology")["epoch"], 1);
        assert_eq!(nsqd.get("/readyz").status, 200);
    }
    let new = Nsqd::with(&[&flag]);
    let ready = new.get("/readyz");
    assert!(ready.status == 503 && ready.text().contains("version 7 is unknown"), "{}", ready.text());
    assert_eq!(new.get("/livez").status, 200);
    replace(&path, &topology(2, &json!([{ "name": "b" }])).to_string());
    eventually("the file is read again", || new.get("/readyz").status == 200);
    assert!(new.topic("b").is_object());
}

#[test]
fn a_damaged_copy_of_the_topology_is_told_and_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_path, flag) = file_with(&folder, &topology(1, &json!([{ "name": "a" }])).to_string());
    let mut nsqd = Nsqd::with(&[&flag, ON]);
    nsqd.peer().publish("a", "kept");
    let copy = nsqd.data_path().join("topology");
    let mut bytes = std::fs::read(&copy).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&copy, &bytes).unwrap();
    nsqd.kill_and_restart();
    nsqd.process().wait_for_line("the copy of the last topology is damaged");
    assert_eq!(report(&mut nsqd, "/control/topology")["in_sync"], true, "the file is there");
    assert_eq!(nsqd.topic("a")["depth"], 1);
}

#[test]
fn higher_epochs_win_whether_pushed_or_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let (path, flag) = file_with(&folder, &topology(5, &json!([{ "name": "a" }])).to_string());
    let mut nsqd = Nsqd::with(&[&flag, ON]);
    let put = |nsqd: &mut Nsqd, topology: &Value| ask(nsqd, "PUT", "/control/topology", topology);
    refused(&put(&mut nsqd, &topology(4, &json!([]))), 409, "epoch 4 is older than 5");
    refused(&put(&mut nsqd, &topology(5, &json!([]))), 409, "a change needs a higher epoch");
    put(&mut nsqd, &topology(5, &json!([{ "name": "a" }]))).ok();
    let report =
        put(&mut nsqd, &topology(6, &json!([{ "name": "b", "channels": [{ "name": "c" }] }]))).ok().json();
    assert_eq!((report["epoch"].as_u64(), report["in_sync"].as_bool()), (Some(6), Some(true)));
    assert_eq!(report["unmanaged"], 1, "a is declared no more, and stays");
    // The file is behind what was pushed, and then ahead of it.
    nsqd.kill_and_restart();
    assert_eq!(self::report(&mut nsqd, "/control/topology")["epoch"], 6);
    replace(&path, &topology(7, &json!([{ "name": "d" }])).to_string());
    eventually("the file is applied", || self::report(&mut nsqd, "/control/topology")["epoch"] == 7);
    assert!(nsqd.topic("d").is_object());
}

#[test]
fn what_is_enforced_is_set_back_and_what_is_not_is_reported() {
    let mut nsqd = Nsqd::with(&[ON]);
    let topics = |paused: bool| {
        json!([
            { "name": "kept", "paused": paused, "durability": "fsync", "channels": [{ "name": "c" }] },
            { "name": "told", "paused": paused, "enforce": false, "channels": [{ "name": "c", "enforce": false }] },
            { "name": "free" },
        ])
    };
    ask(&mut nsqd, "PUT", "/control/topology", &topology(1, &topics(false))).ok();
    for change in [
        "/topic/pause?topic=kept",
        "/channel/delete?topic=kept&channel=c",
        "/topic/create?topic=kept&durability=memory",
        "/topic/pause?topic=told",
        "/topic/pause?topic=free",
        // Nobody declared its level: it is nobody's business.
        "/topic/create?topic=told&durability=memory",
        "/channel/delete?topic=told&channel=c",
    ] {
        nsqd.post(change, "").ok();
    }
    eventually("what is enforced is back", || {
        let topic = nsqd.topic("kept");
        topic["paused"] == false && topic["durability"] == "fsync" && nsqd.channel("kept", "c").is_object()
    });
    let drift = report(&mut nsqd, "/control/topology");
    let expected = json!([
        { "topic": "told", "what": "is paused" },
        { "topic": "told", "channel": "c", "what": "is missing" },
    ]);
    assert_eq!((&drift["drift"], &drift["in_sync"]), (&expected, &json!(false)));
    assert_eq!(nsqd.topic("free")["paused"], true, "nobody declared whether it is");
    // Declared anew, it is set once.
    let report = ask(&mut nsqd, "PUT", "/control/topology", &topology(2, &topics(true))).ok().json();
    assert_eq!(report["in_sync"], true, "{report}");
    assert_eq!(nsqd.topic("kept")["paused"], true);
}

#[test]
fn only_who_bears_the_token_is_answered_and_every_refusal_is_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "old").unwrap();
    let flag = format!("--control-token-file={}", token.display());
    let mut nsqd = Nsqd::with(&[ON, &flag]);
    let address = control(&mut nsqd);
    for (method, path) in
        [("GET", "/control/topology"), ("POST", "/control/drain"), ("PUT", "/control/topology")]
    {
        let reply = request(address, method, path, b"{}");
        refused(&reply, 401, "--control-token-file");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        assert_eq!(request_bearing(address, "wrong", method, path, b"{}").status, 401);
    }
    assert_eq!(request_bearing(address, "old", "GET", "/control/topology", b"").status, 200);
    std::fs::write(&token, "new").unwrap();
    nsqd.process().signal(harness::Signal::HUP);
    eventually("the token is read again", || {
        request_bearing(address, "new", "GET", "/control/topology", b"").status == 200
    });
    assert_eq!(request_bearing(address, "old", "GET", "/control/topology", b"").status, 401);
    let put = |body: &[u8]| request_bearing(address, "new", "PUT", "/control/topology", body);
    refused(&put(b"{\"version\":1"), 400, "the body is not what is asked for");
    refused(&put(b"{\"version\":2,\"epoch\":1}"), 400, "version 2 is unknown");
    refused(&put(&vec![b' '; (32 << 20) + 1]), 413, "larger than 32 MiB");
    assert_eq!(request(nsqd.http(), "GET", "/control/topology", b"").status, 404, "not where everybody asks");
}

#[test]
fn a_draining_broker_refuses_publishes_and_goes_on_delivering_also_after_a_kill() {
    let lookupd = Lookupd::start();
    let mut nsqd = Nsqd::with(&[ON, &format!("--lookupd-tcp-address={}", lookupd.tcp())]);
    nsqd.create("t", &["ch"]);
    nsqd.create("lonely", &[]);
    nsqd.peer().publish_all("t", &["a", "b"]);
    nsqd.peer().publish("lonely", "x");
    let drained = post(&mut nsqd, "/control/drain", &json!({ "epoch": 2 })).ok().json();
    let expected = json!([
        { "topic": "t", "channel": "ch", "messages": 2, "consumers": 0 },
        { "topic": "lonely", "messages": 1, "consumers": 0 },
    ]);
    assert_eq!(
        (&drained["phase"], &drained["remaining"], &drained["waiting"]),
        (&json!("draining"), &json!(3), &expected)
    );
    for _ in 0..2 {
        for command in ["PUB new\n\0\0\0\x01x", "PUB t\n\0\0\0\x01x", "DPUB t 5\n\0\0\0\x01x"] {
            let mut peer = nsqd.peer();
            peer.send(command.as_bytes());
            match peer.receive() {
                Frame::Error(text) => {
                    assert!(text.contains("PUB_FAILED") && text.contains("draining"), "{text}")
                }
                other => panic!("{command:?}: {other:?}"),
            }
        }
        for target in ["/pub?topic=new", "/mpub?topic=t"] {
            let reply = nsqd.post(target, "x");
            assert_eq!((reply.status, reply.header("retry-after")), (503, Some("5")), "{}", reply.text());
        }
        assert!(nsqd.topic("new").is_null(), "a refused publish makes no topic");
        let ready = nsqd.get("/readyz");
        assert!(ready.status == 503 && ready.text().contains("draining"), "{}", ready.text());
        eventually("it can be found", || lookupd.get("/lookup?topic=t").text().contains("broadcast_address"));
        nsqd.kill_and_restart();
    }
    refused(
        &post(&mut nsqd, "/control/certify", &json!({ "epoch": 2 })),
        409,
        "3 messages are left, 2 of them in t/ch",
    );
    let mut consumer = nsqd.consumer("t", "ch", 2);
    let [first, second] = [consumer.expect_message(), consumer.expect_message()];
    assert_eq!(report(&mut nsqd, "/control/drain")["remaining"], 3, "in flight is owed");
    consumer.finish(&first);
    consumer.finish(&second);
    eventually("the topic is empty", || report(&mut nsqd, "/control/drain")["remaining"] == 1);
    nsqd.post("/topic/empty?topic=lonely", "").ok();
    refused(&post(&mut nsqd, "/control/retire", &json!({ "epoch": 2 })), 409, "not certified");
    assert_eq!(post(&mut nsqd, "/control/certify", &json!({ "epoch": 2 })).ok().json()["phase"], "certified");
    nsqd.kill_and_restart();
    assert_eq!(report(&mut nsqd, "/control/drain")["phase"], "certified");
    assert_eq!(nsqd.post("/pub?topic=t", "x").status, 503);
    let undrained = post(&mut nsqd, "/control/undrain", &json!({ "epoch": 2 })).ok().json();
    assert_eq!(undrained["phase"], "serving");
    nsqd.post("/pub?topic=t", "x").ok();
    assert_eq!(nsqd.get("/readyz").status, 200);
    refused(
        &post(&mut nsqd, "/control/drain", &json!({ "epoch": 2 })),
        409,
        "a new one needs a higher epoch",
    );
    refused(&post(&mut nsqd, "/control/drain", &json!({ "epoch": 1 })), 409, "drain 1 is over");
}

#[test]
fn who_retires_is_found_no_more_and_is_again_when_it_is_called_back() {
    let lookupd = Lookupd::start();
    let mut nsqd = Nsqd::with(&[ON, &format!("--lookupd-tcp-address={}", lookupd.tcp())]);
    nsqd.create("t", &["ch"]);
    let is_found = || lookupd.get("/lookup?topic=t").text().contains("\"tcp_port\"");
    eventually("it is registered", is_found);
    eventually("it says so", || {
        let known = report(&mut nsqd, "/control/registrations");
        known == json!({ "lookupds": [{ "address": lookupd.tcp().to_string(), "registered": true }] })
    });
    let mut consumer = nsqd.consumer("t", "ch", 1);
    for step in ["drain", "certify", "retire", "retire"] {
        post(&mut nsqd, &format!("/control/{step}"), &json!({ "epoch": 1 })).ok();
    }
    assert!(!is_found());
    consumer.expect_closed();
    nsqd.kill_and_restart();
    eventually("it is connected again", || {
        report(&mut nsqd, "/control/registrations")["lookupds"][0]["registered"] == true
    });
    assert!(!is_found(), "a restart does not bring it back");
    post(&mut nsqd, "/control/undrain", &json!({ "epoch": 1 })).ok();
    eventually("it is registered again", is_found);
}

#[test]
fn a_damaged_mark_of_a_drain_keeps_publishes_out_until_somebody_decides() {
    let mut nsqd = Nsqd::with(&[ON]);
    nsqd.create("t", &["ch"]);
    nsqd.peer().publish("t", "kept");
    post(&mut nsqd, "/control/drain", &json!({ "epoch": 1 })).ok();
    let mark = nsqd.data_path().join("drain");
    let bytes = std::fs::read(&mark).unwrap();
    std::fs::write(&mark, &bytes[..bytes.len() - 3]).unwrap();
    nsqd.kill_and_restart();
    nsqd.process().wait_for_line("cannot read how far this broker is on its way out");
    assert_eq!(nsqd.post("/pub?topic=t", "x").status, 503);
    assert_eq!(nsqd.channel("t", "ch")["depth"], 1);
    post(&mut nsqd, "/control/undrain", &json!({ "epoch": 1 })).ok();
    nsqd.post("/pub?topic=t", "x").ok();
}

#[test]
fn what_is_deleted_only_if_empty_takes_no_message_with_it() {
    let mut nsqd = Nsqd::with(&[ON]);
    let topics = json!([{ "name": "declared", "channels": [{ "name": "c" }] }]);
    ask(&mut nsqd, "PUT", "/control/topology", &topology(1, &topics)).ok();
    nsqd.create("t", &["full", "empty"]);
    nsqd.peer().publish("t", "x");
    nsqd.post("/channel/empty?topic=t&channel=empty", "").ok();
    let delete = |nsqd: &mut Nsqd, topic: &str, channel: Option<&str>, only_if_empty: bool| {
        let body = json!({ "topic": topic, "channel": channel, "only_if_empty": only_if_empty });
        post(nsqd, "/control/delete", &body)
    };
    refused(&delete(&mut nsqd, "declared", None, true), 409, "take it out of the topology first");
    refused(&delete(&mut nsqd, "declared", Some("c"), true), 409, "take it out of the topology first");
    refused(&delete(&mut nsqd, "nothing", None, true), 404, "no topic nothing");
    refused(&delete(&mut nsqd, "t", Some("nothing"), true), 404, "no channel nothing");
    refused(&delete(&mut nsqd, "t", None, true), 409, "t is not empty: 1 messages");
    refused(&delete(&mut nsqd, "t", Some("full"), true), 409, "t/full is not empty: 1 messages");
    delete(&mut nsqd, "t", Some("empty"), true).ok();
    assert!(nsqd.channel("t", "empty").is_null() && nsqd.channel("t", "full")["depth"] == 1);
    delete(&mut nsqd, "t", Some("full"), false).ok();
    nsqd.post("/pub?topic=t", "y").ok();
    refused(&delete(&mut nsqd, "t", None, true), 409, "t is not empty: 1 messages");
    nsqd.post("/topic/empty?topic=t", "").ok();
    delete(&mut nsqd, "t", None, true).ok();
    assert!(nsqd.topic("t").is_null());
}
