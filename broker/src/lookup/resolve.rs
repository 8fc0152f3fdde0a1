//! The addresses behind the names of nsqlookupds: each name is asked for again and again, one question at a time, and
//! keeps what it had when a question fails.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::peers::Addresses;

/// A name is not asked for again sooner, however often its connection fails.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What names resolved to last. A name that cannot be resolved keeps what it had.
#[derive(Debug)]
pub(super) struct Resolver {
    asked: BTreeMap<String, Asked>,
    answer: UnboundedSender<Answer>,
    answers: UnboundedReceiver<Answer>,
}

type Answer = (String, io::Result<Vec<SocketAddr>>);

#[derive(Debug)]
struct Asked {
    at: Instant,
    is_waited_for: bool,
    /// A failure is told of once.
    is_told: bool,
}

impl Resolver {
    pub(super) fn new() -> Self {
        let (answer, answers) = unbounded_channel();
        Self { asked: BTreeMap::new(), answer, answers }
    }

    /// Asks for names that were not asked for just now. What is an address itself is known at once.
    pub(super) fn ask(&mut self, names: &[String], known: &mut Addresses) {
        self.asked.retain(|name, asked| asked.is_waited_for || names.contains(name));
        known.retain(|name, _| names.contains(name));
        for name in names {
            if let Ok(address) = name.parse() {
                known.insert(name.clone(), vec![address]);
            } else if self.is_time_for(name) {
                self.resolve(name);
            }
        }
    }

    /// Waits for the next name that has an answer, and puts it into `known`.
    pub(super) async fn learn(&mut self, known: &mut Addresses) {
        // This side holds a sender, so there is always another one to wait for.
        let Some((name, found)) = self.answers.recv().await else { return };
        let Some(asked) = self.asked.get_mut(&name) else { return };
        asked.is_waited_for = false;
        match found {
            Ok(found) => {
                asked.is_told = false;
                known.insert(name, found);
            }
            Err(error) if !asked.is_told => {
                asked.is_told = true;
                tracing::error!(lookupd = name, %error, "cannot resolve the name; trying again");
            }
            Err(_) => {}
        }
    }

    fn is_time_for(&self, name: &str) -> bool {
        self.asked.get(name).is_none_or(|asked| !asked.is_waited_for && asked.at.elapsed() >= ASK_EVERY)
    }

    fn resolve(&mut self, name: &str) {
        let is_told = self.asked.get(name).is_some_and(|asked| asked.is_told);
        let (text, answer) = (name.to_owned(), self.answer.clone());
        tokio::spawn(async move {
            let found = daemon::dial::resolve(&text).await;
            let _stopping = answer.send((text, found));
        });
        let asked = Asked { at: Instant::now(), is_waited_for: true, is_told };
        self.asked.insert(name.to_owned(), asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_are_known_at_once_and_names_when_they_are_resolved() {
        let names = ["127.0.0.2:4160".to_owned(), "localhost:4160".to_owned(), "no port".to_owned()];
        let (mut resolver, mut known) = (Resolver::new(), Addresses::new());
        resolver.ask(&names, &mut known);
        assert_eq!(known.keys().collect::<Vec<_>>(), ["127.0.0.2:4160"]);
        resolver.learn(&mut known).await;
        resolver.learn(&mut known).await;
        assert_eq!(known.keys().collect::<Vec<_>>(), ["127.0.0.2:4160", "localhost:4160"]);
        assert!(known["localhost:4160"].iter().all(|address| address.ip().is_loopback()));
        assert!(resolver.asked["no port"].is_told && !resolver.asked["localhost:4160"].is_told);
        // Not again so soon.
        resolver.ask(&names, &mut known);
        assert!(resolver.asked.values().all(|asked| !asked.is_waited_for));
        resolver.ask(&[], &mut known);
        assert!(known.is_empty() && resolver.asked.is_empty());
    }
}
