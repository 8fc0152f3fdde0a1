//! TLS, snappy and deflate under a connection: everything a client does, through each of them; and unix sockets.

use std::time::Duration;

use harness::{Authority, Frame, Nsqd, Peer, eventually};
use serde_json::{Value, json};

/// What clients put on: a name for reports, and what they ask for.
const LAYERS: [(&str, &[&str]); 6] = [
    ("plain", &[]),
    ("TLS", &["tls_v1"]),
    ("TLS and snappy", &["tls_v1", "snappy"]),
    ("TLS and deflate", &["tls_v1", "deflate"]),
    ("snappy", &["snappy"]),
    ("deflate", &["deflate"]),
];

fn start(authority: &Authority, flags: &[&str]) -> Nsqd {
    let shown = authority.flags();
    let flags: Vec<&str> = shown.iter().map(String::as_str).chain(flags.iter().copied()).collect();
    Nsqd::with(&flags)
}

fn wishes(layers: &[&str]) -> Value {
    let mut wishes = json!({});
    layers.iter().for_each(|layer| wishes[*layer] = json!(true));
    wishes
}

fn layered(nsqd: &Nsqd, authority: &Authority, layers: &[&str]) -> Peer {
    let mut peer = nsqd.peer();
    let granted = peer.upgrade(wishes(layers), Some(authority.client(None)));
    for layer in ["tls_v1", "snappy", "deflate"] {
        assert_eq!(granted[layer], json!(layers.contains(&layer)), "{layers:?}");
    }
    peer
}

/// Some that compress, some that do not, some larger than every buffer.
fn bodies() -> Vec<Vec<u8>> {
    let mut noise = 1_u64;
    let mut random = |bytes: usize| -> Vec<u8> {
        let mut next = || {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise.to_le_bytes()[0]
        };
        (0..bytes).map(|_| next()).collect()
    };
    vec![b"x".to_vec(), vec![b'a'; 1 << 20], random(1 << 20), random(100), vec![0; 70_000], random(65_536)]
}

#[test]
fn messages_go_both_ways_through_every_layer() {
    let authority = Authority::new();
    let nsqd = start(&authority, &[]);
    for (name, layers) in LAYERS {
        let topic = name.replace(' ', "_");
        nsqd.create(&topic, &["ch"]);
        let mut publisher = layered(&nsqd, &authority, layers);
        let mut consumer = layered(&nsqd, &authority, layers);
        consumer.subscribe(&topic, "ch");
        consumer.ready(3);
        let bodies = bodies();
        bodies.iter().for_each(|body| publisher.publish(&topic, body));
        publisher.publish_all(&topic, &bodies);
        let mut got = Vec::new();
        for _ in 0..2 * bodies.len() {
            let message = consumer.expect_message();
            consumer.finish(&message);
            got.push(message.body);
        }
        let mut wanted = [bodies.clone(), bodies].concat();
        got.sort();
        wanted.sort();
        assert!(got == wanted, "{name}: other bodies");
        consumer.close();
        nsqd.eventually_channel(&topic, "ch", &[("depth", 0), ("in_flight_count", 0)]);
        println!("{name}: {} messages of 1 byte to 1 MiB there and back", got.len());
    }
}

#[test]
fn small_commands_sent_one_by_one_and_together_are_answered_in_order_through_every_layer() {
    let authority = Authority::new();
    let nsqd = start(&authority, &[]);
    for (name, layers) in LAYERS {
        let mut peer = layered(&nsqd, &authority, layers);
        let command = b"PUB t\n\0\0\0\x01x";
        for byte in command.repeat(3) {
            peer.send(&[byte]);
        }
        peer.send(&command.repeat(500));
        for _ in 0..503 {
            peer.expect_response("OK");
        }
        peer.line("FIN 0123456789abcdef");
        match peer.receive() {
            Frame::Error(text) => assert!(text.starts_with("E_INVALID cannot FIN"), "{name}: {text}"),
            other => panic!("{name}: {other:?}"),
        }
        peer.expect_closed();
    }
}

#[test]
fn heartbeats_come_through_every_layer_and_who_is_silent_is_cut() {
    let authority = Authority::new();
    let nsqd = start(&authority, &[]);
    let trust = authority.client(None);
    let mut peers: Vec<Peer> = LAYERS
        .iter()
        .map(|(_, layers)| {
            let mut wishes = wishes(layers);
            wishes["heartbeat_interval"] = json!(1000);
            let mut peer = nsqd.peer();
            peer.upgrade(wishes, Some(trust.clone()));
            peer
        })
        .collect();
    for peer in &mut peers {
        let limit = std::time::Instant::now() + Duration::from_secs(5);
        assert_eq!(peer.receive_raw(limit), Some(Frame::Response("_heartbeat_".into())));
        peer.line("NOP");
    }
    for peer in &mut peers {
        let limit = std::time::Instant::now() + Duration::from_secs(8);
        while let Some(frame) = peer.receive_raw(limit) {
            if frame == Frame::Closed {
                break;
            }
            assert_eq!(frame, Frame::Response("_heartbeat_".into()));
        }
    }
}

#[test]
fn layers_show_in_the_statistics_in_gos_words() {
    let authority = Authority::new();
    let nsqd = start(&authority, &[]);
    nsqd.create("t", &["ch"]);
    let check = |layers: &[&str], version: &'static rustls::SupportedProtocolVersion, wanted: Value| {
        let mut peer = nsqd.peer();
        peer.upgrade(wishes(layers), Some(authority.client_of(version)));
        peer.subscribe("t", "ch");
        let client = nsqd.channel("t", "ch")["clients"][0].take();
        for (field, value) in wanted.as_object().unwrap() {
            assert_eq!(client[field], *value, "{field} of {client}");
        }
        drop(peer);
        nsqd.eventually_channel("t", "ch", &[("client_count", 0)]);
    };
    let none =
        json!({"tls": false, "tls_version": "", "tls_cipher_suite": "", "snappy": false, "deflate": true});
    check(&["deflate"], &rustls::version::TLS13, none);
    let new = json!({"tls": true, "tls_version": "TLS1.3", "tls_cipher_suite": "TLS_AES_256_GCM_SHA384",
        "tls_negotiated_protocol": "", "snappy": true, "deflate": false});
    check(&["tls_v1", "snappy"], &rustls::version::TLS13, new);
    let old = json!({"tls": true, "tls_version": "TLS1.2",
        "tls_cipher_suite": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"});
    check(&["tls_v1"], &rustls::version::TLS12, old);
}

#[test]
fn what_is_not_offered_is_not_granted() {
    let authority = Authority::new();
    let check = |nsqd: &Nsqd, asked: Value, wanted: Value| {
        let granted = nsqd.peer().identify(asked.clone());
        for (field, value) in wanted.as_object().unwrap() {
            assert_eq!(granted[field], *value, "{field} for {asked}");
        }
    };
    let without = Nsqd::with(&["--snappy=false", "--max-deflate-level=4"]);
    check(&without, json!({"tls_v1": true, "snappy": true}), json!({"tls_v1": false, "snappy": false}));
    check(&without, json!({"deflate": true}), json!({"deflate": true, "deflate_level": 4}));
    check(
        &without,
        json!({"deflate": true, "snappy": true, "deflate_level": 2}),
        json!({"deflate": true, "deflate_level": 2, "snappy": false}),
    );
    let with = start(&authority, &["--deflate=false"]);
    check(&with, json!({"deflate": true}), json!({"deflate": false, "deflate_level": 6}));
    let nsqd = Nsqd::start();
    let mut peer = nsqd.peer();
    peer.line_and_body("IDENTIFY", br#"{"feature_negotiation":true,"snappy":true,"deflate":true}"#);
    peer.expect_error("E_IDENTIFY_FAILED cannot enable both deflate and snappy compression");
    peer.expect_closed();
}

#[test]
fn where_tls_is_required_nothing_else_is_done_before_it() {
    let authority = Authority::new();
    for required in ["true", "tcp-https"] {
        let nsqd = start(&authority, &[&format!("--tls-required={required}")]);
        for (line, verb) in [("NOP", "NOP"), ("SUB t ch", "SUB"), ("PUB t", "PUB")] {
            let mut peer = nsqd.peer();
            peer.line(line);
            peer.expect_error(&format!("E_INVALID cannot {verb} in current state (TLS required)"));
            peer.expect_closed();
        }
        let mut peer = nsqd.peer();
        peer.identify(json!({}));
        peer.line("NOP");
        peer.expect_error("E_INVALID cannot NOP in current state (TLS required)");
        layered(&nsqd, &authority, &["tls_v1"]).publish("t", "x");
    }
}

#[test]
fn a_handshake_that_fails_is_told_of_in_the_clear() {
    let authority = Authority::new();
    let nsqd = start(&authority, &[]);
    let mut peer = nsqd.peer();
    assert_eq!(peer.identify(wishes(&["tls_v1"]))["tls_v1"], true);
    peer.try_send_raw(&[b'x'; 64]);
    let answer = peer.receive_error_after_alert();
    assert!(answer.starts_with("E_IDENTIFY_FAILED IDENTIFY failed "), "{answer}");
    peer.expect_closed();
}

#[test]
fn a_client_in_a_hurry_may_begin_tls_behind_identify() {
    let authority = Authority::new();
    let nsqd = start(&authority, &[]);
    let mut peer = nsqd.peer();
    let config = authority.client(None);
    peer.identify_and_hello(wishes(&["tls_v1"]), config);
    peer.expect_response("OK");
    peer.publish("t", "x");
}

#[test]
fn damaged_layers_end_their_connection_and_no_other() {
    let authority = Authority::new();
    let nsqd = start(&authority, &[]);
    let mut healthy = nsqd.peer();
    for (name, layers) in LAYERS.iter().skip(1) {
        let mut peer = layered(&nsqd, &authority, layers);
        let sent = if layers.len() == 1 {
            peer.try_send_raw(&[0x07; 300])
        } else {
            peer.try_send_uncompressed(&[0x07; 300])
        };
        assert!(sent, "{name}");
        peer.expect_closed();
    }
    healthy.publish("t", "x");
}

#[test]
fn what_fails_its_checksum_is_not_executed() {
    let nsqd = Nsqd::start();
    nsqd.create("t", &["ch"]);
    let mut peer = nsqd.peer();
    peer.upgrade(wishes(&["snappy"]), None);
    let publish = b"PUB t\n\0\0\0\x01x";
    let mut stream = b"\xff\x06\0\0sNaPpY\x01".to_vec();
    stream.push(4 + publish.len() as u8);
    stream.extend(b"\0\0\0\0\0\0");
    stream.extend(publish);
    assert!(peer.try_send_raw(&stream));
    peer.expect_closed();
    assert_eq!(nsqd.channel("t", "ch")["message_count"], 0);
}

#[test]
fn a_consumer_that_reads_slowly_through_layers_gets_everything() {
    let authority = Authority::new();
    let nsqd = start(&authority, &[]);
    for (_, layers) in LAYERS {
        let topic = format!("t{}", layers.join("_"));
        nsqd.create(&topic, &["ch"]);
        let mut publisher = nsqd.peer();
        let body = bodies()[2][..100_000].to_vec();
        let all: Vec<&[u8]> = (0..40).map(|_| body.as_slice()).collect();
        publisher.publish_all(&topic, &all);
        let mut consumer = layered(&nsqd, &authority, layers);
        consumer.subscribe(&topic, "ch");
        consumer.ready(100);
        // Until the socket takes no more, and something waits behind it.
        eventually("nsqd to have sent what it can", || {
            nsqd.channel(&topic, "ch")["in_flight_count"].as_u64() > Some(5)
        });
        for message in consumer.expect_messages(40) {
            assert!(message.body == body);
            consumer.finish(&message);
        }
        consumer.close();
        nsqd.eventually_channel(&topic, "ch", &[("depth", 0), ("in_flight_count", 0)]);
    }
}

#[test]
fn layered_clients_come_back_after_a_restart() {
    let authority = Authority::new();
    let mut nsqd = start(&authority, &[]);
    nsqd.create("t", &["ch"]);
    let mut peer = layered(&nsqd, &authority, &["tls_v1", "deflate"]);
    peer.publish("t", "before");
    assert!(nsqd.terminate_and_restart().success());
    peer.expect_closed();
    let mut peer = layered(&nsqd, &authority, &["tls_v1", "snappy"]);
    peer.subscribe("t", "ch");
    peer.ready(1);
    assert_eq!(peer.expect_message().text(), "before");
}

#[test]
fn clients_may_come_over_a_unix_socket() {
    let folder = tempfile::TempDir::new().unwrap();
    let path = folder.path().join("nsqd.sock");
    let mut nsqd = Nsqd::with_unix(&path, &[]);
    nsqd.process().wait_for_line(&format!("TCP: listening on {}", path.display()));
    nsqd.create("t", &["ch"]);
    let mut peer = Peer::connect_unix(&path);
    peer.upgrade(wishes(&["snappy"]), None);
    peer.subscribe("t", "ch");
    peer.publish("t", "x");
    peer.ready(1);
    let message = peer.expect_message();
    peer.finish(&message);
    let client = nsqd.channel("t", "ch")["clients"][0].take();
    assert_eq!((&client["remote_address"], &client["client_id"]), (&json!("@"), &json!("")));
    assert_eq!(nsqd.get("/info").ok().json()["tcp_port"], -1);
    assert!(nsqd.process().terminate().success());
    assert!(!path.exists(), "the file goes with the broker");
}
