//! The auth server that nsqd asks about secrets, as small as it can be: it knows some secrets and what each may do, and
//! everybody else gets 403. Requests are kept for tests that look at them.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// HTTP on loopback, until the test process ends.
#[derive(Debug)]
pub struct AuthServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    known: Known,
}

/// Answers by secret.
type Known = Arc<Mutex<BTreeMap<String, String>>>;

/// What everybody with a known secret may do: everything, for an hour.
const EVERYTHING: &str = r#"{"ttl":3600,"identity":"tester","identity_url":"","authorizations":
    [{"permissions":["subscribe","publish"],"topic":".*","channels":[".*"]}]}"#;

impl AuthServer {
    /// One that knows these secrets.
    ///
    /// # Panics
    /// When there is no port for it.
    #[track_caller]
    pub fn knowing(secrets: &[&str]) -> Self {
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0));
        let listener = listener.unwrap_or_else(|error| panic!("a port for the auth server: {error}"));
        let address = listener.local_addr().unwrap_or_else(|error| panic!("{error}"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let known = secrets.iter().map(|&secret| (secret.to_owned(), EVERYTHING.to_owned())).collect();
        let known: Known = Arc::new(Mutex::new(known));
        let (log, secrets) = (Arc::clone(&requests), Arc::clone(&known));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A request that is broken off is nsqd's matter, not ours.
                let _ = answer(&stream, &secrets, &log);
            }
        });
        Self { address, requests, known }
    }

    /// From now on `secret` is answered with this JSON.
    pub fn tell(&self, secret: &str, answer: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(secret.to_owned(), answer.to_owned());
    }

    /// From now on `secret` is answered with 403.
    pub fn forget(&self, secret: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(secret);
    }

    /// For `--auth-http-address`.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The request line and body of each request so far, with a space between them.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn answer(mut stream: &TcpStream, known: &Known, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = String::from_utf8_lossy(&body);
    let asked = format!("{} {body}", line.trim());
    let is_in = |secret: &String| {
        asked.contains(&format!("secret={secret}&"))
            || asked.contains(&format!("secret={secret} "))
            || asked.contains(&format!("\"{secret}\""))
    };
    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let found = known.iter().find(|(secret, _)| is_in(secret)).map(|(_, answer)| answer.clone());
    drop(known);
    log.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
    let (status, text) = found.map_or(("403 Forbidden", "{}".to_owned()), |answer| ("200 OK", answer));
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len())
}
