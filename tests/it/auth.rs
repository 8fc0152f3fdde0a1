//! AUTH: what a client may do is what the auth server says of its secret, over the wire and over HTTP.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use harness::{AuthServer, Frame, Nsqd, Peer, eventually, request, request_bearing};
use serde_json::json;

const SECRET: &str = "open-sesame";

/// An auth server that lets `SECRET` do `rules`, and a nsqd that asks it.
fn guarded(rules: &str, flags: &[&str]) -> (AuthServer, Nsqd) {
    let server = AuthServer::knowing(&[]);
    server.tell(SECRET, &answer(3600, rules));
    let address = format!("--auth-http-address={}", server.address());
    let nsqd = Nsqd::with(&[&[address.as_str()], flags].concat());
    (server, nsqd)
}

fn answer(ttl: u32, rules: &str) -> String {
    format!(r#"{{"ttl":{ttl},"identity":"bob","identity_url":"http://bob","authorizations":[{rules}]}}"#)
}

const ALL: &str = r#"{"permissions":["subscribe","publish"],"topic":".*","channels":[".*"]}"#;

/// May publish to `out` and consume channel `c` of `in`.
const SOME: &str = r#"{"permissions":["publish"],"topic":"out","channels":[".*"]},
    {"permissions":["subscribe"],"topic":"in","channels":["c"]}"#;

fn authenticated(nsqd: &Nsqd) -> Peer {
    let mut peer = Peer::connect(nsqd.tcp());
    peer.line_and_body("AUTH", SECRET.as_bytes());
    let Frame::Response(text) = peer.receive() else { panic!("AUTH was refused") };
    let said: serde_json::Value = text.parse().unwrap();
    assert_eq!(said["identity"], "bob");
    peer
}

#[track_caller]
fn refused(peer: &mut Peer, error: &str) {
    assert_eq!(peer.receive(), Frame::Error(error.to_owned()));
    assert_eq!(peer.receive(), Frame::Closed);
}

#[test]
fn a_client_is_told_that_it_must_say_who_it_is() {
    let (_server, nsqd) = guarded(ALL, &[]);
    assert_eq!(Peer::connect(nsqd.tcp()).identify(json!({}))["auth_required"], true);
    assert_eq!(Peer::connect(Nsqd::start().tcp()).identify(json!({}))["auth_required"], false);
}

#[test]
fn nothing_is_published_or_consumed_before_auth() {
    let (_server, nsqd) = guarded(ALL, &[]);
    for (command, verb) in [
        (&b"PUB t\n\0\0\0\x01x"[..], "PUB"),
        (b"DPUB t 5\n\0\0\0\x01x", "DPUB"),
        (b"MPUB t\n\0\0\0\x09\0\0\0\x01\0\0\0\x01x", "MPUB"),
        // nsqd: asks before it reads the body.
        (b"MPUB t\n", "MPUB"),
        (b"SUB t c\n", "SUB"),
    ] {
        let mut peer = Peer::connect(nsqd.tcp());
        peer.send(command);
        refused(&mut peer, &format!("E_AUTH_FIRST AUTH required before {verb}"));
    }
    let stats = nsqd.get("/stats?format=json").ok().json();
    assert_eq!(stats["topics"], json!([]), "a refused publish makes no topic");
}

#[test]
fn each_command_is_held_against_what_the_secret_allows() {
    let (_server, nsqd) = guarded(SOME, &[]);
    let mut peer = authenticated(&nsqd);
    peer.line_and_body("PUB out", b"x");
    assert_eq!(peer.receive(), Frame::Response("OK".to_owned()));
    for (command, error) in [
        (&b"PUB outer\n\0\0\0\x01x"[..], r#"E_UNAUTHORIZED AUTH failed for PUB on "outer" """#),
        (b"MPUB in\n\0\0\0\x09\0\0\0\x01\0\0\0\x01x", r#"E_UNAUTHORIZED AUTH failed for MPUB on "in" """#),
        (b"SUB in d\n", r#"E_UNAUTHORIZED AUTH failed for SUB on "in" "d""#),
        (b"SUB out c\n", r#"E_UNAUTHORIZED AUTH failed for SUB on "out" "c""#),
    ] {
        let mut peer = authenticated(&nsqd);
        peer.send(command);
        refused(&mut peer, error);
    }
    authenticated(&nsqd).subscribe("in", "c");
}

#[test]
fn patterns_match_anywhere_when_stocks_way_is_asked_for() {
    let (_server, nsqd) = guarded(SOME, &["--auth-regex=nsq"]);
    let mut peer = authenticated(&nsqd);
    peer.line_and_body("PUB xouterx", b"x");
    assert_eq!(peer.receive(), Frame::Response("OK".to_owned()));
}

#[test]
fn auth_is_refused_in_stocks_words() {
    let (server, nsqd) = guarded(ALL, &[]);
    for (secret, error) in
        [("wrong", "E_AUTH_FAILED AUTH failed"), ("nothing", "E_UNAUTHORIZED AUTH no authorizations found")]
    {
        server.tell("nothing", &answer(3600, ""));
        let mut peer = Peer::connect(nsqd.tcp());
        peer.line_and_body("AUTH", secret.as_bytes());
        refused(&mut peer, error);
    }
    let mut peer = authenticated(&nsqd);
    peer.line_and_body("AUTH", SECRET.as_bytes());
    refused(&mut peer, "E_INVALID AUTH already set");
    let open = Nsqd::start();
    let mut peer = Peer::connect(open.tcp());
    peer.line_and_body("AUTH", SECRET.as_bytes());
    refused(&mut peer, "E_AUTH_DISABLED AUTH disabled");
}

#[test]
fn an_answer_that_makes_no_sense_allows_nothing() {
    let (server, nsqd) = guarded(ALL, &[]);
    for answer in ["", "{}", r#"{"ttl":0,"authorizations":[]}"#, "[1"] {
        server.tell(SECRET, answer);
        let mut peer = Peer::connect(nsqd.tcp());
        peer.line_and_body("AUTH", SECRET.as_bytes());
        refused(&mut peer, "E_AUTH_FAILED AUTH failed");
    }
}

#[test]
fn without_an_auth_server_that_answers_nobody_gets_in_and_another_is_asked() {
    let closed = "--auth-http-address=127.0.0.1:1";
    let alone = Nsqd::with(&[closed]);
    let mut peer = Peer::connect(alone.tcp());
    peer.line_and_body("AUTH", SECRET.as_bytes());
    refused(&mut peer, "E_AUTH_FAILED AUTH failed");
    let (_server, nsqd) = guarded(ALL, &[closed]);
    for _ in 0..4 {
        authenticated(&nsqd);
    }
}

#[test]
fn an_address_that_cannot_be_asked_lets_nobody_in_and_another_is_asked() {
    let broken = "--auth-http-address=ftp://user:canary@127.0.0.1";
    let mut alone = Nsqd::with(&[broken]);
    let mut peer = Peer::connect(alone.tcp());
    peer.line_and_body("AUTH", SECRET.as_bytes());
    refused(&mut peer, "E_AUTH_FAILED AUTH failed");
    let log = alone.process().log();
    assert!(
        log.contains("ftp://user:***@127.0.0.1: only http and https can be asked; it is left out"),
        "{log}"
    );
    assert!(!log.contains("canary"), "{log}");
    let (_server, nsqd) = guarded(ALL, &[broken]);
    authenticated(&nsqd);
}

#[test]
fn an_address_without_a_host_is_this_machine_and_its_password_is_nowhere() {
    let server = AuthServer::knowing(&[]);
    server.tell(SECRET, &answer(60, ALL));
    let port = server.address().port();
    for user in ["", "user:canary@"] {
        let address = format!("{user}:{port}");
        let flag = format!("--auth-http-address={address}");
        let mut nsqd = Nsqd::with(&[&flag, "--http-auth=none", "--log-level=debug"]);
        authenticated(&nsqd);
        let shown = |path| request(nsqd.http(), "GET", path, b"").ok().text();
        let config = shown("/config/auth_http_addresses");
        assert_eq!(config, format!(r#"["{}:{port}"]"#, user.replace("canary", "***")));
        let all = [config, shown("/stats?format=json"), shown("/info"), nsqd.process().log()].concat();
        assert!(!all.contains("canary"), "{all}");
    }
}

#[test]
fn the_server_is_asked_as_stock_asks() {
    for (flags, expected) in [
        (&[][..], format!("GET /auth?common_name=&remote_ip=127.0.0.1&secret={SECRET}&tls=false HTTP/1.1 ")),
        (
            &["--auth-http-request-method=post"],
            format!(
                r#"POST /auth HTTP/1.1 {{"common_name":[""],"remote_ip":["127.0.0.1"],"secret":["{SECRET}"],"tls":["false"]}}"#
            ),
        ),
    ] {
        let (server, nsqd) = guarded(ALL, flags);
        authenticated(&nsqd);
        assert_eq!(server.requests(), [expected]);
    }
}

#[test]
fn the_name_and_password_of_a_url_are_sent_to_the_server_and_to_no_log() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let flag = format!("--auth-http-address=http://nsqd:canary%40pass@{address}/auth");
    let mut nsqd = Nsqd::with(&[&flag, "--log-level=debug"]);
    let mut peer = nsqd.peer();
    peer.line_and_body("AUTH", SECRET.as_bytes());
    let (mut stream, _) = listener.accept().unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let expected = format!("\r\nhost: {address}\r\n");
    assert!(head.to_ascii_lowercase().contains(&expected), "{head}");
    // nsqd:canary@pass
    assert!(head.to_ascii_lowercase().contains("\r\nauthorization: basic "), "{head}");
    assert!(head.contains(" bnNxZDpjYW5hcnlAcGFzcw==\r\n"), "{head}");
    write!(stream, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").unwrap();
    refused(&mut peer, "E_AUTH_FAILED AUTH failed");
    nsqd.process().wait_for_line("the auth server answered 401");
    assert!(!nsqd.process().log().contains("canary"));
}

#[test]
fn what_has_expired_is_asked_again_with_the_same_secret() {
    let (server, nsqd) = guarded(ALL, &[]);
    server.tell(SECRET, &answer(1, ALL));
    let mut peer = authenticated(&nsqd);
    eventually("the server is asked a second time", || {
        peer.line_and_body("PUB t", b"x");
        assert_eq!(peer.receive(), Frame::Response("OK".to_owned()));
        server.requests().len() > 1
    });
    server.forget(SECRET);
    eventually("the secret is not accepted any more", || {
        peer.line_and_body("PUB t", b"x");
        match peer.receive() {
            Frame::Response(_) => false,
            other => {
                assert_eq!(other, Frame::Error("E_AUTH_FAILED AUTH failed".to_owned()));
                true
            }
        }
    });
}

#[test]
fn a_subscription_ends_when_its_secret_is_taken_back() {
    let (server, nsqd) = guarded(ALL, &[]);
    server.tell(SECRET, &answer(1, ALL));
    let mut peer = authenticated(&nsqd);
    peer.subscribe("t", "c");
    eventually("the server is asked again, for the subscription", || server.requests().len() > 1);
    server.forget(SECRET);
    refused(&mut peer, r#"E_UNAUTHORIZED AUTH failed for SUB on "t" "c""#);
}

#[test]
fn who_somebody_is_stands_in_the_statistics_and_the_secret_nowhere() {
    let (_server, mut nsqd) = guarded(ALL, &["--log-level=debug"]);
    let mut peer = authenticated(&nsqd);
    peer.subscribe("t", "c");
    let stats = nsqd.get("/stats?format=json").ok();
    let client = stats.json()["topics"][0]["channels"][0]["clients"][0].clone();
    assert_eq!((&client["authed"], &client["auth_identity"]), (&json!(true), &json!("bob")));
    assert_eq!(client["auth_identity_url"], "http://bob");
    let mut wrong = Peer::connect(nsqd.tcp());
    wrong.line_and_body("AUTH", b"canary-secret");
    refused(&mut wrong, "E_AUTH_FAILED AUTH failed");
    let told = stats.text() + &nsqd.get("/metrics").ok().text() + &nsqd.process().log();
    for secret in [SECRET, "canary-secret"] {
        assert!(!told.contains(secret), "{told}");
    }
}

#[test]
fn with_an_auth_server_http_publishes_for_those_who_bear_a_secret() {
    let (_server, nsqd) = guarded(SOME, &[]);
    let with = |bearer: Option<&str>, method: &str, target: &str| match bearer {
        Some(secret) => request_bearing(nsqd.http(), secret, method, target, b"x").status,
        None => request(nsqd.http(), method, target, b"x").status,
    };
    for (bearer, method, target, status) in [
        (None, "GET", "/ping", 200),
        (None, "GET", "/stats", 200),
        (None, "GET", "/info", 200),
        (None, "POST", "/pub?topic=out", 401),
        (Some("wrong"), "POST", "/pub?topic=out", 401),
        (Some(SECRET), "POST", "/pub?topic=out", 200),
        (Some(SECRET), "POST", "/mpub?topic=out", 200),
        (Some(SECRET), "POST", "/pub?topic=in", 403),
        (Some(SECRET), "POST", "/pub", 400),
        (Some(SECRET), "POST", "/topic/create?topic=out", 403),
        (None, "POST", "/topic/delete?topic=out", 401),
        (None, "GET", "/config/log_level", 401),
    ] {
        assert_eq!(with(bearer, method, target), status, "{bearer:?} {method} {target}");
    }
    let (server, closed) = guarded(SOME, &["--http-auth=all"]);
    server.tell("nothing", &answer(3600, ""));
    for target in ["/stats", "/info", "/metrics"] {
        for (secret, status) in [(SECRET, 200), ("nothing", 403), ("wrong", 401)] {
            let found = request_bearing(closed.http(), secret, "GET", target, b"").status;
            assert_eq!(found, status, "{secret} {target}");
        }
    }
    assert_eq!(request_bearing(closed.http(), "nothing", "POST", "/pub", b"x").status, 403);
    let as_stock = guarded(SOME, &["--http-auth=none"]).1;
    assert_eq!(request(as_stock.http(), "POST", "/pub?topic=any", b"x").status, 200);
}
