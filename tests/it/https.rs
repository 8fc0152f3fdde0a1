//! HTTPS: who is served over which port, which certificates open it, and new certificates under connections that stay.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use harness::{Authority, Nsqd, PATIENCE, eventually, request};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

type Encrypted = StreamOwned<ClientConnection, TcpStream>;

fn start(authority: &Authority, flags: &[&str]) -> (Nsqd, SocketAddr) {
    let own = authority.flags();
    let mut all: Vec<&str> = own.iter().map(String::as_str).collect();
    all.extend(flags);
    let mut nsqd = Nsqd::with(&all);
    let address = nsqd.process().address("HTTPS");
    (nsqd, address)
}

fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> Encrypted {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), stream)
}

/// One request over a connection that stays; the status, or why there is none.
fn ask(stream: &mut Encrypted, method: &str, target: &str) -> Result<u16, std::io::Error> {
    write!(stream, "{method} {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.split("\r\n").next());
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body)?;
    Ok(head[9..12].parse().unwrap())
}

fn answer(address: SocketAddr, config: &Arc<ClientConfig>, target: &str) -> Result<u16, std::io::Error> {
    ask(&mut connect(address, config), "POST", target)
}

#[test]
fn https_serves_what_http_serves() {
    let authority = Authority::new();
    let (nsqd, https) = start(&authority, &[]);
    assert_eq!(answer(https, &authority.client(None), "/pub?topic=t").unwrap(), 200);
    assert_eq!(nsqd.topic("t")["message_count"], 1);
    assert!(answer(https, &Authority::new().client(None), "/pub?topic=t").is_err(), "not its authority");
}

#[test]
fn plain_http_is_refused_in_stocks_words_where_tls_is_required() {
    let authority = Authority::new();
    let (nsqd, https) = start(&authority, &["--tls-required=true"]);
    for (method, target) in [("GET", "/ping"), ("POST", "/pub?topic=t"), ("GET", "/no/such/route")] {
        let reply = request(nsqd.http(), method, target, b"");
        assert_eq!(reply.status, 403);
        assert_eq!(
            reply.text(),
            format!("{{\"message\": \"TLS_REQUIRED\", \"https_port\": {}}}", https.port())
        );
        assert_eq!(reply.header("x-nsq-content-type"), Some("nsq; version=1.0"));
    }
    assert_eq!(answer(https, &authority.client(None), "/pub?topic=t").unwrap(), 200);
    let (nsqd, _) = start(&authority, &["--tls-required=tcp-https"]);
    assert_eq!(request(nsqd.http(), "GET", "/ping", b"").status, 200, "tcp-https leaves HTTP open");
}

#[test]
fn clients_show_certificates_as_the_policy_says() {
    let authority = Authority::new();
    let ca = format!("--tls-root-ca-file={}", authority.ca().display());
    for (policy, name, expected) in [
        ("require", None, false),
        ("require", Some("alice"), true),
        ("require-verify", None, false),
        ("require-verify", Some("alice"), true),
    ] {
        let flag = format!("--tls-client-auth-policy={policy}");
        let (nsqd, https) = start(&authority, &[&flag, &ca]);
        let done = answer(https, &authority.client(name), "/pub?topic=t");
        assert_eq!(done.is_ok_and(|status| status == 200), expected, "{policy} {name:?}");
        assert_eq!(request(nsqd.http(), "GET", "/ping", b"").status, 403, "a policy requires TLS");
    }
}

#[test]
fn with_verified_certificates_plain_http_may_only_look() {
    let authority = Authority::new();
    let ca = format!("--tls-root-ca-file={}", authority.ca().display());
    let (nsqd, https) =
        start(&authority, &["--tls-client-auth-policy=require-verify", "--tls-required=tcp-https", &ca]);
    for (method, target, status) in [
        ("GET", "/ping", 200),
        ("GET", "/stats", 200),
        ("POST", "/pub?topic=t", 401),
        ("POST", "/topic/create?topic=t", 401),
    ] {
        assert_eq!(request(nsqd.http(), method, target, b"x").status, status, "{method} {target}");
    }
    assert_eq!(answer(https, &authority.client(Some("alice")), "/topic/create?topic=t").unwrap(), 200);
}

#[test]
fn new_certificates_are_shown_on_sighup_while_connections_stay() {
    let authority = Authority::new();
    let (mut nsqd, https) = start(&authority, &[]);
    let client = authority.client(None);
    let shown = |stream: &Encrypted| stream.conn.peer_certificates().unwrap()[0].to_vec();
    let mut old = connect(https, &client);
    assert_eq!(ask(&mut old, "POST", "/pub?topic=t").unwrap(), 200);
    let first = shown(&old);
    for _ in 0..5 {
        let before = {
            let mut stream = connect(https, &client);
            assert_eq!(ask(&mut stream, "POST", "/pub?topic=t").unwrap(), 200);
            shown(&stream)
        };
        authority.renew();
        nsqd.process().signal(rustix::process::Signal::HUP);
        eventually("the new certificate is shown", || {
            let mut stream = connect(https, &client);
            assert_eq!(ask(&mut stream, "POST", "/pub?topic=t").unwrap(), 200);
            shown(&stream) != before
        });
        assert_eq!(ask(&mut old, "POST", "/pub?topic=t").unwrap(), 200, "it was there before");
    }
    assert_eq!(shown(&old), first);
}
