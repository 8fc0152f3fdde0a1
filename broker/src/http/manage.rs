//! Creating, deleting, emptying and pausing topics and channels.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use daemon::http::{Args, empty, error};
use protocol::{ChannelName, TopicName};

use super::{Api, bad_request, channel_name, not_found, too_many, topic_name};
use crate::broker::OpenError;
use crate::durability::Durability;
use crate::topic::Topic;
use crate::topic::admin::ChangeError;

type Answer = Result<Response, Response>;

pub(super) async fn create_topic(State(api): State<Api>, args: Args) -> Answer {
    let name = topic_name(args.required("topic")?, "INVALID_TOPIC")?;
    let level = args
        .optional("durability")
        .map(|name| Durability::from_name(name).ok_or_else(|| bad_request("INVALID_ARG_DURABILITY")));
    let level = level.transpose()?;
    let topic = api.broker.open_topic(&name).await.map_err(not_opened)?;
    match level {
        Some(level) => done(topic.set_durability(level)),
        None => Ok(empty()),
    }
}

/// nsqd: the name is not checked, an illegal one is simply not found.
pub(super) async fn delete_topic(State(api): State<Api>, args: Args) -> Answer {
    let name = args.required("topic")?;
    let Ok(name) = TopicName::new(name) else { return Err(not_found("TOPIC_NOT_FOUND")) };
    match api.broker.delete_topic(&name).await {
        Ok(true) => Ok(empty()),
        Ok(false) => Err(not_found("TOPIC_NOT_FOUND")),
        Err(error) => Err(refused(&error.to_string())),
    }
}

pub(super) async fn empty_topic(State(api): State<Api>, args: Args) -> Answer {
    let name = topic_name(args.required("topic")?, "INVALID_TOPIC")?;
    done(find_topic(&api, name.as_str())?.empty())
}

pub(super) async fn pause_topic(State(api): State<Api>, args: Args) -> Answer {
    done(find_topic(&api, args.required("topic")?)?.set_paused(true))
}

pub(super) async fn unpause_topic(State(api): State<Api>, args: Args) -> Answer {
    done(find_topic(&api, args.required("topic")?)?.set_paused(false))
}

pub(super) async fn create_channel(State(api): State<Api>, args: Args) -> Answer {
    let (topic, channel) = topic_and_channel(&api, &args)?;
    api.broker.open_channel(&topic, &channel).await.map_err(not_opened)?;
    Ok(empty())
}

pub(super) async fn delete_channel(State(api): State<Api>, args: Args) -> Answer {
    let (topic, channel) = topic_and_channel(&api, &args)?;
    done(api.broker.delete_channel(&topic, &channel))
}

pub(super) async fn empty_channel(State(api): State<Api>, args: Args) -> Answer {
    let (topic, channel) = topic_and_channel(&api, &args)?;
    done(topic.empty_channel(&channel))
}

pub(super) async fn pause_channel(State(api): State<Api>, args: Args) -> Answer {
    let (topic, channel) = topic_and_channel(&api, &args)?;
    done(topic.set_channel_paused(&channel, true))
}

pub(super) async fn unpause_channel(State(api): State<Api>, args: Args) -> Answer {
    let (topic, channel) = topic_and_channel(&api, &args)?;
    done(topic.set_channel_paused(&channel, false))
}

fn topic_and_channel(api: &Api, args: &Args) -> Result<(Arc<Topic>, ChannelName), Response> {
    let topic = topic_name(args.required("topic")?, "INVALID_ARG_TOPIC")?;
    let channel = channel_name(args.required("channel")?)?;
    Ok((find_topic(api, topic.as_str())?, channel))
}

fn find_topic(api: &Api, name: &str) -> Result<Arc<Topic>, Response> {
    api.broker.topic(name).ok_or_else(|| not_found("TOPIC_NOT_FOUND"))
}

fn done(outcome: Result<(), ChangeError>) -> Answer {
    match outcome {
        Ok(()) => Ok(empty()),
        Err(ChangeError::NoChannel) => Err(not_found("CHANNEL_NOT_FOUND")),
        Err(ChangeError::Exiting) => Err(not_found("TOPIC_NOT_FOUND")),
        Err(ChangeError::TooMany(limit)) => Err(error(StatusCode::SERVICE_UNAVAILABLE, limit.code())),
        Err(ChangeError::Storage(error)) => Err(refused(&error.to_string())),
    }
}

fn not_opened(error: OpenError) -> Response {
    too_many(&error).unwrap_or_else(|| refused(&error.to_string()))
}

fn refused(why: &str) -> Response {
    tracing::error!(why, "a change could not be stored");
    error(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR")
}
