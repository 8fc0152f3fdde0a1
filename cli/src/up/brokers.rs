//! HTTP to brokers and nsqlookupds: give a broker what it lacks, count its messages, see who is registered.
//! What a broker lacks is decided in `converge`.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use daemon::http_client;
use operator::plan::TopicPlan;
use serde::Deserialize;

use super::converge::{Stats, Step, steps};

/// Loopback answers in milliseconds; a broker that is busy recovering may take longer.
const LIMIT: Duration = Duration::from_secs(5);

/// Gives the broker at `http` the topics, channels, levels and pauses it lacks; says which steps that took.
///
/// # Errors
/// What was asked and what came back, for people. Asking again goes on where this stopped.
pub(crate) async fn ensure(http: SocketAddr, topics: &[TopicPlan]) -> Result<Vec<Step>, String> {
    let steps = steps(topics, &stats(http).await?);
    for step in &steps {
        let path = step.path();
        let answer = http_client::post(&http.to_string(), &path, Bytes::new(), LIMIT).await;
        let (status, body) = answer.map_err(|error| error.to_string())?;
        if status != 200 {
            let body = String::from_utf8_lossy(&body);
            return Err(format!("POST http://{http}{path} gave {status} {}", body.trim()));
        }
    }
    Ok(steps)
}

/// What the broker at `http` has.
pub(crate) async fn stats(http: SocketAddr) -> Result<Stats, String> {
    fetch(http, "/stats?format=json&include_clients=false&include_mem=false").await
}

/// A broker as nsqlookupd lists it.
#[derive(Debug, Deserialize)]
pub(crate) struct Registered {
    tcp_port: u16,
    #[serde(default)]
    topics: Vec<String>,
}

/// The brokers that are registered with the nsqlookupd at `http`.
pub(crate) async fn registered(http: SocketAddr) -> Result<Vec<Registered>, String> {
    #[derive(Deserialize)]
    struct Nodes {
        producers: Vec<Registered>,
    }
    Ok(fetch::<Nodes>(http, "/nodes").await?.producers)
}

/// What is missing of the broker at `tcp`: all of it, or the first topic not listed. None: nothing.
pub(crate) fn missing(registered: &[Registered], tcp: SocketAddr, topics: &[TopicPlan]) -> Option<String> {
    let Some(broker) = registered.iter().find(|broker| broker.tcp_port == tcp.port()) else {
        return Some("the broker".to_owned());
    };
    let topic = topics.iter().find(|topic| !broker.topics.contains(&topic.name))?;
    Some(format!("topic {}", topic.name))
}

async fn fetch<T: for<'a> Deserialize<'a>>(http: SocketAddr, path: &str) -> Result<T, String> {
    let answer = http_client::get(&http.to_string(), path, LIMIT).await;
    let (status, body) = answer.map_err(|error| error.to_string())?;
    if status != 200 {
        return Err(format!("GET http://{http}{path} gave {status}"));
    }
    serde_json::from_slice(&body).map_err(|error| format!("GET http://{http}{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_counts_as_registered_with_all_its_topics() {
        let topic = |name: &str| TopicPlan {
            name: name.to_owned(),
            is_paused: None,
            durability: None,
            channels: vec![],
        };
        let topics = [topic("orders"), topic("events")];
        let listed = [Registered { tcp_port: 4150, topics: vec!["events".to_owned()] }];
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(missing(&listed, at(4150), &topics).as_deref(), Some("topic orders"));
        assert_eq!(missing(&listed, at(4150), &topics[1..]), None);
        assert_eq!(missing(&listed, at(4250), &[]).as_deref(), Some("the broker"));
    }
}
