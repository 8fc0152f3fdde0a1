//! Who is let in when something is wrong or changes: auth servers that hang, fail or speak TLS, tokens and certificates
//! that are replaced, listeners that are unix sockets or off. What AUTH answers when all is well is in `auth`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{
    AuthServer, Authority, Frame, Nsqd, PATIENCE, Peer, Process, eventually, nsqd_binary, request,
    request_bearing, root,
};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

/// What a moody auth server does.
const ALLOW: u8 = 0;
const FAIL: u8 = 1;
const HANG: u8 = 2;

/// An auth server that allows everybody everything, for a second, until its mood changes.
struct Moody {
    address: SocketAddr,
    mood: Arc<AtomicU8>,
    asked: Arc<AtomicUsize>,
}

impl Moody {
    fn start(mood: u8, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (mood, asked) = (Arc::new(AtomicU8::new(mood)), Arc::new(AtomicUsize::new(0)));
        let (current, count) = (Arc::clone(&mood), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (mood, count, tls) = (Arc::clone(&current), Arc::clone(&count), tls.clone());
                // A request that is broken off is nsqd's matter, not ours.
                std::thread::spawn(move || match tls {
                    None => answer(stream, &mood, &count),
                    Some(config) => {
                        let tls = ServerConnection::new(config).unwrap();
                        answer(StreamOwned::new(tls, stream), &mood, &count)
                    }
                });
            }
        });
        Self { address, mood, asked }
    }

    fn flag(&self) -> String {
        format!("--auth-http-address={}", self.address)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: impl Read + Write, mood: &AtomicU8, asked: &AtomicUsize) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let body = r#"{"ttl":1,"authorizations":[{"permissions":["subscribe","publish"],"topic":".*","channels":[".*"]}]}"#;
    let (status, body) = match mood.load(Ordering::SeqCst) {
        ALLOW => ("200 OK", body),
        FAIL => ("502 Bad Gateway", ""),
        // Until nsqd has had enough.
        _ => return stream.read_exact(&mut byte),
    };
    let length = body.len();
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")?;
    stream.flush()
}

#[track_caller]
fn expect_end(peer: &mut Peer, error: &str) {
    peer.expect_error(error);
    peer.expect_closed();
}

/// The paths of a server's certificate and key.
fn files(authority: &Authority) -> [String; 2] {
    let flags = authority.flags();
    let path = |flag: &str| flag.split_once('=').unwrap().1.to_owned();
    [path(&flags[0]), path(&flags[1])]
}

fn token_file(folder: &Path, token: &str) -> String {
    let path = folder.join("token");
    std::fs::write(&path, token).unwrap();
    format!("--admin-token-file={}", path.display())
}

#[test]
fn an_auth_server_that_hangs_keeps_others_from_nothing_and_who_waits_for_it_is_not_silent() {
    let server = Moody::start(HANG, None);
    let nsqd = Nsqd::with(&[&server.flag(), "--http-client-request-timeout=3s"]);
    let mut waiting: Vec<Peer> = (0..8)
        .map(|_| {
            let mut peer = nsqd.peer();
            peer.identify(json!({ "heartbeat_interval": 1000 }));
            peer.line_and_body("AUTH", b"s");
            peer
        })
        .collect();
    eventually("all of them are asked for", || server.asked() == 8);
    let began = Instant::now();
    for _ in 0..8 {
        let mut peer = nsqd.peer();
        peer.line("SUB t c");
        expect_end(&mut peer, "E_AUTH_FIRST AUTH required before SUB");
    }
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    for peer in &mut waiting {
        expect_end(peer, "E_AUTH_FAILED AUTH failed");
    }
}

#[test]
fn a_subscription_outlives_an_auth_server_that_is_down_and_nothing_new_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let token = token_file(folder.path(), "the-admins-token");
    let server = Moody::start(ALLOW, None);
    let nsqd = Nsqd::with(&[&server.flag(), &token]);
    let enter = || {
        let mut peer = nsqd.peer();
        peer.line_and_body("AUTH", b"s");
        assert!(matches!(peer.receive(), Frame::Response(_)));
        peer
    };
    let (mut consumer, mut publisher) = (enter(), enter());
    consumer.subscribe("t", "c");
    consumer.ready(1);
    publisher.publish("t", "before");
    let message = consumer.expect_message();
    consumer.finish(&message);
    server.mood.store(FAIL, Ordering::SeqCst);
    let before = server.asked();
    eventually("the server is asked for the subscription again", || server.asked() > before);
    // The question for a subscription comes a little before its grants expire.
    eventually("nothing more may be published", || {
        publisher.line_and_body("PUB another", b"x");
        match publisher.receive() {
            Frame::Response(_) => false,
            other => other == Frame::Error("E_AUTH_FAILED AUTH failed".to_owned()),
        }
    });
    publisher.expect_closed();
    let mut another = nsqd.peer();
    another.line_and_body("AUTH", b"s");
    expect_end(&mut another, "E_AUTH_FAILED AUTH failed");
    request_bearing(nsqd.http(), "the-admins-token", "POST", "/pub?topic=t", b"after").ok();
    assert_eq!(consumer.expect_message().text(), "after");
}

#[test]
fn a_client_that_goes_is_let_go_while_the_auth_server_thinks() {
    let server = Moody::start(ALLOW, None);
    let nsqd = Nsqd::with(&[&server.flag(), "--http-client-request-timeout=10m"]);
    let mut consumer = nsqd.peer();
    consumer.line_and_body("AUTH", b"s");
    assert!(matches!(consumer.receive(), Frame::Response(_)));
    consumer.subscribe("t", "c");
    server.mood.store(HANG, Ordering::SeqCst);
    let before = server.asked();
    eventually("the server is asked for the subscription again", || server.asked() > before);
    consumer.line("NONSENSE");
    assert!(matches!(consumer.receive(), Frame::Error(_)));
    consumer.expect_closed();
}

#[test]
fn an_auth_server_may_speak_tls_and_must_be_signed_for() {
    let authority = Authority::new();
    let [cert, key] = files(&authority);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let chain = vec![CertificateDer::from_pem_file(cert).unwrap()];
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    let server = Moody::start(ALLOW, Some(Arc::new(config)));
    let url = format!("--auth-http-address=https://localhost:{}/auth", server.address.port());
    let ca = format!("--tls-root-ca-file={}", authority.ca().display());
    for (flags, is_believed) in [(&[url.as_str(), &ca][..], true), (&[&url], false)] {
        let nsqd = Nsqd::with(flags);
        let mut peer = nsqd.peer();
        peer.line_and_body("AUTH", b"s");
        match is_believed {
            true => assert!(matches!(peer.receive(), Frame::Response(_))),
            false => expect_end(&mut peer, "E_AUTH_FAILED AUTH failed"),
        }
    }
}

/// The whole answer to a request over HTTPS, as text.
fn ask_https(address: SocketAddr, trust: Arc<ClientConfig>, head: &str) -> std::io::Result<String> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = StreamOwned::new(ClientConnection::new(trust, name).unwrap(), stream);
    write!(stream, "{head}\r\nHost: localhost\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx")?;
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        Err(error) if text.is_empty() => Err(error),
        Ok(_) | Err(_) => Ok(text),
    }
}

#[test]
fn what_a_secret_may_do_over_one_kind_of_connection_is_not_believed_of_another() {
    let authority = Authority::new();
    let server = AuthServer::knowing(&["s"]);
    let auth = format!("--auth-http-address={}", server.address());
    let mut flags = authority.flags();
    flags.push(auth);
    let mut nsqd = Nsqd::with(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let https = nsqd.process().address("HTTPS");
    let trust = authority.client(None);
    for _ in 0..2 {
        request_bearing(nsqd.http(), "s", "POST", "/pub?topic=t", b"x").ok();
        let head = "POST /pub?topic=t HTTP/1.1\r\nAuthorization: Bearer s";
        let answer = ask_https(https, Arc::clone(&trust), head).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let asked = server.requests();
    let kinds: Vec<&str> =
        asked.iter().filter_map(|asked| asked.split("tls=").nth(1)?.split(' ').next()).collect();
    assert_eq!(kinds, ["false", "true"], "each once, and then remembered");
}

#[test]
fn a_publishers_secret_opens_what_publishes_and_nothing_else() {
    let server = AuthServer::knowing(&["s"]);
    let auth = format!("--auth-http-address={}", server.address());
    let nsqd = Nsqd::with(&[&auth]);
    let nsqd_all = Nsqd::with(&[&auth, "--http-auth=all"]);
    let table = std::fs::read_to_string(root().join("tests/routes/nsqd.txt")).unwrap();
    let routes = table.lines().filter_map(|line| line.strip_prefix("route ")?.rsplit_once(": "));
    let mut count = 0;
    for (route, access) in routes {
        let (methods, path) = route.rsplit_once(' ').unwrap();
        let path = path.replace("{option}", "log_level");
        for method in methods.split(' ') {
            let status = |address, secret| request_bearing(address, secret, method, &path, b"x").status;
            let publishes = path == "/pub" || path == "/mpub";
            let is_closed = access == "closed";
            // Without a topic a publish gets past the door and no further.
            let expected = if publishes { Some(400) } else { is_closed.then_some(403) };
            let found = [status(nsqd.http(), "s"), status(nsqd_all.http(), "s")];
            match expected {
                Some(expected) => assert_eq!(found, [expected; 2], "{method} {path}"),
                None => assert!(found.iter().all(|status| ![401, 403].contains(status)), "{method} {path}"),
            }
            let unknown = status(nsqd.http(), "unknown");
            assert_eq!(unknown == 401, is_closed, "{method} {path}: {unknown}");
            count += 1;
        }
    }
    assert!(count > 25, "only {count} routes");
}

#[test]
fn tokens_are_read_again_on_sighup_and_a_broken_file_leaves_the_last_one() {
    let folder = tempfile::tempdir().unwrap();
    let flag = token_file(folder.path(), "first");
    let mut nsqd = Nsqd::with(&[&flag]);
    let http = nsqd.http();
    let status = |token: &str| request_bearing(http, token, "POST", "/topic/create?topic=t", b"").status;
    assert_eq!((status("first"), status("second")), (200, 401));
    token_file(folder.path(), "second\n");
    nsqd.process().signal(Signal::HUP);
    eventually("the second token is believed", || status("second") == 200);
    assert_eq!(status("first"), 401);
    token_file(folder.path(), "");
    nsqd.process().signal(Signal::HUP);
    nsqd.process().wait_for_line("the file is empty; the last one stays");
    assert_eq!((status("second"), status("")), (200, 401));
}

#[test]
fn a_broken_certificate_leaves_the_last_one_in_use() {
    let (first, second) = (Authority::new(), Authority::new());
    let flags = first.flags();
    let mut nsqd = Nsqd::with(&flags.iter().map(String::as_str).collect::<Vec<_>>());
    let https = nsqd.process().address("HTTPS");
    let ask = |trusted: &Authority| {
        let answer = ask_https(https, trusted.client(None), "GET /ping HTTP/1.1");
        answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 "))
    };
    // Half of a change: a key that does not belong to the certificate.
    std::fs::copy(&files(&second)[1], &files(&first)[1]).unwrap();
    nsqd.process().signal(Signal::HUP);
    nsqd.process().wait_for_line("the certificates in use stay");
    assert_eq!((ask(&first), ask(&second)), (true, false));
    std::fs::copy(&files(&second)[0], &files(&first)[0]).unwrap();
    nsqd.process().signal(Signal::HUP);
    eventually("the second certificate is shown", || ask(&second));
    assert!(!ask(&first));
}

#[test]
fn http_is_served_over_a_unix_socket_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("http.sock");
    let start = |http: &str| {
        let data = tempfile::tempdir().unwrap();
        let args = [
            "--tcp-address=127.0.0.1:0".to_owned(),
            http.to_owned(),
            format!("--data-path={}", data.path().display()),
        ];
        (Process::start(&nsqd_binary(), &args), data)
    };
    let (mut process, _data) = start(&format!("--http-address={}", socket.display()));
    process.wait_for_line(&format!("HTTP: listening on {}", socket.display()));
    let ask = |target: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(ask("/ping").ends_with("\r\n\r\nOK"));
    assert!(ask("/info").contains(r#""http_port":-1,"#));
    assert!(ask("/debug/pprof/").starts_with("HTTP/1.1 200 "), "who can open the socket is on this machine");
    assert!(process.terminate().success());
    assert!(!socket.exists(), "the socket is taken away");

    let (process, _data) = start("--http-address=");
    process.address("TCP");
    assert!(!process.log().contains("HTTP: listening"), "{}", process.log());
}

#[test]
fn the_log_says_what_is_open_and_what_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let token = token_file(folder.path(), "canary-token");
    let mut nsqd = Nsqd::with(&[&token]);
    let line = nsqd.process().wait_for_line("HTTP asks no credentials for ");
    assert!(
        line.contains(
            "for probes, stats and lookups; asks them for publishing, topics, channels and configuration"
        ),
        "{line}"
    );
    request(nsqd.http(), "POST", "/pub?topic=t", b"x");
    assert!(!nsqd.process().log().contains("canary-token"));
    let mut open = Nsqd::start();
    let line = open.process().wait_for_line("HTTP asks no credentials for ");
    assert!(line.contains("asks them for nothing"), "{line}");
}
