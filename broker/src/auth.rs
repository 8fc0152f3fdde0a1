//! The auth server: asked what the bearer of a secret may do. What its answers mean is in `auth/grants`; what sessions
//! and HTTP make of them is theirs.

mod grants;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use daemon::http_client::{Endpoint, HttpError, Terms, Trust, call};
use daemon::options::without_password;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub(crate) use grants::{Grants, Matching};

use crate::options::Options;

/// The auth servers, and how they are asked.
#[derive(Debug)]
pub(crate) struct Auth {
    servers: Vec<Server>,
    is_post: bool,
    connect_within: Duration,
    within: Duration,
    matching: Matching,
    trust: Trust,
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Server {
    endpoint: Endpoint,
    /// Who asks it takes one of them.
    turns: Semaphore,
}

/// Questions to one server at a time. Strangers cause them, and each is a connection: without a limit they could use up
/// the descriptors that topics and clients need.
const QUESTIONS_MAX: usize = 32;

/// Who wants to be let in.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Applicant {
    /// What AUTH or the bearer token said. Never logged.
    pub secret: Vec<u8>,
    /// Where the connection comes from; empty for a unix socket.
    pub remote_ip: String,
    /// The name in the client's certificate; empty without one.
    pub common_name: String,
    /// Is the connection encrypted?
    pub is_tls: bool,
}

impl std::fmt::Debug for Applicant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Applicant").field("remote_ip", &self.remote_ip).finish_non_exhaustive()
    }
}

/// An answer may be this long: thousands of authorizations.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Why there are no grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AskError {
    /// A server answered, and it was not a yes.
    Refused,
    /// No server answered, or none was able to.
    Unreachable,
}

impl Auth {
    /// None if no server is configured.
    ///
    /// # Errors
    /// The authorities of HTTPS servers cannot be read.
    pub(crate) fn from_options(options: &Options) -> Result<Option<Self>, String> {
        let access = &options.access;
        if access.auth_http_addresses.is_empty() {
            return Ok(None);
        }
        let servers = access.auth_http_addresses.iter().filter_map(|address| server(address));
        let ca = Some(options.tls.root_ca_file.as_str()).filter(|path| !path.is_empty());
        Ok(Some(Self {
            servers: servers.collect(),
            is_post: access.auth_http_request_method.eq_ignore_ascii_case("post"),
            connect_within: options.http_client_connect_timeout,
            within: options.http_client_request_timeout,
            matching: if access.auth_regex == "nsq" { Matching::Anywhere } else { Matching::Whole },
            trust: Trust::new(ca.map(Path::new)).map_err(|error| format!("--tls-root-ca-file: {error}"))?,
            // nsqd: begins at a random one; so that a fleet of brokers does not begin at the same.
            turn: AtomicUsize::new(std::process::id() as usize),
        }))
    }

    /// What `who` may do, as one server says; the others are asked when it does not say.
    pub(crate) async fn ask(&self, who: &Applicant) -> Result<Grants, AskError> {
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let mut failure = AskError::Unreachable;
        let count = self.servers.len();
        for server in self.servers.iter().cycle().skip(first % count.max(1)).take(count) {
            match self.ask_one(server, who).await {
                Ok(grants) => return Ok(grants),
                Err((error, why)) => {
                    if error == AskError::Refused {
                        failure = error;
                    }
                    tracing::warn!(server = server.endpoint.name(), client = who.remote_ip, "AUTH: {why}");
                }
            }
        }
        Err(failure)
    }

    async fn ask_one(&self, server: &Server, who: &Applicant) -> Result<Grants, (AskError, String)> {
        let begun = Instant::now();
        let turn = timeout(self.within, server.turns.acquire()).await;
        // Waiting for a turn is part of the time that a question may take.
        let within = self.within.saturating_sub(begun.elapsed());
        let Some(_turn) = turn.ok().and_then(Result::ok).filter(|_| !within.is_zero()) else {
            let why = format!("no turn within {:?}: {QUESTIONS_MAX} others are asking", self.within);
            return Err((AskError::Unreachable, why));
        };
        let (query, body) = if self.is_post { (String::new(), Some(form(who))) } else { (query(who), None) };
        let terms = Terms {
            trust: &self.trust,
            connect_within: self.connect_within,
            within,
            body_bytes_max: ANSWER_BYTES_MAX,
        };
        let answer = call(&server.endpoint, &query, body, terms).await;
        let (status, body) = answer.map_err(|error| (AskError::Unreachable, told(&error)))?;
        if status != 200 {
            return Err((meaning(status), format!("the auth server answered {status}")));
        }
        Grants::parse(&body, self.matching)
            .map_err(|why| (AskError::Refused, format!("the auth server's answer cannot be used: {why}")))
    }
}

/// What a status other than 200 means.
fn meaning(status: u16) -> AskError {
    match status {
        // Whoever stands before a server that is down or has too much to do says so with these: it is no judgement of
        // the secret, and another server may have time.
        408 | 429 | 500.. => AskError::Unreachable,
        _ => AskError::Refused,
    }
}

/// An error that names no path: with GET the secret stands in it.
fn told(error: &HttpError) -> String {
    match error {
        HttpError::Request { addr, .. } => {
            format!("{addr} cannot be asked: its address or path is not one of HTTP")
        }
        error => error.to_string(),
    }
}

/// nsqd: finds out that an address cannot be asked when it asks; nobody is let in by such a one.
fn server(address: &str) -> Option<Server> {
    let endpoint = endpoint(address).inspect_err(|why| tracing::error!("{why}; it is left out")).ok()?;
    Some(Server { endpoint, turns: Semaphore::new(QUESTIONS_MAX) })
}

/// nsqd: `host:port` stands for `http://host:port/auth`.
fn endpoint(address: &str) -> Result<Endpoint, String> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}/auth") };
    Endpoint::parse(&url).map_err(|why| format!("--auth-http-address={}: {why}", without_password(&url)))
}

/// nsqd: keys in order of the alphabet.
fn query(who: &Applicant) -> String {
    let escaped = |bytes: &[u8]| -> String {
        bytes.iter().fold(String::new(), |mut text, &byte| {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    text.push(char::from(byte))
                }
                b' ' => text.push('+'),
                other => text.push_str(&format!("%{other:02X}")),
            }
            text
        })
    };
    format!(
        "common_name={}&remote_ip={}&secret={}&tls={}",
        escaped(who.common_name.as_bytes()),
        escaped(who.remote_ip.as_bytes()),
        escaped(&who.secret),
        who.is_tls
    )
}

/// nsqd: every value is a list of one.
fn form(who: &Applicant) -> Bytes {
    let form = json!({
        "common_name": [who.common_name],
        "remote_ip": [who.remote_ip],
        "secret": [String::from_utf8_lossy(&who.secret)],
        "tls": [who.is_tls.to_string()],
    });
    Bytes::from(form.to_string())
}

/// What the answer to AUTH says.
pub(crate) fn welcome(grants: &Grants) -> Vec<u8> {
    let answer = json!({
        "identity": grants.identity,
        "identity_url": grants.identity_url,
        "permission_count": grants.count(),
    });
    answer.to_string().into_bytes()
}

/// Grants that are kept until they expire, for HTTP, where every request brings its secret. They are kept for all that the
/// server was told: what it allows a secret from one address it may not allow from another.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Mutex<HashMap<Applicant, Known>>);

#[derive(Debug)]
struct Known {
    grants: Arc<Grants>,
    until: Instant,
}

/// Longer is not believed: what an auth server takes back must come to nothing some day.
const TTL_MAX: Duration = Duration::from_secs(24 * 3600);

/// Secrets remembered at once; beyond, all are forgotten and asked for again.
const REMEMBERED_MAX: usize = 1000;

impl Remembered {
    /// What is allowed, if that is known and still holds.
    pub(crate) fn find(&self, who: &Applicant, now: Instant) -> Option<Arc<Grants>> {
        self.lock().get(who).filter(|known| now < known.until).map(|known| Arc::clone(&known.grants))
    }

    /// Keep what the server said.
    pub(crate) fn keep(&self, who: Applicant, grants: &Arc<Grants>, now: Instant) {
        let mut known = self.lock();
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        known.insert(who, Known { grants: Arc::clone(grants), until: now + grants.ttl.min(TTL_MAX) });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Applicant, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applicant(secret: &[u8]) -> Applicant {
        Applicant {
            secret: secret.to_vec(),
            remote_ip: "127.0.0.1".into(),
            common_name: "a b".into(),
            is_tls: true,
        }
    }

    #[test]
    fn the_server_is_asked_in_stocks_words() {
        assert_eq!(
            query(&applicant(b"s&c\xff")),
            "common_name=a+b&remote_ip=127.0.0.1&secret=s%26c%FF&tls=true"
        );
        assert_eq!(
            form(&applicant(b"s3")),
            r#"{"common_name":["a b"],"remote_ip":["127.0.0.1"],"secret":["s3"],"tls":["true"]}"#
        );
    }

    /// An auth server that hangs, how it is asked, and how many have come to ask.
    async fn hanging(within: Duration) -> (Arc<Auth>, Arc<AtomicUsize>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let came = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&came);
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok(stream) = listener.accept().await {
                held.push(stream);
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        let auth = Auth {
            servers: vec![Server {
                endpoint: endpoint(&address).unwrap(),
                turns: Semaphore::new(QUESTIONS_MAX),
            }],
            is_post: false,
            connect_within: within,
            within,
            matching: Matching::Whole,
            trust: Trust::new(None).unwrap(),
            turn: AtomicUsize::new(0),
        };
        (Arc::new(auth), came)
    }

    #[tokio::test]
    async fn many_who_ask_at_once_are_few_connections_and_none_waits_longer() {
        let within = Duration::from_millis(500);
        let (auth, came) = hanging(within).await;
        let begun = Instant::now();
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..10 * QUESTIONS_MAX {
            let auth = Arc::clone(&auth);
            asking.spawn(async move { auth.ask(&applicant(b"s")).await });
        }
        while let Some(answer) = asking.join_next().await {
            assert_eq!(answer.unwrap().unwrap_err(), AskError::Unreachable);
        }
        assert!(begun.elapsed() < 10 * within, "one after the other takes ten times as long");
        // Some may get their turn in the last moment, after others whose time was over.
        let came = came.load(Ordering::SeqCst);
        assert!((QUESTIONS_MAX..=2 * QUESTIONS_MAX).contains(&came), "{came} connections");
    }

    #[test]
    fn a_server_that_has_no_time_has_refused_nobody() {
        for (status, expected) in [
            (400, AskError::Refused),
            (401, AskError::Refused),
            (403, AskError::Refused),
            (302, AskError::Refused),
            (408, AskError::Unreachable),
            (429, AskError::Unreachable),
            (500, AskError::Unreachable),
            (503, AskError::Unreachable),
        ] {
            assert_eq!(meaning(status), expected, "{status}");
        }
    }

    #[test]
    fn a_secret_is_in_no_debug_output() {
        assert!(!format!("{:?}", applicant(b"canary")).contains("canary"));
    }

    #[test]
    fn addresses_are_hosts_or_whole_urls() {
        for (address, name) in [
            ("10.0.0.1:4181", "http://10.0.0.1:4181/auth"),
            ("http://a:1/x/y", "http://a:1/x/y"),
            ("https://a/x", "https://a:443/x"),
        ] {
            assert_eq!(endpoint(address).unwrap().name(), name);
        }
        assert!(endpoint("ftp://a").unwrap_err().contains("--auth-http-address=ftp://a"));
        for address in ["user:canary%@a:1", "http://user:canary%@a:1/x", "ftp://user:canary@a"] {
            let error = endpoint(address).unwrap_err();
            assert!(error.contains("user:***@a") && !error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn grants_are_remembered_until_they_expire() {
        let (remembered, now) = (Remembered::default(), Instant::now());
        let grants = Arc::new(Grants::parse(br#"{"ttl":10,"authorizations":[]}"#, Matching::Whole).unwrap());
        remembered.keep(applicant(b"s"), &grants, now);
        assert!(remembered.find(&applicant(b"s"), now + Duration::from_secs(9)).is_some());
        assert!(remembered.find(&applicant(b"s"), now + Duration::from_secs(10)).is_none());
        assert!(remembered.find(&applicant(b"t"), now).is_none());
        for other in [
            Applicant { remote_ip: "10.0.0.1".into(), ..applicant(b"s") },
            Applicant { common_name: String::new(), ..applicant(b"s") },
            Applicant { is_tls: false, ..applicant(b"s") },
        ] {
            assert!(remembered.find(&other, now).is_none(), "{other:?}");
        }
    }
}
