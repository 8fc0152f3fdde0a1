//! nsqlookupd over real sockets, as brokers and consumers meet it.

use std::time::Duration;

use lookupd::{Options, ServeError};

use crate::common::{LIMIT, about, start, start_with};

const OK: &str = "OK";

#[tokio::test]
async fn registered_broker_is_found() {
    let lookupd = start().await;
    let mut broker = lookupd.broker("b1").await;
    assert_eq!(broker.ask("REGISTER t c").await, OK);
    assert_eq!(broker.ask("REGISTER u").await, OK);
    let remote = broker.stream.local_addr().expect("address");
    let producer = format!(
        r#""remote_address":"{remote}","hostname":"h","broadcast_address":"b1","tcp_port":4150,"http_port":4151,"version":"1.3.0","topology_zone":"z","topology_region":"r""#
    );
    let found = format!(r#"{{"channels":["c"],"producers":[{{{producer}}}]}}"#);
    assert_eq!(lookupd.get("/lookup?topic=t").await, (200, found));
    let nodes = format!(r#"{{"producers":[{{{producer},"tombstones":[false,false],"topics":["t","u"]}}]}}"#);
    assert_eq!(lookupd.get("/nodes").await, (200, nodes));
    assert_eq!(lookupd.get("/topics").await, (200, r#"{"topics":["t","u"]}"#.to_owned()));
    assert_eq!(lookupd.get("/channels?topic=t").await, (200, r#"{"channels":["c"]}"#.to_owned()));
    assert_eq!(lookupd.get("/channels?topic=x").await, (200, r#"{"channels":[]}"#.to_owned()));
    let (status, debug) = lookupd.get("/debug").await;
    assert_eq!(status, 200);
    for part in [
        r#""channel:t:c":[{"broadcast_address":"b1","hostname":"h","http_port":4151,"id":""#,
        r#""client::":[{"#,
        r#""topic:u:":[{"#,
        r#""tombstoned":false"#,
    ] {
        assert!(debug.contains(part), "{part} is missing in {debug}");
    }
}

#[tokio::test]
async fn answer_to_identify_tells_the_real_ports() {
    let lookupd =
        start_with(Options { broadcast_address: "lookup.example".to_owned(), ..Options::default() }).await;
    let mut broker = lookupd.connect(b"  V1").await;
    let (tcp, http) = (lookupd.running.tcp_address.port(), lookupd.running.http_address.port());
    let hostname = daemon::host::hostname();
    let expected = format!(
        r#"{{"broadcast_address":"lookup.example","hostname":"{hostname}","http_port":{http},"tcp_port":{tcp},"version":"{}"}}"#,
        daemon::version::VERSION
    );
    assert_eq!(broker.identify(&about("b")).await, expected);
}

#[tokio::test]
async fn disconnect_removes_the_broker_at_once() {
    let lookupd = start().await;
    let mut broker = lookupd.broker("b1").await;
    assert_eq!(broker.ask("REGISTER t c").await, OK);
    drop(broker);
    lookupd.until("/nodes", r#"{"producers":[]}"#).await;
    let known = r#"{"channels":["c"],"producers":[]}"#;
    assert_eq!(lookupd.get("/lookup?topic=t").await, (200, known.to_owned()));
}

#[tokio::test]
async fn unregistered_topic_stays_known() {
    let lookupd = start().await;
    let mut broker = lookupd.broker("b1").await;
    for line in ["REGISTER t c", "REGISTER t d#ephemeral", "UNREGISTER t d#ephemeral", "UNREGISTER t", "PING"]
    {
        assert_eq!(broker.ask(line).await, OK, "{line}");
    }
    let known = r#"{"channels":["c"],"producers":[]}"#;
    assert_eq!(lookupd.get("/lookup?topic=t").await, (200, known.to_owned()));
}

#[tokio::test]
async fn tombstone_hides_the_broker_until_it_expires() {
    let lasting = start().await;
    let passing = start_with(Options { tombstone_lifetime: Duration::ZERO, ..Options::default() }).await;
    for (lookupd, is_hidden) in [(lasting, true), (passing, false)] {
        let mut broker = lookupd.broker("b1").await;
        assert_eq!(broker.ask("REGISTER t").await, OK);
        assert_eq!(lookupd.post("/topic/tombstone?topic=t&node=b1:4151").await, (200, String::new()));
        let (status, found) = lookupd.get("/lookup?topic=t").await;
        assert_eq!((status, found.contains("b1")), (200, !is_hidden), "{found}");
        let (_, nodes) = lookupd.get("/nodes").await;
        assert!(nodes.contains(&format!(r#""tombstones":[{is_hidden}],"topics":["t"]"#)), "{nodes}");
    }
}

#[tokio::test]
async fn inactive_broker_is_left_out() {
    let lookupd =
        start_with(Options { inactive_producer_timeout: Duration::ZERO, ..Options::default() }).await;
    let mut broker = lookupd.broker("b1").await;
    assert_eq!(broker.ask("REGISTER t").await, OK);
    assert_eq!(lookupd.get("/nodes").await, (200, r#"{"producers":[]}"#.to_owned()));
    assert_eq!(lookupd.get("/lookup?topic=t").await.1, r#"{"channels":[],"producers":[]}"#);
}

#[tokio::test]
async fn names_are_created_and_deleted_over_http() {
    let lookupd = start().await;
    let ok = || (200, String::new());
    assert_eq!(lookupd.post("/topic/create?topic=t").await, ok());
    assert_eq!(lookupd.post("/channel/create?topic=u&channel=c%23ephemeral").await, ok());
    assert_eq!(lookupd.get("/topics").await.1, r#"{"topics":["t","u"]}"#);
    assert_eq!(lookupd.get("/channels?topic=u").await.1, r#"{"channels":["c#ephemeral"]}"#);
    assert_eq!(lookupd.post("/channel/delete?topic=u&channel=c%23ephemeral").await, ok());
    assert_eq!(lookupd.post("/topic/delete?topic=u").await, ok());
    assert_eq!(lookupd.post("/topic/delete?topic=u").await, ok());
    assert_eq!(lookupd.get("/topics").await.1, r#"{"topics":["t"]}"#);
}

#[tokio::test]
async fn every_refusal_has_its_code() {
    let lookupd = start().await;
    for (method, path, status, code) in [
        ("GET", "/lookup", 400, "MISSING_ARG_TOPIC"),
        ("GET", "/lookup?topic=%zz", 400, "INVALID_REQUEST"),
        ("GET", "/lookup?topic=t", 404, "TOPIC_NOT_FOUND"),
        ("GET", "/channels", 400, "MISSING_ARG_TOPIC"),
        ("POST", "/topic/create", 400, "MISSING_ARG_TOPIC"),
        ("POST", "/topic/create?topic=a$", 400, "INVALID_ARG_TOPIC"),
        ("POST", "/topic/create?topic=", 400, "INVALID_ARG_TOPIC"),
        ("POST", "/topic/delete", 400, "MISSING_ARG_TOPIC"),
        ("POST", "/topic/tombstone", 400, "MISSING_ARG_TOPIC"),
        ("POST", "/topic/tombstone?topic=t", 400, "MISSING_ARG_NODE"),
        ("POST", "/channel/create", 400, "MISSING_ARG_TOPIC"),
        ("POST", "/channel/create?topic=a$&channel=b$", 400, "INVALID_ARG_TOPIC"),
        ("POST", "/channel/create?topic=a", 400, "MISSING_ARG_CHANNEL"),
        ("POST", "/channel/create?topic=a&channel=b$", 400, "INVALID_ARG_CHANNEL"),
        ("POST", "/channel/delete?topic=a&channel=b$", 400, "INVALID_ARG_CHANNEL"),
        ("POST", "/channel/delete?topic=a&channel=b", 404, "CHANNEL_NOT_FOUND"),
        ("GET", "/topic/create?topic=t", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/lookup?topic=t", 405, "METHOD_NOT_ALLOWED"),
        ("GET", "/nothing", 404, "NOT_FOUND"),
    ] {
        let answer = if method == "GET" { lookupd.get(path).await } else { lookupd.post(path).await };
        assert_eq!(answer, (status, format!(r#"{{"message":"{code}"}}"#)), "{method} {path}");
    }
    assert_eq!(lookupd.get("/topics").await.1, r#"{"topics":[]}"#);
}

#[tokio::test]
async fn ping_and_info_answer() {
    let lookupd = start().await;
    assert_eq!(lookupd.get("/ping").await, (200, OK.to_owned()));
    let info = format!(r#"{{"version":"{}"}}"#, daemon::version::VERSION);
    assert_eq!(lookupd.get("/info").await, (200, info));
}

#[tokio::test]
async fn shutdown_ends_sessions_and_the_service() {
    let mut lookupd = start().await;
    let mut broker = lookupd.broker("b1").await;
    lookupd.shutdown.trigger();
    assert_eq!(broker.reply().await, None);
    let ended = tokio::time::timeout(LIMIT, &mut lookupd.running.done).await;
    ended.expect("in time").expect("no panic").expect("no error");
}

#[tokio::test]
async fn taken_address_is_an_error_that_names_its_flag() {
    let lookupd = start().await;
    let taken = lookupd.running.tcp_address.to_string();
    let options = Options { tcp_address: taken.clone(), ..Options::default() };
    let error = lookupd::serve(options, lookupd.shutdown.clone(), &daemon::reload::Reload::new())
        .await
        .expect_err("taken");
    assert!(matches!(error, ServeError::Listen(_)));
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("cannot listen on {taken} (--tcp-address): address already in use")),
        "{text}"
    );
}
