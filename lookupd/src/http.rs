//! The HTTP API of nsqlookupd: the route table and one function per route. What is true is decided in
//! `registry`.

use std::sync::Arc;

use axum::Router;
use axum::extract;
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post};
use daemon::access::{Gate, Kind, keep};
use daemon::http::debug as pprof;
use daemon::http::probe;
use daemon::http::{Args, Refusal, empty, error, finish, json, pong};
use daemon::version::VERSION;
use protocol::{ChannelName, TopicName};

use crate::answers::Info;
use crate::registry::Full;
use crate::state::State;

/// Every route, and the answers for what is no route. Each stands with those of its kind, which says who may use it.
pub(crate) fn router(state: Arc<State>, gate: Gate) -> Router {
    let gate = Arc::new(gate);
    let kept = |kind, routes: Router<Arc<State>>| {
        routes.route_layer(from_fn_with_state((Arc::clone(&gate), kind), keep))
    };
    let routes = Router::new()
        .merge(kept(Kind::Probe, probing()))
        .merge(kept(Kind::Read, reading()))
        .merge(kept(Kind::Change, changing()))
        .merge(kept(Kind::Debug, debugging()));
    let requests = state.requests.clone();
    finish(routes.with_state(state), &requests)
}

fn probing() -> Router<Arc<State>> {
    Router::new()
        .route("/ping", get(async || pong()))
        .route("/livez", get(probed))
        .route("/readyz", get(probed))
        .route("/startupz", get(probed))
}

fn reading() -> Router<Arc<State>> {
    Router::new()
        .route("/info", get(async || json(&Info { version: VERSION })))
        .route("/topics", get(topics))
        .route("/channels", get(channels))
        .route("/lookup", get(lookup))
        .route("/nodes", get(nodes))
        // nsqlookupd: the registrations, which are what /nodes and /lookup tell, not the process.
        .route("/debug", get(debug))
        .route("/metrics", get(metrics))
}

fn changing() -> Router<Arc<State>> {
    Router::new()
        .route("/topic/create", post(create_topic))
        .route("/topic/delete", post(delete_topic))
        .route("/topic/tombstone", post(tombstone))
        .route("/channel/create", post(create_channel))
        .route("/channel/delete", post(delete_channel))
}

fn debugging() -> Router<Arc<State>> {
    Router::new().route("/debug/pprof", get(pprof::index)).merge(pprof::profiles())
}

type Shared = extract::State<Arc<State>>;

async fn topics(extract::State(state): Shared) -> Response {
    let answer = state.registry().topics();
    json(&answer)
}

async fn channels(extract::State(state): Shared, args: Args) -> Result<Response, Refusal> {
    let answer = state.registry().channels(args.required("topic")?);
    Ok(json(&answer))
}

async fn lookup(extract::State(state): Shared, args: Args) -> Result<Response, Refusal> {
    let answer = state.registry().lookup(args.required("topic")?, state.now());
    state.count_lookup(answer.is_some());
    Ok(answer.map_or_else(|| error(StatusCode::NOT_FOUND, "TOPIC_NOT_FOUND"), |answer| json(&answer)))
}

async fn nodes(extract::State(state): Shared) -> Response {
    let answer = state.registry().nodes(state.now());
    json(&answer)
}

async fn debug(extract::State(state): Shared) -> Response {
    let answer = state.registry().debug(state.started_at());
    json(&answer)
}

async fn metrics(extract::State(state): Shared, headers: HeaderMap) -> Response {
    crate::metrics::page(&state).answer(&headers)
}

/// All that it knows is in memory, so that it can serve as soon as it listens.
async fn probed(extract::RawQuery(query): extract::RawQuery) -> Response {
    probe::answer(&query.unwrap_or_default(), &[])
}

async fn create_topic(extract::State(state): Shared, args: Args) -> Result<Response, Refusal> {
    let topic = topic(&args)?;
    tracing::info!(client = tracing::field::Empty, "DB: adding topic({topic})");
    state.registry().create_topic(topic, state.now()).map_err(full)?;
    Ok(empty())
}

async fn delete_topic(extract::State(state): Shared, args: Args) -> Result<Response, Refusal> {
    let topic = args.required("topic")?;
    tracing::info!(client = tracing::field::Empty, "DB: removing topic({topic})");
    state.registry().delete_topic(topic);
    Ok(empty())
}

async fn tombstone(extract::State(state): Shared, args: Args) -> Result<Response, Refusal> {
    let (topic, node) = (args.required("topic")?, args.required("node")?);
    tracing::info!(
        client = tracing::field::Empty,
        "DB: setting tombstone for broker {node} of topic({topic})"
    );
    state.registry().tombstone(topic, node, state.now());
    Ok(empty())
}

async fn create_channel(extract::State(state): Shared, args: Args) -> Result<Response, Refusal> {
    let (topic, channel) = (topic(&args)?, channel(&args)?);
    tracing::info!(client = tracing::field::Empty, "DB: adding channel({channel}) of topic({topic})");
    state.registry().create_channel(topic, channel, state.now()).map_err(full)?;
    Ok(empty())
}

async fn delete_channel(extract::State(state): Shared, args: Args) -> Result<Response, Refusal> {
    let (topic, channel) = (topic(&args)?, channel(&args)?);
    if !state.registry().delete_channel(topic.as_str(), channel.as_str()) {
        return Err(Refusal::not_found("CHANNEL_NOT_FOUND"));
    }
    tracing::info!(client = tracing::field::Empty, "DB: removed channel({channel}) of topic({topic})");
    Ok(empty())
}

/// Ours: stock takes any number.
fn full(why: Full) -> Refusal {
    tracing::warn!(client = tracing::field::Empty, "DB: {why}");
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_REGISTRATIONS")
}

fn topic(args: &Args) -> Result<TopicName, Refusal> {
    TopicName::new(args.required("topic")?).map_err(|_| Refusal::bad_request("INVALID_ARG_TOPIC"))
}

fn channel(args: &Args) -> Result<ChannelName, Refusal> {
    ChannelName::new(args.required("channel")?).map_err(|_| Refusal::bad_request("INVALID_ARG_CHANNEL"))
}
