//! Replies, arguments and serving, asked over a real socket as a client would.

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::http_client;
use crate::metrics::Exposition;
use crate::shutdown::Shutdown;

const LIMIT: Duration = Duration::from_secs(10);

struct Server {
    addr: String,
    shutdown: Shutdown,
    requests: Requests,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

async fn start() -> Server {
    let router = Router::new()
        .route("/ping", get(|| async { pong() }))
        .route("/ok", post(|| async { ok_text() }))
        .route("/both", get(|| async { ok_text() }).put(|| async { ok_text() }))
        .route("/slash/", get(|| async { ok_text() }))
        .route("/empty", post(|| async { empty() }))
        .route("/json", get(|| async { json(&serde_json::json!({ "a": [1] })) }))
        .route(
            "/topic",
            get(|args: Args| async move { args.required("topic").map(|topic| text(topic.to_owned())) }),
        )
        .route("/panic", get(|| async { broken() }))
        .route("/slow", get(|| async { std::future::pending::<Response>().await }));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let addr = listener.local_addr().expect("address").to_string();
    let shutdown = Shutdown::new();
    let requests = Requests::default();
    let task = tokio::spawn(serve(listener, finish(router, &requests), shutdown.clone()));
    Server { addr, shutdown, requests, task }
}

fn broken() -> Response {
    panic!("a route's own mistake")
}

impl Server {
    /// The whole answer as it went over the wire, without its date.
    async fn raw(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.addr).await.expect("connect");
        let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        let lines =
            answer.split("\r\n").filter(|line| !line.starts_with("Date: ") && *line != "Connection: close");
        lines.collect::<Vec<_>>().join("\r\n")
    }

    async fn check(&self, method: &str, path: &str, expected: &str) {
        assert_eq!(self.raw(method, path).await, expected.replace('\n', "\r\n"), "{method} {path}");
    }
}

#[tokio::test]
async fn answers_have_the_form_clients_expect() {
    let server = start().await;
    let text =
        "HTTP/1.1 200 OK\nContent-Type: text/plain; charset=utf-8\nX-Nsq-Content-Type: nsq; version=1.0\n";
    server.check("POST", "/ok", &format!("{text}Content-Length: 2\n\nOK")).await;
    let empty = "HTTP/1.1 200 OK\nX-Nsq-Content-Type: nsq; version=1.0\nContent-Length: 0\n\n";
    server.check("POST", "/empty", empty).await;
    let json = "Content-Type: application/json; charset=utf-8\nX-Nsq-Content-Type: nsq; version=1.0\n";
    server.check("GET", "/json", &format!("HTTP/1.1 200 OK\n{json}Content-Length: 9\n\n{{\"a\":[1]}}")).await;
    let ping = "HTTP/1.1 200 OK\nContent-Type: text/plain; charset=utf-8\nContent-Length: 2\n\nOK";
    server.check("GET", "/ping", ping).await;
}

#[tokio::test]
async fn what_is_no_route_is_answered_as_gos_router_does() {
    let server = start().await;
    // Method, path, status, Allow or Location, whether the body has this code.
    for (method, path, status, header, code) in [
        ("GET", "/nowhere", 404, "", "NOT_FOUND"),
        ("HEAD", "/nowhere", 404, "", ""),
        ("OPTIONS", "/nowhere", 404, "", "NOT_FOUND"),
        ("GET", "/", 404, "", "NOT_FOUND"),
        ("GET", "/ok", 405, "Allow: OPTIONS, POST", "METHOD_NOT_ALLOWED"),
        ("PURGE", "/ok", 405, "Allow: OPTIONS, POST", "METHOD_NOT_ALLOWED"),
        ("HEAD", "/ping", 405, "Allow: GET, OPTIONS", ""),
        ("HEAD", "/ok", 405, "Allow: OPTIONS, POST", ""),
        ("OPTIONS", "/ok", 200, "Allow: OPTIONS, POST", ""),
        ("OPTIONS", "/both", 200, "Allow: GET, OPTIONS, PUT", ""),
        ("GET", "/ping/", 301, "Location: /ping", ""),
        ("GET", "/ping/?a=b", 301, "Location: /ping?a=b", ""),
        ("GET", "/PING", 301, "Location: /ping", ""),
        ("GET", "/Ping/", 301, "Location: /ping", ""),
        ("GET", "/no/..//./ping", 301, "Location: /ping", ""),
        ("GET", "/slash", 301, "Location: /slash/", ""),
        ("POST", "/ok/?x=y", 307, "Location: /ok?x=y", ""),
        // nsqd: a path of another method is no place to lead to.
        ("GET", "/ok/", 404, "", "NOT_FOUND"),
        ("HEAD", "/ping/", 404, "", ""),
        ("GET", "//example.com/", 404, "", "NOT_FOUND"),
        ("GET", "//example.com/..", 404, "", "NOT_FOUND"),
    ] {
        let answer = server.raw(method, path).await;
        let what = format!("{method} {path}\n{answer}");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{what}");
        assert!(header.is_empty() || answer.contains(&format!("\r\n{header}\r\n")), "{what}");
        let body = if code.is_empty() { String::new() } else { format!("{{\"message\":\"{code}\"}}") };
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{what}");
    }
}

#[tokio::test]
async fn requests_are_counted_by_route_and_not_by_what_callers_invent() {
    let server = start().await;
    for (method, path) in [
        ("GET", "/ping"),
        ("GET", "/ping"),
        ("HEAD", "/ping"),
        ("BREW", "/x/1"),
        ("GET", "/x/2"),
        ("GET", "/PING"),
    ] {
        server.raw(method, path).await;
    }
    let mut page = Exposition::default();
    server.requests.expose(&mut page);
    let text = page.text();
    for line in [
        r#"nsq_http_requests_total{route="/ping",method="GET",code="200"} 2"#,
        r#"nsq_http_requests_total{route="/ping",method="HEAD",code="405"} 1"#,
        r#"nsq_http_requests_total{route="other",method="other",code="404"} 1"#,
        r#"nsq_http_requests_total{route="other",method="GET",code="404"} 1"#,
        r#"nsq_http_requests_total{route="other",method="GET",code="301"} 1"#,
        r#"nsq_http_request_duration_seconds_count{route="/ping"} 3"#,
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
}

#[tokio::test]
async fn panic_in_a_route_is_answered_and_the_server_lives_on() {
    let server = start().await;
    let answer = server.raw("GET", "/panic").await;
    assert!(
        answer.starts_with("HTTP/1.1 500 ") && answer.ends_with("{\"message\":\"INTERNAL_ERROR\"}"),
        "{answer}"
    );
    assert!(server.raw("GET", "/ping").await.ends_with("OK"));
}

#[tokio::test]
async fn arguments_come_from_the_query_string_only() {
    let server = start().await;
    let (status, body) = http_client::get(&server.addr, "/topic?topic=a%23b", LIMIT).await.expect("answer");
    assert_eq!((status, &body[..]), (200, &b"a#b"[..]));
    for (path, code) in [
        ("/topic", "MISSING_ARG_TOPIC"),
        ("/topic?Topic=a", "MISSING_ARG_TOPIC"),
        ("/topic?topic=%zz", "INVALID_REQUEST"),
        ("/topic?topic=%2", "INVALID_REQUEST"),
        ("/topic?topic=a;b", "INVALID_REQUEST"),
    ] {
        let (status, body) = http_client::get(&server.addr, path, LIMIT).await.expect("answer");
        let expected = format!("{{\"message\":\"{code}\"}}");
        assert_eq!((status, &body[..]), (400, expected.as_bytes()), "{path}");
    }
    let (_, body) =
        http_client::post(&server.addr, "/topic", Bytes::from("topic=a"), LIMIT).await.expect("answer");
    assert_eq!(&body[..], b"{\"message\":\"METHOD_NOT_ALLOWED\"}");
}

#[test]
fn first_of_repeated_arguments_wins() {
    let args = Args::parse("a=1&a=2&b&c=&&d=x+y%20z&e=%ff").expect("well formed");
    assert_eq!(args.optional("a"), Some("1"));
    assert_eq!(args.optional("b"), Some(""));
    assert_eq!(args.optional("c"), Some(""));
    assert_eq!(args.optional("d"), Some("x y z"));
    assert_eq!(args.optional("e"), Some("\u{fffd}"));
    assert_eq!(args.optional("f"), None);
}

#[tokio::test]
async fn shutdown_ends_idle_and_running_connections() {
    let server = start().await;
    let mut idle = TcpStream::connect(&server.addr).await.expect("connect");
    let mut running = TcpStream::connect(&server.addr).await.expect("connect");
    running.write_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("write");
    // Both are accepted once a later connection is answered.
    assert!(server.raw("GET", "/ping").await.ends_with("OK"));
    server.shutdown.trigger();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(LIMIT, async {
        let _ = idle.read_to_end(&mut rest).await;
        let _ = running.read_to_end(&mut rest).await;
        server.task.await
    });
    ended.await.expect("in time").expect("no panic").expect("no error");
    assert!(rest.is_empty());
}
