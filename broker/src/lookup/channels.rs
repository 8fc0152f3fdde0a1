//! Asking a nsqlookupd over HTTP which channels a new topic has elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use daemon::http_client::{Credentials, HttpError, get_as};
use daemon::token::Token;
use protocol::lookup::LookupdInfo;
use protocol::{ChannelName, TopicName};

/// What one lookupd may take. nsqd waits longer, but here the first publisher of the topic waits too.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// The HTTP side of a lookupd.
#[derive(Debug)]
pub(super) struct Asked {
    /// Where it says it is.
    told: String,
    /// The same port where its TCP side was reached.
    seen: String,
    has_http: bool,
    /// The file with the token that it asks for; empty: none.
    token_file: String,
    /// Where it says it is, it is not: nobody knows the name, or nobody answers there.
    prefers_seen: AtomicBool,
}

impl Asked {
    pub(super) fn new(info: &LookupdInfo, at: SocketAddr, token_file: &str) -> Self {
        Self {
            told: host_and_port(&info.broadcast_address, info.http_port),
            seen: SocketAddr::new(at.ip(), info.http_port).to_string(),
            has_http: info.http_port != 0,
            token_file: token_file.to_owned(),
            prefers_seen: AtomicBool::new(info.broadcast_address.is_empty()),
        }
    }

    /// All channels it knows; none, and a line in the log, if it does not answer in time.
    pub(super) async fn channels_of(&self, topic: &TopicName, within: Duration) -> Vec<ChannelName> {
        #[derive(serde::Deserialize)]
        struct Answer {
            channels: Vec<String>,
        }
        if !self.has_http {
            return Vec::new();
        }
        let path = format!("/channels?topic={}", topic.as_str().replace('#', "%23"));
        let answer = match self
            .ask(&path, if within.is_zero() { ANSWER_WITHIN } else { within.min(ANSWER_WITHIN) })
            .await
        {
            Ok((200, body)) => serde_json::from_slice::<Answer>(&body).map_err(|error| error.to_string()),
            Ok((status, _)) => Err(format!("status {status}")),
            Err(error) => Err(error.to_string()),
        };
        match answer {
            Ok(answer) => answer.channels.iter().filter_map(|name| ChannelName::new(name).ok()).collect(),
            Err(error) => {
                tracing::error!(lookupd = self.seen, %topic, error, "cannot ask for the channels of a new topic");
                Vec::new()
            }
        }
    }

    // nsqd: asks where the lookupd says it is and nowhere else, which by default is a host name that only its own pod
    // knows; the topic then begins without its channels.
    async fn ask(&self, path: &str, within: Duration) -> Result<(u16, Bytes), HttpError> {
        let begun = Instant::now();
        let who = self.credentials();
        if !self.prefers_seen.load(Ordering::Relaxed) {
            match get_as(&who, &self.told, path, within / 2).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    tracing::warn!(told = self.told, seen = self.seen, %error, "nsqlookupd is not where it says");
                }
            }
        }
        let answer = get_as(&who, &self.seen, path, within.saturating_sub(begun.elapsed())).await?;
        self.prefers_seen.store(true, Ordering::Relaxed);
        Ok(answer)
    }

    /// A lookupd with `--http-auth=all` asks readers for the token that it asks of those who register. The file is read
    /// each time, since tokens are changed.
    fn credentials(&self) -> Credentials {
        if self.token_file.is_empty() {
            return Credentials::default();
        }
        let token = Token::read(Path::new(&self.token_file));
        let bearer = token.and_then(|token| Credentials::bearer(token.reveal()));
        bearer.unwrap_or_else(|error| {
            tracing::error!(lookupd = self.seen, error, "asked without the token");
            Credentials::default()
        })
    }
}

fn host_and_port(host: &str, port: u16) -> String {
    match host.parse::<IpAddr>() {
        Ok(ip) => SocketAddr::new(ip, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lookupd_is_asked_where_it_says_or_where_it_was_reached() {
        let at: SocketAddr = "10.0.0.1:4160".parse().unwrap();
        for (broadcast, port, told, seen) in [
            ("lookup.example", 4161, "lookup.example:4161", "10.0.0.1:4161"),
            ("fd00::1", 4161, "[fd00::1]:4161", "10.0.0.1:4161"),
            ("10.9.9.9", 1, "10.9.9.9:1", "10.0.0.1:1"),
        ] {
            let info = LookupdInfo {
                broadcast_address: broadcast.to_owned(),
                http_port: port,
                ..LookupdInfo::default()
            };
            let asked = Asked::new(&info, at, "");
            assert_eq!((asked.told.as_str(), asked.seen.as_str()), (told, seen));
            assert!(!asked.prefers_seen.load(Ordering::Relaxed));
        }
        let nowhere = Asked::new(&LookupdInfo { http_port: 1, ..LookupdInfo::default() }, at, "");
        assert!(nowhere.prefers_seen.load(Ordering::Relaxed) && nowhere.has_http);
    }
}
