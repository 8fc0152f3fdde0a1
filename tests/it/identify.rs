//! IDENTIFY: what may be asked, what is granted, and where it shows.

use std::time::Duration;

use harness::{Frame, Nsqd, Peer};
use serde_json::{Value, json};

#[test]
fn the_answer_has_every_field_clients_read() {
    let nsqd = Nsqd::start();
    let mut granted = nsqd.peer().identify(json!({}));
    let version = granted["version"].take();
    assert!(version.as_str().is_some_and(|version| version.starts_with("1.3.0")), "{version}");
    let wanted = json!({
        "max_rdy_count": 2500, "version": null, "max_msg_timeout": 900_000, "msg_timeout": 60_000, "tls_v1": false,
        "deflate": false, "deflate_level": 6, "max_deflate_level": 6, "snappy": false, "sample_rate": 0,
        "auth_required": false, "output_buffer_size": 16384, "output_buffer_timeout": 250,
        "topology_region": "", "topology_zone": "",
    });
    assert_eq!(granted, wanted);
}

#[test]
fn without_feature_negotiation_the_answer_is_ok() {
    let nsqd = Nsqd::start();
    for body in ["{}", r#"{"feature_negotiation":false,"client_id":"c"}"#, r#"{"msg_timeout":5000}"#] {
        let mut peer = nsqd.peer();
        peer.line_and_body("IDENTIFY", body.as_bytes());
        peer.expect_response("OK");
        peer.publish("t", "x");
    }
}

#[test]
fn what_is_asked_within_the_limits_is_granted() {
    let nsqd = Nsqd::start();
    let check = |wishes: Value, field: &str, wanted: Value| {
        let granted = nsqd.peer().identify(wishes.clone());
        assert_eq!(granted[field], wanted, "{wishes}");
    };
    check(json!({"msg_timeout": 1000}), "msg_timeout", json!(1000));
    check(json!({"msg_timeout": 900_000}), "msg_timeout", json!(900_000));
    check(json!({"msg_timeout": 0}), "msg_timeout", json!(60_000));
    check(json!({"sample_rate": 99}), "sample_rate", json!(99));
    check(json!({"output_buffer_size": 64}), "output_buffer_size", json!(64));
    check(json!({"output_buffer_size": 65536}), "output_buffer_size", json!(65536));
    check(json!({"output_buffer_size": 0}), "output_buffer_size", json!(16384));
    check(json!({"output_buffer_timeout": 25}), "output_buffer_timeout", json!(25));
    check(json!({"output_buffer_timeout": 30_000}), "output_buffer_timeout", json!(30_000));
    check(json!({"output_buffer_timeout": 0}), "output_buffer_timeout", json!(250));
    check(json!({"heartbeat_interval": 1000}), "max_rdy_count", json!(2500));
    check(json!({"heartbeat_interval": 60_000}), "max_rdy_count", json!(2500));
    check(json!({"heartbeat_interval": -1}), "max_rdy_count", json!(2500));
}

#[test]
fn encryption_is_not_granted_without_a_certificate_and_the_connection_goes_on_in_the_clear() {
    let nsqd = Nsqd::start();
    let mut peer = nsqd.peer();
    assert_eq!(peer.identify(json!({"tls_v1": true}))["tls_v1"], false);
    peer.publish("t", "x");
}

#[test]
fn fields_may_be_null_missing_or_unknown() {
    let nsqd = Nsqd::start();
    let wishes = json!({
        "client_id": null, "hostname": null, "user_agent": null, "heartbeat_interval": null, "msg_timeout": null,
        "sample_rate": null, "tls_v1": null, "topology_zone": null,
        "short_id": "old", "long_id": "older", "from_the_future": {"a": [1, 2]},
    });
    assert_eq!(nsqd.peer().identify(wishes)["msg_timeout"], 60_000);
}

#[test]
fn values_out_of_range_are_refused_in_the_servers_order() {
    let nsqd = Nsqd::start();
    let check = |body: &str, wanted: &str| {
        let mut peer = nsqd.peer();
        peer.line_and_body("IDENTIFY", body.as_bytes());
        peer.expect_error(&format!("E_BAD_BODY IDENTIFY {wanted}"));
        peer.expect_closed();
    };
    check(r#"{"heartbeat_interval":999}"#, "heartbeat interval (999) is invalid");
    check(r#"{"heartbeat_interval":60001}"#, "heartbeat interval (60001) is invalid");
    check(r#"{"heartbeat_interval":-2}"#, "heartbeat interval (-2) is invalid");
    check(r#"{"output_buffer_timeout":24}"#, "output buffer timeout (24) is invalid");
    check(r#"{"output_buffer_timeout":30001}"#, "output buffer timeout (30001) is invalid");
    check(r#"{"output_buffer_size":63}"#, "output buffer size (63) is invalid");
    check(r#"{"output_buffer_size":65537}"#, "output buffer size (65537) is invalid");
    check(r#"{"sample_rate":100}"#, "sample rate (100) is invalid");
    check(r#"{"sample_rate":-1}"#, "sample rate (-1) is invalid");
    check(r#"{"msg_timeout":999}"#, "msg timeout (999) is invalid");
    check(r#"{"msg_timeout":900001}"#, "msg timeout (900001) is invalid");
    let all = r#"{"msg_timeout":1,"sample_rate":100,"output_buffer_size":1,"output_buffer_timeout":1"#;
    check(&format!("{all}}}"), "output buffer timeout (1) is invalid");
    check(&format!("{all},\"heartbeat_interval\":1}}"), "heartbeat interval (1) is invalid");
    check("", "invalid body size 0");
    check("{", "failed to decode JSON body");
    check("[]", "failed to decode JSON body");
    check(r#"{"heartbeat_interval":"1000"}"#, "failed to decode JSON body");
    check(r#"{"client_id":7}"#, "failed to decode JSON body");
}

#[test]
fn who_a_client_says_it_is_shows_in_the_statistics() {
    let nsqd = Nsqd::start();
    let mut named = nsqd.peer();
    named.identify(
        json!({"client_id": "me", "hostname": "here.example", "user_agent": "tester/1", "sample_rate": 7}),
    );
    named.subscribe("t", "ch");
    let mut nameless = nsqd.peer();
    nameless.subscribe("t", "other");
    let client = nsqd.channel("t", "ch")["clients"][0].clone();
    let shown = ["client_id", "hostname", "user_agent", "remote_address", "version"]
        .map(|field| client[field].clone());
    assert_eq!(shown, ["me", "here.example", "tester/1", named.address().as_str(), "V2"].map(Value::from));
    assert_eq!(client["sample_rate"], 7);
    let client = nsqd.channel("t", "other")["clients"][0].clone();
    assert_eq!((&client["client_id"], &client["hostname"]), (&json!("127.0.0.1"), &json!("127.0.0.1")));
}

#[test]
fn it_may_be_said_again_before_subscribing_but_not_after() {
    let nsqd = Nsqd::start();
    let mut peer = nsqd.peer();
    peer.identify(json!({"client_id": "first"}));
    peer.identify(json!({"client_id": "second"}));
    peer.subscribe("t", "ch");
    assert_eq!(nsqd.channel("t", "ch")["clients"][0]["client_id"], "second");
    peer.line_and_body("IDENTIFY", b"{}");
    peer.expect_error("E_INVALID cannot IDENTIFY in current state");
    peer.expect_closed();
}

#[test]
fn a_server_without_a_flush_timer_serves() {
    // nsqd: ends with a panic at the first client.
    let nsqd = Nsqd::with(&["--output-buffer-timeout=0"]);
    nsqd.peer().publish("t", "x");
    let mut consumer = nsqd.peer();
    consumer.identify(json!({}));
    consumer.subscribe("t", "ch");
    consumer.ready(10);
    assert_eq!(consumer.expect_message().text(), "x");
}

#[test]
fn an_unbuffered_consumer_is_served_like_any_other() {
    let nsqd = Nsqd::start();
    for wishes in [
        json!({"output_buffer_size": -1, "output_buffer_timeout": -1}),
        json!({"output_buffer_timeout": 30_000}),
        json!({"output_buffer_size": 65536, "output_buffer_timeout": -1}),
    ] {
        let mut consumer: Peer = nsqd.peer();
        consumer.identify(wishes);
        consumer.subscribe("t", "ch");
        consumer.ready(100);
        nsqd.peer().publish("t", "x");
        // Even with a flush timer of 30 s: what can be sent is sent.
        match consumer.receive_within(Duration::from_secs(10)) {
            Some(Frame::Message(message)) => consumer.finish(&message),
            other => panic!("{other:?}"),
        }
        consumer.close();
    }
}
