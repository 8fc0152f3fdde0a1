//! `POST /control/delete`: a topic or channel goes, and with `only_if_empty` no message goes with it.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use daemon::http::json;
use protocol::control::DeleteRequest;
use protocol::{ChannelName, TopicName};

use super::{Answer, Refusal, joined, read};
use crate::broker::Broker;
use crate::control::drain::waiting_in;
use crate::topic::Topic;

pub(super) async fn delete(State(broker): State<Arc<Broker>>, body: Body) -> Answer {
    let request: DeleteRequest = read(body).await?;
    let done = tokio::spawn(async move { gone(&broker, &request).await });
    joined(done.await)?;
    Ok(nothing())
}

fn nothing() -> Response {
    json(&serde_json::json!({}))
}

async fn gone(broker: &Arc<Broker>, request: &DeleteRequest) -> Result<(), Refusal> {
    let DeleteRequest { topic, channel, only_if_empty } = request;
    if broker.control_state.declared.has(topic, channel.as_deref()) {
        let what = channel.as_ref().map_or_else(|| topic.clone(), |channel| format!("{topic}/{channel}"));
        return Err(Refusal::Conflict(format!(
            "{what} is declared and would be made again: take it out of the topology first"
        )));
    }
    let missing = || Refusal::Missing(format!("there is no topic {topic}"));
    let name = TopicName::new(topic).map_err(|_| missing())?;
    let found = broker.topic(topic).ok_or_else(missing)?;
    match channel {
        Some(channel) => delete_channel(broker, &found, channel, *only_if_empty),
        None if *only_if_empty => {
            let deleted = broker.delete_topic_if_empty(&name).await;
            let is_deleted = deleted.map_err(|error| Refusal::Disk(error.to_string()))?;
            if is_deleted { Ok(()) } else { Err(holds(&found, None)) }
        }
        None => match broker.delete_topic(&name).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(missing()),
            Err(error) => Err(Refusal::Disk(error.to_string())),
        },
    }
}

fn delete_channel(
    broker: &Arc<Broker>,
    topic: &Arc<Topic>,
    channel: &str,
    only_if_empty: bool,
) -> Result<(), Refusal> {
    let found = ChannelName::new(channel).ok().and_then(|name| topic.channel(&name));
    let found =
        found.ok_or_else(|| Refusal::Missing(format!("topic {} has no channel {channel}", topic.name)))?;
    // A paused topic's messages are owed to each of its channels.
    if only_if_empty && (topic.counts().depth > 0 || !found.delete_if_empty()) {
        return Err(holds(topic, Some(channel)));
    }
    broker.delete_channel(topic, &found.name).map_err(|error| Refusal::Disk(error.to_string()))
}

fn holds(topic: &Topic, channel: Option<&str>) -> Refusal {
    let waiting = waiting_in(topic);
    let of_it = waiting.iter().filter(|place| channel.is_none() || place.channel.as_deref() == channel);
    let messages: u64 = of_it.map(|place| place.messages).sum();
    let what = channel.map_or_else(String::new, |channel| format!("/{channel}"));
    Refusal::Conflict(format!("{}{what} is not empty: {messages} messages would go with it", topic.name))
}
